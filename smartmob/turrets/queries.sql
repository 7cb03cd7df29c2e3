-- The SQL of the feature `turrets`.

-- name: insert_run
INSERT INTO turret_runs (
    run_id, headquarters, name, state, stop_asked, config, created_at, transactions, errors, counters, package
) VALUES ($1, $2, $3, 'waiting', false, $4, $5, 0, 0, '{}', $6);

-- name: lock_import
-- Two imports of the same file wait for each other; the lock ends with the transaction.
SELECT pg_advisory_xact_lock($1);

-- name: run_exists
SELECT EXISTS (SELECT FROM turret_runs WHERE run_id = $1);

-- name: insert_imported_run
INSERT INTO turret_runs (
    run_id, headquarters, name, state, stop_asked, config, created_at, started_at, ceased_at, ended_at, transactions,
    errors, counters, package
) VALUES ($1, $2, $3, 'finished', false, $4, $5, $6, $7, $7, $8, $9, '{}', $10);

-- name: update_run
UPDATE turret_runs
SET state = $2, reason = $3, stop_asked = $4, started_at = $5, ceased_at = $6, ended_at = $7,
    transactions = $8, errors = $9, counters = $10
WHERE run_id = $1;

-- name: update_summary
UPDATE turret_runs SET summary = $2 WHERE run_id = $1;

-- name: select_runs
SELECT
    run_id, headquarters, name, state, reason, stop_asked, config, created_at, started_at, ceased_at, ended_at,
    transactions, errors, counters, package IS NOT NULL AS package
FROM turret_runs;

-- name: select_summary
SELECT summary FROM turret_runs WHERE run_id = $1;

-- name: select_package
SELECT package FROM turret_runs WHERE run_id = $1;

-- name: delete_run
WITH batches AS (
    DELETE FROM turret_batches WHERE run_id = $1
), progress AS (
    DELETE FROM turret_progress WHERE run_id = $1
), members AS (
    DELETE FROM turret_members WHERE run_id = $1
), health AS (
    DELETE FROM turret_health WHERE run_id = $1
), slices AS (
    DELETE FROM turret_slices WHERE run_id = $1
), results AS (
    DELETE FROM turret_results WHERE run_id = $1
)
DELETE FROM turret_runs WHERE run_id = $1;

-- name: old_runs
-- A run that has not ended for 30 days belongs to a headquarters that no longer exists.
SELECT run_id FROM turret_runs
WHERE created_at < $1 AND (state IN ('finished', 'failed', 'stopped') OR created_at < $1 - interval '30 days');

-- name: upsert_member
INSERT INTO turret_members (run_id, uuid, member) VALUES ($1, $2, $3)
ON CONFLICT (run_id, uuid) DO UPDATE SET member = excluded.member;

-- name: select_members
SELECT member FROM turret_members WHERE run_id = $1 ORDER BY uuid;

-- name: select_progress
SELECT uuid, sequence FROM turret_progress WHERE run_id = $1;

-- name: upsert_progress
INSERT INTO turret_progress (run_id, uuid, sequence) SELECT $1, * FROM unnest($2::text[], $3::bigint[])
ON CONFLICT (run_id, uuid) DO UPDATE SET sequence = greatest(turret_progress.sequence, excluded.sequence);

-- name: select_claims
SELECT uuid, key FROM turret_claims WHERE headquarters = $1 ORDER BY claimed_at DESC, uuid LIMIT $2;

-- name: upsert_claims
INSERT INTO turret_claims (headquarters, uuid, key, claimed_at)
SELECT $1, *, $4::timestamptz FROM unnest($2::text[], $3::text[])
ON CONFLICT (headquarters, uuid) DO UPDATE SET key = excluded.key, claimed_at = excluded.claimed_at;

-- name: adopt
UPDATE turret_runs SET headquarters = $2 WHERE headquarters = $1 AND state IN ('waiting', 'running', 'draining');

