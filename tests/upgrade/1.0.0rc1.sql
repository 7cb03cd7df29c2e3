--
-- PostgreSQL database dump
--

\restrict mfpcA8BHb9ZZmbkecfSmSDj5cB3P5DK3e4fse2cDIKvxObNGs99gvCIKdOfEfqQ

-- Dumped from database version 18.4
-- Dumped by pg_dump version 18.4

SET statement_timeout = 0;
SET lock_timeout = 0;
SET idle_in_transaction_session_timeout = 0;
SET transaction_timeout = 0;
SET client_encoding = 'UTF8';
SET standard_conforming_strings = on;
SELECT pg_catalog.set_config('search_path', '', false);
SET check_function_bodies = false;
SET xmloption = content;
SET client_min_messages = warning;
SET row_security = off;

SET default_tablespace = '';

SET default_table_access_method = heap;

--
-- Name: access_tokens; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.access_tokens (
    name text NOT NULL,
    role text NOT NULL,
    digest bytea NOT NULL,
    created_at timestamp with time zone NOT NULL,
    expires_at timestamp with time zone
);


--
-- Name: command_jobs; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.command_jobs (
    job_id bigint NOT NULL,
    keeper uuid NOT NULL,
    command text NOT NULL,
    argv text NOT NULL,
    cwd text NOT NULL,
    env_names text NOT NULL,
    client text NOT NULL,
    state text NOT NULL,
    started_at timestamp with time zone NOT NULL,
    ended_at timestamp with time zone,
    pid integer,
    exit_code integer,
    signal integer,
    error text,
    user_seconds double precision,
    system_seconds double precision,
    max_rss bigint,
    output_bytes bigint NOT NULL,
    kept_from bigint NOT NULL
);


--
-- Name: command_numbers; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.command_numbers (
    name text NOT NULL,
    next bigint NOT NULL
);


--
-- Name: database_backups; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.database_backups (
    id uuid NOT NULL,
    at timestamp with time zone NOT NULL,
    path text NOT NULL,
    bytes bigint NOT NULL,
    sha256 text NOT NULL,
    version text NOT NULL
);


--
-- Name: host_clocks; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.host_clocks (
    host text NOT NULL,
    at timestamp with time zone NOT NULL,
    offset_seconds double precision NOT NULL,
    delay_seconds double precision NOT NULL
);


--
-- Name: host_minutes; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.host_minutes (
    host text NOT NULL,
    at timestamp with time zone NOT NULL,
    rolled_at timestamp with time zone DEFAULT now() NOT NULL,
    samples integer NOT NULL,
    cpu_min double precision,
    cpu_max double precision,
    cpu_sum double precision,
    cpu_n integer,
    mem_min double precision,
    mem_max double precision,
    mem_sum double precision,
    mem_n integer,
    storage_min double precision,
    storage_max double precision,
    storage_sum double precision,
    storage_n integer,
    load_min double precision,
    load_max double precision,
    load_sum double precision,
    load_n integer,
    swap_min double precision,
    swap_max double precision,
    swap_sum double precision,
    swap_n integer,
    disk_read_min double precision,
    disk_read_max double precision,
    disk_read_sum double precision,
    disk_read_n integer,
    disk_write_min double precision,
    disk_write_max double precision,
    disk_write_sum double precision,
    disk_write_n integer,
    net_received_min double precision,
    net_received_max double precision,
    net_received_sum double precision,
    net_received_n integer,
    net_sent_min double precision,
    net_sent_max double precision,
    net_sent_sum double precision,
    net_sent_n integer
)
PARTITION BY RANGE (at);


--
-- Name: host_minutes_202611; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.host_minutes_202611 (
    host text CONSTRAINT host_minutes_host_not_null NOT NULL,
    at timestamp with time zone CONSTRAINT host_minutes_at_not_null NOT NULL,
    rolled_at timestamp with time zone DEFAULT now() CONSTRAINT host_minutes_rolled_at_not_null NOT NULL,
    samples integer CONSTRAINT host_minutes_samples_not_null NOT NULL,
    cpu_min double precision,
    cpu_max double precision,
    cpu_sum double precision,
    cpu_n integer,
    mem_min double precision,
    mem_max double precision,
    mem_sum double precision,
    mem_n integer,
    storage_min double precision,
    storage_max double precision,
    storage_sum double precision,
    storage_n integer,
    load_min double precision,
    load_max double precision,
    load_sum double precision,
    load_n integer,
    swap_min double precision,
    swap_max double precision,
    swap_sum double precision,
    swap_n integer,
    disk_read_min double precision,
    disk_read_max double precision,
    disk_read_sum double precision,
    disk_read_n integer,
    disk_write_min double precision,
    disk_write_max double precision,
    disk_write_sum double precision,
    disk_write_n integer,
    net_received_min double precision,
    net_received_max double precision,
    net_received_sum double precision,
    net_received_n integer,
    net_sent_min double precision,
    net_sent_max double precision,
    net_sent_sum double precision,
    net_sent_n integer
);


--
-- Name: host_minutes_202612; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.host_minutes_202612 (
    host text CONSTRAINT host_minutes_host_not_null NOT NULL,
    at timestamp with time zone CONSTRAINT host_minutes_at_not_null NOT NULL,
    rolled_at timestamp with time zone DEFAULT now() CONSTRAINT host_minutes_rolled_at_not_null NOT NULL,
    samples integer CONSTRAINT host_minutes_samples_not_null NOT NULL,
    cpu_min double precision,
    cpu_max double precision,
    cpu_sum double precision,
    cpu_n integer,
    mem_min double precision,
    mem_max double precision,
    mem_sum double precision,
    mem_n integer,
    storage_min double precision,
    storage_max double precision,
    storage_sum double precision,
    storage_n integer,
    load_min double precision,
    load_max double precision,
    load_sum double precision,
    load_n integer,
    swap_min double precision,
    swap_max double precision,
    swap_sum double precision,
    swap_n integer,
    disk_read_min double precision,
    disk_read_max double precision,
    disk_read_sum double precision,
    disk_read_n integer,
    disk_write_min double precision,
    disk_write_max double precision,
    disk_write_sum double precision,
    disk_write_n integer,
    net_received_min double precision,
    net_received_max double precision,
    net_received_sum double precision,
    net_received_n integer,
    net_sent_min double precision,
    net_sent_max double precision,
    net_sent_sum double precision,
    net_sent_n integer
);


--
-- Name: host_minutes_rest; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.host_minutes_rest (
    host text CONSTRAINT host_minutes_host_not_null NOT NULL,
    at timestamp with time zone CONSTRAINT host_minutes_at_not_null NOT NULL,
    rolled_at timestamp with time zone DEFAULT now() CONSTRAINT host_minutes_rolled_at_not_null NOT NULL,
    samples integer CONSTRAINT host_minutes_samples_not_null NOT NULL,
    cpu_min double precision,
    cpu_max double precision,
    cpu_sum double precision,
    cpu_n integer,
    mem_min double precision,
    mem_max double precision,
    mem_sum double precision,
    mem_n integer,
    storage_min double precision,
    storage_max double precision,
    storage_sum double precision,
    storage_n integer,
    load_min double precision,
    load_max double precision,
    load_sum double precision,
    load_n integer,
    swap_min double precision,
    swap_max double precision,
    swap_sum double precision,
    swap_n integer,
    disk_read_min double precision,
    disk_read_max double precision,
    disk_read_sum double precision,
    disk_read_n integer,
    disk_write_min double precision,
    disk_write_max double precision,
    disk_write_sum double precision,
    disk_write_n integer,
    net_received_min double precision,
    net_received_max double precision,
    net_received_sum double precision,
    net_received_n integer,
    net_sent_min double precision,
    net_sent_max double precision,
    net_sent_sum double precision,
    net_sent_n integer
);


