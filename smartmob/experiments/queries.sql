-- name: insert_experiment
INSERT INTO experiments (id, started_at, ended_at, stored_at, machine, digest, summary, details, tests, pairs)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
ON CONFLICT (id) DO NOTHING
RETURNING id;

-- name: select_digest
SELECT digest FROM experiments WHERE id = $1;

-- name: select_experiments
SELECT summary, started_at, id
FROM experiments
WHERE ($1::text IS NULL OR machine = $1) AND ($2::timestamptz IS NULL OR (started_at, id) < ($2, $3::uuid))
ORDER BY started_at DESC, id DESC
LIMIT $4;

-- name: select_experiments_between
SELECT summary
FROM experiments
WHERE started_at < $2 AND ended_at >= $1
ORDER BY started_at DESC, id DESC
LIMIT $3;

-- name: select_details
SELECT details FROM experiments WHERE id = $1;

-- name: select_tests
SELECT tests FROM experiments WHERE id = $1;

-- name: select_pairs
SELECT pairs FROM experiments WHERE id = $1;

-- name: delete_experiment
DELETE FROM experiments WHERE id = $1 RETURNING id;

-- name: delete_old_experiments
DELETE FROM experiments WHERE stored_at < $1 RETURNING id;
