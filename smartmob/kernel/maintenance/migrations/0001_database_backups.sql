-- The backups that `smartmob db dump` has made. `path` is as the one who made it saw it, or `-` for a pipe.
CREATE TABLE database_backups (
    id uuid PRIMARY KEY,
    at timestamptz NOT NULL,
    path text NOT NULL,
    bytes bigint NOT NULL,
    sha256 text NOT NULL,
    version text NOT NULL
);
