"""`smartmob token`: tokens with a role, which allow less than the token of the service."""

from __future__ import annotations

import sys
from typing import Any
from urllib.parse import quote

import click

from smartmob.cli import printing
from smartmob.cli.command_group import CommandGroup
from smartmob.cli.durations import duration_seconds
from smartmob.cli.server_options import as_json, with_rest_client
from smartmob.client.http import RestClient

ROLES = ("read", "ingest", "control", "node")


@click.group("token", cls=CommandGroup)
def command() -> None:
    """Tokens with a role, which allow less than the token of the service: add, list, revoke."""


@command.command()
@click.argument("name")
@click.option(
    "--role", type=click.Choice(ROLES), required=True, help="Its rights: read; send results; all; or let machines join."
)
@click.option("--expires", metavar="SPAN", help="Validity, such as 12h or 30d; without it, unlimited.")
@as_json
@with_rest_client
async def add(rest: RestClient, name: str, role: str, expires: str | None, as_json: bool) -> None:
    """Create a token and print it; it cannot be shown again."""
    seconds = None if expires is None else duration_seconds("--expires", expires)
    made = await rest.post("/tokens", {"name": name, "role": role, "seconds": seconds})
    if as_json:
        printing.print_json(made)
        return
    printing.say(f"The token {name} has the role {role}. It is not shown again:")
    sys.stdout.write(made["token"] + "\n")
    if role == "node":
        printing.say(
            "Put it into a file on the machine that is to join, and start there: "
            f"smartmob join {rest.url} --token-file FILE"
        )


@command.command()
@as_json
@with_rest_client
async def ls(rest: RestClient, as_json: bool) -> None:
    """List tokens, without their secrets."""
    tokens = (await rest.get("/tokens"))["tokens"]
    if as_json:
        printing.print_json(tokens)
        return
    rows = (
        (token["name"], token["role"], printing.local_time(token["created_at"]), _expiry(token)) for token in tokens
    )
    printing.print_table("Tokens", ("Name", "Role", "Made", "Expires"), rows)


def _expiry(token: dict[str, Any]) -> str:
    """Return the cell that shows when a token expires."""
    if token["expired"]:
        return "expired"
    return printing.local_time(token["expires_at"]) if token["expires_at"] else "never"


@command.command()
@click.argument("name")
@with_rest_client
async def revoke(rest: RestClient, name: str) -> None:
    """Revoke a token with immediate effect."""
    await rest.delete(f"/tokens/{quote(name, safe='')}")
    printing.say(f"The token {name} is revoked.")
