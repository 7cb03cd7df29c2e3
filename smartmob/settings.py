"""Every setting of the service: one frozen value, built once from flags, environment, file and defaults.

This is the only reader of the environment. A setting is one field of a dataclass below; from it come the flag
(`--metrics-page-size`), the variable (`SMARTMOB_METRICS_PAGE_SIZE`), the key of the configuration file
(`metrics_page_size`, or `page_size` in the table `[metrics]`), the help text and the reference page.
"""

from __future__ import annotations

import difflib
import json
import os
import sys
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import platformdirs

from smartmob.errors import SettingsError
from smartmob.options import PREFIX, Option, options, setting


@dataclass(frozen=True, slots=True)
class DatabaseSettings:
    """Where the data is kept, and how long the service waits for it."""

    url: str | None = setting(None, "PostgreSQL to use instead of the embedded one (also DATABASE_URL).", secret=True)
    url_file: Path | None = setting(None, "File that holds the database URL, so that its password is in no listing.")
    wait: float = setting(30.0, "Seconds to wait at start for an external database.", low=0, high=3600)
    patience: float = setting(
        5.0, "Seconds that an accepted request waits for a database that went away.", low=0, high=600
    )
    query_timeout: float = setting(60.0, "Seconds after which a query without an answer is given up.", low=0.01)
    pool_size: int = setting(8, "Connections kept for reading.", low=1, high=200)


@dataclass(frozen=True, slots=True)
class MetricsSettings:
    """Settings of the feature `metrics`."""

    page_size: int = setting(500, "Rows on one page of a listing.", low=1, high=10_000)
    keep_days: float | None = setting(
        None, "Days after their arrival when sessions and measures are removed.", low=0.01, shown="for ever"
    )
    run_window: float = setting(
        5.0, "Seconds within which the sessions of parallel workers count as one run.", low=0, high=3600
    )


@dataclass(frozen=True, slots=True)
class CommandsSettings:
    """Settings of the feature `commands`."""

    modules: tuple[str, ...] = setting(
        (), "Module with commands of your own, as Python imports it; repeatable.", name="commands"
    )
    keep_days: float = setting(30.0, "Days after their end when jobs and their output are removed.", low=0.01)
    job_output: int = setting(
        256 * 1024 * 1024, "Bytes of output that are kept of one job; the beginning goes first.", low=64 * 1024
    )
    total_output: int = setting(
        4 * 1024 * 1024 * 1024,
        "Bytes of output that are kept of all jobs; the first finished goes first.",
        low=64 * 1024,
    )
    least_free: int | None = setting(
        None,
        "Bytes of the disk that jobs and files of clients leave free; a job is stopped there.",
        low=0,
        shown="as --least-free",
    )
    most_jobs: int = setting(1_000, "Jobs that may run at a time.", low=1, high=100_000)
    connections: int = setting(1_000, "WebSocket clients of commands at the same time.", low=1)
    connections_by_address: int = setting(500, "The same, of one address (of an IPv6 network of 64 bits).", low=1)
    first_timeout: float = setting(
        60.0,
        "Seconds after which a WebSocket client of commands is disconnected that has sent nothing.",
        low=0.05,
        high=3600,
    )
    kill_grace: float = setting(5.0, "Seconds that a job gets to end before it is killed.", low=0, high=3600)
    reboot: str = setting("/sbin/reboot", "Program of the command reboot; empty switches it off.")
    shutdown: str = setting("/sbin/shutdown now", "Program of the command shutdown; empty switches it off.")


@dataclass(frozen=True, slots=True)
class ConplyentSettings:
    """Settings of the door for stock conplyent clients."""

    port: int | None = setting(
        None,
        "Port for stock conplyent clients, which send no token; 0 takes a free one.",
        low=0,
        high=65535,
        shown="off",
    )
    host: str = setting("127.0.0.1", "Address of that port: whoever reaches it runs commands.")
    max_message: int = setting(16 * 1024 * 1024, "Bytes that one message of a stock client may have.", low=64 * 1024)


@dataclass(frozen=True, slots=True)
class ProcessesSettings:
    """Settings of the feature `processes`."""

    grace: float = setting(10.0, "Seconds that a process gets to end after SIGTERM.", low=0, high=3600)
    base_port: int = setting(5000, "First of the ports that processes get in PORT.", low=1, high=65535)
    console_bytes: int = setting(
        1024 * 1024, "Bytes of each process's output that are kept for those who attach later.", low=1024
    )
    viewer_bytes: int = setting(
        4 * 1024 * 1024, "Bytes that may wait for one slow viewer before it misses lines.", low=65536
    )
    sample_seconds: float = setting(5.0, "Seconds between two samples of what processes use.", low=0.1, high=3600)
    keep_events_days: float = setting(30.0, "Days after which what happened to processes is removed.", low=0.01)
    max_archive: int = setting(1024**3, "Bytes that a source archive may have.", low=1024)
    max_unpacked: int = setting(2 * 1024**3, "Bytes that may come out of a source archive.", low=1024)
    max_files: int = setting(100_000, "Files that may come out of a source archive.", low=1)
    download_timeout: float = setting(3600.0, "Seconds that the download of a source may take.", low=0.1)
    stall_timeout: float = setting(30.0, "Seconds without a byte after which a download is given up.", low=0.1)


