-- The SQL of the feature `metrics`. The store adds conditions, order and page to the queries of listings.

-- name: insert_context
INSERT INTO test_contexts (
    h, cpu_count, cpu_frequency, cpu_type, cpu_vendor, ram_total, machine_node, machine_type, machine_arch,
    system_info, python_info, received_at
) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
ON CONFLICT (h) DO NOTHING;

-- name: select_contexts
SELECT
    h, h AS context_h, cpu_count, cpu_frequency, cpu_type, cpu_vendor, ram_total, machine_node, machine_type,
    machine_arch, system_info, python_info
FROM test_contexts;

-- name: insert_session
INSERT INTO test_sessions (
    session_h, run_date, started_at, scm_ref, description, tags, run_tag, run_key, received_at, stated_at, sender, host
) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
ON CONFLICT (session_h) DO NOTHING;

-- name: select_sessions
SELECT session_h, run_date, scm_ref, tags FROM test_sessions;

-- name: lock_stored_session
SELECT scm_ref, tags FROM test_sessions WHERE session_h = $1 FOR UPDATE;

-- name: change_session
UPDATE test_sessions SET scm_ref = $2, tags = $3, run_tag = $4, run_key = $5 WHERE session_h = $1
RETURNING session_h, run_date, scm_ref, tags;

-- name: insert_metric
INSERT INTO test_metrics (
    block, seq, session_h, context_h, item_id, item_start_time, started_at, total_time, user_time, kernel_time, cpu_usage,
    mem_usage
) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12);

-- name: delete_session
DELETE FROM test_sessions WHERE session_h = $1;

-- name: delete_metrics
WITH gone AS (
    DELETE FROM test_metrics WHERE session_h = $1 RETURNING block
)
SELECT block, count(*) AS metrics FROM gone GROUP BY block ORDER BY block;

-- name: delete_links
DELETE FROM test_session_contexts WHERE session_h = $1;

-- name: subtract_metrics
UPDATE test_metric_blocks AS b SET metrics = b.metrics - g.metrics
FROM unnest($1::bigint[], $2::bigint[]) AS g (block, metrics)
WHERE b.block = g.block;

-- name: old_blocks
SELECT block FROM test_metric_blocks WHERE block < $1 ORDER BY block LIMIT $2;

-- name: expire_metrics
DELETE FROM test_metrics WHERE block = ANY ($1::bigint[]);

-- name: expire_blocks
DELETE FROM test_metric_blocks WHERE block = ANY ($1::bigint[]);

-- name: expire_sessions
DELETE FROM test_sessions AS s
WHERE s.received_at < $1 AND NOT EXISTS (SELECT FROM test_metrics AS m WHERE m.session_h = s.session_h);

-- name: expire_links
-- The links of sessions that are gone or never arrived, once their metrics are gone.
DELETE FROM test_session_contexts AS l
WHERE NOT EXISTS (SELECT FROM test_sessions AS s WHERE s.session_h = l.session_h)
    AND NOT EXISTS (SELECT FROM test_metrics AS m WHERE m.session_h = l.session_h);

-- name: insert_items
INSERT INTO test_items (item_id, item_path, item, item_variant, item_fs_loc, kind, component, asked_at)
SELECT *, now() FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[])
ON CONFLICT (item_id) DO UPDATE SET asked_at = excluded.asked_at
WHERE excluded.asked_at - test_items.asked_at > interval '1 hour';

-- name: recent_items
SELECT item_id FROM test_items WHERE item_id = ANY ($1::uuid[]) AND asked_at > now() - interval '1 hour';

-- name: lock_items_shared
SELECT pg_advisory_xact_lock_shared(7330461121);

-- name: try_lock_items
SELECT pg_try_advisory_xact_lock(7330461121);

-- name: next_items
SELECT item_id, asked_at < now() - $3::interval AS old FROM test_items WHERE item_id > $1 ORDER BY item_id LIMIT $2;

-- name: metric_of_item
SELECT block FROM test_metrics WHERE item_id = $1 LIMIT 1;

-- name: remove_items
-- An upsert of the same test waits for this statement or makes it wait; then `asked_at` is checked once more.
DELETE FROM test_items WHERE item_id = ANY ($1::uuid[]) AND asked_at < now() - $2::interval;

