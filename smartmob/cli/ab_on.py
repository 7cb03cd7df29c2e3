"""`smartmob ab --on MACHINE`: the sides are sent to a machine, measured there, and the output comes back live.

The machine is reserved meanwhile, so there is one experiment at a time. The reservation is short and prolonged while
this command runs, so that nothing is left when it is killed.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from functools import wraps
from pathlib import Path
from typing import Any

import click
import msgspec

from smartmob.cli import ab_there, experiment_formats, experiment_store, printing
from smartmob.cli.ab_there import BEAT_SECONDS, SILENCE_SECONDS, Task
from smartmob.cli.commands import CONNECT_SECONDS
from smartmob.cli.node_selection import find_node
from smartmob.cli.program_words import program_words
from smartmob.cli.reserve import listed, released, reserved
from smartmob.cli.server_options import DEFAULT_SERVER, address, with_server_options
from smartmob.cli.side_archives import pack
from smartmob.cli.stopping_signals import cancelled_by_signals
from smartmob.client.command_client import CommandClient
from smartmob.client.failures import NotConnected
from smartmob.client.http import RestClient
from smartmob.client.listener import Listener
from smartmob.client.messages import StandardErrorBytes
from smartmob.client.reservation import SHOWN
from smartmob.errors import NotFound, RemoteError
from smartmob.experiments.model import ExperimentReport
from smartmob.options import PREFIX

LEASE_SECONDS = 2.5 * SILENCE_SECONDS
"""The length of the reservation, which is prolonged. It is longer than the time in which the far end notices a lost
near end.
"""
_PATIENCE_SECONDS = 24 * 3600.0  # for a machine that others use
_PAUSE_SECONDS = 5.0  # between two checks for another experiment of the same user
_REASON = "smartmob ab"  # the beginning of the reason of a reservation for an experiment
_CHUNK_BYTES = 256 * 1024
_INTERRUPTED = 130  # the exit code of a program that CTRL-C has ended
_SIDES_COUNT = 2
_SERVICE = ("server", "token_file", "ca_file")  # the options of a service


def with_machine(command: Callable[..., int]) -> Callable[..., int]:
    """Add the option --on to `smartmob ab`, and those of a service unless the command has them already."""
    has_service = "server" in (parameter.name for parameter in getattr(command, "__click_params__", ()))

    @click.option("--on", metavar="MACHINE",
                  help="Measure on a node of --server, or on the machine of the `service`.")  # fmt: skip
    @click.option("--smartmob", "program", metavar="COMMAND", default="smartmob", show_default=True,
                  help="With --on: the command that starts smartmob there.")  # fmt: skip
    @click.option("--from-input", is_flag=True, hidden=True)  # the far end of --on
    @wraps(command)
    def run(*, on: str | None, program: str, from_input: bool, **given: Any) -> int:
        if from_input:
            return ab_there.measure(command)
        service = {name: given.pop(name) for name in _SERVICE}
        if on is None:
            return command(**given, **(service if has_service else {}))
        if has_service:
            given |= dict.fromkeys(_SERVICE)
        named = (service["server"] or "").strip()
        service["server"] = address(named or DEFAULT_SERVER)
        if not _is_stored(given, bool(named)):
            return _measure_there(**service, machine=on, program=program, arguments=given, kept=None) or 0
        # The report comes back as JSON, and is shown and stored here: the far end knows no service.
        form, kept = "json" if given["as_json"] else given["form"], bytearray()
        given["as_json"] = True
        code = _measure_there(**service, machine=on, program=program, arguments=given, kept=kept) or 0
        if kept:
            _show_and_store(bytes(kept), form, given["everything"], experiment_store.Destination(**service))
        return code

    return run if has_service else _with_service(run)


def _is_stored(given: dict[str, Any], is_named: bool) -> bool:
    """Return whether the result is stored, and keep the far end from doing it. Raises click.UsageError."""
    wanted = given.get("store", False)
    if "store" in given:
        given["store"] = False
    if wanted and given["selftest"]:
        raise click.UsageError("the two experiments of --selftest are not stored")
    return bool(is_named if wanted is None else wanted) and not given["selftest"]


def _show_and_store(data: bytes, form: str, everything: bool, destination: experiment_store.Destination) -> None:
    """Show the report from a machine, and store it; pass other output on."""
    try:
        report = msgspec.json.decode(data, type=ExperimentReport)
    except msgspec.MsgspecError as error:
        sys.stdout.buffer.write(data)
        printing.say(f"not stored: the machine has written no report: {error}")
        return
    experiment_formats.show(report, form, everything=everything)
    experiment_store.store(report, destination)


def _with_service(command: Callable[..., int]) -> Callable[..., int]:
    """Add the options of a service."""
    for option in reversed((
        click.option("--server", metavar="URL", envvar=PREFIX + "SERVER",
                     help="With --on: address of the service, URL or HOST:PORT (also SMARTMOB_SERVER)."),
        click.option("--token-file", type=click.Path(path_type=Path), envvar=PREFIX + "TOKEN_FILE",
                     help="File that holds the token (or set SMARTMOB_TOKEN)."),
        click.option("--ca-file", type=click.Path(path_type=Path), envvar=PREFIX + "CA_FILE",
                     help="File of the certificates to trust for https:// (also SMARTMOB_CA_FILE)."),
    )):  # fmt: skip
        command = option(command)
    return command


@with_server_options
async def _measure_there(
    server: str,
    token: str | None,
    ca_file: Path | None,
    machine: str,
    program: str,
    arguments: dict[str, Any],
    kept: bytearray | None,
) -> int:
    """Reserve the machine, measure there, and return the exit code. `kept` gets the result instead of the output."""
    program_words("--smartmob", program)
    words = arguments["words"]
    given = () if arguments["commands"] else words[: 1 if arguments["selftest"] else _SIDES_COUNT]
    with cancelled_by_signals(), ab_there.working_folder() as folder:
        async with RestClient(server, token, ca_file) as rest:
            node = "" if machine == "service" else machine
            found = await find_node(rest, node) if node else None
            if node and found is None:
                raise NotFound(f"there is no node {node}; `smartmob nodes ls` lists them")
            if found is not None and found.problem:
                raise RemoteError(f"the node {node} is {found.problem}")
            task, archives = await asyncio.to_thread(_packed, given, folder, arguments)
            try:
                async with _reserved(rest, node, " ".join([_REASON, *given])):
                    return await _run(rest.url if found is None else found.url, rest, program, task, archives, kept)
            except asyncio.CancelledError:
                return _INTERRUPTED


def _packed(given: Sequence[str], folder: Path, arguments: dict[str, Any]) -> tuple[Task, list[Path]]:
    archives = [folder / f"{number}.tar" for number in range(len(dict.fromkeys(given)))]
    sides = [pack(each, Path.cwd(), archive) for each, archive in zip(dict.fromkeys(given), archives, strict=True)]
    return Task(sides, arguments), archives


@asynccontextmanager
async def _reserved(rest: RestClient, node: str, reason: str) -> AsyncIterator[None]:
    """Hold the machine during the block; an existing reservation of the user is used and not changed."""
    said = False
    while (own := await _own(rest, node)) is not None and own["reason"].startswith(_REASON):
        if not said:
            printing.say(f"Waiting: another experiment of yours runs there ({own['reason']})")
            said = True
        await asyncio.sleep(_PAUSE_SECONDS)
    if own is not None:
        yield
        return
    made = await reserved(rest, node, LEASE_SECONDS, reason, patience=_PATIENCE_SECONDS)
    before, SHOWN.id = SHOWN.id, made["id"]
    async with RestClient(rest.url, rest.token, rest.ca_file) as holder:
        renewal = asyncio.get_running_loop().create_task(_extend(holder, node, reason))
        is_over = True
        try:
            yield
        except NotConnected:
            is_over = False  # the far end goes on until it notices, and the reservation ends by itself
            raise
        finally:
            renewal.cancel()
            if is_over:
                with suppress(RemoteError):
                    await asyncio.shield(released(holder, node))
            SHOWN.id = before


async def _own(rest: RestClient, node: str) -> dict[str, Any] | None:
    """Return the reservation of the machine if the user has it."""
    return next((each for each in await listed(rest) if each["node"] == node and each["mine"]), None)


async def _extend(rest: RestClient, node: str, reason: str) -> None:
    while True:
        await asyncio.sleep(LEASE_SECONDS / 4)
        with suppress(RemoteError):  # the service may be restarting; the reservation is long enough for some tries
            await reserved(rest, node, LEASE_SECONDS, reason)


async def _run(
    url: str, rest: RestClient, program: str, task: Task, archives: Sequence[Path], kept: bytearray | None
) -> int:
    """Run the far end, and pass its output on. CTRL-C ends it with the verdicts so far."""
    words = program_words("--smartmob", program)
    async with CommandClient(url, rest.token, ca_file=rest.ca_file, timeout=CONNECT_SECONDS) as client:
        listener = client.start(
            "exec", [*words, "ab", "--from-input"], binary=True, apart=client.takes("exec", "apart")
        )
        await listener.accepted()
        feeding = asyncio.get_running_loop().create_task(_feed(listener, task, archives))
        showing = asyncio.get_running_loop().create_task(_show(listener, kept))
        try:
            await asyncio.shield(showing)
        except asyncio.CancelledError:
            feeding.cancel()
            await asyncio.gather(feeding, return_exceptions=True)
            listener.end_input()
            await showing  # the verdicts so far
            return _INTERRUPTED
        finally:
            feeding.cancel()
            showing.cancel()
        code = listener.exit_code
        if code is None or code < 0:
            raise RemoteError(f"the command there was ended by {'a signal' if code is None else f'signal {-code}'}")
        return code


async def _feed(listener: Listener, task: Task, archives: Sequence[Path]) -> None:
    """Send the task, the archives, and then a line from time to time."""
    await listener.write(msgspec.json.encode(task) + b"\n")
    for archive in archives:
        with archive.open("rb") as file:
            while data := await asyncio.to_thread(file.read, _CHUNK_BYTES):
                await listener.write(data)
    while True:
        await listener.write(b"\n")
        await asyncio.sleep(BEAT_SECONDS)


async def _show(listener: Listener, kept: bytearray | None) -> None:
    """Write the data and the messages of the far end separately; `kept` gets the data instead."""
    async for data in listener:
        if isinstance(data, bytes) and not isinstance(data, StandardErrorBytes) and kept is not None:
            kept += data
        elif isinstance(data, bytes):
            stream = sys.stderr if isinstance(data, StandardErrorBytes) else sys.stdout
            stream.buffer.write(data)
            stream.flush()
        else:
            printing.say(str(data))
