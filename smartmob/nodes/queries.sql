-- name: select_nodes
SELECT name, digest, labels, drained, joined_at, seen_at, service, facts, activity FROM nodes ORDER BY name;

-- name: select_node
SELECT name, digest, labels, drained, joined_at, seen_at, service, facts, activity FROM nodes WHERE name = $1;

-- name: select_node_of_key
SELECT name FROM nodes WHERE digest = $1;

-- name: insert_node
INSERT INTO nodes (name, digest, labels, joined_at) VALUES ($1, $2, $3, $4)
ON CONFLICT (name) DO NOTHING
RETURNING name;

-- name: update_node
UPDATE nodes SET labels = coalesce($2, labels), drained = coalesce($3, drained) WHERE name = $1 RETURNING name;

-- name: delete_node
DELETE FROM nodes WHERE name = $1 RETURNING name;

-- name: connected
UPDATE nodes SET service = $2, seen_at = $3, facts = $4 WHERE name = $1;

-- name: set_activity
UPDATE nodes SET activity = $2 WHERE name = $1;

-- name: touch
-- The nodes whose connections the service $1 holds; nodes that have connected to another service meanwhile are left alone.
UPDATE nodes SET seen_at = $3 WHERE service = $1 AND name = ANY ($2::text[]);

-- name: disconnected
UPDATE nodes SET service = NULL, seen_at = $3 WHERE name = $2 AND service = $1;

-- name: lock_progress
SELECT journal, number FROM node_progress WHERE node = $1 FOR UPDATE;

-- name: put_progress
INSERT INTO node_progress (node, journal, number, dropped) VALUES ($1, $2, $3, $4)
ON CONFLICT (node) DO UPDATE SET journal = excluded.journal, number = excluded.number, dropped = excluded.dropped;

-- name: insert_events
INSERT INTO node_process_events (node, slug, at, id, kind, detail)
SELECT $1, * FROM unnest($2::text[], $3::timestamptz[], $4::uuid[], $5::text[], $6::jsonb[])
ON CONFLICT DO NOTHING;

-- name: put_jobs
INSERT INTO node_jobs (node, job_id, state, started_at, ended_at, record)
SELECT $1, * FROM unnest($2::bigint[], $3::text[], $4::timestamptz[], $5::timestamptz[], $6::jsonb[])
ON CONFLICT (node, job_id) DO UPDATE SET
    state = excluded.state, started_at = excluded.started_at, ended_at = excluded.ended_at, record = excluded.record;

-- name: select_events
SELECT node, slug, at, id, kind, detail
FROM node_process_events
WHERE ($1::text IS NULL OR node = $1)
  AND ($2::timestamptz IS NULL OR at >= $2)
  AND ($3::timestamptz IS NULL OR at < $3)
  AND ($4::timestamptz IS NULL OR (at, id) > ($4, $5::uuid))
ORDER BY at, id
LIMIT $6;

-- name: select_jobs
SELECT node, job_id, record
FROM node_jobs
WHERE ($1::text IS NULL OR node = $1)
  AND ($2::timestamptz IS NULL OR ended_at IS NULL OR ended_at >= $2)
  AND ($3::timestamptz IS NULL OR started_at < $3)
ORDER BY started_at DESC, node, job_id DESC
LIMIT $4;

-- name: select_nodes_of_job
SELECT node FROM node_jobs WHERE job_id = $1;

-- name: select_progress
SELECT number, dropped FROM node_progress WHERE node = $1;

-- name: select_records_in_all
SELECT coalesce(sum(number), 0)::text FROM node_progress;

-- name: delete_records
WITH progress AS (
    DELETE FROM node_progress WHERE node = $1
), events AS (
    DELETE FROM node_process_events WHERE node = $1
)
DELETE FROM node_jobs WHERE node = $1;

-- name: expire_events
DELETE FROM node_process_events WHERE at < $1;

-- name: expire_jobs
DELETE FROM node_jobs WHERE ended_at < $1;