-- name: insert_session_contexts
INSERT INTO test_session_contexts (session_h, context_h)
SELECT * FROM unnest($1::text[], $2::text[])
ON CONFLICT (session_h, context_h) DO NOTHING;

-- name: insert_session_context
INSERT INTO test_session_contexts (session_h, context_h) VALUES ($1, $2) ON CONFLICT (session_h, context_h) DO NOTHING;

-- name: open_block
INSERT INTO test_metric_blocks (block) VALUES ($1) ON CONFLICT (block) DO NOTHING;

-- name: lock_block
SELECT FROM test_metric_blocks WHERE block = $1 FOR UPDATE;

-- name: close_block
UPDATE test_metric_blocks SET metrics = $2 WHERE block = $1 AND metrics IS NULL;

-- name: count_block
SELECT count(*) FROM test_metrics WHERE block = $1;

-- name: add_closed_block
INSERT INTO test_metric_blocks (block, metrics) VALUES ($1, $2);

-- name: abandoned_blocks
SELECT block FROM test_metric_blocks WHERE metrics IS NULL AND block < $1;

-- name: blocks_exist
SELECT EXISTS (SELECT FROM test_metric_blocks WHERE block = ANY ($1::bigint[]));

-- name: select_metrics
SELECT
    m.session_h, m.context_h, m.item_start_time, i.item_path, i.item, i.item_variant, i.item_fs_loc, i.kind,
    i.component, m.total_time, m.user_time, m.kernel_time, m.cpu_usage, m.mem_usage
FROM test_metrics AS m JOIN test_items AS i USING (item_id);

-- name: count_metrics
SELECT count(*) FROM test_metrics AS m;

-- name: count_metrics_of_items
SELECT count(*) FROM test_metrics AS m JOIN test_items AS i USING (item_id);

-- name: count_all_metrics
-- The metrics of blocks to which metrics are still added are counted; an array of these blocks leads to the index.
SELECT (
    (SELECT coalesce(sum(metrics), 0) FROM test_metric_blocks) + (
        SELECT count(*) FROM test_metrics
        WHERE block = ANY (ARRAY(SELECT block FROM test_metric_blocks WHERE metrics IS NULL))
    )
)::bigint;

-- name: metrics_page
SELECT
    m.session_h, m.context_h, m.item_start_time, i.item_path, i.item, i.item_variant, i.item_fs_loc, i.kind,
    i.component, m.total_time, m.user_time, m.kernel_time, m.cpu_usage, m.mem_usage
FROM (
    SELECT * FROM test_metrics WHERE block >= $1 ORDER BY block, seq OFFSET $2 LIMIT $3
) AS m JOIN test_items AS i USING (item_id)
ORDER BY m.block, m.seq;

-- name: find_block
SELECT block, before FROM (
    SELECT block, metrics, sum(metrics) OVER (ORDER BY block) - metrics AS before
    FROM (
        SELECT block, metrics FROM test_metric_blocks WHERE metrics IS NOT NULL
        UNION ALL
        SELECT block, count(*) FROM test_metrics
        WHERE block = ANY (ARRAY(SELECT block FROM test_metric_blocks WHERE metrics IS NULL))
        GROUP BY block
    ) AS counted
) AS placed
WHERE metrics > 0 AND before + metrics > $1
ORDER BY block LIMIT 1;

-- name: select_components
SELECT DISTINCT component FROM test_items WHERE starts_with(component, $1) ORDER BY component;

-- name: metric_of_component
SELECT m.block FROM test_metrics AS m JOIN test_items AS i USING (item_id) WHERE i.component = $1 LIMIT 1;

-- name: select_pipelines
SELECT s.tags ->> 'pipeline_branch' AS value FROM test_sessions AS s;

-- name: select_builds
SELECT s.tags ->> 'pipeline_build_no' AS value FROM test_sessions AS s;

-- name: select_session_hashes
SELECT s.session_h FROM test_sessions AS s;

-- name: lock_session
SELECT pg_advisory_xact_lock(hashtextextended($1, 7330461120));

-- name: count_session_metrics
SELECT count(*) FROM test_metrics WHERE session_h = $1;

