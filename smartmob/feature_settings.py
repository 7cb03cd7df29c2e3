"""The settings of the database, of each feature and of the console. `smartmob.settings` describes how they are set."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from smartmob.options import setting


@dataclass(frozen=True, slots=True)
class DatabaseSettings:
    """Settings of the database."""

    url: str | None = setting(None, "PostgreSQL to use instead of the embedded one (also DATABASE_URL).", secret=True)
    url_file: Path | None = setting(None, "File with the database URL; keeps its password out of process listings.")
    statement_cache_size: int = setting(
        100,
        "Prepared statements that each connection keeps; 0 behind a pooler in transaction mode.",
        low=0,
        high=10_000,
    )
    wait: float = setting(30.0, "Seconds to wait at start for an external database.", low=0, high=3600)
    patience: float = setting(
        5.0, "Seconds that an accepted request waits while the database is unavailable.", low=0, high=600
    )
    query_timeout: float = setting(60.0, "Seconds after which a query is cancelled.", low=0.01)
    pool_size: int = setting(8, "Connections in the pool for reading and for bulk loads.", low=2, high=200)
    direct_nodes: bool = setting(
        True, "Send metrics and samples to the nodes of Citus directly, with the password of the database URL."
    )
    node_hosts: tuple[str, ...] = setting(
        (),
        "Pattern of the hosts of nodes that may get them, such as *.db.example.com; repeatable.",
        shown="all",
    )
    read_url: str | None = setting(None, "Streaming replica of the database, for lists and histories.", secret=True)
    read_url_file: Path | None = setting(None, "File with the URL of the replica.")
    read_lag: float = setting(
        10.0,
        "Seconds that the replica may be behind; for this time after a change, a client does not read from it.",
        low=1,
        high=3600,
    )


@dataclass(frozen=True, slots=True)
class MetricsSettings:
    """Settings of the feature `metrics`."""

    page_size: int = setting(500, "Rows on one page of a listing.", low=1, high=10_000)
    keep_days: float | None = setting(
        None, "Days after which sessions and metrics are deleted.", low=0.01, shown="never deleted"
    )
    run_window: float = setting(
        5.0, "Seconds within which the sessions of parallel workers count as one run.", low=0, high=3600
    )
    max_clock_ahead: float = setting(
        3600.0,
        "Seconds that the time of a session or metric may be ahead; beyond that it is ordered by its arrival.",
        low=0,
        high=31_622_400,
        name="max_clock_ahead",
    )
    ram_tolerance: float = setting(
        0.05, "Share by which the memory of one machine may differ between two runs.", low=0, high=1
    )
    match_kernel: str = setting(
        "minor",
        "Part of the kernel's version that must be equal on one machine.",
        choices=("exact", "minor", "major", "any"),
    )
    match_python: str = setting(
        "minor",
        "Part of Python's version that must be equal in one environment.",
        choices=("exact", "minor", "major", "any"),
    )
    shared_names: tuple[str, ...] = setting(
        (), "Pattern of host names that do not identify a machine, such as ci-*; repeatable."
    )


@dataclass(frozen=True, slots=True)
class CommandsSettings:
    """Settings of the feature `commands`."""

    modules: tuple[str, ...] = setting(
        (), "Python module with your own commands, by its import name; repeatable.", name="commands"
    )
    keep_days: float = setting(30.0, "Days after which finished jobs and their output are deleted.", low=0.01)
    job_output: int = setting(
        256 * 1024 * 1024,
        "Bytes of output that are kept of one job; the oldest output is deleted first.",
        low=64 * 1024,
    )
    total_output: int = setting(
        4 * 1024 * 1024 * 1024,
        "Bytes of output that are kept of all jobs; the output of the oldest finished job is deleted first.",
        low=64 * 1024,
    )
    least_free: int | None = setting(
        None,
        "Free bytes on the disk below which jobs are stopped and uploads refused.",
        low=0,
        shown="as --least-free",
    )
    most_jobs: int = setting(1_000, "Jobs that may run at the same time.", low=1, high=100_000)
    connections: int = setting(1_000, "WebSocket clients of commands at the same time.", low=1)
    connections_by_address: int = setting(
        500, "WebSocket clients of commands from one address (an IPv6 /64 counts as one).", low=1
    )
    first_timeout: float = setting(
        60.0,
        "Seconds after which a WebSocket client of commands that has sent nothing is disconnected.",
        low=0.05,
        high=3600,
    )
    kill_grace: float = setting(5.0, "Seconds between SIGTERM and SIGKILL when a job is stopped.", low=0, high=3600)
    reboot: str = setting("/sbin/reboot", "Program that the command reboot runs; empty disables the command.")
    shutdown: str = setting("/sbin/shutdown now", "Program that the command shutdown runs; empty disables the command.")


@dataclass(frozen=True, slots=True)
class ConplyentSettings:
    """Settings of the gateway for clients of conplyent."""

    port: int | None = setting(
        None,
        "Port for clients of conplyent, which cannot send a token; 0 picks a free port.",
        low=0,
        high=65535,
        shown="off",
    )
    host: str = setting("127.0.0.1", "Address of that port; every client that can connect to it can run commands.")
    max_message: int = setting(16 * 1024 * 1024, "Bytes that one message of such a client may have.", low=64 * 1024)


@dataclass(frozen=True, slots=True)
class ProcessesSettings:
    """Settings of the feature `processes`."""

    grace: float = setting(10.0, "Seconds between SIGTERM and SIGKILL when a program is stopped.", low=0, high=3600)
    base_port: int = setting(5000, "First of the ports that programs get in the variable PORT.", low=1, high=65535)
    console_bytes: int = setting(
        1024 * 1024, "Bytes of each program's output that are kept for clients that attach later.", low=1024
    )
    viewer_bytes: int = setting(
        4 * 1024 * 1024, "Bytes of output that are buffered for one slow client before it misses lines.", low=65536
    )
    sample_seconds: float = setting(
        5.0, "Seconds between two samples of the CPU and memory use of programs.", low=0.1, high=3600
    )
    keep_events_days: float = setting(30.0, "Days after which events of programs are deleted.", low=0.01)
    max_archive: int = setting(1024**3, "Bytes that a source archive may have.", low=1024)
    max_unpacked: int = setting(2 * 1024**3, "Bytes that a source archive may have when unpacked.", low=1024)
    max_files: int = setting(100_000, "Files that a source archive may contain.", low=1)
    download_timeout: float = setting(3600.0, "Seconds that the download of a source may take.", low=0.1)
    stall_timeout: float = setting(30.0, "Seconds without data after which a download is aborted.", low=0.1)
    memory_limit: int | None = setting(
        None, "Bytes of memory of a program whose request has no limit.", low=1024 * 1024, shown="no limit"
    )
    cpu_limit: float | None = setting(
        None, "Processors of a program whose request has no limit, such as 0.5.", low=0.01, high=1024, shown="no limit"
    )
    tasks_limit: int | None = setting(
        None, "Tasks of a program whose request has no limit.", low=1, high=4_194_304, shown="no limit"
    )
    cgroup: str = setting("auto", "Control group for limits: auto (one that is delegated), off, or a delegated folder.")
    dotenv: bool = setting(
        False, "Read .env files as python-dotenv does, with export, quotes, variables and values of several lines."
    )


@dataclass(frozen=True, slots=True)
class HostsSettings:
    """Settings of the feature `hosts`."""

    name: str | None = setting(None, "Name of the machine on which the service runs.", shown="the machine's name")
    keep_days: float = setting(14.0, "Days after which samples of machines are deleted.", low=0.01, high=36_500)
    keep_minutes_days: float = setting(
        365.0, "Days after which one-minute averages of samples are deleted.", low=0.01, high=36_500
    )
    ahead: float = setting(
        300.0, "Seconds that the time of a sample may be ahead of the service's clock.", low=0, high=86_400
    )
    oldest_days: float = setting(3_650.0, "Days that the time of a sample may lie in the past.", low=0.01, high=20_000)
    connections: int = setting(10_000, "WebSocket clients that report samples at the same time.", low=1)
    max_message: int = setting(256 * 1024, "Bytes that one WebSocket message of a client may have.", low=1024)
    message_rate: float = setting(
        10_000.0, "Messages per second above which a WebSocket client is slowed down; 0 means no limit.", low=0
    )
    prove_timeout: float = setting(
        30.0, "Seconds after which a WebSocket client that is not authenticated is disconnected.", low=0.05, high=3600
    )
    unproved: int = setting(2_000, "WebSocket clients at the same time that are not authenticated yet.", low=1)
    unproved_by_address: int = setting(
        1_000, "Unauthenticated WebSocket clients from one address (an IPv6 /64 counts as one).", low=1
    )
    heartbeat: float = setting(
        300.0,
        "Seconds of silence after which a WebSocket client is pinged; it gets half of that time to answer.",
        low=0.05,
        high=86_400,
    )
    open_monitor: bool = setting(False, "Show the load of the service's machine without a token.")
    disk: tuple[str, ...] = setting(
        (),
        "Folder on the service's machine, to measure the use of its file system, or disk such as nvme0n1, to measure "
        "its traffic; repeatable.",
        shown="/ and all physical disks",
    )
    net: tuple[str, ...] = setting(
        (),
        "Network interface of the service's machine whose traffic is counted, such as eth0 or eth*; repeatable.",
        shown="all physical interfaces",
    )
    csv_bytes: int = setting(10 * 1024 * 1024, "Size in bytes at which server_system_load.csv is rotated.", low=1024)
    csv_kept: int = setting(5, "Rotated files of server_system_load.csv that are kept.", low=0, high=1_000)


@dataclass(frozen=True, slots=True)
class TurretsSettings:
    """Settings of the feature `turrets`: the headquarters of load tests and its time limits."""

    hq: bool = setting(False, "Be the headquarters of load tests and listen for turrets.", name="hq")
    hq_host: str = setting("127.0.0.1", "Address on which the headquarters listens.", name="hq_host")
    hq_publish_port: int = setting(
        5000,
        "Port on which the headquarters publishes its orders; 0 picks a free port.",
        low=0,
        high=65535,
        name="hq_publish_port",
    )
    hq_rc_port: int = setting(
        5001,
        "Port on which the headquarters receives results and statuses; 0 picks a free port.",
        low=0,
        high=65535,
        name="hq_rc_port",
    )
    hq_external_port: int = setting(
        5002,
        "Port on which the headquarters forwards results; 0 picks a free port.",
        low=0,
        high=65535,
        name="hq_external_port",
    )
    hq_curve_key_file: Path | None = setting(
        None, "File with the headquarters' secret CURVE key; turrets need the public key.",
        name="hq_curve_key_file",
    )  # fmt: skip
    hq_turret_keys: Path | None = setting(
        None, "File with the public CURVE keys of the turrets that may connect, one per line; by default all may.",
        name="hq_turret_keys",
    )  # fmt: skip
    lost_after: float = setting(10.0, "Seconds of silence after which a turret counts as lost.", low=0.1, high=3600)
    quiet: float = setting(
        3.0, "Seconds without a result after which a turret of OCT counts as finished.", low=0.05, high=3600
    )
    drain: float = setting(
        60.0, "Seconds that the headquarters waits for the last results of a run.", low=0.1, high=86_400
    )
    wait: float = setting(600.0, "Seconds that a run waits for its turrets.", low=0.1, high=86_400)
    keep_days: float | None = setting(
        None, "Days after which load tests and their results are deleted.", low=0.01, shown="never deleted"
    )


@dataclass(frozen=True, slots=True)
class ExperimentsSettings:
    """Settings of the feature `experiments`."""

    keep_days: float | None = setting(
        None, "Days after which stored experiments are deleted.", low=0.01, shown="never deleted"
    )


@dataclass(frozen=True, slots=True)
class JoinSettings:
    """Settings of a service that is a node of another service."""

    url: str | None = setting(
        None, "Address of the service that this machine joins as a node, such as https://lab:8080.", name="join"
    )
    token_file: Path | None = setting(None, "File with a token of that service, needed to join the first time.")
    name: str | None = setting(None, "Name of this node.", shown="the machine's name")
    labels: tuple[str, ...] = setting((), "Label of this node, as KEY=VALUE or KEY; repeatable.", name="join_label")
    ca_file: Path | None = setting(None, "File of the certificates to trust for that service, as PEM.")


@dataclass(frozen=True, slots=True)
class AlertsSettings:
    """Settings of the feature `alerts`."""

    rules: tuple[str, ...] = setting((), "Rule, as NAME: CONDITION, such as 'busy: cpu > 90 for 5m'; repeatable.")
    receivers: tuple[str, ...] = setting(
        (),
        "Receiver, as NAME=ADDRESS, such as ops=https://chat.example.com/hooks/1 or team=mailto:a@example.com; "
        "repeatable.",
        secret=True,
    )
    secret_file: Path | None = setting(
        None, "File with the secret by which webhooks to receivers of these settings are signed."
    )
    tick: float = setting(10.0, "Seconds between two evaluations of the rules.", low=0.05, high=3600)
    settle: float = setting(
        60.0, "Seconds without a further measure after which a test run is judged.", low=0, high=3600
    )
    group_wait: float = setting(
        5.0, "Seconds that a notification waits for others, to be sent with them as one message.", low=0, high=3600
    )
    timeout: float = setting(15.0, "Seconds that one attempt to send a message may take.", low=0.1, high=600)
    keep_days: float = setting(
        365.0, "Days after which resolved alerts and sent notifications are deleted.", low=0.01, high=36_500
    )
    url: str | None = setting(
        None, "Address of the console, as people reach it; messages contain a link to the page of alerts."
    )
    public_only: bool = setting(False, "Send webhooks to public addresses only, and not to private ones.")
    ca_file: Path | None = setting(None, "File with further certificates to trust for webhooks and mail, as PEM.")
    mail_server: str | None = setting(
        None, "Server for mail: smtps://USER@HOST, smtp://USER@HOST (with STARTTLS), or smtp+plain://HOST."
    )
    mail_from: str | None = setting(None, "Sender of mail.", shown="smartmob@ the machine's name")
    mail_password_file: Path | None = setting(None, "File with the password of the mail server.")


@dataclass(frozen=True, slots=True)
class ConsoleSettings:
    """Settings of the console."""

    peers: tuple[str, ...] = setting(
        (), "Address of the service on another machine on which the console may run commands; repeatable."
    )
    peers_token_file: Path | None = setting(None, "File with the token for those services.")
