-- When a program that has ended is started again (always, on-failure or never), and a command that is run in place of the
-- line of the Procfile, or null.
ALTER TABLE processes ADD COLUMN restart text NOT NULL DEFAULT 'always', ADD COLUMN command text;
