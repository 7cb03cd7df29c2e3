-- The number up to which the records of a node are stored, the file that numbers them, and how many the node has dropped.
CREATE TABLE node_progress (
    node text PRIMARY KEY,
    journal text NOT NULL,
    number bigint NOT NULL,
    dropped bigint NOT NULL
);

-- What happened to the processes of a node; `at` is by the clock of the service.
CREATE TABLE node_process_events (
    node text NOT NULL,
    slug text NOT NULL,
    at timestamptz NOT NULL,
    id uuid NOT NULL,
    kind text NOT NULL,
    detail jsonb NOT NULL,
    PRIMARY KEY (node, slug, at, id)
);
CREATE INDEX node_process_events_at ON node_process_events (node, at, id);

-- The jobs of a node, as the node has recorded them; `record` is the whole of it. Their output lies on the node. Times are by
-- the clock of the service.
CREATE TABLE node_jobs (
    node text NOT NULL,
    job_id bigint NOT NULL,
    state text NOT NULL,
    started_at timestamptz NOT NULL,
    ended_at timestamptz,
    record jsonb NOT NULL,
    PRIMARY KEY (node, job_id)
);
