-- Several services may share the database. A process and its events belong to one of them, see the table `services`; those
-- of earlier versions, with the service '', to the first service that starts.
ALTER TABLE processes ADD COLUMN service text NOT NULL DEFAULT '';
ALTER TABLE processes DROP CONSTRAINT processes_pkey, ADD PRIMARY KEY (service, slug);
ALTER TABLE process_events ADD COLUMN service text NOT NULL DEFAULT '';
ALTER TABLE process_events DROP CONSTRAINT process_events_pkey, ADD PRIMARY KEY (service, slug, at, id);
DROP INDEX process_events_at;
CREATE INDEX process_events_at ON process_events (service, at, id);
