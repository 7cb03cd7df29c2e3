-- name: insert_events
INSERT INTO audit_events (id, at, who, client, node, action, target, outcome)
SELECT * FROM unnest(
    $1::uuid[], $2::timestamptz[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[]
)
ON CONFLICT DO NOTHING;

-- name: select_events
SELECT id, at, who, client, node, action, target, outcome
FROM audit_events
WHERE at >= $1
    AND ($2::text IS NULL OR who = $2)
    AND ($3::text IS NULL OR node = $3)
    AND ($4::timestamptz IS NULL OR (at, id) < ($4, $5::uuid))
ORDER BY at DESC, id DESC
LIMIT $6;

-- name: expire
DELETE FROM audit_events WHERE at < $1;
