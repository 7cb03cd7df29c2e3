"""`smartmob join`: makes this machine a node of a service. It needs no database and no open port."""

from __future__ import annotations

import asyncio
import gc
import importlib
import os
import signal
from collections.abc import Awaitable
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import platformdirs

from smartmob import authorities
from smartmob.cli.serve import hidden
from smartmob.environment import environment
from smartmob.errors import SmartmobError
from smartmob.options import PREFIX
from smartmob.settings import Settings, load

_STOP_SECONDS = 2.0
"""Seconds that requests under way get to finish when the node stops; programs have a grace of their own."""
_PATH = click.Path(path_type=Path)


@click.command("join", context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("url", metavar="URL")
@click.option("--token-file", type=_PATH, help="File with a token of the service, needed to join the first time.")
@click.option("--name", help="Name of this node.  [default: the machine's name]")
@click.option("--label", "labels", multiple=True, metavar="KEY[=VALUE]", help="Label of this node; repeatable.")
@click.option(
    "--ca-file",
    type=_PATH,
    envvar=PREFIX + "CA_FILE",
    help="File of the certificates to trust for the service.",
)
@click.option(
    "--state-dir",
    type=_PATH,
    help="Folder of the node's key and journal, of programs and the output of jobs.  [default: the platform's user "
    "state folder; /var/lib/smartmob-node for root]",
)
@click.option("--config", type=click.Path(dir_okay=False, path_type=Path), help="File of further settings, in TOML.")
def command(url: str, config: Path | None, **given: Any) -> None:
    """Make this machine a node of the service at URL until CTRL-C, SIGINT or SIGTERM.

    Programs and commands run here at the request of the service. They continue while the service cannot be reached, and
    their results are delivered later. Settings of programs and commands are those of `smartmob serve`, as SMARTMOB_* or
    in --config.
    """
    from smartmob.kernel.subprocesses import umask

    umask.make_private()
    settings = _settings(url, config, given)
    with hidden("rich"), hidden("greenlet"):  # 4 MB that plain log lines never use
        importlib.import_module("structlog")

    from smartmob.kernel.subprocesses import pid1

    pid1.become_init()

    # Before the log is opened, which may start a thread.
    with authorities.read_late(importing="aiohttp"):
        importlib.import_module("aiohttp")

    from smartmob.kernel.observability import log

    logs = log.configure(settings.log_format, settings.utc, settings.logging_endpoint)
    try:
        with asyncio.Runner() as runner:
            runner.run(logs.during(_run(settings, logs.access)))
    finally:
        logs.close()


def _settings(url: str, config: Path | None, given: dict[str, Any]) -> Settings:
    flags: dict[str, object] = {
        "join": url,
        "data_dir": given["state_dir"] or _state_dir(),
        **{
            f"join_{name}": value
            for name, value in (
                ("token_file", given["token_file"]), ("name", given["name"]), ("ca_file", given["ca_file"]),
                ("label", given["labels"]),
            )
            if value
        },
    }  # fmt: skip
    return replace(load(flags, environment(), config), stop_timeout=_STOP_SECONDS)


def _state_dir() -> Path:
    if os.geteuid() == 0:
        return Path("/var/lib/smartmob-node")
    return Path(platformdirs.user_state_path("smartmob")) / "node"


async def _run(settings: Settings, access_log: Any) -> None:
    from smartmob import node_app, node_membership
    from smartmob.commands.events import CloseRequested
    from smartmob.kernel.http import server
    from smartmob.kernel.observability.event_logger import get_logger
    from smartmob.kernel.observability.notify import Notifier

    log = get_logger()
    member = node_membership.membership(settings, "--token-file")
    assert member is not None
    node = node_app.build(settings, access_log)
    stop = server.stop_on_signals(lambda: None, None)
    node.bus.subscribe(CloseRequested, lambda _: signal.raise_signal(signal.SIGTERM))
    notifier = Notifier(environment())
    try:
        async with server.serving_streams(node.app, node.gate, settings, node.drain) as accept:
            link = node_membership.link(node, member, accept, node.journal)
            running = node.tasks.start("node-link", _refusal(link.run()))
            notifier.ready()
            gc.freeze()
            await asyncio.wait((running, stop), return_when=asyncio.FIRST_COMPLETED)
            notifier.stopping()
            if stop.done():
                log.info("stop", reason=stop.result())
            refused = running.result() if running.done() and not running.cancelled() else None
        if refused is not None:
            raise refused
    finally:
        notifier.close()


async def _refusal(work: Awaitable[None]) -> SmartmobError | None:
    """Return the reason why a task ends, which is printed in one line, and not logged as a failure."""
    try:
        await work
    except SmartmobError as error:
        return error
    return None
