-- name: select_processes
SELECT slug, app, node, process_type, source_url, env, grace, created_at, request_id, digest, wanted,
       restart, command, readiness, liveness, depends_on, completed, limits
FROM processes
ORDER BY created_at, slug;

-- name: store_changes
-- One statement instead of a transaction of several: one round trip to the server.
WITH deleted AS (
    DELETE FROM processes WHERE slug = ANY($1::text[])
), upserted AS (
    INSERT INTO processes (
        slug, app, node, process_type, source_url, env, grace, created_at, request_id, digest, wanted, restart,
        command, readiness, liveness, depends_on, completed, limits
    )
    SELECT * FROM unnest(
        $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::jsonb[], $8::float8[], $9::timestamptz[],
        $10::text[], $11::text[], $12::boolean[], $13::text[], $14::text[],
        $15::jsonb[], $16::jsonb[], $17::jsonb[], $18::boolean[], $19::jsonb[]
    )
    ON CONFLICT (slug) DO UPDATE SET
        app = excluded.app, node = excluded.node, process_type = excluded.process_type,
        source_url = excluded.source_url, env = excluded.env, grace = excluded.grace,
        created_at = excluded.created_at, request_id = excluded.request_id,
        digest = excluded.digest, wanted = excluded.wanted, restart = excluded.restart, command = excluded.command,
        readiness = excluded.readiness, liveness = excluded.liveness, depends_on = excluded.depends_on,
        completed = excluded.completed, limits = excluded.limits
), updated AS (
    UPDATE processes
    SET digest = coalesce(new.digest, processes.digest), wanted = coalesce(new.wanted, processes.wanted),
        completed = coalesce(new.completed, processes.completed)
    FROM unnest($20::text[], $21::timestamptz[], $22::text[], $23::boolean[], $24::boolean[])
        AS new (slug, created_at, digest, wanted, completed)
    WHERE processes.slug = new.slug AND processes.created_at = new.created_at
)
INSERT INTO process_events (slug, at, id, kind, detail)
SELECT * FROM unnest($25::text[], $26::timestamptz[], $27::uuid[], $28::text[], $29::jsonb[])
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
