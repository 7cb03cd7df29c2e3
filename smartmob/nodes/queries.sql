-- name: select_nodes
SELECT name, digest, labels, drained, joined_at, seen_at, service, facts FROM nodes ORDER BY name;

-- name: select_node
SELECT name, digest, labels, drained, joined_at, seen_at, service, facts FROM nodes WHERE name = $1;

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

-- name: touch
-- The nodes whose connections the service $1 holds; nodes that have connected to another service meanwhile are left alone.
UPDATE nodes SET seen_at = $3 WHERE service = $1 AND name = ANY ($2::text[]);

-- name: disconnected
UPDATE nodes SET service = NULL, seen_at = $3 WHERE name = $2 AND service = $1;
