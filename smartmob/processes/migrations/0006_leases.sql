-- The seconds after which a program that no client renews is deleted, or null.
ALTER TABLE processes ADD COLUMN lease double precision;
