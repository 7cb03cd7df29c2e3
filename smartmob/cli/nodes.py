"""`smartmob nodes`: the machines that have joined a service."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from typing import Any
from urllib.parse import quote

import click

from smartmob.cli import printing
from smartmob.cli.command_group import CommandGroup
from smartmob.cli.reserve import line_of, reservations_of
from smartmob.cli.server_options import as_json, with_rest_client
from smartmob.cli.suggestions import did_you_mean, meant
from smartmob.client.http import RestClient
from smartmob.errors import SmartmobError

_PATH = "/api/v1/nodes"


@click.group("nodes", cls=CommandGroup)
def command() -> None:
    """Machines that have joined: list, show, label, drain, remove."""


@command.command()
@as_json
@with_rest_client
async def ls(rest: RestClient, as_json: bool) -> None:
    """List the nodes."""
    nodes = (await rest.get(_PATH))["nodes"]
    reserved = {each["node"]: each for each in await reservations_of(rest)}
    if as_json:
        printing.print_json([{**node, "reservation": reserved.get(node["name"])} for node in nodes])
        return
    if not nodes:
        printing.say("No machine has joined; `smartmob token add NAME --role node` prints how one does")
        return
    printing.print_table(
        "Nodes", ("Name", "State", "Labels", "Version", "Clock", "Seen"), (_row(node) for node in nodes)
    )
    printing.print_lines(
        printing.plain(f"{name or 'This service'} is {line_of(each)}.") for name, each in reserved.items()
    )


@command.command()
@click.argument("name")
@as_json
@with_rest_client
async def show(rest: RestClient, name: str, as_json: bool) -> None:
    """Show a node."""
    async with _meant(rest, name):
        node = await rest.get(_path(name))
    reserved = next((each for each in await reservations_of(rest) if each["node"] == name), None)
    if as_json:
        printing.print_json({**node, "reservation": reserved})
        return
    facts = node["facts"]
    rows = (
        ("State", _state(node)),
        *([("Reservation", line_of(reserved))] if reserved is not None else []),
        ("Labels", _labels(node["labels"])),
        ("Joined", printing.local_time(node["joined_at"])),
        ("Seen", _seen(node)),
        ("Machine", facts["machine"]),
        ("System", facts["system"]),
        ("Python", facts["python"]),
        ("Processors", facts["cpus"]),
        ("Memory", printing.size(facts["memory"])),
        ("Version", facts["version"]),
        ("Clock", _clock(facts)),
    )
    printing.print_table(name, ("", ""), rows)


@command.command()
@click.argument("name")
@click.argument("labels", nargs=-1, required=True, metavar="LABEL...")
@with_rest_client
async def label(rest: RestClient, name: str, labels: tuple[str, ...]) -> None:
    """Set labels of a node: KEY=VALUE or KEY sets one, KEY- removes it."""
    async with _meant(rest, name):
        changed = dict((await rest.get(_path(name)))["labels"])
    for given in labels:
        if given.endswith("-") and "=" not in given:
            if changed.pop(given[:-1], None) is None:
                raise SmartmobError(f"the node {name} has no label {given[:-1]}{did_you_mean(given[:-1], changed)}")
        else:
            key, _, value = given.partition("=")
            changed[key] = value
    node = await rest.patch(_path(name), {"labels": changed})
    shown = _labels(node["labels"])
    printing.say(f"The labels of {name} are {shown}." if shown else f"{name} has no labels.")


@command.command()
@click.argument("name")
@click.option("--undo", is_flag=True, help="Send new work to the node again.")
@with_rest_client
async def drain(rest: RestClient, name: str, undo: bool) -> None:
    """Send no new work by label to a node; running work continues."""
    async with _meant(rest, name):
        await rest.patch(_path(name), {"drained": not undo})
    printing.say(f"{name} gets {'new work again' if undo else 'no new work by label'}.")


@command.command()
@click.argument("name")
@with_rest_client
async def rm(rest: RestClient, name: str) -> None:
    """Remove a node; its key becomes invalid."""
    async with _meant(rest, name):
        await rest.delete(_path(name))
    printing.say(f"Removed the node {name}.")


def _meant(rest: RestClient, name: str) -> AbstractAsyncContextManager[None]:
    async def names() -> list[str]:
        return [node["name"] for node in (await rest.get(_PATH))["nodes"]]

    return meant(name, names, "`smartmob nodes ls` lists them")


def _path(name: str) -> str:
    return f"{_PATH}/{quote(name, safe='')}"


def _row(node: dict[str, Any]) -> tuple[object, ...]:
    facts = node["facts"]
    return node["name"], _state(node), _labels(node["labels"]), facts["version"], _clock(facts), _seen(node)


def _state(node: dict[str, Any]) -> str:
    """Return whether a node is connected, and whether it gets no new work."""
    return ("connected" if node["connected"] else "away") + (", drained" if node["drained"] else "")


def _labels(labels: dict[str, str]) -> str:
    return ", ".join(f"{key}={value}" if value else key for key, value in sorted(labels.items()))


def _clock(facts: dict[str, Any]) -> str:
    """Return the offset of a clock from the service's in milliseconds, with half a round trip as its uncertainty."""
    if facts["clock_offset"] is None:
        return ""
    # The facts have the service's clock minus the node's.
    return f"{-1000 * facts['clock_offset']:+.1f} ms ± {500 * facts['clock_delay']:.1f}"


def _seen(node: dict[str, Any]) -> str:
    return "now" if node["connected"] else printing.local_time(node["seen_at"]) if node["seen_at"] else "never"