@dataclass(frozen=True, slots=True)
class HostsSettings:
    """Settings of the feature `hosts`."""

    name: str | None = setting(None, "Name of the service's own machine.", shown="the machine's name")
    keep_days: float = setting(14.0, "Days for which samples of machines are kept.", low=0.01, high=36_500)
    keep_minutes_days: float = setting(
        365.0, "Days for which one-minute roll-ups of samples are kept.", low=0.01, high=36_500
    )
    ahead: float = setting(300.0, "Seconds that a sample may lie in the future of the service.", low=0, high=86_400)
    oldest_days: float = setting(3_650.0, "Days that a sample may lie in the past.", low=0.01, high=20_000)
    connections: int = setting(10_000, "WebSocket clients at the same time.", low=1)
    max_message: int = setting(256 * 1024, "Bytes that one WebSocket message of a client may have.", low=1024)
    message_rate: float = setting(
        10_000.0, "Messages a second that one WebSocket client may send before it is slowed down; 0 for any.", low=0
    )
    prove_timeout: float = setting(
        30.0, "Seconds after which a WebSocket client is disconnected that has not proved itself.", low=0.05, high=3600
    )
    unproved: int = setting(2_000, "WebSocket clients at the same time that have not yet proved themselves.", low=1)
    unproved_by_address: int = setting(1_000, "The same, of one address (of an IPv6 network of 64 bits).", low=1)
    heartbeat: float = setting(
        300.0,
        "Seconds of silence after which a WebSocket client is pinged; half of that later it is disconnected.",
        low=0.05,
        high=86_400,
    )
    open_monitor: bool = setting(False, "Show the load of the service's machine without a token.")
    disk: Path = setting(Path("/"), "Disk of the service's machine to watch, by any path on it.")
    csv_bytes: int = setting(10 * 1024 * 1024, "Bytes after which server_system_load.csv is rotated.", low=1024)
    csv_kept: int = setting(5, "Rotated files of server_system_load.csv to keep.", low=0, high=1_000)


@dataclass(frozen=True, slots=True)
class TurretsSettings:
    """Settings of the feature `turrets`: the headquarters of load tests, and how patient it is."""

    hq: bool = setting(False, "Be the headquarters of load tests: listen for turrets.", name="hq")
    hq_host: str = setting("127.0.0.1", "Address on which the headquarters listens.", name="hq_host")
    hq_publish_port: int = setting(
        5000, "Port of the headquarters' orders; 0 takes a free one.", low=0, high=65535, name="hq_publish_port"
    )
    hq_rc_port: int = setting(
        5001, "Port of the headquarters for results and statuses.", low=0, high=65535, name="hq_rc_port"
    )
    hq_external_port: int = setting(
        5002, "Port on which the headquarters passes results on.", low=0, high=65535, name="hq_external_port"
    )
    hq_curve_key_file: Path | None = setting(
        None, "File that holds the headquarters' secret CURVE key; turrets need the public one.",
        name="hq_curve_key_file",
    )  # fmt: skip
    hq_turret_keys: Path | None = setting(
        None, "File with the public CURVE keys of the turrets that may connect, one a line; without it any may.",
        name="hq_turret_keys",
    )  # fmt: skip
    lost_after: float = setting(10.0, "Seconds of silence after which a turret counts as lost.", low=0.1, high=3600)
    quiet: float = setting(
        3.0, "Seconds without a result after which turrets of OCT count as finished.", low=0.05, high=3600
    )
    drain: float = setting(60.0, "Seconds that the results of a run get to come in.", low=0.1, high=86_400)
    wait: float = setting(600.0, "Seconds that a run waits for its turrets.", low=0.1, high=86_400)
    keep_days: float | None = setting(
        None, "Days after which load tests and their results are removed.", low=0.01, shown="for ever"
    )


@dataclass(frozen=True, slots=True)
class ConsoleSettings:
    """Settings of the console."""

    peers: tuple[str, ...] = setting(
        (), "Address of the service of another machine on which the console runs commands, too; repeatable."
    )
    peers_token_file: Path | None = setting(None, "File that holds the token which those services want.")


