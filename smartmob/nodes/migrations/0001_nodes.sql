-- The machines that have joined the service. A node proves its name by a key of its own, whose SHA-256 is `digest`; `labels`
-- are an object of texts. `service` is the service that holds the node's connection, see the table `services`, or null.
CREATE TABLE nodes (
    name text PRIMARY KEY,
    digest bytea NOT NULL,
    labels jsonb NOT NULL,
    drained boolean NOT NULL DEFAULT false,
    joined_at timestamptz NOT NULL,
    seen_at timestamptz,
    service text,
    facts jsonb NOT NULL DEFAULT '{}'
);