-- name: adopt_claims
-- Claims that `headquarters` itself has made since stay.
WITH claims AS (
    DELETE FROM turret_claims WHERE headquarters = $1 RETURNING uuid, key, claimed_at
)
INSERT INTO turret_claims (headquarters, uuid, key, claimed_at)
SELECT $2, uuid, key, claimed_at FROM claims
ON CONFLICT (headquarters, uuid) DO NOTHING;

-- name: delete_claims
DELETE FROM turret_claims WHERE headquarters = $1 AND uuid = ANY ($2::text[]);

-- name: insert_batch
INSERT INTO turret_batches (run_id, batch, transactions, errors, results, folded) VALUES ($1, $2, $3, $4, $5, $6);

-- name: batch_exists
SELECT EXISTS (SELECT FROM turret_batches WHERE run_id = $1 AND batch = $2);

-- name: insert_health
INSERT INTO turret_health (run_id, at, uuid, users, cpu, busiest, lag, memory, late_starts)
SELECT $1, * FROM unnest(
    $2::timestamptz[], $3::text[], $4::integer[], $5::float8[], $6::float8[], $7::float8[], $8::bigint[], $9::bigint[]
)
ON CONFLICT (run_id, at, uuid) DO NOTHING;

-- name: select_totals
SELECT
    coalesce(sum(transactions), 0)::bigint AS transactions, coalesce(sum(errors), 0)::bigint AS errors,
    coalesce(sum(results), 0)::bigint AS results, coalesce(sum(folded), 0)::bigint AS aggregated
FROM turret_batches WHERE run_id = $1;

-- name: select_timer_counts
SELECT
    timer, sum(count + untimed)::bigint AS count,
    coalesce(sum(count + untimed) FILTER (WHERE failed), 0)::bigint AS failures
FROM turret_slices WHERE run_id = $1 GROUP BY timer;

-- name: select_batches
SELECT batch, results FROM turret_batches WHERE run_id = $1 AND results > 0 ORDER BY batch;

-- name: select_results
SELECT at, elapsed, epoch, scriptrun_time, error, custom_timers, turret_name, uuid, details
FROM turret_results
WHERE run_id = $1 AND batch BETWEEN $2 AND $3
ORDER BY batch, seq;

-- name: select_slices
SELECT second, timer, count, total, squares, minimum, maximum, errors, late, failed, untimed, histogram
FROM turret_slices WHERE run_id = $1 AND ($2::text IS NULL OR timer = $2) ORDER BY second;

-- name: select_last_second
SELECT coalesce(max(second), 0) FROM turret_slices WHERE run_id = $1;

-- name: delete_aggregated
DELETE FROM turret_slices WHERE run_id = $1 AND uuid = '';

-- name: mark_aggregated
UPDATE turret_batches SET folded = results WHERE run_id = $1;

-- name: select_health
SELECT at, uuid, users, cpu, busiest, lag, memory, late_starts
FROM turret_health WHERE run_id = $1 ORDER BY at;

-- name: partitions
SELECT c.relname AS partition
FROM pg_inherits AS i JOIN pg_class AS c ON c.oid = i.inhrelid
WHERE i.inhparent = $1::regclass;

-- name: insert_search
INSERT INTO capacity_searches (search_id, document, created_at, changed_at) VALUES ($1, $2, $3, $3)
ON CONFLICT (search_id) DO NOTHING;

-- name: update_search
UPDATE capacity_searches SET document = $2, changed_at = $3 WHERE search_id = $1 RETURNING created_at;

-- name: select_search
SELECT search_id, document, created_at, changed_at FROM capacity_searches WHERE search_id = $1;

-- name: select_searches
SELECT search_id, document, created_at, changed_at FROM capacity_searches
ORDER BY created_at DESC, search_id DESC LIMIT $1;

-- name: delete_search
DELETE FROM capacity_searches WHERE search_id = $1 RETURNING search_id;

-- name: delete_old_searches
DELETE FROM capacity_searches WHERE created_at < $1;