@dataclass(frozen=True, slots=True)
class Settings:
    """The settings of one service."""

    host: str = setting("127.0.0.1", "Address to listen on.")
    port: int = setting(8080, "Port to listen on; 0 takes a free one.", low=0, high=65535)
    data_dir: Path = setting(
        Path(),
        "Folder of everything that is kept.",
        shown="the platform's user data folder; /var/lib/smartmob for root",
    )
    token_file: Path | None = setting(None, "File that holds the token clients must send (also SMARTMOB_TOKEN).")
    tls_cert: Path | None = setting(None, "File of the certificate, as PEM: the service speaks HTTPS only.")
    tls_key: Path | None = setting(None, "File of the certificate's private key, as PEM.")
    insecure: bool = setting(False, "Listen on any address without a token: everybody who connects is trusted.")
    allow_host: tuple[str, ...] = setting((), "Further name under which clients may address the service; repeatable.")
    registration: bool | None = setting(
        None, "Let everybody register machines.", shown="only without a token; with one, registering needs it"
    )
    auth_tries: int = setting(
        30, "Wrong tokens, passwords and client ids that one address may show a minute; 0 for any.", low=0, high=100_000
    )
    max_body: int = setting(16 * 1024 * 1024, "Bytes that one request's body may have.", low=1024)
    body_timeout: float = setting(30.0, "Seconds without a byte after which a request's body is given up.", low=0.1)
    body_least_rate: float = setting(
        1_000.0, "Bytes a second with which a request's body must come beyond that time; 0 for any.", low=0
    )
    idle_timeout: float = setting(
        75.0, "Seconds after which a connection is closed that has not sent a whole head of a request.", low=0.1
    )
    viewers: int = setting(
        1_000,
        "Clients at the same time that follow a console, a load test, a job's output or what the pages show.",
        low=1,
    )
    viewers_by_address: int = setting(500, "The same, of one address (of an IPv6 network of 64 bits).", low=1)
    least_free: int = setting(
        512 * 1024 * 1024,
        "Bytes of the disk that sources, their environments, jobs and files of clients leave free for the database.",
        low=0,
    )
    stop_timeout: float = setting(30.0, "Seconds that requests under way get to finish at stop.", low=0, high=3600)
    log_format: str = setting("kv", "Format of log lines.", choices=("kv", "json"))
    utc: bool = setting(False, "Write log times in UTC.")
    no_restore: bool = setting(False, "Leave the processes of the last time stopped.")
    logging_endpoint: str = setting("file:///dev/stdout", "Where log lines go: file:///PATH or fluent://HOST:PORT/APP.")
    database: DatabaseSettings = field(default_factory=DatabaseSettings)
    metrics: MetricsSettings = field(default_factory=MetricsSettings)
    commands: CommandsSettings = field(default_factory=CommandsSettings)
    conplyent: ConplyentSettings = field(default_factory=ConplyentSettings)
    processes: ProcessesSettings = field(default_factory=ProcessesSettings)
    hosts: HostsSettings = field(default_factory=HostsSettings)
    turrets: TurretsSettings = field(default_factory=TurretsSettings)
    console: ConsoleSettings = field(default_factory=ConsoleSettings)
    token: str | None = field(default=None, repr=False)


OPTIONS: tuple[Option, ...] = options(Settings)
_BY_NAME = {option.name: option for option in OPTIONS}
_BY_PLACE = {f"{option.group}_{option.attribute}": option.name for option in OPTIONS if option.group}
"""Names as tables of the file make them: those of most settings, and of a few that have a shorter one."""


SECRETS = (PREFIX + "TOKEN", "DATABASE_URL", *(option.variable for option in OPTIONS if option.secret))
"""The variables that may hold secrets."""

_HANDED_OVER = PREFIX + "SECRETS_FD"
_handed: dict[str, str] = {}


def hide_secrets() -> None:
    """Take the secrets out of the environment that /proc shows to every program of the same user, where there is one.

    What /proc shows is what a program was started with, so it is started anew, as the same process, without them; they
    are handed over in memory, by a descriptor that is closed at once.
    """
    if (descriptor := os.environ.pop(_HANDED_OVER, "")).isdecimal():
        with open(int(descriptor), encoding="utf-8", errors="surrogateescape") as file:
            _handed.update(json.load(file))
    given = {name: os.environ[name] for name in SECRETS if os.environ.get(name)}
    if not given or not hasattr(os, "memfd_create"):
        return
    memory = os.memfd_create("secrets", flags=0)
    os.write(memory, json.dumps({**_handed, **given}).encode())
    os.lseek(memory, 0, os.SEEK_SET)
    kept = {name: value for name, value in os.environ.items() if name not in given}
    os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], kept | {_HANDED_OVER: str(memory)})  # noqa: S606