--
-- Name: host_progress; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.host_progress (
    name text NOT NULL,
    until timestamp with time zone NOT NULL
);


--
-- Name: host_samples; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.host_samples (
    host text NOT NULL,
    at timestamp with time zone NOT NULL,
    n bigint NOT NULL,
    received_at timestamp with time zone DEFAULT now() NOT NULL,
    cpu double precision,
    mem double precision,
    storage double precision,
    load double precision,
    swap double precision,
    disk_read double precision,
    disk_write double precision,
    net_received double precision,
    net_sent double precision,
    detail json
)
PARTITION BY RANGE (at);


--
-- Name: host_samples_20261127; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.host_samples_20261127 (
    host text CONSTRAINT host_samples_host_not_null NOT NULL,
    at timestamp with time zone CONSTRAINT host_samples_at_not_null NOT NULL,
    n bigint CONSTRAINT host_samples_n_not_null NOT NULL,
    received_at timestamp with time zone DEFAULT now() CONSTRAINT host_samples_received_at_not_null NOT NULL,
    cpu double precision,
    mem double precision,
    storage double precision,
    load double precision,
    swap double precision,
    disk_read double precision,
    disk_write double precision,
    net_received double precision,
    net_sent double precision,
    detail json
);


--
-- Name: host_samples_20261128; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.host_samples_20261128 (
    host text CONSTRAINT host_samples_host_not_null NOT NULL,
    at timestamp with time zone CONSTRAINT host_samples_at_not_null NOT NULL,
    n bigint CONSTRAINT host_samples_n_not_null NOT NULL,
    received_at timestamp with time zone DEFAULT now() CONSTRAINT host_samples_received_at_not_null NOT NULL,
    cpu double precision,
    mem double precision,
    storage double precision,
    load double precision,
    swap double precision,
    disk_read double precision,
    disk_write double precision,
    net_received double precision,
    net_sent double precision,
    detail json
);


--
-- Name: host_samples_20261129; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.host_samples_20261129 (
    host text CONSTRAINT host_samples_host_not_null NOT NULL,
    at timestamp with time zone CONSTRAINT host_samples_at_not_null NOT NULL,
    n bigint CONSTRAINT host_samples_n_not_null NOT NULL,
    received_at timestamp with time zone DEFAULT now() CONSTRAINT host_samples_received_at_not_null NOT NULL,
    cpu double precision,
    mem double precision,
    storage double precision,
    load double precision,
    swap double precision,
    disk_read double precision,
    disk_write double precision,
    net_received double precision,
    net_sent double precision,
    detail json
);


--
-- Name: host_samples_20261130; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.host_samples_20261130 (
    host text CONSTRAINT host_samples_host_not_null NOT NULL,
    at timestamp with time zone CONSTRAINT host_samples_at_not_null NOT NULL,
    n bigint CONSTRAINT host_samples_n_not_null NOT NULL,
    received_at timestamp with time zone DEFAULT now() CONSTRAINT host_samples_received_at_not_null NOT NULL,
    cpu double precision,
    mem double precision,
    storage double precision,
    load double precision,
    swap double precision,
    disk_read double precision,
    disk_write double precision,
    net_received double precision,
    net_sent double precision,
    detail json
);


--
-- Name: host_samples_rest; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.host_samples_rest (
    host text CONSTRAINT host_samples_host_not_null NOT NULL,
    at timestamp with time zone CONSTRAINT host_samples_at_not_null NOT NULL,
    n bigint CONSTRAINT host_samples_n_not_null NOT NULL,
    received_at timestamp with time zone DEFAULT now() CONSTRAINT host_samples_received_at_not_null NOT NULL,
    cpu double precision,
    mem double precision,
    storage double precision,
    load double precision,
    swap double precision,
    disk_read double precision,
    disk_write double precision,
    net_received double precision,
    net_sent double precision,
    detail json
);


--
-- Name: hosts; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.hosts (
    name text NOT NULL,
    own boolean NOT NULL,
    salt bytea,
    secret bytea,
    registered_at timestamp with time zone NOT NULL
);


--
-- Name: marks; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.marks (
    id uuid NOT NULL,
    at timestamp with time zone NOT NULL,
    text text NOT NULL,
    author text NOT NULL,
    made_at timestamp with time zone NOT NULL
);


--
-- Name: process_events; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.process_events (
    slug text NOT NULL,
    at timestamp with time zone NOT NULL,
    id uuid NOT NULL,
    kind text NOT NULL,
    detail jsonb NOT NULL
);


--
-- Name: processes; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.processes (
    slug text NOT NULL,
    app text NOT NULL,
    node text NOT NULL,
    process_type text NOT NULL,
    source_url text NOT NULL,
    env jsonb NOT NULL,
    grace double precision NOT NULL,
    created_at timestamp with time zone NOT NULL,
    request_id text NOT NULL,
    digest text,
    wanted boolean NOT NULL
);


--
-- Name: schema_migrations; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.schema_migrations (
    room text NOT NULL,
    number integer NOT NULL,
    name text NOT NULL,
    checksum text NOT NULL,
    applied_at timestamp with time zone DEFAULT now() NOT NULL
);


--
-- Name: test_contexts; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.test_contexts (
    h text NOT NULL,
    cpu_count bigint NOT NULL,
    cpu_frequency double precision NOT NULL,
    cpu_type text NOT NULL,
    cpu_vendor text NOT NULL,
    ram_total bigint NOT NULL,
    machine_node text NOT NULL,
    machine_type text NOT NULL,
    machine_arch text NOT NULL,
    system_info text NOT NULL,
    python_info text NOT NULL,
    received_at timestamp with time zone NOT NULL
);


--
-- Name: test_items; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.test_items (
    item_id uuid NOT NULL,
    item_path text NOT NULL,
    item text NOT NULL,
    item_variant text NOT NULL,
    item_fs_loc text NOT NULL,
    kind text NOT NULL,
    component text NOT NULL,
    asked_at timestamp with time zone DEFAULT now() NOT NULL
);


--
-- Name: test_metric_blocks; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.test_metric_blocks (
    block bigint NOT NULL,
    metrics bigint
);


--
-- Name: test_metrics; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.test_metrics (
    session_h text NOT NULL,
    block bigint NOT NULL,
    seq integer NOT NULL,
    context_h text NOT NULL,
    item_id uuid NOT NULL,
    item_start_time text NOT NULL,
    started_at timestamp with time zone NOT NULL,
    total_time double precision NOT NULL,
    user_time double precision,
    kernel_time double precision,
    cpu_usage double precision,
    mem_usage double precision
);


--
-- Name: test_session_contexts; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.test_session_contexts (
    session_h text NOT NULL,
    context_h text NOT NULL
);


--
-- Name: test_sessions; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.test_sessions (
    session_h text NOT NULL,
    run_date text NOT NULL,
    started_at timestamp with time zone NOT NULL,
    scm_ref text NOT NULL,
    description json NOT NULL,
    tags json NOT NULL,
    run_tag text,
    run_key text NOT NULL,
    received_at timestamp with time zone NOT NULL
);


--
-- Name: turret_batches; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.turret_batches (
    run_id uuid NOT NULL,
    batch bigint NOT NULL,
    transactions bigint NOT NULL,
    errors bigint NOT NULL,
    results bigint NOT NULL,
    folded bigint NOT NULL
);


--
-- Name: turret_health; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.turret_health (
    run_id uuid NOT NULL,
    at timestamp with time zone NOT NULL,
    uuid text NOT NULL,
    users integer NOT NULL,
    cpu double precision NOT NULL,
    busiest double precision NOT NULL,
    lag double precision NOT NULL,
    memory bigint NOT NULL,
    late_starts bigint NOT NULL
)
PARTITION BY RANGE (at);


