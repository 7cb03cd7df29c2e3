"""`smartmob audit`: which client has changed what, where and when."""

from __future__ import annotations

from typing import Any

import click

from smartmob.cli import printing
from smartmob.cli.durations import duration_seconds
from smartmob.cli.server_options import as_json, with_rest_client
from smartmob.client.http import RestClient
from smartmob.kernel.runtime import clock

_PAGE = 1000  # events of a request


@click.command("audit")
@click.option("--since", metavar="SPAN", help="Only changes in the last 90s, 15m, 6h or 14d.")
@click.option("--node", metavar="NAME", help="Only changes on this node.")
@click.option(
    "--who", metavar="TOKEN", help="Only changes by clients with this token; (owner): the service's own token."
)
@click.option("-n", "--limit", type=click.IntRange(1, 1_000_000), default=100, show_default=True,
              help="Entries to list.")  # fmt: skip
@as_json
@with_rest_client
async def command(
    rest: RestClient, since: str | None, node: str | None, who: str | None, limit: int, as_json: bool
) -> None:
    """List who has changed what, where and when, newest first.

    It lists commands, programs, transfers, tokens and nodes, with their outcome, but not the results that clients send.
    """
    asked: dict[str, Any] = {name: value for name, value in (("node", node), ("who", who)) if value is not None}
    if since is not None:
        asked["since"] = f"{clock.epoch() - duration_seconds('--since', since):.3f}"
    found: list[dict[str, Any]] = []
    while len(found) < limit:
        answer = await rest.get("/api/v1/audit", **asked, limit=min(_PAGE, limit - len(found)))
        found += answer["events"]
        if answer["next"] is None:
            break
        asked["before"] = answer["next"]
    if as_json:
        printing.print_json(found)
        return
    rows = (
        (printing.local_time(each["at"]), each["who"], each["client"], each["node"], each["action"], each["target"],
         each["outcome"])
        for each in found
    )  # fmt: skip
    printing.print_table("Audit log", ("When", "Who", "Client", "Node", "Action", "What", "Outcome"), rows)
