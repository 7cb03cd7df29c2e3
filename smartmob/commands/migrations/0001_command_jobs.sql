-- A command that was started in the background, with who started it and how it ended. The output itself lies in the
-- data directory whose id is `keeper`; `kept_from` and `output_bytes` are offsets in it.
CREATE TABLE command_jobs (
    job_id bigint PRIMARY KEY,
    keeper uuid NOT NULL,
    command text NOT NULL,
    argv text NOT NULL,
    cwd text NOT NULL,
    env_names text NOT NULL,
    client text NOT NULL,
    state text NOT NULL,
    started_at timestamptz NOT NULL,
    ended_at timestamptz,
    pid integer,
    exit_code integer,
    signal integer,
    error text,
    user_seconds double precision,
    system_seconds double precision,
    max_rss bigint,
    output_bytes bigint NOT NULL,
    kept_from bigint NOT NULL
);
CREATE INDEX command_jobs_running ON command_jobs (keeper) WHERE state = 'running';
CREATE INDEX command_jobs_by_end ON command_jobs (ended_at);

-- From where the next block of numbers is taken; clients of the stock wire must never see a number twice.
CREATE TABLE command_numbers (
    name text PRIMARY KEY,
    next bigint NOT NULL
);
INSERT INTO command_numbers (name, next) VALUES ('request', 1);