def environment() -> dict[str, str]:
    """Return the environment of this process, with the secrets that were taken out of it."""
    return {**os.environ, **_handed}


_OWN = frozenset(("DATABASE_URL", "NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC"))


def inherited() -> dict[str, str]:
    """Return the environment that programs inherit from the service.

    It is without the settings, which may be secrets, and without what systemd says to the service alone.
    """
    return {name: value for name, value in os.environ.items() if not name.startswith(PREFIX) and name not in _OWN}


def load(flags: Mapping[str, object], env: Mapping[str, str], file: Path | None = None) -> Settings:
    """Return the settings: flags before `SMARTMOB_*` before the file before defaults.

    `flags` holds option names (`metrics_page_size`) and only those that were given. Raises SettingsError.
    """
    file = file or (Path(env[PREFIX + "CONFIG"]) if env.get(PREFIX + "CONFIG") else None)
    values: dict[str, Any] = {}
    for stronger in (
        _from_file(file) if file else {},
        _from_environment(env),
        {name: _BY_NAME[name].parse(given, _BY_NAME[name].flag) for name, given in flags.items()},
    ):
        if "database_url" in stronger:
            values.pop("database_url_file", None)
        values |= stronger
    if "database_url" not in values and "database_url_file" not in values and env.get("DATABASE_URL"):
        values["database_url"] = env["DATABASE_URL"]
    values["data_dir"] = (values.get("data_dir") or default_data_dir()).absolute()
    return _assemble(values, _token(flags, env, values))


def _assemble(values: Mapping[str, Any], token: str | None) -> Settings:
    nested: dict[str, dict[str, Any]] = {}
    for name, value in values.items():
        option = _BY_NAME[name]
        nested.setdefault(option.group, {})[option.attribute] = value
    if url_file := nested.get("database", {}).get("url_file"):
        nested["database"]["url"] = secret(url_file, "--database-url-file")
    return Settings(
        **nested.get("", {}),
        database=DatabaseSettings(**nested.get("database", {})),
        metrics=MetricsSettings(**nested.get("metrics", {})),
        commands=CommandsSettings(**nested.get("commands", {})),
        conplyent=ConplyentSettings(**nested.get("conplyent", {})),
        processes=ProcessesSettings(**nested.get("processes", {})),
        hosts=HostsSettings(**nested.get("hosts", {})),
        turrets=TurretsSettings(**nested.get("turrets", {})),
        console=ConsoleSettings(**nested.get("console", {})),
        token=token,
    )


def default_data_dir() -> Path:
    """Return where data is kept when nothing else is said."""
    # A folder below /root can be reached by no other user, so the database of a service that runs as root (which
    # PostgreSQL itself refuses to do) would have no place there.
    return Path("/var/lib/smartmob") if os.geteuid() == 0 else Path(platformdirs.user_data_path("smartmob"))


def _token(flags: Mapping[str, object], env: Mapping[str, str], values: Mapping[str, Any]) -> str | None:
    if "token_file" not in flags and env.get(PREFIX + "TOKEN"):
        token, source = env[PREFIX + "TOKEN"].strip(), PREFIX + "TOKEN"
    elif values.get("token_file"):
        token, source = secret(values["token_file"], "--token-file"), "--token-file"
    else:
        return None
    if not token:
        raise SettingsError(f"{source}: the token is empty")
    if not (token.isascii() and token.isprintable()):
        # Clients encode other characters of a header each in their own way, if at all.
        raise SettingsError(f"{source}: a token may have printable ASCII characters only")
    return token


def secret(path: Path, source: str) -> str:
    """Return what the file `path` holds; raises SettingsError that names `source`."""
    try:
        text = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{source}: cannot read {path}: {error}") from None
    if not text:
        raise SettingsError(f"{source}: {path} is empty")
    return text


def _from_environment(env: Mapping[str, str]) -> dict[str, Any]:
    return {
        option.name: option.parse(env[option.variable], option.variable)
        for option in OPTIONS
        if env.get(option.variable, "") != ""
    }


def _from_file(file: Path) -> dict[str, Any]:
    try:
        document = tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError(f"cannot read the configuration file {file}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{file} is not valid TOML: {error}") from None
    values = {}
    for key, given in _flatten(document):
        name = _BY_PLACE.get(key, key)
        if name not in _BY_NAME:
            close = difflib.get_close_matches(name, _BY_NAME, n=1)
            hint = f"; did you mean {close[0]}?" if close else ""
            raise SettingsError(f"{file}: there is no setting {name}{hint}")
        values[name] = _BY_NAME[name].parse(given, f"{file}: {name}")
    return values


def _flatten(table: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in table.items():
        if isinstance(value, dict):
            yield from _flatten(value, f"{prefix}{key}_")
        else:
            yield prefix + key, value
