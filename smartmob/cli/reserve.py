"""`smartmob reserve`, `release` and `reservations`: a machine for one client alone, for a time."""

from __future__ import annotations

import asyncio
import getpass
import socket
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import click

from smartmob.cli import printing
from smartmob.cli.durations import duration_seconds
from smartmob.cli.server_options import as_json, node_of, with_rest_client
from smartmob.client.http import RestClient
from smartmob.counts import counted
from smartmob.errors import RemoteError

_PATH = "/api/v1/reservations"
_CONFLICT_STATUS = 409
_LONGEST_PAUSE_SECONDS = 5.0  # between two tries; the holder may release it before its end
_SHOWN_NAMES_COUNT = 10


@click.command("reserve")
@click.argument("node", default="", metavar="[NODE]")
@click.option("--for", "span", default="30m", show_default=True, metavar="DURATION", help="How long, at most 7 days.")
@click.option("--reason", default="", help="Reason that other clients see.")
@click.option(
    "--wait", default=None, metavar="DURATION", help="Wait this long for a machine that others have reserved."
)
@as_json
@with_rest_client
async def command(rest: RestClient, node: str, span: str, reason: str, wait: str | None, as_json: bool) -> None:
    """Reserve a machine: programs, jobs and load tests of other clients are refused there.

    Without NODE it is the machine of the service. Work that runs there continues, and is listed. The reservation
    belongs to the token of this command; with the service's own token, or without a token, set SMARTMOB_RESERVATION to
    the printed id in each shell that uses the machine. Repeat the command to extend the reservation.
    """
    seconds = duration_seconds("--for", span)
    patience = 0.0 if wait is None else duration_seconds("--wait", wait)
    made = await reserved(rest, node, seconds, reason, patience=patience)
    if as_json:
        printing.print_json(made)
        return
    printing.print_sentence(made["id"])
    name = node or "The machine of the service"
    printing.say(f"{name} is reserved until {printing.local_time(made['until'])}.")
    if made["token"] is None:
        printing.say(f"To use it: export SMARTMOB_RESERVATION={made['id']}")
    running = await _running(rest, node)
    if running:
        more = f" and {len(running) - _SHOWN_NAMES_COUNT} more" if len(running) > _SHOWN_NAMES_COUNT else ""
        shown = ", ".join(map(printing.printable, running[:_SHOWN_NAMES_COUNT]))
        printing.say(f"Still running there, as before: {shown}{more}.")


@click.command("release")
@click.argument("node", default="", metavar="[NODE]")
@click.option("--force", is_flag=True, help="Release it even if another client has reserved it.")
@with_rest_client
async def release(rest: RestClient, node: str, force: bool) -> None:
    """Release a machine before the end of its reservation. Without NODE it is the machine of the service."""
    await released(rest, node, force=force)
    printing.say(f"Released {node or 'the machine of the service'}.")


@click.command("reservations")
@as_json
@with_rest_client
async def reservations(rest: RestClient, as_json: bool) -> None:
    """List the reserved machines."""
    found = await listed(rest)
    if as_json:
        printing.print_json(found)
        return
    if not found:
        printing.say("No machine is reserved; `smartmob reserve NODE` reserves one")
        return
    printing.print_table(
        "Reservations",
        ("Machine", "By", "Until", "Reason"),
        (
            (
                each["node"] or "this service",
                f"{each['holder']}{' (you)' if each['mine'] else ''}",
                printing.local_time(each["until"]),
                each["reason"],
            )
            for each in found
        ),
    )


async def listed(rest: RestClient) -> list[dict[str, Any]]:
    """Return the reservations that are in force."""
    found: list[dict[str, Any]] = (await rest.get(_PATH))["reservations"]
    return found


async def reservations_of(rest: RestClient) -> list[dict[str, Any]]:
    """Return the reservations that are in force; none of an older service, or for a token that may not list them."""
    try:
        return await listed(rest)
    except RemoteError:
        return []


async def remark(rest: RestClient) -> str:
    """Return a sentence on the reservation of the machine that a client is of, or an empty text if there is none."""
    lab, node = node_of(rest.url)
    async with rest.for_service(lab) as service:
        found = [each for each in await reservations_of(service) if each["node"] == node]
    return f"{node or 'This machine'} is {line_of(found[0])}." if found else ""


async def reserved(
    rest: RestClient, node: str, seconds: float, reason: str, *, patience: float = 0.0
) -> dict[str, Any]:
    """Reserve a machine and return the reservation; wait `patience` seconds for one that another client has.

    Raises RemoteError when it stays taken, or cannot be reserved.
    """
    document = {"node": node, "seconds": seconds, "reason": reason, "holder": holder()}
    end, said = time.monotonic() + patience, False
    while True:
        try:
            made: dict[str, Any] = await rest.post(_PATH, document)
        except RemoteError as error:
            left = end - time.monotonic()
            if error.status != _CONFLICT_STATUS or left <= 0:
                raise
            if not said:
                printing.say(f"Waiting: {error}")
                said = True
            await asyncio.sleep(min(left, _LONGEST_PAUSE_SECONDS))
        else:
            return made


async def released(rest: RestClient, node: str, *, force: bool = False) -> None:
    """Release a machine. Raises RemoteError."""
    await rest.delete(_PATH, node=node, **({"force": "true"} if force else {}))


def holder() -> str:
    """Return the name by which others know the user of this command."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = "somebody"
    return f"{user}@{socket.gethostname()}"


def line_of(found: Mapping[str, Any]) -> str:
    """Return a reservation in a few words."""
    reason = f" ({found['reason']})" if found["reason"] else ""
    by = "you" if found["mine"] else found["holder"]
    return f"reserved by {by} until {printing.local_time(found['until'])}{reason}"


async def _running(rest: RestClient, node: str) -> list[str]:
    """Return the programs and jobs that run on a machine; empty if it does not report them."""
    base = f"/api/v1/nodes/{quote(node, safe='')}/service" if node else ""
    try:
        programs = await rest.get(f"{base}/api/v1/processes")
        jobs = await rest.get(f"{base}/jobs", state="running")
    except RemoteError:
        return []
    names = [str(each["slug"]) for each in programs["processes"] if each.get("state") != "stopped"]
    found = len(jobs["jobs"])
    return [*names, *([counted(found, "job")] if found else [])]