--
-- Name: turret_health_20261127; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.turret_health_20261127 (
    run_id uuid CONSTRAINT turret_health_run_id_not_null NOT NULL,
    at timestamp with time zone CONSTRAINT turret_health_at_not_null NOT NULL,
    uuid text CONSTRAINT turret_health_uuid_not_null NOT NULL,
    users integer CONSTRAINT turret_health_users_not_null NOT NULL,
    cpu double precision CONSTRAINT turret_health_cpu_not_null NOT NULL,
    busiest double precision CONSTRAINT turret_health_busiest_not_null NOT NULL,
    lag double precision CONSTRAINT turret_health_lag_not_null NOT NULL,
    memory bigint CONSTRAINT turret_health_memory_not_null NOT NULL,
    late_starts bigint CONSTRAINT turret_health_late_starts_not_null NOT NULL
);


--
-- Name: turret_health_20261128; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.turret_health_20261128 (
    run_id uuid CONSTRAINT turret_health_run_id_not_null NOT NULL,
    at timestamp with time zone CONSTRAINT turret_health_at_not_null NOT NULL,
    uuid text CONSTRAINT turret_health_uuid_not_null NOT NULL,
    users integer CONSTRAINT turret_health_users_not_null NOT NULL,
    cpu double precision CONSTRAINT turret_health_cpu_not_null NOT NULL,
    busiest double precision CONSTRAINT turret_health_busiest_not_null NOT NULL,
    lag double precision CONSTRAINT turret_health_lag_not_null NOT NULL,
    memory bigint CONSTRAINT turret_health_memory_not_null NOT NULL,
    late_starts bigint CONSTRAINT turret_health_late_starts_not_null NOT NULL
);


--
-- Name: turret_health_20261129; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.turret_health_20261129 (
    run_id uuid CONSTRAINT turret_health_run_id_not_null NOT NULL,
    at timestamp with time zone CONSTRAINT turret_health_at_not_null NOT NULL,
    uuid text CONSTRAINT turret_health_uuid_not_null NOT NULL,
    users integer CONSTRAINT turret_health_users_not_null NOT NULL,
    cpu double precision CONSTRAINT turret_health_cpu_not_null NOT NULL,
    busiest double precision CONSTRAINT turret_health_busiest_not_null NOT NULL,
    lag double precision CONSTRAINT turret_health_lag_not_null NOT NULL,
    memory bigint CONSTRAINT turret_health_memory_not_null NOT NULL,
    late_starts bigint CONSTRAINT turret_health_late_starts_not_null NOT NULL
);


--
-- Name: turret_members; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.turret_members (
    run_id uuid NOT NULL,
    uuid text NOT NULL,
    member json NOT NULL
);


--
-- Name: turret_progress; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.turret_progress (
    run_id uuid NOT NULL,
    uuid text NOT NULL,
    sequence bigint NOT NULL
);


--
-- Name: turret_results; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.turret_results (
    run_id uuid NOT NULL,
    batch bigint NOT NULL,
    seq integer NOT NULL,
    at timestamp with time zone NOT NULL,
    elapsed double precision NOT NULL,
    epoch double precision NOT NULL,
    scriptrun_time double precision NOT NULL,
    error text NOT NULL,
    custom_timers json,
    turret_name text,
    uuid text
)
PARTITION BY RANGE (at);


--
-- Name: turret_results_20261127; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.turret_results_20261127 (
    run_id uuid CONSTRAINT turret_results_run_id_not_null NOT NULL,
    batch bigint CONSTRAINT turret_results_batch_not_null NOT NULL,
    seq integer CONSTRAINT turret_results_seq_not_null NOT NULL,
    at timestamp with time zone CONSTRAINT turret_results_at_not_null NOT NULL,
    elapsed double precision CONSTRAINT turret_results_elapsed_not_null NOT NULL,
    epoch double precision CONSTRAINT turret_results_epoch_not_null NOT NULL,
    scriptrun_time double precision CONSTRAINT turret_results_scriptrun_time_not_null NOT NULL,
    error text CONSTRAINT turret_results_error_not_null NOT NULL,
    custom_timers json,
    turret_name text,
    uuid text
);


--
-- Name: turret_results_20261128; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.turret_results_20261128 (
    run_id uuid CONSTRAINT turret_results_run_id_not_null NOT NULL,
    batch bigint CONSTRAINT turret_results_batch_not_null NOT NULL,
    seq integer CONSTRAINT turret_results_seq_not_null NOT NULL,
    at timestamp with time zone CONSTRAINT turret_results_at_not_null NOT NULL,
    elapsed double precision CONSTRAINT turret_results_elapsed_not_null NOT NULL,
    epoch double precision CONSTRAINT turret_results_epoch_not_null NOT NULL,
    scriptrun_time double precision CONSTRAINT turret_results_scriptrun_time_not_null NOT NULL,
    error text CONSTRAINT turret_results_error_not_null NOT NULL,
    custom_timers json,
    turret_name text,
    uuid text
);


--
-- Name: turret_results_20261129; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.turret_results_20261129 (
    run_id uuid CONSTRAINT turret_results_run_id_not_null NOT NULL,
    batch bigint CONSTRAINT turret_results_batch_not_null NOT NULL,
    seq integer CONSTRAINT turret_results_seq_not_null NOT NULL,
    at timestamp with time zone CONSTRAINT turret_results_at_not_null NOT NULL,
    elapsed double precision CONSTRAINT turret_results_elapsed_not_null NOT NULL,
    epoch double precision CONSTRAINT turret_results_epoch_not_null NOT NULL,
    scriptrun_time double precision CONSTRAINT turret_results_scriptrun_time_not_null NOT NULL,
    error text CONSTRAINT turret_results_error_not_null NOT NULL,
    custom_timers json,
    turret_name text,
    uuid text
);


--
-- Name: turret_runs; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.turret_runs (
    run_id uuid NOT NULL,
    headquarters text NOT NULL,
    name text NOT NULL,
    state text NOT NULL,
    reason text,
    stop_asked boolean NOT NULL,
    config json NOT NULL,
    created_at timestamp with time zone NOT NULL,
    started_at timestamp with time zone,
    ceased_at timestamp with time zone,
    ended_at timestamp with time zone,
    transactions bigint NOT NULL,
    errors bigint NOT NULL,
    counters json NOT NULL,
    summary json,
    package bytea
);


--
-- Name: turret_slices; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.turret_slices (
    run_id uuid NOT NULL,
    at timestamp with time zone NOT NULL,
    batch bigint NOT NULL,
    seq integer NOT NULL,
    uuid text NOT NULL,
    second integer NOT NULL,
    timer text NOT NULL,
    count bigint NOT NULL,
    total double precision NOT NULL,
    squares double precision NOT NULL,
    minimum double precision NOT NULL,
    maximum double precision NOT NULL,
    errors json,
    late bigint NOT NULL,
    histogram text NOT NULL
)
PARTITION BY RANGE (at);


--
-- Name: turret_slices_20261127; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.turret_slices_20261127 (
    run_id uuid CONSTRAINT turret_slices_run_id_not_null NOT NULL,
    at timestamp with time zone CONSTRAINT turret_slices_at_not_null NOT NULL,
    batch bigint CONSTRAINT turret_slices_batch_not_null NOT NULL,
    seq integer CONSTRAINT turret_slices_seq_not_null NOT NULL,
    uuid text CONSTRAINT turret_slices_uuid_not_null NOT NULL,
    second integer CONSTRAINT turret_slices_second_not_null NOT NULL,
    timer text CONSTRAINT turret_slices_timer_not_null NOT NULL,
    count bigint CONSTRAINT turret_slices_count_not_null NOT NULL,
    total double precision CONSTRAINT turret_slices_total_not_null NOT NULL,
    squares double precision CONSTRAINT turret_slices_squares_not_null NOT NULL,
    minimum double precision CONSTRAINT turret_slices_minimum_not_null NOT NULL,
    maximum double precision CONSTRAINT turret_slices_maximum_not_null NOT NULL,
    errors json,
    late bigint CONSTRAINT turret_slices_late_not_null NOT NULL,
    histogram text CONSTRAINT turret_slices_histogram_not_null NOT NULL
);


