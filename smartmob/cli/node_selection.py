"""The machines that `--on` selects: nodes by name or label, all nodes, or services at an address.

A selector is `all`, names that are separated by commas, or labels that are separated by commas and must all be there:
`label=gpu`, `label=rack=7`, `rack=7`. Several selectors select the machines of each.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

import click
import msgspec

from smartmob.cli.server_options import address
from smartmob.cli.suggestions import did_you_mean
from smartmob.client.http import RestClient
from smartmob.errors import NotFound, RemoteError

NODES_PATH = "/api/v1/nodes"
ALL = "all"
_LABEL = "label"
_SERVICE_PREFIX = "@"
"""That of `smartmob.nodes.model`, which commands do not load because of the time it takes."""
_NOT_FOUND_STATUS = 404


class Selector(msgspec.Struct, frozen=True):
    """One value of `--on`: all nodes, names, or labels; None stands for any value of a label."""

    everything: bool = False
    names: tuple[str, ...] = ()
    labels: tuple[tuple[str, str | None], ...] = ()

    def matches(self, node: Mapping[str, Any]) -> bool:
        """Return whether a node is selected by its labels."""
        found = node["labels"]
        return self.everything or (
            bool(self.labels) and all(key in found and value in (None, found[key]) for key, value in self.labels)
        )


class SelectedMachine(msgspec.Struct, frozen=True):
    """A selected machine: its name, the address of its service, and why nothing can be done there, or "".

    `reaches` is the address by which a node reaches the service that it has joined, or "" if that is not known.
    """

    name: str
    url: str
    is_node: bool = True
    problem: str = ""
    reaches: str = ""


class Selection(msgspec.Struct, frozen=True):
    """The selected machines. `single` tells that one was named, so that its output is that of the command alone."""

    machines: tuple[SelectedMachine, ...]
    single: bool
    left_out: tuple[str, ...] = ()
    """The names of drained nodes, which get no new work."""


def parse(text: str) -> Selector:
    """Return the selector of a value of `--on`; raises UsageError."""
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if parts == [ALL]:
        return Selector(everything=True)
    labels = [part for part in parts if "=" in part and "://" not in part]
    if not labels:
        if not parts:
            raise click.UsageError("--on: expected names of machines, separated by commas; it is empty")
        _check_different(parts)
        if ALL in parts:
            raise click.UsageError("--on: `all` cannot be combined with names or labels")
        return Selector(names=tuple(parts))
    if len(labels) < len(parts):
        other = next(part for part in parts if part not in labels)
        raise click.UsageError(
            f"--on: {other!r} is not a label, as in label={other}; give names in an --on of their own"
        )
    return Selector(labels=tuple(map(_label, labels)))


def _check_different(names: Sequence[str]) -> None:
    """Raise UsageError if a name is given twice."""
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise click.UsageError(f"--on: {twice!r} is given twice; name each machine once")


def _check_addresses(machines: Mapping[str, SelectedMachine]) -> None:
    """Raise UsageError if two names are those of one machine."""
    names: dict[str, str] = {}
    for name, machine in machines.items():
        if (other := names.setdefault(machine.url, name)) != name:
            raise click.UsageError(f"--on: {other!r} and {name!r} are one machine, {machine.url}; name it once")


def _label(part: str) -> tuple[str, str | None]:
    key, _, value = part.partition("=")
    if key == _LABEL:
        key, separator, value = value.partition("=")
        found = key, value if separator else None
    else:
        found = key, value
    if not key:
        raise click.UsageError(f"--on: {part!r} names no label; expected label=KEY, label=KEY=VALUE or KEY=VALUE")
    return found


async def select(rest: RestClient, given: Sequence[str], *, starts_programs: bool = False) -> Selection:
    """Return the machines of selectors; raises UsageError, NotFound and RemoteError.

    With `starts_programs`, drained nodes are left out unless they are named.
    """
    selectors = [parse(text) for text in given]
    names = [name for selector in selectors for name in selector.names]
    _check_different(names)
    by_label = any(not selector.names for selector in selectors)
    nodes = await _nodes(rest, required=by_label) if by_label or not all(map(is_address, names)) else None
    machines = {name: await _named(rest, name, nodes) for name in names}
    left_out = []
    for node in nodes or ():
        if node["name"] in machines or not any(selector.matches(node) for selector in selectors):
            continue
        if starts_programs and node["drained"]:
            left_out.append(node["name"])
        else:
            machines[node["name"]] = _machine(rest, node)
    if not machines:
        raise NotFound(_none(given, nodes or (), left_out))
    _check_addresses(machines)
    return Selection(tuple(machines.values()), single=len(names) == 1 and not by_label, left_out=tuple(left_out))


async def find_node(rest: RestClient, name: str) -> SelectedMachine | None:
    """Return the node of this name, or None if the service has none or cannot be asked."""
    if is_address(name):
        return None
    for node in await _nodes(rest, required=False) or ():
        if node["name"] == name:
            return _machine(rest, node)
    return None


def is_address(name: str) -> bool:
    """Return whether a name can only be the address of a service."""
    if ":" in name or "/" in name or name == "localhost":
        return True
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


async def _nodes(rest: RestClient, *, required: bool) -> list[dict[str, Any]] | None:
    """Return the nodes of the service; None if it has none of them or, unless `required`, cannot be asked."""
    try:
        found: list[dict[str, Any]] = (await rest.get(NODES_PATH))["nodes"]
    except RemoteError as error:
        if error.status == _NOT_FOUND_STATUS and required:
            raise RemoteError(f"{rest.url} is of an earlier release, which has no nodes") from None
        if required:
            raise
        return None
    return found


async def _named(rest: RestClient, name: str, nodes: Sequence[dict[str, Any]] | None) -> SelectedMachine:
    """Return the node of a name, another service on the database by `@` and its name, or the service at this address.

    Raises NotFound for an unknown name.
    """
    if name.startswith(_SERVICE_PREFIX):
        return SelectedMachine(name, f"{rest.url}{NODES_PATH}/{quote(name, safe='')}/service")
    for node in nodes or ():
        if node["name"] == name:
            return _machine(rest, node)
    if nodes is not None and not is_address(name) and not await _resolves(name):
        known = [node["name"] for node in nodes]
        hint = did_you_mean(name, known, "`smartmob nodes ls` lists the nodes")
        raise NotFound(f"there is no node {name}, and no host of this name{hint}")
    return SelectedMachine(name, address(name), is_node=False)


async def _resolves(name: str) -> bool:
    try:
        await asyncio.get_running_loop().getaddrinfo(name, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return False
    return True


def _machine(rest: RestClient, node: Mapping[str, Any]) -> SelectedMachine:
    url = f"{rest.url}{NODES_PATH}/{quote(node['name'], safe='')}/service"
    problem, reaches = "" if node["connected"] else _absence(node), str(node["facts"].get("service") or "")
    return SelectedMachine(node["name"], url, problem=problem, reaches=reaches)


def _absence(node: Mapping[str, Any]) -> str:
    from smartmob.cli import printing

    seen = f"last seen {printing.local_time(node['seen_at'])}" if node["seen_at"] else "never seen"
    return f"not connected, {seen}"


def _none(given: Sequence[str], nodes: Sequence[Mapping[str, Any]], left_out: Sequence[str]) -> str:
    """Return why no machine is selected."""
    if left_out:
        return (
            f"--on {' --on '.join(given)}: all of these nodes are drained; `smartmob nodes drain --undo NAME` ends that"
        )
    if not nodes:
        return "no machine has joined; `smartmob token add NAME --role node` prints how one does"
    keys = sorted({key for node in nodes for key in node["labels"]})
    wanted = [key for text in given for key, _ in parse(text).labels]
    unknown = [key for key in wanted if key not in keys]
    hint = did_you_mean(unknown[0], keys) if unknown else ""
    return f"no node matches --on {' --on '.join(given)}{hint or '; `smartmob nodes ls` shows the labels'}"
