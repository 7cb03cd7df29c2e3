-- When a test was last asked for by a service that is to store metrics of it: a test that no metric names is only removed
-- once no service can still rely on it.
ALTER TABLE test_items ADD COLUMN asked_at timestamptz NOT NULL DEFAULT now();
