-- The services that use this database. `id` is the setting `service_name`, or the id in the service's data directory;
-- `seen_at` is renewed while the service runs. `boot` tells machines of the same name apart: each start of a kernel has another.
-- `address` is the one by which other services reach this one, or null.
CREATE TABLE services (
    id text PRIMARY KEY,
    machine text NOT NULL,
    boot text NOT NULL,
    version text NOT NULL,
    address text,
    started_at timestamptz NOT NULL,
    seen_at timestamptz NOT NULL
);
