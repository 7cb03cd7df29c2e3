-- Where a session came from: `sender` is the address from which it was sent, `host` the name of the machine that reports
-- from this address. `stated_at` is the time that the sender gave, if that was not plausible and `started_at` is the time
-- of arrival instead.
ALTER TABLE test_sessions ADD COLUMN sender text;
ALTER TABLE test_sessions ADD COLUMN host text;
ALTER TABLE test_sessions ADD COLUMN stated_at timestamptz;
UPDATE test_sessions SET stated_at = started_at, started_at = received_at
WHERE started_at < '2001-01-01 00:00:00+00' OR started_at > received_at + interval '1 hour';
-- A block is opened up to ten minutes before the last of its metrics arrives.
UPDATE test_metrics SET started_at = timestamptz '2020-01-01 00:00:00+00' + make_interval(secs => (block >> 22) / 1000.0)
WHERE started_at < '2001-01-01 00:00:00+00'
    OR started_at > timestamptz '2020-01-01 00:00:00+00' + make_interval(secs => (block >> 22) / 1000.0 + 4200);
