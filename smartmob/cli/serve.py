"""`smartmob serve`, also known as `smartmob-agent`: runs the service."""

from __future__ import annotations

import asyncio
import gc
import importlib.util
import mimetypes
import signal
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from smartmob import __version__, authorities
from smartmob.cli import service_words
from smartmob.embedded_service import check_installed
from smartmob.environment import environment
from smartmob.options import Option
from smartmob.settings import OPTIONS, Settings, load

if TYPE_CHECKING:  # imported when the settings are known
    from socket import socket

    from smartmob.app import Service
    from smartmob.cli.worker_start import Forked
    from smartmob.kernel.embedded.early_start import EarlyStart
    from smartmob.kernel.http.server import Accept, Front


def flag(option: Option) -> Callable[[Any], Any]:
    """Return the click option of a setting. It has no default, so that only options that are given override it."""
    text = option.help
    if option.default_text:
        text += f"  [default: {option.default_text}]"
    if option.kind is bool:
        positive = option.flag.removeprefix("--no-")
        other = f"--no-{option.flag[2:]}" if positive == option.flag else f"--{positive}"
        return click.option(f"{option.flag}/{other}", option.name, default=None, help=text)
    if option.choices:
        return click.option(option.flag, option.name, type=click.Choice(option.choices), help=text)
    metavar = {Path: "PATH", int: "N", float: "N"}.get(option.kind, "TEXT")
    return click.option(option.flag, option.name, metavar=metavar, multiple=option.repeatable, help=text)


def with_settings(function: Any) -> Any:
    """Add an option for each setting of the service to a command."""
    for option in reversed(OPTIONS):
        function = flag(option)(function)
    return function


@click.command("serve", context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="smartmob")
@click.option("--config", type=click.Path(dir_okay=False, path_type=Path), help="File of settings, in TOML.")
@with_settings
def command(config: Path | None, **flags: Any) -> None:
    """Run the service until CTRL-C, SIGINT or SIGTERM.

    Every option is also an environment variable (--log-format: SMARTMOB_LOG_FORMAT) and a key of the file given by
    --config (log_format). Flags win over variables, variables over the file.
    """
    gc.disable()  # until the service runs: imports make no garbage, and the search for it took a tenth of the start
    try:
        _start(config, flags)
    finally:
        gc.enable()


def _start(config: Path | None, flags: dict[str, Any]) -> None:
    from smartmob.kernel.subprocesses import umask

    umask.make_private()
    given = {name: value for name, value in flags.items() if value is not None and value != ()}
    settings = load(given, environment(), config)
    check_installed(embedded=settings.database.url is None)
    with hidden("rich"), hidden("greenlet"):
        # It takes rich for tracebacks in colours where it finds it: 3 MB that a log of plain lines never uses. The
        # service has no greenlets.
        importlib.import_module("structlog")

    from smartmob.kernel.subprocesses import pid1

    pid1.become_init()  # first, because process 1 keeps the memory of this moment

    from smartmob.kernel.auth.bind_check import check_bind, is_loopback

    check_bind(settings.host, settings.token, settings.insecure)

    variable = "SMARTMOB_TOKEN" if "token_file" not in given and environment().get("SMARTMOB_TOKEN") else None
    with _begun(settings) as begun:
        _serve(settings, variable, *begun, loopback=is_loopback(settings.host))


@contextmanager
def _begun(settings: Settings) -> Iterator[tuple[socket | None, EarlyStart | None]]:
    """Bind the port and begin to start an embedded database; they end with the block unless the service took them over.

    A service with workers does both later: it forks, which it must not do while the thread of this start runs. A
    database that does not exist yet is made later, too, so that a service with wrong settings leaves nothing behind.
    """
    if settings.workers > 1:
        yield None, None
        return

    from smartmob.kernel.http import bound_sockets

    with bound_sockets.bind(settings.host, settings.port) as sock:
        from smartmob.kernel.embedded import early_start

        if settings.database.url is not None or not (settings.data_dir / early_start.FOLDER).exists():
            yield sock, None
            return
        early = early_start.begin(settings.data_dir)
        try:
            yield sock, early
        finally:
            early.abandon()


