-- name: select_processes
SELECT slug, app, node, process_type, source_url, env, grace, created_at, request_id, digest, wanted,
       restart, command, readiness, liveness, depends_on, completed, limits, lease
FROM processes
WHERE service = $1
ORDER BY created_at, slug;

-- name: adopt
-- The processes and events of a version that did not know services, or if $2, of all services; existing ones stay.
WITH events AS (
    UPDATE process_events AS old SET service = $1
    WHERE (service = '' OR ($2 AND service <> $1)) AND NOT EXISTS (
        SELECT FROM process_events WHERE service = $1 AND slug = old.slug AND at = old.at AND id = old.id
    )
)
UPDATE processes AS old SET service = $1
WHERE (service = '' OR ($2 AND service <> $1))
  AND NOT EXISTS (SELECT FROM processes WHERE service = $1 AND slug = old.slug);

-- name: count_others
SELECT service, count(*) AS processes FROM processes WHERE service <> $1 AND wanted GROUP BY service ORDER BY service;

-- name: store_changes
-- One statement instead of a transaction of several: one round trip to the server. $3, $4 and $5 are JSON arrays.
WITH deleted AS (
    DELETE FROM processes WHERE service = $1 AND slug = ANY($2::text[])
), upserted AS (
    INSERT INTO processes (
        service, slug, app, node, process_type, source_url, env, grace, created_at, request_id, digest, wanted, restart,
        command, readiness, liveness, depends_on, completed, limits, lease
    )
    SELECT $1, new.*
    FROM json_to_recordset($3::json) AS new (
        slug text, app text, node text, process_type text, source_url text, env jsonb, grace float8,
        created_at timestamptz, request_id text, digest text, wanted boolean, restart text, command text,
        readiness jsonb, liveness jsonb, depends_on jsonb, completed boolean, limits jsonb, lease float8
    )
    ON CONFLICT (service, slug) DO UPDATE SET
        app = excluded.app, node = excluded.node, process_type = excluded.process_type,
        source_url = excluded.source_url, env = excluded.env, grace = excluded.grace,
        created_at = excluded.created_at, request_id = excluded.request_id,
        digest = excluded.digest, wanted = excluded.wanted, restart = excluded.restart, command = excluded.command,
        readiness = excluded.readiness, liveness = excluded.liveness, depends_on = excluded.depends_on,
        completed = excluded.completed, limits = excluded.limits, lease = excluded.lease
), updated AS (
    UPDATE processes
    SET digest = coalesce(new.digest, processes.digest), wanted = coalesce(new.wanted, processes.wanted),
        completed = coalesce(new.completed, processes.completed)
    FROM json_to_recordset($4::json)
        AS new (slug text, created_at timestamptz, digest text, wanted boolean, completed boolean)
    WHERE processes.service = $1 AND processes.slug = new.slug AND processes.created_at = new.created_at
)
INSERT INTO process_events (service, slug, at, id, kind, detail)
SELECT $1, event ->> 'slug', (event ->> 'at')::timestamptz, id, event ->> 'kind', (event -> 'detail')::jsonb
FROM json_to_recordset($5::json) AS new (id uuid, event json)
ON CONFLICT DO NOTHING;

-- name: select_events
SELECT slug, at, id, kind, detail
FROM process_events
WHERE service = $1 AND ($2::text IS NULL OR slug = $2)
  AND ($3::timestamptz IS NULL OR at >= $3)
  AND ($4::timestamptz IS NULL OR at < $4)
  AND ($5::timestamptz IS NULL OR (at, id) > ($5, $6::uuid))
ORDER BY at, id
LIMIT $7;

-- name: expire_events
DELETE FROM process_events WHERE service = $1 AND at < $2;
