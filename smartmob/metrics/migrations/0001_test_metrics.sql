-- What a machine was like while tests ran on it.
CREATE TABLE test_contexts (
    h text PRIMARY KEY,
    cpu_count bigint NOT NULL,
    cpu_frequency double precision NOT NULL,
    cpu_type text NOT NULL,
    cpu_vendor text NOT NULL,
    ram_total bigint NOT NULL,
    machine_node text NOT NULL,
    machine_type text NOT NULL,
    machine_arch text NOT NULL,
    system_info text NOT NULL,
    python_info text NOT NULL,
    received_at timestamptz NOT NULL
);

-- One pytest process. `run_date` and `description` stand as they were sent; `tags` is the description as an object
-- of texts. `run_key` is equal for the sessions that may belong to one run.
CREATE TABLE test_sessions (
    session_h text PRIMARY KEY,
    run_date text NOT NULL,
    started_at timestamptz NOT NULL,
    scm_ref text NOT NULL,
    description json NOT NULL,
    tags json NOT NULL,
    run_tag text,
    run_key text NOT NULL,
    received_at timestamptz NOT NULL
);
CREATE INDEX test_sessions_by_arrival ON test_sessions (received_at, session_h);
CREATE INDEX test_sessions_by_start ON test_sessions (started_at, session_h);
CREATE INDEX test_sessions_by_run_key ON test_sessions (run_key, started_at);
CREATE INDEX test_sessions_by_run_tag ON test_sessions (run_tag) WHERE run_tag IS NOT NULL;

-- Which contexts a session has measured in; a metric may arrive before either.
CREATE TABLE test_session_contexts (
    session_h text NOT NULL,
    context_h text NOT NULL,
    PRIMARY KEY (session_h, context_h)
);

-- A test as such. The id is a digest of the six texts, so every writer makes the same one.
CREATE TABLE test_items (
    item_id uuid PRIMARY KEY,
    item_path text NOT NULL,
    item text NOT NULL,
    item_variant text NOT NULL,
    item_fs_loc text NOT NULL,
    kind text NOT NULL,
    component text NOT NULL
);
-- Hash indexes, since a test's name has no limit of length and a B-tree's entry has.
CREATE INDEX test_items_by_item ON test_items USING hash (item);
CREATE INDEX test_items_by_variant ON test_items USING hash (item_variant);
CREATE INDEX test_items_by_component ON test_items USING hash (component);

-- What one execution of a test cost. (block, seq) is the order of arrival. The four measures that only pytest-monitor
-- takes are NULL for what was imported from elsewhere.
CREATE TABLE test_metrics (
    session_h text NOT NULL,
    block bigint NOT NULL,
    seq integer NOT NULL,
    context_h text NOT NULL,
    item_id uuid NOT NULL,
    item_start_time text NOT NULL,
    started_at timestamptz NOT NULL,
    total_time double precision NOT NULL,
    user_time double precision,
    kernel_time double precision,
    cpu_usage double precision,
    mem_usage double precision,
    PRIMARY KEY (session_h, block, seq)
);
CREATE INDEX test_metrics_by_arrival ON test_metrics (block, seq);
CREATE INDEX test_metrics_by_item ON test_metrics (item_id, block, seq);
CREATE INDEX test_metrics_by_context ON test_metrics (context_h, block, seq);

-- How many metrics each block has, so that the millionth page and the total are found without counting; NULL while
-- metrics are still added. A block's number begins with the time at which it was opened.
CREATE TABLE test_metric_blocks (
    block bigint PRIMARY KEY,
    metrics bigint
);
