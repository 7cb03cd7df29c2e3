-- name: select_tokens
SELECT name, role, digest, created_at, expires_at, only_nodes FROM access_tokens ORDER BY name;

-- name: insert_token
INSERT INTO access_tokens (name, role, digest, created_at, expires_at, only_nodes) VALUES ($1, $2, $3, $4, $5, $6)
ON CONFLICT (name) DO NOTHING
RETURNING name;

-- name: delete_token
DELETE FROM access_tokens WHERE name = $1 RETURNING name;
