-- The SQL of the feature `hosts`. The placeholders `{...}` are filled in by `fields.query_parts`.

-- name: insert_host
INSERT INTO hosts (name, own, salt, secret, registered_at) VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (name) DO NOTHING;

-- name: claim_own
-- The own machine of the service $2, unless the name belongs to another machine, or to one of the services $4, which run elsewhere.
INSERT INTO hosts (name, own, registered_at, service) VALUES ($1, true, $3, $2)
ON CONFLICT (name) DO UPDATE SET service = excluded.service
WHERE hosts.own AND (hosts.service IS NULL OR NOT hosts.service = ANY ($4::text[]))
RETURNING name;

-- name: put_node_host
-- The machine of a node, with the SHA-256 of the password of its present key, unless the name belongs to another machine.
INSERT INTO hosts (name, own, salt, secret, registered_at, node) VALUES ($1, false, NULL, $2, $3, true)
ON CONFLICT (name) DO UPDATE SET salt = NULL, secret = excluded.secret WHERE hosts.node
RETURNING name;

-- name: select_secret
SELECT own, salt, secret FROM hosts WHERE name = $1;

-- name: delete_host
DELETE FROM hosts WHERE name = $1 AND NOT own;

-- name: delete_samples
DELETE FROM host_samples WHERE host = $1;

-- name: delete_minutes
DELETE FROM host_minutes WHERE host = $1;

-- name: delete_clocks
DELETE FROM host_clocks WHERE host = $1;

-- name: insert_samples
INSERT INTO host_samples (
    host, at, n, {columns}, detail
)
SELECT host, to_timestamp(at), n, {columns}, detail::json
FROM unnest(
    $1::text[], $2::double precision[], $3::bigint[], {column_arrays}, {detail_array}
) AS s (host, at, n, {columns}, detail)
ON CONFLICT (host, at, n) DO NOTHING;

-- name: insert_offset
INSERT INTO host_clocks (host, at, offset_seconds, delay_seconds) VALUES ($1, $2, $3, $4)
ON CONFLICT (host, at) DO NOTHING;

-- name: select_hosts
SELECT h.name, h.own, h.registered_at, s.at, {sample_columns}, s.detail, c.at AS clock_at, c.offset_seconds, c.delay_seconds
FROM hosts AS h
LEFT JOIN LATERAL (
    SELECT * FROM host_samples WHERE host = h.name ORDER BY at DESC, n DESC LIMIT 1
) AS s ON true
LEFT JOIN LATERAL (
    SELECT * FROM host_clocks WHERE host = h.name ORDER BY at DESC LIMIT 1
) AS c ON true;

-- name: heard_within
SELECT DISTINCT host FROM host_samples
WHERE host = ANY ($1::text[]) AND received_at > now() - make_interval(secs => $2);

-- name: sample_span
SELECT min(at) AS first, max(at) AS last FROM host_samples WHERE host = $1;

-- name: report
SELECT concat(
    '{{"cpu":', coalesce(cpu::text, 'null'), ',"mem":', coalesce(mem::text, 'null'),
    ',"storage":', coalesce(storage::text, 'null'), ',"unix_time":', date_part('epoch', at), '}}'
)
FROM host_samples WHERE host = $1 AND at >= $2 AND at <= $3 ORDER BY at, n;

-- name: count_samples
SELECT count(*) FROM (
    SELECT FROM host_samples WHERE host = $1 AND at >= $2 AND at < $3 LIMIT $4
) AS found;

-- name: select_samples
SELECT at, {sample_columns}, detail FROM host_samples AS s WHERE host = $1 AND at >= $2 AND at < $3 ORDER BY at, n;

-- name: bucket_samples
SELECT host, date_bin(make_interval(secs => $4), at, timestamptz 'epoch') AS at, count(*) AS samples, {sample_min_avg_max}
FROM host_samples WHERE host = ANY ($1::text[]) AND at >= $2 AND at < $3
GROUP BY 1, 2 ORDER BY 1, 2;

-- name: bucket_minutes
-- Minutes that are not rolled up yet are computed from the samples.
WITH rolled AS (
    SELECT date_bin('1 minute', until, timestamptz 'epoch') AS until FROM host_progress WHERE name = 'minutes'
), parts AS (
    SELECT host, at, samples, {minute_columns}
    FROM host_minutes
    WHERE host = ANY ($1::text[]) AND at >= $2 AND at < $3 AND at < (SELECT until FROM rolled)
    UNION ALL
    SELECT host, date_bin('1 minute', at, timestamptz 'epoch'), count(*), {aggregates}
    FROM host_samples
    WHERE host = ANY ($1::text[]) AND at >= greatest($2, (SELECT until FROM rolled)) AND at < $3
    GROUP BY 1, 2
)
SELECT
    host, date_bin(make_interval(secs => $4), at, timestamptz 'epoch') AS at, sum(samples)::bigint AS samples,
    {minute_min_avg_max}
FROM parts GROUP BY 1, 2 ORDER BY 1, 2;

-- name: host_loads
SELECT host, count(*) AS samples, min(cpu) AS cpu_min, avg(cpu) AS cpu_avg, max(cpu) AS cpu_max
FROM host_samples WHERE host IN (SELECT name FROM hosts) AND at >= $1 AND at < $2
GROUP BY host ORDER BY host;

-- name: lock_progress
SELECT until, now() AS now, now() - make_interval(secs => $1) AS settled FROM host_progress WHERE name = 'minutes' FOR UPDATE;

-- name: first_arrival
SELECT min(received_at) FROM host_samples;

-- name: join_by_index
-- The planner expects far more minutes than have changed, and would read all samples of the partition for each roll-up.
SET LOCAL enable_hashjoin = off;
SET LOCAL enable_mergejoin = off;

-- name: roll_up
INSERT INTO host_minutes (host, at, rolled_at, samples, {minute_columns})
SELECT t.host, t.minute, $3, count(*), {aggregates}
FROM (
    SELECT DISTINCT host, date_bin('1 minute', at, timestamptz 'epoch') AS minute
    FROM host_samples WHERE received_at > $1 AND received_at <= $2
) AS t
JOIN host_samples AS s ON s.host = t.host AND s.at >= t.minute AND s.at < t.minute + interval '1 minute'
GROUP BY t.host, t.minute
ON CONFLICT (host, at) DO UPDATE SET samples = excluded.samples, rolled_at = excluded.rolled_at, {minute_updates}
WHERE excluded.samples >= host_minutes.samples;

-- name: move_progress
UPDATE host_progress SET until = $1 WHERE name = 'minutes';

-- name: partitions
SELECT c.relname AS name FROM pg_inherits AS i JOIN pg_class AS c ON c.oid = i.inhrelid
WHERE i.inhparent = $1::text::regclass;

-- name: make_partition
CREATE TABLE {{name}} (LIKE {{table}} INCLUDING DEFAULTS);
WITH moved AS (DELETE FROM {{table}}_rest WHERE at >= '{{start}}' AND at < '{{end}}' RETURNING *)
INSERT INTO {{name}} SELECT * FROM moved;
ALTER TABLE {{table}} ATTACH PARTITION {{name}} FOR VALUES FROM ('{{start}}') TO ('{{end}}');

-- name: drop_partition
DROP TABLE {{name}};

-- name: lock_partitions
SELECT pg_advisory_xact_lock(7330461121);

-- name: expire_rest_samples
DELETE FROM host_samples_rest WHERE received_at < $1;

-- name: expire_rest_minutes
DELETE FROM host_minutes_rest WHERE rolled_at < $1;

-- name: expire_clocks
DELETE FROM host_clocks WHERE at < $1;