--
-- Name: turret_slices_20261128; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.turret_slices_20261128 (
    run_id uuid CONSTRAINT turret_slices_run_id_not_null NOT NULL,
    at timestamp with time zone CONSTRAINT turret_slices_at_not_null NOT NULL,
    batch bigint CONSTRAINT turret_slices_batch_not_null NOT NULL,
    seq integer CONSTRAINT turret_slices_seq_not_null NOT NULL,
    uuid text CONSTRAINT turret_slices_uuid_not_null NOT NULL,
    second integer CONSTRAINT turret_slices_second_not_null NOT NULL,
    timer text CONSTRAINT turret_slices_timer_not_null NOT NULL,
    count bigint CONSTRAINT turret_slices_count_not_null NOT NULL,
    total double precision CONSTRAINT turret_slices_total_not_null NOT NULL,
    squares double precision CONSTRAINT turret_slices_squares_not_null NOT NULL,
    minimum double precision CONSTRAINT turret_slices_minimum_not_null NOT NULL,
    maximum double precision CONSTRAINT turret_slices_maximum_not_null NOT NULL,
    errors json,
    late bigint CONSTRAINT turret_slices_late_not_null NOT NULL,
    histogram text CONSTRAINT turret_slices_histogram_not_null NOT NULL
);


--
-- Name: turret_slices_20261129; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.turret_slices_20261129 (
    run_id uuid CONSTRAINT turret_slices_run_id_not_null NOT NULL,
    at timestamp with time zone CONSTRAINT turret_slices_at_not_null NOT NULL,
    batch bigint CONSTRAINT turret_slices_batch_not_null NOT NULL,
    seq integer CONSTRAINT turret_slices_seq_not_null NOT NULL,
    uuid text CONSTRAINT turret_slices_uuid_not_null NOT NULL,
    second integer CONSTRAINT turret_slices_second_not_null NOT NULL,
    timer text CONSTRAINT turret_slices_timer_not_null NOT NULL,
    count bigint CONSTRAINT turret_slices_count_not_null NOT NULL,
    total double precision CONSTRAINT turret_slices_total_not_null NOT NULL,
    squares double precision CONSTRAINT turret_slices_squares_not_null NOT NULL,
    minimum double precision CONSTRAINT turret_slices_minimum_not_null NOT NULL,
    maximum double precision CONSTRAINT turret_slices_maximum_not_null NOT NULL,
    errors json,
    late bigint CONSTRAINT turret_slices_late_not_null NOT NULL,
    histogram text CONSTRAINT turret_slices_histogram_not_null NOT NULL
);


--
-- Name: host_minutes_202611; Type: TABLE ATTACH; Schema: public; Owner: -
--

ALTER TABLE ONLY public.host_minutes ATTACH PARTITION public.host_minutes_202611 FOR VALUES FROM ('2026-11-01 00:00:00+00') TO ('2026-12-01 00:00:00+00');


--
-- Name: host_minutes_202612; Type: TABLE ATTACH; Schema: public; Owner: -
--

ALTER TABLE ONLY public.host_minutes ATTACH PARTITION public.host_minutes_202612 FOR VALUES FROM ('2026-12-01 00:00:00+00') TO ('2027-01-01 00:00:00+00');


--
-- Name: host_minutes_rest; Type: TABLE ATTACH; Schema: public; Owner: -
--

ALTER TABLE ONLY public.host_minutes ATTACH PARTITION public.host_minutes_rest DEFAULT;


--
-- Name: host_samples_20261127; Type: TABLE ATTACH; Schema: public; Owner: -
--

ALTER TABLE ONLY public.host_samples ATTACH PARTITION public.host_samples_20261127 FOR VALUES FROM ('2026-11-27 00:00:00+00') TO ('2026-11-28 00:00:00+00');


--
-- Name: host_samples_20261128; Type: TABLE ATTACH; Schema: public; Owner: -
--

ALTER TABLE ONLY public.host_samples ATTACH PARTITION public.host_samples_20261128 FOR VALUES FROM ('2026-11-28 00:00:00+00') TO ('2026-11-29 00:00:00+00');


--
-- Name: host_samples_20261129; Type: TABLE ATTACH; Schema: public; Owner: -
--

ALTER TABLE ONLY public.host_samples ATTACH PARTITION public.host_samples_20261129 FOR VALUES FROM ('2026-11-29 00:00:00+00') TO ('2026-11-30 00:00:00+00');


--
-- Name: host_samples_20261130; Type: TABLE ATTACH; Schema: public; Owner: -
--

ALTER TABLE ONLY public.host_samples ATTACH PARTITION public.host_samples_20261130 FOR VALUES FROM ('2026-11-30 00:00:00+00') TO ('2026-12-01 00:00:00+00');


--
-- Name: host_samples_rest; Type: TABLE ATTACH; Schema: public; Owner: -
--

ALTER TABLE ONLY public.host_samples ATTACH PARTITION public.host_samples_rest DEFAULT;


--
-- Name: turret_health_20261127; Type: TABLE ATTACH; Schema: public; Owner: -
--

ALTER TABLE ONLY public.turret_health ATTACH PARTITION public.turret_health_20261127 FOR VALUES FROM ('2026-11-27 00:00:00+00') TO ('2026-11-28 00:00:00+00');


--
-- Name: turret_health_20261128; Type: TABLE ATTACH; Schema: public; Owner: -
--

ALTER TABLE ONLY public.turret_health ATTACH PARTITION public.turret_health_20261128 FOR VALUES FROM ('2026-11-28 00:00:00+00') TO ('2026-11-29 00:00:00+00');


--
-- Name: turret_health_20261129; Type: TABLE ATTACH; Schema: public; Owner: -
--

ALTER TABLE ONLY public.turret_health ATTACH PARTITION public.turret_health_20261129 FOR VALUES FROM ('2026-11-29 00:00:00+00') TO ('2026-11-30 00:00:00+00');


--
-- Name: turret_results_20261127; Type: TABLE ATTACH; Schema: public; Owner: -
--

ALTER TABLE ONLY public.turret_results ATTACH PARTITION public.turret_results_20261127 FOR VALUES FROM ('2026-11-27 00:00:00+00') TO ('2026-11-28 00:00:00+00');


--
-- Name: turret_results_20261128; Type: TABLE ATTACH; Schema: public; Owner: -
--

ALTER TABLE ONLY public.turret_results ATTACH PARTITION public.turret_results_20261128 FOR VALUES FROM ('2026-11-28 00:00:00+00') TO ('2026-11-29 00:00:00+00');


--
-- Name: turret_results_20261129; Type: TABLE ATTACH; Schema: public; Owner: -
--

ALTER TABLE ONLY public.turret_results ATTACH PARTITION public.turret_results_20261129 FOR VALUES FROM ('2026-11-29 00:00:00+00') TO ('2026-11-30 00:00:00+00');


--
-- Name: turret_slices_20261127; Type: TABLE ATTACH; Schema: public; Owner: -
--

ALTER TABLE ONLY public.turret_slices ATTACH PARTITION public.turret_slices_20261127 FOR VALUES FROM ('2026-11-27 00:00:00+00') TO ('2026-11-28 00:00:00+00');


--
-- Name: turret_slices_20261128; Type: TABLE ATTACH; Schema: public; Owner: -
--

