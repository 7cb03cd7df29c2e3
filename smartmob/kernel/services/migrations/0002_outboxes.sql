-- The records that a service which has joined another one has for it. `next` is the number of the next record, and its row is
-- locked until the commit, so that numbers appear in their order. `id` tells this numbering from that of a copy of the database.
CREATE TABLE service_outboxes (
    service text PRIMARY KEY,
    id text NOT NULL,
    next bigint NOT NULL DEFAULT 1,
    dropped bigint NOT NULL DEFAULT 0
);

-- The records that the other service has not stored yet: `kind` is that of the link of a node, `value` its JSON.
CREATE TABLE service_outbox_records (
    service text NOT NULL,
    number bigint NOT NULL,
    kind text NOT NULL,
    value text NOT NULL,
    PRIMARY KEY (service, number)
);
