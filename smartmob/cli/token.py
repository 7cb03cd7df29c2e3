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
from smartmob.cli.suggestions import meant
from smartmob.client.http import RestClient

ROLES = ("read", "ingest", "control", "node")


class _RoleType(click.ParamType[tuple[str, str]]):
    """A role, which may have labels of nodes after a colon."""

    name = "role"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, str]:
        if isinstance(value, tuple):
            return value
        role, separator, labels = value.partition(":")
        if role not in ROLES:
            self.fail(f"{role!r} is not one of {', '.join(map(repr, ROLES))}.", param, ctx)
        if separator and not labels:
            self.fail(f"{value!r}: expected the labels of nodes after the colon, as in control:rack=7", param, ctx)
        return role, labels


@click.group("token", cls=CommandGroup)
def command() -> None:
    """Tokens with a role, which allow less than the token of the service: add, list, revoke."""


@command.command()
@click.argument("name")
@click.option(
    "--role",
    type=_RoleType(),
    metavar="|".join(ROLES),
    required=True,
    help="read: view only; ingest: send results; control: everything; node: let machines join. ROLE:LABEL limits it "
    "as --only does.",
)
@click.option("--only", metavar="LABEL,...", help="Only on nodes with all these labels, as KEY=VALUE or KEY.")
@click.option("--expires", metavar="SPAN", help="How long the token is valid, such as 12h or 30d.  [default: no limit]")
@as_json
@with_rest_client
async def add(
    rest: RestClient, name: str, role: tuple[str, str], only: str | None, expires: str | None, as_json: bool
) -> None:
    """Create a token and print it; it cannot be shown again."""
    kind, labels = role
    if only and labels:
        raise click.UsageError("give the labels only once: with --only or after the role")
    labels = ",".join(part.strip().removeprefix("label=") for part in (only or labels).split(","))
    seconds = None if expires is None else duration_seconds("--expires", expires)
    wanted = {"name": name, "role": kind, "seconds": seconds} | ({"only_nodes": labels} if labels else {})
    made = await rest.post("/tokens", wanted)
    if as_json:
        printing.print_json(made)
        return
    limit = f" on nodes with {labels}" if labels else ""
    printing.say(f"The token {name} has the role {kind}{limit}. It is not shown again:")
    sys.stdout.write(made["token"] + "\n")
    if kind == "node":
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
    rows = ((token["name"], _role(token), printing.local_time(token["created_at"]), _expiry(token)) for token in tokens)
    printing.print_table("Tokens", ("Name", "Role", "Created", "Expires"), rows)


def _role(token: dict[str, Any]) -> str:
    return f"{token['role']}:{token['only_nodes']}" if token.get("only_nodes") else str(token["role"])


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

    async def names() -> list[str]:
        return [token["name"] for token in (await rest.get("/tokens"))["tokens"]]

    async with meant(name, names, "`smartmob token ls` lists them"):
        await rest.delete(f"/tokens/{quote(name, safe='')}")
    printing.say(f"Revoked the token {name}.")
