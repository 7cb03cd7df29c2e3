-- name: register
INSERT INTO services (id, machine, boot, version, address, started_at, seen_at) VALUES ($1, $2, $3, $4, $5, $6, $6)
ON CONFLICT (id) DO UPDATE SET
    machine = excluded.machine, boot = excluded.boot, version = excluded.version,
    address = excluded.address, started_at = excluded.started_at, seen_at = excluded.seen_at;

-- name: touch
UPDATE services SET seen_at = now() WHERE id = $1;

-- name: leave
UPDATE services SET seen_at = now() - make_interval(secs => $2) WHERE id = $1;

-- name: select_others
SELECT id, machine, boot, version, address, started_at, seen_at, seen_at > now() - make_interval(secs => $2) AS runs
FROM services WHERE id <> $1 ORDER BY started_at, id;

-- name: set_activity
UPDATE services SET activity = $2, output_folder = $3 WHERE id = $1;

-- name: select_activities
SELECT id, activity FROM services WHERE id <> $1 AND seen_at > now() - make_interval(secs => $2) ORDER BY id;

-- name: select_keeping
SELECT id FROM services
WHERE id <> $1 AND output_folder = $2 AND seen_at > now() - make_interval(secs => $3);

-- name: open_outbox
INSERT INTO service_outboxes (service, id) VALUES ($1, $2) ON CONFLICT (service) DO NOTHING;

-- name: select_outbox
SELECT id, dropped FROM service_outboxes WHERE service = $1;

-- name: take_numbers
INSERT INTO service_outboxes (service, id, next) VALUES ($1, $2, 1 + $3::bigint)
ON CONFLICT (service) DO UPDATE SET next = service_outboxes.next + $3
RETURNING next - $3;

-- name: put_outbox_records
INSERT INTO service_outbox_records (service, number, kind, value)
SELECT $1, * FROM unnest($2::bigint[], $3::text[], $4::text[]);

-- name: drop_outbox_records
DELETE FROM service_outbox_records WHERE service = $1 AND number <= $2 RETURNING number;

-- name: count_dropped
UPDATE service_outboxes SET dropped = dropped + $2 WHERE service = $1 RETURNING dropped;

-- name: select_outbox_records
SELECT number, kind, value FROM service_outbox_records WHERE service = $1 ORDER BY number LIMIT $2;

-- name: renew_outbox
UPDATE service_outboxes SET id = $2 WHERE service = $1;
