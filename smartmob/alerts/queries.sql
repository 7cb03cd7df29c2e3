-- name: insert_rule
INSERT INTO alert_rules (name, condition, subjects, receivers, severity, repeat_seconds, resolved, source, made_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
ON CONFLICT (name) DO NOTHING RETURNING name;

-- name: upsert_rule
INSERT INTO alert_rules (name, condition, subjects, receivers, severity, repeat_seconds, resolved, source, made_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
ON CONFLICT (name) DO UPDATE SET
    condition = excluded.condition, subjects = excluded.subjects, receivers = excluded.receivers,
    severity = excluded.severity, repeat_seconds = excluded.repeat_seconds, resolved = excluded.resolved,
    source = excluded.source, made_at = CASE
        WHEN alert_rules.condition = excluded.condition THEN alert_rules.made_at ELSE excluded.made_at
    END;

-- name: select_rules
SELECT name, condition, subjects, receivers, severity, repeat_seconds, resolved, source, made_at
FROM alert_rules ORDER BY name;

-- name: delete_rule
DELETE FROM alert_rules WHERE name = $1 RETURNING name;

-- name: delete_rules_of_settings
DELETE FROM alert_rules WHERE source = 'settings' AND NOT name = ANY ($1::text[]);

-- name: upsert_receiver
INSERT INTO alert_receivers (name, address, format, secret, source, made_at) VALUES ($1, $2, $3, $4, $5, $6)
ON CONFLICT (name) DO UPDATE SET
    address = excluded.address, format = excluded.format, secret = excluded.secret, source = excluded.source;

-- name: insert_receiver
INSERT INTO alert_receivers (name, address, format, secret, source, made_at) VALUES ($1, $2, $3, $4, $5, $6)
ON CONFLICT (name) DO NOTHING RETURNING name;

-- name: select_receivers
SELECT name, address, format, secret, source, made_at FROM alert_receivers ORDER BY name;

-- name: delete_receiver
DELETE FROM alert_receivers WHERE name = $1 RETURNING name;

-- name: delete_receivers_of_settings
DELETE FROM alert_receivers WHERE source = 'settings' AND NOT name = ANY ($1::text[]);

-- name: insert_silence
INSERT INTO alert_silences (id, rule, subject, until, text, author, made_at) VALUES ($1, $2, $3, $4, $5, $6, $7)
ON CONFLICT (id) DO NOTHING;

-- name: select_silences
SELECT id, rule, subject, until, text, author, made_at FROM alert_silences WHERE until > $1 ORDER BY until, id;

-- name: delete_silence
DELETE FROM alert_silences WHERE id = $1 RETURNING id;

-- name: insert_alert
INSERT INTO alerts (
    id, rule, subject, cause, condition, severity, summary, value, fired_at, notified_at, owner, resolved_at, reason
)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, NULL, '')
ON CONFLICT DO NOTHING RETURNING id;

-- name: select_alert
SELECT id, rule, subject, cause, condition, severity, summary, value, fired_at, notified_at, owner, resolved_at, reason
FROM alerts WHERE id = $1;

-- name: select_active
SELECT id, rule, subject, cause, condition, severity, summary, value, fired_at, notified_at, owner, resolved_at, reason
FROM alerts WHERE resolved_at IS NULL ORDER BY fired_at, id;

-- name: select_history
SELECT id, rule, subject, cause, condition, severity, summary, value, fired_at, notified_at, owner, resolved_at, reason
FROM alerts
WHERE fired_at >= $1 AND fired_at < $2 AND ($3::timestamptz IS NULL OR (fired_at, id) < ($3, $4::uuid))
ORDER BY fired_at DESC, id DESC
LIMIT $5;

-- name: resolve_alert
UPDATE alerts SET resolved_at = $2, reason = $3 WHERE id = $1 AND resolved_at IS NULL RETURNING id;

-- name: touch_alert
UPDATE alerts SET notified_at = $2
WHERE id = $1 AND resolved_at IS NULL AND notified_at IS NOT DISTINCT FROM $3 RETURNING id;

-- name: select_pending
SELECT rule, subject, condition, bad_since FROM alert_pending WHERE owner = $1 AND seen_at > $2;

-- name: delete_pending
DELETE FROM alert_pending WHERE owner = $1;

-- name: insert_pending
INSERT INTO alert_pending (owner, rule, subject, condition, bad_since, seen_at)
SELECT $1, rule, subject, condition, bad_since, $6
FROM unnest($2::text[], $3::text[], $4::text[], $5::timestamptz[]) AS p (rule, subject, condition, bad_since)
ON CONFLICT (owner, rule, subject) DO NOTHING;

-- name: touch_pending
UPDATE alert_pending SET seen_at = $2 WHERE owner = $1;

-- name: expire_pending
DELETE FROM alert_pending WHERE seen_at < $1;

-- name: insert_notification
INSERT INTO alert_notifications (
    id, receiver, alert, kind, document, made_at, due_at, batch, attempts, sent_at, failed_at, error
)
VALUES ($1, $2, $3, $4, $5::json, $6, $7, NULL, 0, NULL, NULL, '')
ON CONFLICT (id) DO NOTHING;

-- name: select_notified
SELECT DISTINCT receiver FROM alert_notifications WHERE alert = $1 AND kind IN ('firing', 'repeated') ORDER BY receiver;

-- name: lock_claims
SELECT pg_advisory_xact_lock($1);

-- name: lock_due
-- While a message to a receiver is being sent or waits for its next attempt, those after it wait, so that the end of an
-- alert never arrives before its beginning.
SELECT id, receiver, batch, attempts FROM alert_notifications AS n
WHERE sent_at IS NULL AND failed_at IS NULL AND due_at <= $1 AND (batch IS NOT NULL OR NOT EXISTS (
    SELECT FROM alert_notifications
    WHERE receiver = n.receiver AND batch IS NOT NULL AND sent_at IS NULL AND failed_at IS NULL
))
ORDER BY due_at, id LIMIT 1
FOR UPDATE SKIP LOCKED;

-- name: lock_batch
SELECT id, receiver, alert, kind, document, made_at, batch, attempts FROM alert_notifications
WHERE batch = $1 AND sent_at IS NULL AND failed_at IS NULL
ORDER BY made_at, id
FOR UPDATE;

-- name: receiver_format
SELECT format FROM alert_receivers WHERE name = $1;

-- name: lock_group
SELECT id, receiver, alert, kind, document, made_at, batch, attempts FROM alert_notifications
WHERE receiver = $1 AND batch IS NULL AND sent_at IS NULL AND failed_at IS NULL
ORDER BY made_at, id LIMIT $2
FOR UPDATE SKIP LOCKED;

-- name: lease_batch
UPDATE alert_notifications SET batch = $2, due_at = $3, attempts = attempts + 1 WHERE id = ANY ($1::uuid[]);

-- name: next_due
SELECT min(due_at) FROM alert_notifications AS n
WHERE sent_at IS NULL AND failed_at IS NULL AND (batch IS NOT NULL OR NOT EXISTS (
    SELECT FROM alert_notifications
    WHERE receiver = n.receiver AND batch IS NOT NULL AND sent_at IS NULL AND failed_at IS NULL
));

-- name: mark_sent
UPDATE alert_notifications SET sent_at = $2, error = $3 WHERE batch = $1;

-- name: mark_failed
UPDATE alert_notifications SET failed_at = $2, error = $3 WHERE batch = $1;

-- name: retry_batch
UPDATE alert_notifications SET due_at = $2, error = $3 WHERE batch = $1;

-- name: select_notifications
SELECT id, receiver, alert, kind, made_at, due_at, batch, attempts, sent_at, failed_at, error
FROM alert_notifications
WHERE NOT $1::boolean OR failed_at IS NOT NULL
ORDER BY made_at DESC, id DESC LIMIT $2;

-- name: revive_failed
UPDATE alert_notifications SET failed_at = NULL, attempts = 0, due_at = $1
WHERE failed_at IS NOT NULL RETURNING id;

-- name: counts
SELECT
    (SELECT count(*) FROM alerts WHERE resolved_at IS NULL) AS active,
    (SELECT count(*) FROM alert_notifications WHERE sent_at IS NULL AND failed_at IS NULL) AS waiting,
    (SELECT count(*) FROM alert_notifications WHERE failed_at IS NOT NULL) AS failed;

-- name: expire_notifications
DELETE FROM alert_notifications WHERE coalesce(sent_at, failed_at) < $1;

-- name: expire_alerts
DELETE FROM alerts WHERE resolved_at < $1;

-- name: expire_silences
DELETE FROM alert_silences WHERE until < $1;
