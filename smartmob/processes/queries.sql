-- name: select_processes
SELECT slug, app, node, process_type, source_url, env, grace, created_at, request_id, digest, wanted
FROM processes
ORDER BY created_at, slug;

-- name: put_processes
INSERT INTO processes (slug, app, node, process_type, source_url, env, grace, created_at, request_id, digest, wanted)
SELECT * FROM unnest(
    $1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::jsonb[], $7::float8[], $8::timestamptz[],
    $9::text[], $10::text[], $11::boolean[]
)
ON CONFLICT (slug) DO UPDATE SET digest = excluded.digest, wanted = excluded.wanted;

-- name: delete_processes
DELETE FROM processes WHERE slug = ANY($1::text[]);

-- name: insert_events
INSERT INTO process_events (slug, at, id, kind, detail)
SELECT * FROM unnest($1::text[], $2::timestamptz[], $3::uuid[], $4::text[], $5::jsonb[])
ON CONFLICT DO NOTHING;

-- name: select_events
SELECT slug, at, id, kind, detail
FROM process_events
WHERE ($1::text IS NULL OR slug = $1)
  AND ($2::timestamptz IS NULL OR at >= $2)
  AND ($3::timestamptz IS NULL OR at < $3)
  AND ($4::timestamptz IS NULL OR (at, id) > ($4, $5::uuid))
ORDER BY at, id
LIMIT $6;

-- name: expire_events
DELETE FROM process_events WHERE at < $1;
