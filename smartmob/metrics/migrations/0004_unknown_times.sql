-- The time of a test is NULL if the file that it was imported from does not tell it.
ALTER TABLE test_metrics ALTER COLUMN total_time DROP NOT NULL;
