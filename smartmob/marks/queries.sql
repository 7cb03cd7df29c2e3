-- name: insert_marks
INSERT INTO marks (id, at, text, author, made_at)
SELECT * FROM unnest($1::uuid[], $2::timestamptz[], $3::text[], $4::text[], $5::timestamptz[])
ON CONFLICT DO NOTHING;

-- name: select_marks
SELECT id, at, text, author, made_at
FROM marks
WHERE at >= $1 AND at < $2 AND ($3::timestamptz IS NULL OR (at, id) > ($3, $4::uuid))
ORDER BY at, id
LIMIT $5;

-- name: select_mark
SELECT id, at, text, author, made_at FROM marks WHERE id = $1;

-- name: delete_mark
DELETE FROM marks WHERE id = $1 RETURNING id;
