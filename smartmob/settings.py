"""All settings of the service: a frozen value, built once from flags, environment, configuration file and defaults.

Only `smartmob.environment` reads the environment. Each setting is one field of `Settings` or of a dataclass in
`smartmob.feature_settings`. The flag (`--metrics-page-size`), the variable (`SMARTMOB_METRICS_PAGE_SIZE`), the key of
the configuration file (`metrics_page_size`, or `page_size` in the table `[metrics]`), the help text and the reference
page are derived from the field.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from smartmob.errors import SettingsError
from smartmob.feature_settings import (
    AlertsSettings,
    CommandsSettings,
    ConplyentSettings,
    ConsoleSettings,
    DatabaseSettings,
    ExperimentsSettings,
    HostsSettings,
    JoinSettings,
    MetricsSettings,
    ProcessesSettings,
    TurretsSettings,
)
from smartmob.options import PREFIX, Option, options, setting


@dataclass(frozen=True, slots=True)
class Settings:
    """The settings of one service."""

    host: str = setting("127.0.0.1", "Address to listen on.")
    port: int = setting(8080, "Port to listen on; 0 picks a free port.", low=0, high=65535)
    workers: int = setting(
        1, "Processes that receive and list metrics and samples; with 1 the service is one process.", low=1, high=16
    )
    data_dir: Path = setting(
        Path(),
        "Folder for all data.",
        shown="the platform's user data folder; /var/lib/smartmob for root",
    )
    service_name: str | None = setting(
        None,
        "Name of this service in a database that other services share; its programs are stored under this name.",
        shown="an id in the data folder",
    )
    service_url: str | None = setting(
        None, "Address by which other services on the same database reach this one, such as http://10.0.0.7:8080."
    )
    token_file: Path | None = setting(None, "File with the token that clients must send (also SMARTMOB_TOKEN).")
    tls_cert: Path | None = setting(None, "File with the certificate, as PEM; with it the service speaks HTTPS only.")
    tls_key: Path | None = setting(None, "File with the private key of the certificate, as PEM.")
    insecure: bool = setting(
        False, "Allow any address without a token; every client that can connect can run programs."
    )
    allow_host: tuple[str, ...] = setting(
        (), "Additional host name by which clients may address the service; repeatable."
    )
    trusted_proxy: tuple[str, ...] = setting(
        (), "Address or network of a reverse proxy whose header has the client's address; repeatable."
    )
    proxy_header: str = setting(
        "x-forwarded-for",
        "The header that the trusted proxies write; the other one is ignored.",
        choices=("x-forwarded-for", "forwarded"),
    )
    registration: bool | None = setting(
        None, "Allow machines to register without a token.", shown="only if the service has no token"
    )
    auth_tries: int = setting(
        30,
        "Wrong tokens, passwords and client ids that one address may send per minute; 0 means no limit.",
        low=0,
        high=100_000,
    )
    max_body: int = setting(16 * 1024 * 1024, "Bytes that the body of a request may have.", low=1024)
    body_timeout: float = setting(30.0, "Seconds without data after which the body of a request is refused.", low=0.1)
    body_least_rate: float = setting(
        1_000.0, "Bytes per second that a body must reach after --body-timeout; 0 means no limit.", low=0
    )
    idle_timeout: float = setting(
        75.0, "Seconds after which a connection without a complete request head is closed.", low=0.1
    )
    viewers: int = setting(
        1_000,
        "Concurrent clients that watch a console, a load test, a job or the pages, or run a command over HTTP.",
        low=1,
    )
    viewers_by_address: int = setting(500, "Clients that watch from one address (an IPv6 /64 counts as one).", low=1)
    least_free: int = setting(
        512 * 1024 * 1024,
        "Free bytes on the disk that sources, environments, jobs and uploads leave for the database.",
        low=0,
    )
    stop_timeout: float = setting(
        30.0, "Seconds that active requests get to finish when the service stops.", low=0, high=3600
    )
    log_format: str | None = setting(
        None, "Format of log lines.", choices=("kv", "json", "words"), shown="words on terminals, else kv"
    )
    audit_keep_days: float = setting(
        365.0, "Days after which entries of the audit log are deleted.", low=0.01, high=36_500
    )
    utc: bool = setting(False, "Write the times of log lines in UTC.")
    no_restore: bool = setting(False, "Do not start the programs that ran when the service stopped.")
    logging_endpoint: str = setting(
        "file:///dev/stdout", "Destination of log lines: file:///PATH or fluent://HOST:PORT/APP."
    )
    database: DatabaseSettings = field(default_factory=DatabaseSettings)
    metrics: MetricsSettings = field(default_factory=MetricsSettings)
    commands: CommandsSettings = field(default_factory=CommandsSettings)
    conplyent: ConplyentSettings = field(default_factory=ConplyentSettings)
    processes: ProcessesSettings = field(default_factory=ProcessesSettings)
    hosts: HostsSettings = field(default_factory=HostsSettings)
    turrets: TurretsSettings = field(default_factory=TurretsSettings)
    experiments: ExperimentsSettings = field(default_factory=ExperimentsSettings)
    join: JoinSettings = field(default_factory=JoinSettings)
    console: ConsoleSettings = field(default_factory=ConsoleSettings)
    alerts: AlertsSettings = field(default_factory=AlertsSettings)
    token: str | None = field(default=None, repr=False)


OPTIONS: tuple[Option, ...] = options(Settings)
_BY_NAME = {option.name: option for option in OPTIONS}
_BY_GROUP_AND_FIELD = {f"{option.group}_{option.attribute}": option.name for option in OPTIONS if option.group}
"""The names of settings by GROUP_FIELD, as the tables of the configuration file give them."""


def load(flags: Mapping[str, object], env: Mapping[str, str], file: Path | None = None) -> Settings:
    """Return the settings: flags override `SMARTMOB_*`, which override the file, which overrides defaults.

    `flags` maps the names of the given options (`metrics_page_size`) to their values. Raises SettingsError.
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
        if "database_read_url" in stronger:
            values.pop("database_read_url_file", None)
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
    if read_url_file := nested.get("database", {}).get("read_url_file"):
        nested["database"]["read_url"] = secret(read_url_file, "--database-read-url-file")
    return Settings(
        **nested.get("", {}),
        database=DatabaseSettings(**nested.get("database", {})),
        metrics=MetricsSettings(**nested.get("metrics", {})),
        commands=CommandsSettings(**nested.get("commands", {})),
        conplyent=ConplyentSettings(**nested.get("conplyent", {})),
        processes=ProcessesSettings(**nested.get("processes", {})),
        hosts=HostsSettings(**nested.get("hosts", {})),
        turrets=TurretsSettings(**nested.get("turrets", {})),
        experiments=ExperimentsSettings(**nested.get("experiments", {})),
        join=JoinSettings(**nested.get("join", {})),
        console=ConsoleSettings(**nested.get("console", {})),
        alerts=AlertsSettings(**nested.get("alerts", {})),
        token=token,
    )


def default_data_dir() -> Path:
    """Return the default data directory."""
    # PostgreSQL refuses to run as root, so the database of a service that runs as root has another user, who cannot
    # reach a folder below /root.
    if os.geteuid() == 0:
        return Path("/var/lib/smartmob")
    import platformdirs

    return Path(platformdirs.user_data_path("smartmob"))


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
        # Clients differ in how they encode other characters in a header.
        raise SettingsError(f"{source}: a token may have printable ASCII characters only")
    return token


def secret(path: Path, source: str) -> str:
    """Return the text in the file `path`, without surrounding blanks; raises SettingsError that names `source`."""
    try:
        text = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise SettingsError(f"{source}: cannot read {path}: {reason}") from None
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
    import tomllib

    try:
        document = tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError(f"cannot read the configuration file {file}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{file} is not valid TOML: {error}") from None
    values = {}
    for key, given in _flatten(document):
        name = _BY_GROUP_AND_FIELD.get(key, key)
        if name not in _BY_NAME:
            import difflib

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
