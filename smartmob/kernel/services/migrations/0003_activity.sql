-- The programs and running jobs of each service as JSON, which the pages of the others show, and the id of the folder that has
-- the output of its jobs (`keeper` of `command_jobs`).
ALTER TABLE services ADD COLUMN activity text NOT NULL DEFAULT '{}', ADD COLUMN output_folder text NOT NULL DEFAULT '';