def _serve(
    settings: Settings,
    token_variable: str | None,
    sock: socket | None,
    early: EarlyStart | None,
    *,
    loopback: bool,
) -> None:
    """Run the service; `token_variable` is the environment variable that its token came from, or None.

    It listens on the socket `sock`, and `early` has begun already.
    """
    mimetypes.init(())  # aiohttp would read the types of the machine: 0.4 MB for files that the service does not serve
    with authorities.read_late(importing="aiohttp"):
        importlib.import_module("aiohttp")

    from smartmob.app import build
    from smartmob.commands.events import CloseRequested
    from smartmob.kernel.observability import log
    from smartmob.kernel.observability.event_logger import get_logger

    terminal = sys.stdout is not None and sys.stdout.isatty()
    log_format = settings.log_format or ("words" if terminal else "kv")
    # Before the log is opened, which may start a thread, with which a process must not fork.
    forked = _forked(settings, log_format) if settings.workers > 1 else None
    shared = forked is not None
    logs = log.configure(log_format, settings.utc, settings.logging_endpoint, service_words.sentence, shared=shared)
    if terminal:
        click.echo(service_words.announced())
    if token_variable is not None and not loopback:
        get_logger().warning("token.from_environment", host=settings.host, variable=token_variable)
    if forked is None:
        service, front = build(settings, logs.access, early=early), None
    else:
        service, front = forked.owner(settings, logs.access)

    service.bus.subscribe(CloseRequested, lambda _: signal.raise_signal(signal.SIGTERM))

    async def announce(host: str, port: int) -> None:
        click.echo(service_words.started(settings, host, port, token_variable, loopback=loopback))

    def force_stop() -> None:
        service.force_stop()
        logs.close()

    try:
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            on_ready = announce if terminal else None
            listen = _listen(service, settings, front, sock, force_stop=force_stop, on_ready=on_ready)
            runner.run(logs.during(listen))
    finally:
        logs.close()
        if forked is not None:
            forked.close()


async def _listen(
    service: Service,
    settings: Settings,
    front: Front | None,
    sock: socket | None,
    *,
    force_stop: Callable[[], None],
    on_ready: Callable[[str, int], Awaitable[None]] | None,
) -> None:
    from smartmob.kernel.http import server

    join = _joining(service, settings)
    # Objects that live as long as the service are left out of garbage collections, and collections are rarer. With the
    # defaults, they took 2 % of the time under load, and caused the slowest answers.
    gc.freeze()
    gc.set_threshold(10_000, 20, 20)
    gc.enable()
    await server.serve(
        service.app,
        service.gate,
        settings,
        on_stop=service.announce_stop,
        force_stop=force_stop,
        drain=service.drain,
        on_serving=join,
        on_ready=on_ready,
        front=front,
        sock=sock,
    )


def _joining(service: Service, settings: Settings) -> Callable[[Accept], None] | None:
    """Return the function that joins this node to another service, or None if it joins none; raises SettingsError."""
    if settings.join.url is None:
        return None
    from smartmob import node_membership  # imported here: the client of nodes takes a quarter of a megabyte

    member = node_membership.membership(settings)
    return None if member is None else partial(node_membership.start, service, member)


def _forked(settings: Settings, log_format: str) -> Forked:
    from smartmob.cli import worker_start

    return worker_start.start(settings, log_format, _loop_factory())


@contextmanager
def hidden(module: str) -> Iterator[None]:
    """Make imports of a module fail until the end of the block, unless it has been imported already."""
    if module in sys.modules:
        yield
        return
    modules: dict[str, Any] = sys.modules
    modules[module] = None  # as documented for `import`
    try:
        yield
    finally:
        del modules[module]


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """Return an event loop of uvloop where it is installed: it serves a third more requests (docs/discussions)."""
    if importlib.util.find_spec("uvloop") is None:
        return None
    import uvloop

    return uvloop.new_event_loop
