-- Alerts on what only one of several services can see, such as its processes and its disk, have its `owner`: the id of its
-- data directory. It is '' for all others. Another service neither resolves such an alert nor takes its place.
ALTER TABLE alerts ADD COLUMN owner text NOT NULL DEFAULT '';
DROP INDEX alerts_active;
CREATE UNIQUE INDEX alerts_active ON alerts (rule, subject, owner) WHERE resolved_at IS NULL;

-- What a service has seen bad since a time, but not yet for as long as its rule says; `seen_at` is its newest look.
CREATE TABLE alert_pending (
    owner text NOT NULL,
    rule text NOT NULL,
    subject text NOT NULL,
    condition text NOT NULL,
    bad_since timestamptz NOT NULL,
    seen_at timestamptz NOT NULL,
    PRIMARY KEY (owner, rule, subject)
);
