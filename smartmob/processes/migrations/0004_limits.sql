-- The limits of a program with all its descendants: {"memory": bytes, "cpu": processors, "tasks": number}; without a limit null.
ALTER TABLE processes ADD COLUMN limits jsonb NOT NULL DEFAULT '{}';
