-- name: insert_events
-- $1: the events as a JSON array.
INSERT INTO audit_events (id, at, who, client, node, action, target, outcome)
SELECT id, at, who, client, node, action, target, outcome
FROM json_to_recordset($1::json) AS event (
    id uuid, at timestamptz, who text, client text, node text, action text, target text, outcome text
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
