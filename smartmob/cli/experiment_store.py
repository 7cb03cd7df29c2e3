"""The sending of experiments to a service: at once, and later from the files that wait while the service is away."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar

import click
import msgspec
import platformdirs

from smartmob.cli import printing
from smartmob.cli.output_files import replacing
from smartmob.cli.server_options import DEFAULT_SERVER, address, command_line_at, token_of
from smartmob.client.http import JSON, RestClient
from smartmob.client.tls_trust import CAFile
from smartmob.errors import SmartmobError, message_of
from smartmob.experiments.model import ExperimentReport
from smartmob.experiments.stored_experiment import fitted
from smartmob.options import PREFIX

PATH = "/experiments"

R = TypeVar("R")


class Destination(msgspec.Struct, frozen=True):
    """The service that stores an experiment."""

    server: str
    token_file: Path | None
    ca_file: Path | None


def with_store_options(command: Callable[..., R]) -> Callable[..., R]:
    """Add the options of a service that stores the result; the command gets a Destination or None as `destination`."""

    @click.option("--store/--no-store", default=None,
                  help="Send the result to a service.  [default: if --server names one]")  # fmt: skip
    @click.option("--server", metavar="URL", envvar=PREFIX + "SERVER",
                  help="Address of that service: URL or HOST:PORT (also SMARTMOB_SERVER).")  # fmt: skip
    @click.option("--token-file", type=click.Path(path_type=Path), envvar=PREFIX + "TOKEN_FILE",
                  help="File that holds the token (or set SMARTMOB_TOKEN).")  # fmt: skip
    @click.option("--ca-file", type=click.Path(path_type=Path), envvar=PREFIX + "CA_FILE",
                  help="File of the certificates to trust for https:// (also SMARTMOB_CA_FILE).")  # fmt: skip
    @wraps(command)
    def run(
        *args: Any, store: bool | None, server: str | None, token_file: Path | None, ca_file: Path | None, **more: Any
    ) -> R:
        named = server.strip() if server is not None else ""
        if store and more.get("selftest"):
            raise click.UsageError("the two experiments of --selftest are not stored")
        wanted = bool(named) if store is None else store
        found = Destination(address(named or DEFAULT_SERVER), token_file, ca_file) if wanted else None
        return command(*args, destination=found, **more)

    return run


def waiting_folder() -> Path:
    """Return the folder of the experiments to be sent later."""
    return Path(platformdirs.user_state_path("smartmob")) / "experiments"


def store(report: ExperimentReport, destination: Destination) -> bool:
    """Send a report and say where it is; keep it in a file where that fails. Return whether it is stored.

    The file is written before the report is sent, so that the report is lost at no moment.
    """
    data, left_out = fitted(report)
    if left_out:
        printing.say(f"{left_out} are not stored: the report is too large with them")
    path = _kept(report, data)
    try:
        asyncio.run(_send_to(destination, data))
    except (SmartmobError, OSError) as error:
        reason = " ".join(message_of(error).split())
        words = command_line_at(destination.server, "experiments", "send")
        printing.say(f"not stored: {reason}" + (f"; `{words}` sends it later ({path})" if path else ""))
        return False
    if path is not None:
        path.unlink(missing_ok=True)
    words = command_line_at(destination.server, "experiments", "show", str(report.id))
    printing.say(f"stored: `{words}`, or {destination.server}/console/experiments/{report.id}")
    return True


def _kept(report: ExperimentReport, data: bytes) -> Path | None:
    """Write a report into the folder of those that wait; return the file, or None where it cannot be written."""
    path = waiting_folder() / f"{report.id}.json"
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with replacing(path) as file:
            file.write(data)
    except (SmartmobError, OSError) as error:
        printing.say(f"the report cannot be kept for later: {message_of(error)}")
        return None
    return path


async def _send_to(destination: Destination, data: bytes) -> None:
    ca_file: CAFile = destination.ca_file
    async with RestClient(destination.server, token_of(destination.token_file), ca_file) as rest:
        await send(rest, data)


async def send(rest: RestClient, data: bytes) -> dict[str, Any]:
    """Send a report as JSON; return the summary of the stored experiment. Raises RemoteError."""
    found: dict[str, Any] = await rest.post_bytes(PATH, data, JSON)
    return found
