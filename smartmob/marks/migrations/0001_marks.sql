-- Notes that somebody put on the timeline.
CREATE TABLE marks (
    id uuid PRIMARY KEY,
    at timestamptz NOT NULL,
    text text NOT NULL,
    author text NOT NULL,
    made_at timestamptz NOT NULL
);
CREATE INDEX marks_by_time ON marks (at, id);
