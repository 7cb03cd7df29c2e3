-- The health checks and dependencies of the create request, null for what the file of the source says (the restart policy,
-- too), and whether the program has ended by itself with exit status 0 and is not started again.
ALTER TABLE processes
    ALTER COLUMN restart DROP NOT NULL, ALTER COLUMN restart DROP DEFAULT,
    ADD COLUMN readiness jsonb, ADD COLUMN liveness jsonb, ADD COLUMN depends_on jsonb,
    ADD COLUMN completed boolean NOT NULL DEFAULT false;