ALTER TABLE ONLY public.turret_slices ATTACH PARTITION public.turret_slices_20261128 FOR VALUES FROM ('2026-11-28 00:00:00+00') TO ('2026-11-29 00:00:00+00');


--
-- Name: turret_slices_20261129; Type: TABLE ATTACH; Schema: public; Owner: -
--

ALTER TABLE ONLY public.turret_slices ATTACH PARTITION public.turret_slices_20261129 FOR VALUES FROM ('2026-11-29 00:00:00+00') TO ('2026-11-30 00:00:00+00');


--
-- Data for Name: access_tokens; Type: TABLE DATA; Schema: public; Owner: -
--



--
-- Data for Name: command_jobs; Type: TABLE DATA; Schema: public; Owner: -
--

INSERT INTO public.command_jobs VALUES
	(1, 'd7b538f2-7be0-4003-b325-308abe0caac2', 'exec', '["echo done"]', '/root', '[]', 'http 127.0.0.1', 'exited', '2026-11-27 07:28:03.004091+00', '2026-11-27 07:28:03.056255+00', 7850, 0, NULL, NULL, 0.001339, 0, 8695808, 5, 0);


--
-- Data for Name: command_numbers; Type: TABLE DATA; Schema: public; Owner: -
--

INSERT INTO public.command_numbers VALUES
	('request', 1000001);


--
-- Data for Name: database_backups; Type: TABLE DATA; Schema: public; Owner: -
--



--
-- Data for Name: host_clocks; Type: TABLE DATA; Schema: public; Owner: -
--



--
-- Data for Name: host_minutes_202611; Type: TABLE DATA; Schema: public; Owner: -
--



--
-- Data for Name: host_minutes_202612; Type: TABLE DATA; Schema: public; Owner: -
--



--
-- Data for Name: host_minutes_rest; Type: TABLE DATA; Schema: public; Owner: -
--



--
-- Data for Name: host_progress; Type: TABLE DATA; Schema: public; Owner: -
--

INSERT INTO public.host_progress VALUES
	('minutes', '-infinity');


--
-- Data for Name: host_samples_20261127; Type: TABLE DATA; Schema: public; Owner: -
--



--
-- Data for Name: host_samples_20261128; Type: TABLE DATA; Schema: public; Owner: -
--



--
-- Data for Name: host_samples_20261129; Type: TABLE DATA; Schema: public; Owner: -
--



--
-- Data for Name: host_samples_20261130; Type: TABLE DATA; Schema: public; Owner: -
--



--
-- Data for Name: host_samples_rest; Type: TABLE DATA; Schema: public; Owner: -
--

INSERT INTO public.host_samples_rest VALUES
	('wood', '2026-11-25 09:46:40+00', 1607254798317132546, '2026-11-27 07:28:02.969578+00', 25.9, 6172, 95888, NULL, NULL, NULL, NULL, NULL, NULL, NULL),
	('wood', '2026-11-25 09:46:41+00', 1607254798317132547, '2026-11-27 07:28:02.973357+00', 25.9, 6172, 95888, NULL, NULL, NULL, NULL, NULL, NULL, NULL),
	('wood', '2026-11-25 09:46:42+00', 1607254798317132548, '2026-11-27 07:28:02.975051+00', 25.9, 6172, 95888, NULL, NULL, NULL, NULL, NULL, NULL, NULL),
	('wood', '2026-11-25 09:46:43+00', 1607254798317132549, '2026-11-27 07:28:02.976492+00', 25.9, 6172, 95888, NULL, NULL, NULL, NULL, NULL, NULL, NULL),
	('wood', '2026-11-25 09:46:44+00', 1607254798317132550, '2026-11-27 07:28:02.977714+00', 25.9, 6172, 95888, NULL, NULL, NULL, NULL, NULL, NULL, NULL);


--
-- Data for Name: hosts; Type: TABLE DATA; Schema: public; Owner: -
--

INSERT INTO public.hosts VALUES
	('rack7', true, NULL, NULL, '2026-11-27 07:28:02.737446+00'),
	('wood', false, '\x300dd6eafc95646b2b136f071026b164', '\x6be72bab243b6db6ec385b3bf4d00267460e0b2cdb62187408da655fc71704f0', '2026-11-27 07:28:02.908252+00');


--
-- Data for Name: marks; Type: TABLE DATA; Schema: public; Owner: -
--

INSERT INTO public.marks VALUES
	('01a21be7-7314-7000-b357-01e6691276bf', '2026-11-25 09:30:00+00', 'a new kernel', '', '2026-11-27 07:28:02.836223+00');


--
-- Data for Name: process_events; Type: TABLE DATA; Schema: public; Owner: -
--

INSERT INTO public.process_events VALUES
	('app.web.0', '2026-11-27 07:28:02.981531+00', '01a21be7-73a5-7000-a29c-3564806d10fd', 'created', '{}'),
	('app.web.0', '2026-11-27 07:28:03.055421+00', '01a21be7-73ef-7000-8610-dc075cb9b3f9', 'started', '{"pid": 7849, "port": 5000, "text": "started, pid 7849, PORT=5000"}'),
	('app.web.0', '2026-11-27 07:28:03.107136+00', '01a21be7-7423-7000-9916-7736952c150b', 'deleted', '{}'),
	('app.web.0', '2026-11-27 07:28:03.108801+00', '01a21be7-7424-7000-b69b-1c4585bdb267', 'stopping', '{"text": "stopping"}'),
	('app.web.0', '2026-11-27 07:28:03.110404+00', '01a21be7-7426-7000-b66d-deb995d8d2a9', 'exited', '{"text": "ended by signal 15", "status": -15}'),
	('app.web.0', '2026-11-27 07:28:03.110505+00', '01a21be7-7426-7001-bf02-982bcb0cf3ed', 'stopped', '{"text": "stopped"}');


--
-- Data for Name: processes; Type: TABLE DATA; Schema: public; Owner: -
--



--
-- Data for Name: schema_migrations; Type: TABLE DATA; Schema: public; Owner: -
--

INSERT INTO public.schema_migrations VALUES
	('access', 1, '0001_access_tokens.sql', 'e491b87d1d88a254f1cab450c82e4f4eba516d1044d6dcbf38f67e7d5dc67883', '2026-11-27 07:28:02.650924+00'),
	('commands', 1, '0001_command_jobs.sql', 'df84ee2283f0caeafa3ec099d29a26128f4f2266e1cefaa36f3d29dbdb264e99', '2026-11-27 07:28:02.65389+00'),
	('hosts', 1, '0001_hosts.sql', 'c445fb22139eed9fe6486bbc465b67af7aa2fad8e2606ffa8117fcba6d4f5773', '2026-11-27 07:28:02.65886+00'),
	('marks', 1, '0001_marks.sql', '92dc776ffcfccc4fc4cc995bfb2de86af4e28f6103eed0300e60e5c01887c0b3', '2026-11-27 07:28:02.669838+00'),
	('metrics', 1, '0001_test_metrics.sql', '18ae812863a60dab0336d46e3b25dcbccb978183c1f49fb056c5913ca5f479e4', '2026-11-27 07:28:02.672774+00'),
	('metrics', 2, '0002_sessions_of_contexts.sql', 'bfa508d44262854db6711c05048b9a25880c7e2b0bd0fe5ece7db0ab171a4701', '2026-11-27 07:28:02.68509+00'),
	('metrics', 3, '0003_unnamed_tests.sql', '3b7abcd612c99e84f5abd7316e36d57e137763b4544be0f1a5e6c88b9c869c88', '2026-11-27 07:28:02.686809+00'),
	('processes', 1, '0001_processes.sql', '665a72657c8bccd9c35ae4bbf9fcc568d9e0b8de6d99fa3ee1f66991e173311a', '2026-11-27 07:28:02.688363+00'),
	('turrets', 1, '0001_turret_runs.sql', '1253876dd0c4d8ddf87a73d0eb4244032fb748ec61cf2f411d6b6c4ac26a7748', '2026-11-27 07:28:02.692309+00'),
	('upkeep', 1, '0001_database_backups.sql', '37223acd797f3ab2010eb2ecc63975fdf4f9899b6159dc7aa2f23cfbcaa7b517', '2026-11-27 07:28:02.700958+00');


