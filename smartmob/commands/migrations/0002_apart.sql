-- Whether standard output and standard error are told apart in the output of a job.
ALTER TABLE command_jobs ADD COLUMN apart boolean NOT NULL DEFAULT false;
