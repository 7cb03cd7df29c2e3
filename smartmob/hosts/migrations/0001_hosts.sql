-- The machines. `secret` is scrypt of the password with `salt`; the machine of a service itself has neither.
CREATE TABLE hosts (
    name text PRIMARY KEY,
    own boolean NOT NULL,
    salt bytea,
    secret bytea,
    registered_at timestamptz NOT NULL
);

-- How far the clock of a machine was from the server's: seconds to add to it, and the delay of the exchange.
CREATE TABLE host_clocks (
    host text NOT NULL,
    at timestamptz NOT NULL,
    offset_seconds double precision NOT NULL,
    delay_seconds double precision NOT NULL,
    PRIMARY KEY (host, at)
);

-- What a machine was doing at one moment. `n` tells samples of the same moment apart; a sample that is sent again has
-- the same one. One partition for each day, made ahead; what is older than the oldest of them goes into the rest.
CREATE TABLE host_samples (
    host text NOT NULL,
    at timestamptz NOT NULL,
    n bigint NOT NULL,
    received_at timestamptz NOT NULL DEFAULT now(),
    cpu double precision,
    mem double precision,
    storage double precision,
    load double precision,
    swap double precision,
    disk_read double precision,
    disk_write double precision,
    net_received double precision,
    net_sent double precision,
    detail json,
    PRIMARY KEY (host, at, n)
) PARTITION BY RANGE (at);
CREATE INDEX host_samples_by_arrival ON host_samples USING brin (received_at) WITH (pages_per_range = 16);
CREATE TABLE host_samples_rest PARTITION OF host_samples DEFAULT;

-- What the samples of one minute come to. Of each figure the least, the greatest, the sum, and of how many samples.
CREATE TABLE host_minutes (
    host text NOT NULL,
    at timestamptz NOT NULL,
    rolled_at timestamptz NOT NULL DEFAULT now(),
    samples integer NOT NULL,
    cpu_min double precision, cpu_max double precision, cpu_sum double precision, cpu_n integer,
    mem_min double precision, mem_max double precision, mem_sum double precision, mem_n integer,
    storage_min double precision, storage_max double precision, storage_sum double precision, storage_n integer,
    load_min double precision, load_max double precision, load_sum double precision, load_n integer,
    swap_min double precision, swap_max double precision, swap_sum double precision, swap_n integer,
    disk_read_min double precision, disk_read_max double precision, disk_read_sum double precision,
    disk_read_n integer,
    disk_write_min double precision, disk_write_max double precision, disk_write_sum double precision,
    disk_write_n integer,
    net_received_min double precision, net_received_max double precision, net_received_sum double precision,
    net_received_n integer,
    net_sent_min double precision, net_sent_max double precision, net_sent_sum double precision, net_sent_n integer,
    PRIMARY KEY (host, at)
) PARTITION BY RANGE (at);
CREATE TABLE host_minutes_rest PARTITION OF host_minutes DEFAULT;

-- Until which arrival the samples have been rolled up.
CREATE TABLE host_progress (
    name text PRIMARY KEY,
    until timestamptz NOT NULL
);
INSERT INTO host_progress (name, until) VALUES ('minutes', '-infinity');
