-- An experiment of `smartmob ab`: one row holds all of it, so none is stored in part. `summary` is the entry of lists,
-- `details` the report without its tests and pairs. `digest` tells a repeated submission from another experiment.
CREATE TABLE experiments (
    id uuid PRIMARY KEY,
    started_at timestamptz NOT NULL,
    ended_at timestamptz NOT NULL,
    stored_at timestamptz NOT NULL,
    machine text NOT NULL,
    digest bytea NOT NULL,
    summary json NOT NULL,
    details json NOT NULL,
    tests json NOT NULL,
    pairs json NOT NULL
);
CREATE INDEX experiments_by_time ON experiments (started_at, id);
