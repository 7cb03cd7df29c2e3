-- name: register
INSERT INTO services (id, machine, boot, version, address, started_at, seen_at) VALUES ($1, $2, $3, $4, $5, $6, $6)
ON CONFLICT (id) DO UPDATE SET
    machine = excluded.machine, boot = excluded.boot, version = excluded.version,
    address = excluded.address, started_at = excluded.started_at, seen_at = excluded.seen_at;

-- name: touch
UPDATE services SET seen_at = $2 WHERE id = $1;

-- name: select_others
SELECT id, machine, boot, version, address, started_at, seen_at FROM services WHERE id <> $1 ORDER BY started_at, id;
