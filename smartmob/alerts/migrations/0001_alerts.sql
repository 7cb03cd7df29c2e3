-- Rules, receivers and silences are few, and small. They have no owner among several services on one database.
CREATE TABLE alert_rules (
    name text PRIMARY KEY,
    condition text NOT NULL,
    subjects text[] NOT NULL,
    receivers text[] NOT NULL,
    severity text NOT NULL,
    repeat_seconds double precision,
    resolved boolean NOT NULL,
    source text NOT NULL,
    made_at timestamptz NOT NULL
);

CREATE TABLE alert_receivers (
    name text PRIMARY KEY,
    address text NOT NULL,
    format text NOT NULL,
    secret text NOT NULL,
    source text NOT NULL,
    made_at timestamptz NOT NULL
);

CREATE TABLE alert_silences (
    id uuid PRIMARY KEY,
    rule text NOT NULL,
    subject text NOT NULL,
    until timestamptz NOT NULL,
    text text NOT NULL,
    author text NOT NULL,
    made_at timestamptz NOT NULL
);

-- Alerts that fired. `notified_at` is the time of the newest notification, null while a silence holds it back.
CREATE TABLE alerts (
    id uuid PRIMARY KEY,
    rule text NOT NULL,
    subject text NOT NULL,
    cause text NOT NULL,
    condition text NOT NULL,
    severity text NOT NULL,
    summary text NOT NULL,
    value double precision,
    fired_at timestamptz NOT NULL,
    notified_at timestamptz,
    resolved_at timestamptz,
    reason text NOT NULL
);

-- A rule has one active alert on a subject, whichever service sees it first.
CREATE UNIQUE INDEX alerts_active ON alerts (rule, subject) WHERE resolved_at IS NULL;

-- A cause with a name, such as one failed run, fires once.
CREATE UNIQUE INDEX alerts_by_cause ON alerts (rule, subject, cause) WHERE cause <> '';

CREATE INDEX alerts_by_time ON alerts (fired_at, id);

-- Messages to send. Those with the same `batch` are sent as one; it does not change when sending is tried again.
CREATE TABLE alert_notifications (
    id uuid PRIMARY KEY,
    receiver text NOT NULL,
    alert uuid NOT NULL,
    kind text NOT NULL,
    document json NOT NULL,
    made_at timestamptz NOT NULL,
    due_at timestamptz NOT NULL,
    batch uuid,
    attempts integer NOT NULL,
    sent_at timestamptz,
    failed_at timestamptz,
    error text NOT NULL
);

CREATE INDEX alert_notifications_failed ON alert_notifications (failed_at) WHERE failed_at IS NOT NULL;
CREATE INDEX alert_notifications_of_alert ON alert_notifications (alert);
CREATE INDEX alert_notifications_due ON alert_notifications (due_at) WHERE sent_at IS NULL AND failed_at IS NULL;
