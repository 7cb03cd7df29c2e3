-- Changes that clients have asked for, and their outcome. `who` is the name of a token; (owner) stands for the token of the
-- service, (anyone) for a client of a service without a token. `node` is null for the service itself.
CREATE TABLE audit_events (
    id uuid PRIMARY KEY,
    at timestamptz NOT NULL,
    who text NOT NULL,
    client text NOT NULL,
    node text,
    action text NOT NULL,
    target text NOT NULL,
    outcome text NOT NULL
);

CREATE INDEX audit_events_at ON audit_events (at, id);
