"""`smartmob mark` and `marks`: notes on the timeline."""

from __future__ import annotations

import getpass
import socket
from typing import Any

import click

from smartmob.cli import output
from smartmob.cli.connection import as_json, talks_to_server
from smartmob.cli.spans import span_seconds
from smartmob.client.http import Lab
from smartmob.kernel import clock


@click.command("mark")
@click.argument("text")
@click.option("--at", metavar="TIME", help="Seconds since 1970 or ISO 8601 with an offset; now if not given.")
@click.option("--author", help="Who says so; your name on this machine if not given.")
@as_json
@talks_to_server
async def mark(lab: Lab, text: str, at: str | None, author: str | None, as_json: bool) -> None:
    """Put a note on the timeline, for instance "new kernel on rack7"."""
    made = await lab.post("/marks", {"text": text, "at": at, "author": _myself() if author is None else author})
    if as_json:
        output.print_json(made)
        return
    output.say(f"Marked {output.local_time(made['at'])}.")


@click.command("marks")
@click.option("--last", default="7d", show_default=True, metavar="SPAN", help="How far back: 90s, 15m, 6h or 14d.")
@click.option("--remove", metavar="ID", help="Remove a note instead.")
@as_json
@talks_to_server
async def marks(lab: Lab, last: str, remove: str | None, as_json: bool) -> None:
    """List the notes on the timeline, oldest first."""
    if remove is not None:
        await lab.delete(f"/marks/{remove}")
        output.say("Removed.")
        return
    found = await _marks(lab, clock.epoch() - span_seconds("--last", last))
    if as_json:
        output.print_json(found)
        return
    rows = ((output.local_time(row["at"]), row["author"], row["text"], row["id"]) for row in found)
    output.print_table("Marks", ("At", "Author", "Text", "Id"), rows)


async def _marks(lab: Lab, since: float) -> list[dict[str, Any]]:
    span = {"from": f"{since:.3f}", "to": f"{clock.epoch() + 1:.3f}"}
    page = await lab.get("/marks", **span)
    found = list(page["marks"])
    while page["next"] is not None:
        page = await lab.get("/marks", **span, after=page["next"])
        found += page["marks"]
    return found


def _myself() -> str:
    """Return who types here, as far as the machine knows."""
    try:
        return f"{getpass.getuser()}@{socket.gethostname()}"
    except (KeyError, OSError):
        return socket.gethostname()