-- name: select_run_members
SELECT s.session_h, s.started_at, s.run_tag, s.run_key, (
    SELECT min(c.machine_node) FROM test_session_contexts AS l JOIN test_contexts AS c ON c.h = l.context_h
    WHERE l.session_h = s.session_h
) AS node
FROM test_sessions AS s;

-- name: select_runs
-- Durations are bounded: the sum of the largest numbers that a client may send would overflow. Unknown ones are not
-- counted: least() and greatest() would take a bound for them.
SELECT
    s.session_h, s.run_date, s.started_at, s.received_at, s.stated_at, s.sender, s.host, s.scm_ref, s.tags,
    count(m.*) AS metrics,
    CASE WHEN count(m.session_h) = 0 THEN 0 ELSE
        sum(greatest(least(m.total_time, 1e15), -1e15)) FILTER (WHERE m.total_time IS NOT NULL)
    END AS total_time,
    max(least(
        m.started_at + make_interval(secs => greatest(least(coalesce(m.total_time, 0), 1e7), 0)),
        timestamptz '9999-12-31Z'
    ))
    FILTER (WHERE m.session_h IS NOT NULL) AS ended_at,
    array_agg(DISTINCT m.context_h) FILTER (WHERE m.context_h IS NOT NULL) AS contexts
FROM test_sessions AS s LEFT JOIN test_metrics AS m ON m.session_h = s.session_h
WHERE s.session_h = ANY ($1::text[])
GROUP BY s.session_h;

-- name: executions
SELECT m.session_h, m.started_at, i.item_path, i.item, i.item_variant, m.total_time
FROM test_metrics AS m JOIN test_items AS i USING (item_id)
WHERE m.session_h = ANY ($1::text[]) AND m.started_at >= $2 AND m.started_at < $3
ORDER BY m.started_at, m.block, m.seq LIMIT $4;

-- name: orphans
SELECT l.session_h, count(*) AS metrics, min(m.started_at) AS first, max(m.started_at) AS last
FROM (
    SELECT DISTINCT l.session_h FROM test_session_contexts AS l
    WHERE NOT EXISTS (SELECT FROM test_sessions AS s WHERE s.session_h = l.session_h)
) AS l JOIN test_metrics AS m ON m.session_h = l.session_h
GROUP BY l.session_h ORDER BY last DESC LIMIT $1;

-- name: history
SELECT
    m.session_h, m.context_h, m.item_start_time, m.started_at, i.item_path, i.item, i.item_variant, i.component,
    m.total_time, m.user_time, m.kernel_time, m.cpu_usage, m.mem_usage, s.scm_ref, c.machine_node,
    coalesce(s.tags, '{}'::json) AS tags, s.host
FROM test_metrics AS m
JOIN test_items AS i USING (item_id)
LEFT JOIN test_sessions AS s ON s.session_h = m.session_h
LEFT JOIN test_contexts AS c ON c.h = m.context_h
WHERE i.item = $1 OR i.item_variant = $1
ORDER BY m.started_at DESC, m.block DESC, m.seq DESC LIMIT $2;

-- name: contexts_of_sessions
SELECT session_h, context_h FROM test_session_contexts WHERE session_h = ANY ($1::text[]) ORDER BY session_h, context_h;

-- name: session_origins
SELECT session_h, coalesce(nullif(tags ->> 'machine', ''), nullif(tags ->> 'runner', '')) AS tag, host
FROM test_sessions WHERE session_h = ANY ($1::text[]);

-- name: similar_contexts
-- Contexts that may be of the same place, the newest of them. Containers have a name each, so those that differ in their
-- names only are in one row.
SELECT
    min(h) AS h, cpu_type, cpu_vendor, ram_total, machine_type, machine_arch, system_info, python_info,
    array_agg(h ORDER BY h) AS hashes, array_agg(machine_node ORDER BY h) AS nodes
FROM (
    SELECT * FROM test_contexts WHERE cpu_count = $1 ORDER BY received_at DESC LIMIT $2
) AS c
GROUP BY cpu_type, cpu_vendor, ram_total, machine_type, machine_arch, system_info, python_info;

-- name: latest_sessions
SELECT session_h FROM test_sessions WHERE started_at >= $1 ORDER BY started_at DESC LIMIT $2;

