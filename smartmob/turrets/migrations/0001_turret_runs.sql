-- A load test. `config` stands as it was given; `headquarters` names the service that it belongs to, so that another
-- one on the same database leaves it alone. `summary` is kept once the run is over.
CREATE TABLE turret_runs (
    run_id uuid PRIMARY KEY,
    headquarters text NOT NULL,
    name text NOT NULL,
    state text NOT NULL,
    reason text,
    stop_asked boolean NOT NULL,
    config json NOT NULL,
    created_at timestamptz NOT NULL,
    started_at timestamptz,
    ceased_at timestamptz,
    ended_at timestamptz,
    transactions bigint NOT NULL,
    errors bigint NOT NULL,
    counters json NOT NULL,
    summary json,
    package bytea
);
CREATE INDEX turret_runs_by_creation ON turret_runs (created_at, run_id);

-- A turret in a run: what it told last, and when it was lost.
CREATE TABLE turret_members (
    run_id uuid NOT NULL,
    uuid text NOT NULL,
    member json NOT NULL,
    PRIMARY KEY (run_id, uuid)
);

-- The number up to which all messages of a turret of ours are stored. It is written with what they hold.
CREATE TABLE turret_progress (
    run_id uuid NOT NULL,
    uuid text NOT NULL,
    sequence bigint NOT NULL,
    PRIMARY KEY (run_id, uuid)
);

-- What was committed together, so that a batch whose commit had no answer is not stored twice. `results` are stored
-- one by one in turret_results; of such results, `folded` are in the slices of this batch.
CREATE TABLE turret_batches (
    run_id uuid NOT NULL,
    batch bigint NOT NULL,
    transactions bigint NOT NULL,
    errors bigint NOT NULL,
    results bigint NOT NULL,
    folded bigint NOT NULL,
    PRIMARY KEY (run_id, batch)
);

-- Results that came one by one, in the order of their arrival: batch, seq. There is no key, since this is where
-- hundreds of thousands of rows a second go; the batches, whose numbers grow with time, are found by blocks.
CREATE TABLE turret_results (
    run_id uuid NOT NULL,
    batch bigint NOT NULL,
    seq integer NOT NULL,
    at timestamptz NOT NULL,
    elapsed double precision NOT NULL,
    epoch double precision NOT NULL,
    scriptrun_time double precision NOT NULL,
    error text NOT NULL,
    custom_timers json,
    turret_name text,
    uuid text
) PARTITION BY RANGE (at);
CREATE INDEX turret_results_by_batch ON turret_results USING BRIN (batch);

-- What one timer measured in one second of a run: count, sum, sum of squares, extremes (seconds), and the histogram (an
-- HdrHistogram as base64). `uuid` is the turret that sent it, or empty where results were folded here.
CREATE TABLE turret_slices (
    run_id uuid NOT NULL,
    at timestamptz NOT NULL,
    batch bigint NOT NULL,
    seq integer NOT NULL,
    uuid text NOT NULL,
    second integer NOT NULL,
    timer text NOT NULL,
    count bigint NOT NULL,
    total double precision NOT NULL,
    squares double precision NOT NULL,
    minimum double precision NOT NULL,
    maximum double precision NOT NULL,
    errors json,
    late bigint NOT NULL,
    histogram text NOT NULL,
    PRIMARY KEY (run_id, at, batch, seq)
) PARTITION BY RANGE (at);

-- How a turret of ours did: cores used by all its processes and by the busiest, lag of its event loop in seconds,
-- memory in bytes.
CREATE TABLE turret_health (
    run_id uuid NOT NULL,
    at timestamptz NOT NULL,
    uuid text NOT NULL,
    users integer NOT NULL,
    cpu double precision NOT NULL,
    busiest double precision NOT NULL,
    lag double precision NOT NULL,
    memory bigint NOT NULL,
    late_starts bigint NOT NULL,
    PRIMARY KEY (run_id, at, uuid)
) PARTITION BY RANGE (at);
