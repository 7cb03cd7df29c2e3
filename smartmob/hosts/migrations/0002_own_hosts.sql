-- The service whose own machine a host is, see the table `services`; null for other machines, and for own machines of earlier
-- versions.
ALTER TABLE hosts ADD COLUMN service text;