--
-- Data for Name: test_contexts; Type: TABLE DATA; Schema: public; Owner: -
--

INSERT INTO public.test_contexts VALUES
	('cccccccccccccccccccccccccccccccc', 8, 2596.122, 'x86_64', 'A vendor', 16000, 'rack7', 'x86_64', '64bit', 'Linux - 6.1', '3.11.7', '2026-11-27 07:28:02.784769+00');


--
-- Data for Name: test_items; Type: TABLE DATA; Schema: public; Owner: -
--

INSERT INTO public.test_items VALUES
	('e5172b20-6227-5662-214a-af7519cb4fca', 'tests.test_sum', 'test_sum', 'test_sum[0]', 'tests/test_sum.py', 'function', 'core', '2026-11-27 07:28:02.809742+00'),
	('84c38f42-93ba-fe21-a286-e1d4256c02e3', 'tests.test_sum', 'test_sum', 'test_sum[1]', 'tests/test_sum.py', 'function', 'core', '2026-11-27 07:28:02.820334+00'),
	('afa42f49-79ce-c050-5ac9-e0441e7f7362', 'tests.test_sum', 'test_sum', 'test_sum[2]', 'tests/test_sum.py', 'function', 'core', '2026-11-27 07:28:02.823417+00'),
	('ae9903c4-6752-3958-3893-74c89247b601', 'tests.test_sum', 'test_sum', 'test_sum[3]', 'tests/test_sum.py', 'function', 'core', '2026-11-27 07:28:02.828612+00'),
	('4c555d88-4e69-bf90-9812-0890ec1c3810', 'tests.test_sum', 'test_sum', 'test_sum[4]', 'tests/test_sum.py', 'function', 'core', '2026-11-27 07:28:02.832572+00');


--
-- Data for Name: test_metric_blocks; Type: TABLE DATA; Schema: public; Owner: -
--

INSERT INTO public.test_metric_blocks VALUES
	(914054951730912389, NULL);


--
-- Data for Name: test_metrics; Type: TABLE DATA; Schema: public; Owner: -
--

INSERT INTO public.test_metrics VALUES
	('55555555555555555555555555555555', 914054951730912389, 0, 'cccccccccccccccccccccccccccccccc', 'e5172b20-6227-5662-214a-af7519cb4fca', '2026-11-20T12:00:01.000456', '2026-11-20 12:00:01.000456+00', 1, 1, 0.25, 0.8333, -0.5),
	('55555555555555555555555555555555', 914054951730912389, 1, 'cccccccccccccccccccccccccccccccc', '84c38f42-93ba-fe21-a286-e1d4256c02e3', '2026-11-20T12:00:01.000456', '2026-11-20 12:00:01.000456+00', 2, 1, 0.25, 0.8333, -0.5),
	('55555555555555555555555555555555', 914054951730912389, 2, 'cccccccccccccccccccccccccccccccc', 'afa42f49-79ce-c050-5ac9-e0441e7f7362', '2026-11-20T12:00:01.000456', '2026-11-20 12:00:01.000456+00', 3, 1, 0.25, 0.8333, -0.5),
	('55555555555555555555555555555555', 914054951730912389, 3, 'cccccccccccccccccccccccccccccccc', 'ae9903c4-6752-3958-3893-74c89247b601', '2026-11-20T12:00:01.000456', '2026-11-20 12:00:01.000456+00', 4, 1, 0.25, 0.8333, -0.5),
	('55555555555555555555555555555555', 914054951730912389, 4, 'cccccccccccccccccccccccccccccccc', '4c555d88-4e69-bf90-9812-0890ec1c3810', '2026-11-20T12:00:01.000456', '2026-11-20 12:00:01.000456+00', 5, 1, 0.25, 0.8333, -0.5);


--
-- Data for Name: test_session_contexts; Type: TABLE DATA; Schema: public; Owner: -
--

INSERT INTO public.test_session_contexts VALUES
	('55555555555555555555555555555555', 'cccccccccccccccccccccccccccccccc');


--
-- Data for Name: test_sessions; Type: TABLE DATA; Schema: public; Owner: -
--

INSERT INTO public.test_sessions VALUES
	('55555555555555555555555555555555', '2026-11-20T12:00:00.000123', '2026-11-20 12:00:00.000123+00', '0123abc', '{"pipeline_branch":"main","pipeline_build_no":"7"}', '{"pipeline_branch":"main","pipeline_build_no":"7"}', NULL, '49d02fdeee1299fb115b83979bb758f7', '2026-11-27 07:28:02.78847+00');


--
-- Data for Name: turret_batches; Type: TABLE DATA; Schema: public; Owner: -
--



--
-- Data for Name: turret_health_20261127; Type: TABLE DATA; Schema: public; Owner: -
--



--
-- Data for Name: turret_health_20261128; Type: TABLE DATA; Schema: public; Owner: -
--



--
-- Data for Name: turret_health_20261129; Type: TABLE DATA; Schema: public; Owner: -
--



--
-- Data for Name: turret_members; Type: TABLE DATA; Schema: public; Owner: -
--



--
-- Data for Name: turret_progress; Type: TABLE DATA; Schema: public; Owner: -
--



--
-- Data for Name: turret_results_20261127; Type: TABLE DATA; Schema: public; Owner: -
--



--
-- Data for Name: turret_results_20261128; Type: TABLE DATA; Schema: public; Owner: -
--



--
-- Data for Name: turret_results_20261129; Type: TABLE DATA; Schema: public; Owner: -
--



--
-- Data for Name: turret_runs; Type: TABLE DATA; Schema: public; Owner: -
--

INSERT INTO public.turret_runs VALUES
	('01a21be7-73f3-77ec-84f3-76b46dd439af', '/tmp/smartmob-upgrade-653yss49/data', 'pages', 'stopped', 'stopped by request', true, '{"run_time": 1, "name": "pages", "turrets": []}', '2026-11-27 07:28:03.059452+00', NULL, NULL, '2026-11-27 07:28:03.067236+00', 0, 0, '{"malformed":0,"stale":0,"again":0,"dropped":0,"restarts":0}', '{"id":"01a21be7-73f3-77ec-84f3-76b46dd439af","name":"pages","state":"stopped","reason":"stopped by request","started_at":null,"ended_at":"2026-11-27T07:28:03.067236Z","duration":0.0,"interval":10.0,"transactions":0,"errors":0,"rate":0.0,"timers":{"All transactions":{"count":0,"errors":0,"rate":0.0,"min":null,"avg":null,"percentiles":{},"max":null,"stdev":null,"late":0}},"intervals":{},"error_texts":[],"turrets":[],"counters":{"malformed":0,"stale":0,"again":0,"dropped":0,"restarts":0},"trust":{"verdict":"no","doubts":[{"level":"bad","what":"The run did not go as planned: stopped by request."},{"level":"bad","what":"There is no result."}]},"machines":[]}', NULL);


--
-- Data for Name: turret_slices_20261127; Type: TABLE DATA; Schema: public; Owner: -
--



--
-- Data for Name: turret_slices_20261128; Type: TABLE DATA; Schema: public; Owner: -
--



--
-- Data for Name: turret_slices_20261129; Type: TABLE DATA; Schema: public; Owner: -
--



