"""`smartmob mark` and `marks`: marks on the timeline."""

from __future__ import annotations

import getpass
import socket
from typing import Any

import click

from smartmob.cli import printing
from smartmob.cli.durations import duration_seconds
from smartmob.cli.server_options import as_json, with_rest_client
from smartmob.client.http import RestClient
from smartmob.kernel.runtime import clock


@click.command("mark")
@click.argument("text")
@click.option("--at", metavar="TIME", help="Seconds since 1970 or ISO 8601 with an offset; now if not given.")
@click.option("--author", help="Author; your name on this machine if not given.")
@as_json
@with_rest_client
async def mark(rest: RestClient, text: str, at: str | None, author: str | None, as_json: bool) -> None:
    """Add a mark to the timeline, for instance "new kernel on rack7"."""
    made = await rest.post("/marks", {"text": text, "at": at, "author": default_author() if author is None else author})
    if as_json:
        printing.print_json(made)
        return
    printing.say(f"Marked {printing.local_time(made['at'])}.")


@click.command("marks")
@click.option("--last", metavar="SPAN", help="How far back: 90s, 15m, 6h or 14d.  [default: all of them]")
@click.option("--remove", metavar="ID", help="Remove a mark instead.")
@as_json
@with_rest_client
async def marks(rest: RestClient, last: str | None, remove: str | None, as_json: bool) -> None:
    """List the marks on the timeline, oldest first."""
    if remove is not None:
        await rest.delete(f"/marks/{remove}")
        printing.say("Removed.")
        return
    now = clock.epoch()
    span = _ALL_TIMES if last is None else (f"{now - duration_seconds('--last', last):.3f}", f"{now + 1:.3f}")
    found = await _marks(rest, *span)
    if as_json:
        printing.print_json(found)
        return
    rows = ((printing.local_time(row["at"]), row["author"], row["text"], row["id"]) for row in found)
    printing.print_table("Marks", ("At", "Author", "Text", "Id"), rows)


_ALL_TIMES = ("0", "9999-01-01T00:00:00Z")
"""The range of all marks, which includes marks in the future, such as an announced power cut."""


async def _marks(rest: RestClient, start: str, end: str) -> list[dict[str, Any]]:
    return [mark async for mark in rest.rows(f"/marks?from={start}&to={end}", "marks")]


def default_author() -> str:
    """Return the user and the host name of this machine."""
    try:
        return f"{getpass.getuser()}@{socket.gethostname()}"
    except (KeyError, OSError):
        return socket.gethostname()