-- name: sessions_in_environment
SELECT DISTINCT s.started_at, s.session_h, s.run_tag, s.run_key, s.scm_ref, s.tags ->> 'pipeline_branch' AS branch
FROM test_session_contexts AS l JOIN test_sessions AS s ON s.session_h = l.session_h
WHERE l.context_h = ANY ($1::text[]) AND ($4::text IS NULL OR CASE
    -- The name of a machine in a tag is a free text; a host name may lack its domain.
    WHEN coalesce(nullif(s.tags ->> 'machine', ''), nullif(s.tags ->> 'runner', '')) IS NOT NULL
        THEN lower(coalesce(nullif(s.tags ->> 'machine', ''), s.tags ->> 'runner')) = lower($4)
    WHEN l.context_h = ANY ($2::text[]) THEN true
    WHEN l.context_h = ANY ($5::text[]) AND (s.host IS NULL OR $4 = '') THEN true
    WHEN l.context_h = ANY ($3::text[])
        THEN lower(coalesce(s.host, '')) IN (lower($4), split_part(lower($4), '.', 1))
            OR split_part(lower(coalesce(s.host, '')), '.', 1) = lower($4)
    ELSE false
END);

-- name: least_values
-- A disturbance makes an execution longer, never shorter: of several in a session the least is the most accurate.
SELECT m.session_h, array_agg(m.item_id) AS items, array_agg(m.value) AS values
FROM (
    SELECT session_h, item_id, min({measure}) AS value FROM test_metrics
    WHERE session_h = ANY ($1::text[]) AND context_h = ANY ($2::text[]) AND {measure} IS NOT NULL
    GROUP BY session_h, item_id
) AS m
GROUP BY m.session_h;

-- name: repeated_items
SELECT session_h, item_id, count(*) AS executions FROM test_metrics
WHERE session_h = ANY ($1::text[]) AND context_h = ANY ($2::text[])
GROUP BY session_h, item_id HAVING count(*) > 1;

-- name: items_without_value
SELECT DISTINCT item_id FROM test_metrics
WHERE session_h = ANY ($1::text[]) AND context_h = ANY ($2::text[]) AND {measure} IS NULL;

-- name: suite_loads
SELECT
    session_h, min(started_at) AS started_at,
    max(least(
        started_at + make_interval(secs => greatest(least(coalesce(total_time, 0), 1e7), 0)),
        timestamptz '9999-12-31Z'
    )) AS ended_at,
    coalesce(sum(greatest(least(coalesce(user_time, 0), 1e7), 0) + greatest(least(coalesce(kernel_time, 0), 1e7), 0)), 0)
    AS cpu_seconds
FROM test_metrics WHERE session_h = ANY ($1::text[]) AND context_h = ANY ($2::text[])
GROUP BY session_h;

-- name: select_items
SELECT item_id, item_path, item, item_variant, kind, item_fs_loc FROM test_items;

-- name: find_items
SELECT DISTINCT item_path, item, item_variant, item_fs_loc FROM test_items
WHERE kind = 'function' AND strpos(lower(concat(item_path, '::', item_variant, ' ', item_fs_loc)), lower($1)) > 0
ORDER BY item_path, item, item_variant, item_fs_loc LIMIT $2;

-- name: select_series
SELECT
    m.session_h, m.context_h, m.started_at, m.total_time, m.user_time, m.kernel_time, m.cpu_usage, m.mem_usage, s.scm_ref
FROM test_metrics AS m LEFT JOIN test_sessions AS s ON s.session_h = m.session_h
WHERE m.item_id = ANY ($1::uuid[])
ORDER BY m.started_at DESC, m.block DESC, m.seq DESC LIMIT $2;

-- name: sessions_by_prefix
SELECT session_h, scm_ref FROM test_sessions WHERE starts_with(session_h, $1)
ORDER BY session_h != $1, session_h LIMIT $2;

-- name: commits_by_prefix
SELECT scm_ref FROM test_sessions WHERE starts_with(scm_ref, $1) GROUP BY scm_ref
ORDER BY scm_ref != $1, scm_ref LIMIT $2;

-- name: latest_of_commit
SELECT session_h FROM test_sessions WHERE scm_ref = $1 ORDER BY started_at DESC, session_h DESC LIMIT $2;