--
-- Name: access_tokens access_tokens_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.access_tokens
    ADD CONSTRAINT access_tokens_pkey PRIMARY KEY (name);


--
-- Name: command_jobs command_jobs_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.command_jobs
    ADD CONSTRAINT command_jobs_pkey PRIMARY KEY (job_id);


--
-- Name: command_numbers command_numbers_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.command_numbers
    ADD CONSTRAINT command_numbers_pkey PRIMARY KEY (name);


--
-- Name: database_backups database_backups_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.database_backups
    ADD CONSTRAINT database_backups_pkey PRIMARY KEY (id);


--
-- Name: host_clocks host_clocks_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.host_clocks
    ADD CONSTRAINT host_clocks_pkey PRIMARY KEY (host, at);


--
-- Name: host_minutes host_minutes_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.host_minutes
    ADD CONSTRAINT host_minutes_pkey PRIMARY KEY (host, at);


--
-- Name: host_minutes_202611 host_minutes_202611_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.host_minutes_202611
    ADD CONSTRAINT host_minutes_202611_pkey PRIMARY KEY (host, at);


--
-- Name: host_minutes_202612 host_minutes_202612_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.host_minutes_202612
    ADD CONSTRAINT host_minutes_202612_pkey PRIMARY KEY (host, at);


--
-- Name: host_minutes_rest host_minutes_rest_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.host_minutes_rest
    ADD CONSTRAINT host_minutes_rest_pkey PRIMARY KEY (host, at);


--
-- Name: host_progress host_progress_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.host_progress
    ADD CONSTRAINT host_progress_pkey PRIMARY KEY (name);


--
-- Name: host_samples host_samples_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.host_samples
    ADD CONSTRAINT host_samples_pkey PRIMARY KEY (host, at, n);


--
-- Name: host_samples_20261127 host_samples_20261127_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.host_samples_20261127
    ADD CONSTRAINT host_samples_20261127_pkey PRIMARY KEY (host, at, n);


--
-- Name: host_samples_20261128 host_samples_20261128_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.host_samples_20261128
    ADD CONSTRAINT host_samples_20261128_pkey PRIMARY KEY (host, at, n);


--
-- Name: host_samples_20261129 host_samples_20261129_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.host_samples_20261129
    ADD CONSTRAINT host_samples_20261129_pkey PRIMARY KEY (host, at, n);


--
-- Name: host_samples_20261130 host_samples_20261130_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.host_samples_20261130
    ADD CONSTRAINT host_samples_20261130_pkey PRIMARY KEY (host, at, n);


--
-- Name: host_samples_rest host_samples_rest_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.host_samples_rest
    ADD CONSTRAINT host_samples_rest_pkey PRIMARY KEY (host, at, n);


--
-- Name: hosts hosts_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.hosts
    ADD CONSTRAINT hosts_pkey PRIMARY KEY (name);


--
-- Name: marks marks_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.marks
    ADD CONSTRAINT marks_pkey PRIMARY KEY (id);


--
-- Name: process_events process_events_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.process_events
    ADD CONSTRAINT process_events_pkey PRIMARY KEY (slug, at, id);


--
-- Name: processes processes_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.processes
    ADD CONSTRAINT processes_pkey PRIMARY KEY (slug);


--
-- Name: schema_migrations schema_migrations_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.schema_migrations
    ADD CONSTRAINT schema_migrations_pkey PRIMARY KEY (room, number);


--
-- Name: test_contexts test_contexts_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.test_contexts
    ADD CONSTRAINT test_contexts_pkey PRIMARY KEY (h);


--
-- Name: test_items test_items_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.test_items
    ADD CONSTRAINT test_items_pkey PRIMARY KEY (item_id);


--
-- Name: test_metric_blocks test_metric_blocks_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.test_metric_blocks
    ADD CONSTRAINT test_metric_blocks_pkey PRIMARY KEY (block);


--
-- Name: test_metrics test_metrics_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.test_metrics
    ADD CONSTRAINT test_metrics_pkey PRIMARY KEY (session_h, block, seq);


--
-- Name: test_session_contexts test_session_contexts_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.test_session_contexts
    ADD CONSTRAINT test_session_contexts_pkey PRIMARY KEY (session_h, context_h);


--
-- Name: test_sessions test_sessions_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.test_sessions
    ADD CONSTRAINT test_sessions_pkey PRIMARY KEY (session_h);


--
-- Name: turret_batches turret_batches_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.turret_batches
    ADD CONSTRAINT turret_batches_pkey PRIMARY KEY (run_id, batch);


--
-- Name: turret_health turret_health_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.turret_health
    ADD CONSTRAINT turret_health_pkey PRIMARY KEY (run_id, at, uuid);


--
-- Name: turret_health_20261127 turret_health_20261127_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.turret_health_20261127
    ADD CONSTRAINT turret_health_20261127_pkey PRIMARY KEY (run_id, at, uuid);


--
-- Name: turret_health_20261128 turret_health_20261128_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.turret_health_20261128
    ADD CONSTRAINT turret_health_20261128_pkey PRIMARY KEY (run_id, at, uuid);


--
-- Name: turret_health_20261129 turret_health_20261129_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.turret_health_20261129
    ADD CONSTRAINT turret_health_20261129_pkey PRIMARY KEY (run_id, at, uuid);


--
-- Name: turret_members turret_members_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.turret_members
    ADD CONSTRAINT turret_members_pkey PRIMARY KEY (run_id, uuid);


--
-- Name: turret_progress turret_progress_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.turret_progress
    ADD CONSTRAINT turret_progress_pkey PRIMARY KEY (run_id, uuid);


--
-- Name: turret_runs turret_runs_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.turret_runs
    ADD CONSTRAINT turret_runs_pkey PRIMARY KEY (run_id);


--
-- Name: turret_slices turret_slices_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.turret_slices
    ADD CONSTRAINT turret_slices_pkey PRIMARY KEY (run_id, at, batch, seq);


--
-- Name: turret_slices_20261127 turret_slices_20261127_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.turret_slices_20261127
    ADD CONSTRAINT turret_slices_20261127_pkey PRIMARY KEY (run_id, at, batch, seq);


--
-- Name: turret_slices_20261128 turret_slices_20261128_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.turret_slices_20261128
    ADD CONSTRAINT turret_slices_20261128_pkey PRIMARY KEY (run_id, at, batch, seq);


--
-- Name: turret_slices_20261129 turret_slices_20261129_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.turret_slices_20261129
    ADD CONSTRAINT turret_slices_20261129_pkey PRIMARY KEY (run_id, at, batch, seq);


--
-- Name: command_jobs_by_end; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX command_jobs_by_end ON public.command_jobs USING btree (ended_at);


--
-- Name: command_jobs_running; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX command_jobs_running ON public.command_jobs USING btree (keeper) WHERE (state = 'running'::text);


--
-- Name: host_samples_by_arrival; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX host_samples_by_arrival ON ONLY public.host_samples USING brin (received_at) WITH (pages_per_range='16');


--
-- Name: host_samples_20261127_received_at_idx; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX host_samples_20261127_received_at_idx ON public.host_samples_20261127 USING brin (received_at) WITH (pages_per_range='16');


--
-- Name: host_samples_20261128_received_at_idx; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX host_samples_20261128_received_at_idx ON public.host_samples_20261128 USING brin (received_at) WITH (pages_per_range='16');


--
-- Name: host_samples_20261129_received_at_idx; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX host_samples_20261129_received_at_idx ON public.host_samples_20261129 USING brin (received_at) WITH (pages_per_range='16');


--
-- Name: host_samples_20261130_received_at_idx; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX host_samples_20261130_received_at_idx ON public.host_samples_20261130 USING brin (received_at) WITH (pages_per_range='16');


