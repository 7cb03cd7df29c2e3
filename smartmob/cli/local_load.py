"""`smartmob fire` without another terminal: a headquarters of its own and a turret here, which end with the command."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar

import click
import orjson

from smartmob.cli import printing
from smartmob.cli.project_package import with_config
from smartmob.cli.temporary_service import trial
from smartmob.client.http import ConnectionBroken, RestClient
from smartmob.errors import StartupError
from smartmob.turrets.project_archive import find_config

_OWN_PORTS = ("--hq", "--hq-publish-port", "0", "--hq-rc-port", "0", "--hq-external-port", "0")
_SUFFIXES = (".tar.gz", ".tgz", ".tar.xz", ".tar.bz2", ".tar")
_LONGEST_NAME = 200  # characters of a run's name

T = TypeVar("T")


def with_headquarters(command: Callable[..., Awaitable[T]]) -> Callable[..., Awaitable[T]]:
    """Let a command that takes a RestClient and `services` start what is missing, and stop it at the end.

    That is done for the default address only: a service that was named and does not answer is an error.
    """

    @wraps(command)
    async def run(rest: RestClient, **options: Any) -> T:
        with _ended_like_interrupted():
            elsewhere = options["services"] or options["cluster"] is not None
            if elsewhere or options["no_wait"] or not _is_default_server():
                return await command(rest, **options)
            async with _at_hand(rest) as own:
                if own is None:
                    return await command(rest, **options)
                report = options["target"] or Path(f"{name_of(options['project'])}-report.html")
                result = await command(own, **options | {"services": (own.url,), "target": report})
                printing.say(
                    f"The report is in {report}; the headquarters that was started for it ends with this command"
                )
                return result

    return run


@contextmanager
def _ended_like_interrupted() -> Iterator[None]:
    """Treat SIGTERM and SIGHUP like CTRL-C until the end of the block, so that a run does not outlive its command.

    A pipeline that is cancelled sends the one, a terminal that is closed the other. A signal that is ignored, as under
    nohup, stays ignored.
    """
    loop = asyncio.get_running_loop()
    numbers = [number for number in (signal.SIGTERM, signal.SIGHUP) if signal.getsignal(number) != signal.SIG_IGN]
    for number in numbers:
        loop.add_signal_handler(number, signal.raise_signal, signal.SIGINT)
    try:
        yield
    finally:
        for number in numbers:
            loop.remove_signal_handler(number)


def name_of(project: Path) -> str:
    """Return the name of a run: that of the project's folder, or of its package without suffix."""
    name = project.absolute().name or "load"
    return next((name.removesuffix(suffix) for suffix in _SUFFIXES if name.endswith(suffix)), name)[:_LONGEST_NAME]


def named(package: bytes, project: Path) -> bytes:
    """Return a package whose configuration has a name: its own, or that of the project's folder.

    A configuration that cannot be read stays unchanged.
    """
    try:
        config = orjson.loads(find_config(package))
    except orjson.JSONDecodeError:
        return package
    if not isinstance(config, dict) or config.get("name"):
        return package
    return with_config(package, config | {"name": name_of(project)})


def _is_default_server() -> bool:
    context = click.get_current_context(silent=True)
    return context is not None and context.get_parameter_source("server") is click.core.ParameterSource.DEFAULT


@asynccontextmanager
async def _at_hand(rest: RestClient) -> AsyncIterator[RestClient | None]:
    """Give a client of a new headquarters on this machine, or None if the service of `rest` is one."""
    try:
        if (await rest.get("/turrets"))["headquarters"] is not None:
            yield None
            return
        why = f"{rest.url} is not a headquarters"
    except ConnectionBroken:
        why = f"no service answers at {rest.url}"
    printing.say(f"{why}: starting a headquarters and a turret here for this run ...")
    with ExitStack() as stack:
        try:
            started = await asyncio.to_thread(stack.enter_context, trial("fire", *_OWN_PORTS))
        except StartupError as error:
            raise StartupError(f"{why}, and none could be started here: {error}") from None
        printing.say(f"The headquarters answers at {started.url}")
        async with RestClient(started.url) as own:
            yield own
