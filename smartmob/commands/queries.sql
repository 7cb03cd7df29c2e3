-- The SQL of the feature `commands`. The column `keeper` is the id of the data directory that holds a job's output.

-- name: reserve
UPDATE command_numbers SET next = next + $1 WHERE name = 'request' RETURNING next - $1;

-- name: give_back
UPDATE command_numbers SET next = $1 WHERE name = 'request' AND next = $2;

-- name: put_jobs
-- $1: the jobs as a JSON array; their lists are stored as JSON texts. Safe to repeat: a job's last state wins.
INSERT INTO command_jobs (
    job_id, keeper, command, argv, cwd, env_names, client, state, started_at, ended_at, pid, exit_code, signal, error,
    user_seconds, system_seconds, max_rss, output_bytes, kept_from, apart
)
SELECT
    id, $2::uuid, command, argv, cwd, env_names, client, state, started_at, ended_at, pid, exit_code, signal, error,
    user_seconds, system_seconds, max_rss, output_bytes, kept_from, apart
FROM json_to_recordset($1::json) AS job (
    id bigint, command text, argv text, cwd text, env_names text, client text, state text, started_at timestamptz,
    ended_at timestamptz, pid int, exit_code int, signal int, error text, user_seconds float8, system_seconds float8,
    max_rss bigint, output_bytes bigint, kept_from bigint, apart boolean
)
ON CONFLICT (job_id) DO UPDATE SET
    state = excluded.state, ended_at = excluded.ended_at, pid = excluded.pid, exit_code = excluded.exit_code,
    signal = excluded.signal, error = excluded.error, user_seconds = excluded.user_seconds,
    system_seconds = excluded.system_seconds, max_rss = excluded.max_rss, output_bytes = excluded.output_bytes,
    kept_from = excluded.kept_from, cwd = excluded.cwd;

-- name: select_job
SELECT
    job_id, command, argv, cwd, env_names, client, state, started_at, ended_at, pid, exit_code, signal, error,
    user_seconds, system_seconds, max_rss, output_bytes, kept_from, apart
FROM command_jobs WHERE job_id = $1;

-- name: select_output_folder
SELECT keeper FROM command_jobs WHERE job_id = $1;

-- name: select_jobs
SELECT
    job_id, command, argv, cwd, env_names, client, state, started_at, ended_at, pid, exit_code, signal, error,
    user_seconds, system_seconds, max_rss, output_bytes, kept_from, apart
FROM command_jobs WHERE job_id < $1 AND ($2::text IS NULL OR state = $2) ORDER BY job_id DESC LIMIT $3;

-- name: select_jobs_between
SELECT
    job_id, command, argv, cwd, env_names, client, state, started_at, ended_at, pid, exit_code, signal, error,
    user_seconds, system_seconds, max_rss, output_bytes, kept_from, apart
FROM command_jobs
WHERE started_at < $2 AND (ended_at IS NULL OR ended_at >= $1)
ORDER BY job_id DESC LIMIT $3;

-- name: select_lost
SELECT
    job_id, command, argv, cwd, env_names, client, state, started_at, ended_at, pid, exit_code, signal, error,
    user_seconds, system_seconds, max_rss, output_bytes, kept_from, apart
FROM command_jobs WHERE keeper = $1 AND state = 'running';

-- name: expire
DELETE FROM command_jobs WHERE keeper = $1 AND ended_at < $2 RETURNING job_id;

-- name: expire_abandoned
-- For jobs of data directories that no service uses any more: a service removes its own jobs long before this limit.
DELETE FROM command_jobs WHERE keeper <> $1 AND started_at < $2;

-- name: set_kept_from
UPDATE command_jobs SET kept_from = output_bytes WHERE job_id = ANY ($1::bigint[]);