--
-- Name: host_samples_rest_received_at_idx; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX host_samples_rest_received_at_idx ON public.host_samples_rest USING brin (received_at) WITH (pages_per_range='16');


--
-- Name: marks_by_time; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX marks_by_time ON public.marks USING btree (at, id);


--
-- Name: process_events_at; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX process_events_at ON public.process_events USING btree (at, id);


--
-- Name: test_items_by_component; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX test_items_by_component ON public.test_items USING hash (component);


--
-- Name: test_items_by_item; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX test_items_by_item ON public.test_items USING hash (item);


--
-- Name: test_items_by_variant; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX test_items_by_variant ON public.test_items USING hash (item_variant);


--
-- Name: test_metrics_by_arrival; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX test_metrics_by_arrival ON public.test_metrics USING btree (block, seq);


--
-- Name: test_metrics_by_context; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX test_metrics_by_context ON public.test_metrics USING btree (context_h, block, seq);


--
-- Name: test_metrics_by_item; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX test_metrics_by_item ON public.test_metrics USING btree (item_id, block, seq);


--
-- Name: test_session_contexts_by_context; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX test_session_contexts_by_context ON public.test_session_contexts USING btree (context_h, session_h);


--
-- Name: test_sessions_by_arrival; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX test_sessions_by_arrival ON public.test_sessions USING btree (received_at, session_h);


--
-- Name: test_sessions_by_run_key; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX test_sessions_by_run_key ON public.test_sessions USING btree (run_key, started_at);


--
-- Name: test_sessions_by_run_tag; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX test_sessions_by_run_tag ON public.test_sessions USING btree (run_tag) WHERE (run_tag IS NOT NULL);


--
-- Name: test_sessions_by_start; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX test_sessions_by_start ON public.test_sessions USING btree (started_at, session_h);


--
-- Name: turret_results_by_batch; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX turret_results_by_batch ON ONLY public.turret_results USING brin (batch);


--
-- Name: turret_results_20261127_batch_idx; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX turret_results_20261127_batch_idx ON public.turret_results_20261127 USING brin (batch);


--
-- Name: turret_results_20261128_batch_idx; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX turret_results_20261128_batch_idx ON public.turret_results_20261128 USING brin (batch);


--
-- Name: turret_results_20261129_batch_idx; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX turret_results_20261129_batch_idx ON public.turret_results_20261129 USING brin (batch);


--
-- Name: turret_runs_by_creation; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX turret_runs_by_creation ON public.turret_runs USING btree (created_at, run_id);


--
-- Name: host_minutes_202611_pkey; Type: INDEX ATTACH; Schema: public; Owner: -
--

ALTER INDEX public.host_minutes_pkey ATTACH PARTITION public.host_minutes_202611_pkey;


--
-- Name: host_minutes_202612_pkey; Type: INDEX ATTACH; Schema: public; Owner: -
--

ALTER INDEX public.host_minutes_pkey ATTACH PARTITION public.host_minutes_202612_pkey;


--
-- Name: host_minutes_rest_pkey; Type: INDEX ATTACH; Schema: public; Owner: -
--

ALTER INDEX public.host_minutes_pkey ATTACH PARTITION public.host_minutes_rest_pkey;


--
-- Name: host_samples_20261127_pkey; Type: INDEX ATTACH; Schema: public; Owner: -
--

ALTER INDEX public.host_samples_pkey ATTACH PARTITION public.host_samples_20261127_pkey;


--
-- Name: host_samples_20261127_received_at_idx; Type: INDEX ATTACH; Schema: public; Owner: -
--

ALTER INDEX public.host_samples_by_arrival ATTACH PARTITION public.host_samples_20261127_received_at_idx;


--
-- Name: host_samples_20261128_pkey; Type: INDEX ATTACH; Schema: public; Owner: -
--

ALTER INDEX public.host_samples_pkey ATTACH PARTITION public.host_samples_20261128_pkey;


--
-- Name: host_samples_20261128_received_at_idx; Type: INDEX ATTACH; Schema: public; Owner: -
--

ALTER INDEX public.host_samples_by_arrival ATTACH PARTITION public.host_samples_20261128_received_at_idx;


--
-- Name: host_samples_20261129_pkey; Type: INDEX ATTACH; Schema: public; Owner: -
--

ALTER INDEX public.host_samples_pkey ATTACH PARTITION public.host_samples_20261129_pkey;


--
-- Name: host_samples_20261129_received_at_idx; Type: INDEX ATTACH; Schema: public; Owner: -
--

ALTER INDEX public.host_samples_by_arrival ATTACH PARTITION public.host_samples_20261129_received_at_idx;


--
-- Name: host_samples_20261130_pkey; Type: INDEX ATTACH; Schema: public; Owner: -
--

ALTER INDEX public.host_samples_pkey ATTACH PARTITION public.host_samples_20261130_pkey;


--
-- Name: host_samples_20261130_received_at_idx; Type: INDEX ATTACH; Schema: public; Owner: -
--

ALTER INDEX public.host_samples_by_arrival ATTACH PARTITION public.host_samples_20261130_received_at_idx;


--
-- Name: host_samples_rest_pkey; Type: INDEX ATTACH; Schema: public; Owner: -
--

ALTER INDEX public.host_samples_pkey ATTACH PARTITION public.host_samples_rest_pkey;


--
-- Name: host_samples_rest_received_at_idx; Type: INDEX ATTACH; Schema: public; Owner: -
--

ALTER INDEX public.host_samples_by_arrival ATTACH PARTITION public.host_samples_rest_received_at_idx;


--
-- Name: turret_health_20261127_pkey; Type: INDEX ATTACH; Schema: public; Owner: -
--

ALTER INDEX public.turret_health_pkey ATTACH PARTITION public.turret_health_20261127_pkey;


--
-- Name: turret_health_20261128_pkey; Type: INDEX ATTACH; Schema: public; Owner: -
--

ALTER INDEX public.turret_health_pkey ATTACH PARTITION public.turret_health_20261128_pkey;


--
-- Name: turret_health_20261129_pkey; Type: INDEX ATTACH; Schema: public; Owner: -
--

ALTER INDEX public.turret_health_pkey ATTACH PARTITION public.turret_health_20261129_pkey;


--
-- Name: turret_results_20261127_batch_idx; Type: INDEX ATTACH; Schema: public; Owner: -
--

ALTER INDEX public.turret_results_by_batch ATTACH PARTITION public.turret_results_20261127_batch_idx;


--
-- Name: turret_results_20261128_batch_idx; Type: INDEX ATTACH; Schema: public; Owner: -
--

ALTER INDEX public.turret_results_by_batch ATTACH PARTITION public.turret_results_20261128_batch_idx;


--
-- Name: turret_results_20261129_batch_idx; Type: INDEX ATTACH; Schema: public; Owner: -
--

ALTER INDEX public.turret_results_by_batch ATTACH PARTITION public.turret_results_20261129_batch_idx;


--
-- Name: turret_slices_20261127_pkey; Type: INDEX ATTACH; Schema: public; Owner: -
--

ALTER INDEX public.turret_slices_pkey ATTACH PARTITION public.turret_slices_20261127_pkey;


--
-- Name: turret_slices_20261128_pkey; Type: INDEX ATTACH; Schema: public; Owner: -
--

ALTER INDEX public.turret_slices_pkey ATTACH PARTITION public.turret_slices_20261128_pkey;


--
-- Name: turret_slices_20261129_pkey; Type: INDEX ATTACH; Schema: public; Owner: -
--

ALTER INDEX public.turret_slices_pkey ATTACH PARTITION public.turret_slices_20261129_pkey;


--
-- PostgreSQL database dump complete
--

\unrestrict mfpcA8BHb9ZZmbkecfSmSDj5cB3P5DK3e4fse2cDIKvxObNGs99gvCIKdOfEfqQ

