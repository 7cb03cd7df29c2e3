-- Whether the machine is a node, which reports with a password that is derived from its key; a new key gives a new password.
ALTER TABLE hosts ADD COLUMN node boolean NOT NULL DEFAULT false;
