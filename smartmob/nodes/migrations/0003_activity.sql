-- The programs of a node and the jobs that run there, as it has told last, for the lists of all services.
ALTER TABLE nodes ADD COLUMN activity jsonb NOT NULL DEFAULT '{}';
