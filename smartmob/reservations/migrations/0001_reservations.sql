-- The machines that a client has reserved, at most one reservation each. `node` is the name of a node, with an empty `service`;
-- or it is empty, and `service` is the id of the service whose own machine it is. `token` is the name of the token that reserved
-- it, or null. A reservation is in force until before `until`.
CREATE TABLE reservations (
    node text NOT NULL,
    service text NOT NULL,
    id uuid NOT NULL,
    token text,
    holder text NOT NULL,
    reason text NOT NULL,
    since timestamptz NOT NULL,
    until timestamptz NOT NULL,
    PRIMARY KEY (node, service)
);
