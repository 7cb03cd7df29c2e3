-- A search for the capacity of a target, as its program stores it after each step: settings, steps and result.
CREATE TABLE capacity_searches (
    search_id uuid PRIMARY KEY,
    document json NOT NULL,
    created_at timestamptz NOT NULL,
    changed_at timestamptz NOT NULL
);
CREATE INDEX capacity_searches_by_creation ON capacity_searches (created_at, search_id);
