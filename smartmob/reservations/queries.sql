-- name: select_reservations
SELECT id, node, token, holder, reason, since, until
FROM reservations
WHERE until > $1 AND (node <> '' OR service = $2)
ORDER BY node;

-- name: put_reservation
-- Takes a machine that is free at $8, or prolongs the reservation of the same holder, which keeps its id and its beginning. The
-- holder is known by the id $9 or by the token $4.
INSERT INTO reservations AS present (node, service, id, token, holder, reason, since, until)
VALUES ($1, $2, $3, $4, $5, $6, $8, $7)
ON CONFLICT (node, service) DO UPDATE SET
    id = CASE WHEN present.until > $8 THEN present.id ELSE excluded.id END,
    token = CASE WHEN present.until > $8 THEN present.token ELSE excluded.token END,
    holder = excluded.holder,
    reason = excluded.reason,
    since = CASE WHEN present.until > $8 THEN present.since ELSE excluded.since END,
    until = excluded.until
WHERE present.until <= $8 OR present.id = $9 OR present.token = $4
RETURNING id, node, token, holder, reason, since, until;

-- name: delete_reservation
DELETE FROM reservations WHERE node = $1 AND service = $2 AND id = $3 RETURNING id;
