-- What is wanted of each process: it is what a restarted service brings back.
CREATE TABLE processes (
    slug text PRIMARY KEY,
    app text NOT NULL,
    node text NOT NULL,
    process_type text NOT NULL,
    source_url text NOT NULL,
    env jsonb NOT NULL,
    grace double precision NOT NULL,
    created_at timestamptz NOT NULL,
    request_id text NOT NULL,
    digest text,
    wanted boolean NOT NULL
);

-- What happened to processes, also to those that are no more. A key is made of a time and a number of the service.
CREATE TABLE process_events (
    slug text NOT NULL,
    at timestamptz NOT NULL,
    id uuid NOT NULL,
    kind text NOT NULL,
    detail jsonb NOT NULL,
    PRIMARY KEY (slug, at, id)
);
CREATE INDEX process_events_at ON process_events (at, id);
