"""The checks of `smartmob doctor --on`: nodes as their service sees them."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from smartmob.cli.node_selection import NODES_PATH, SelectedMachine, select
from smartmob.cli.on_nodes import PARALLEL
from smartmob.cli.reserve import line_of, reservations_of
from smartmob.cli.server_options import DEFAULT_SERVER, address, connect
from smartmob.client.http import RestClient
from smartmob.environment import environment
from smartmob.errors import RemoteError
from smartmob.kernel.runtime import clock
from smartmob.options import PREFIX

LARGEST_OFFSET_SECONDS = 0.5
"""The largest good difference of two clocks, as for `smartmob doctor --server`."""


def findings(node: Mapping[str, Any], version: str) -> list[dict[str, str]]:
    """Return the findings from the facts of a node; `version` is that of its service."""
    facts = node["facts"]
    found = [_connected(node)]
    if facts["version"] and facts["version"] != version:
        said = f"{facts['version']}, while the service is {version}"
        found.append(_finding("version", "warning", said, "Install the same version on both."))
    elif facts["version"]:
        found.append(_finding("version", "good", facts["version"]))
    if facts["clock_offset"] is not None:
        offset, delay = -facts["clock_offset"], facts["clock_delay"]
        far = abs(offset) - delay / 2 > LARGEST_OFFSET_SECONDS
        said = f"off by {1000 * offset:+.1f} ms ± {500 * delay:.1f}"
        found.append(_finding("clock", "bad" if far else "good", said, "Set up NTP on both machines." if far else ""))
    return found


def _connected(node: Mapping[str, Any]) -> dict[str, str]:
    if node["connected"]:
        return _finding("link", "good", "connected" + (", drained" if node["drained"] else ""))
    return _finding("link", "bad", "not connected", "Check that its service runs and reaches this one.")


def _reserved(reservation: Mapping[str, Any]) -> dict[str, str]:
    """Return a finding on a reservation, which is a warning for all but its holder."""
    advice = "" if reservation["mine"] else "Work from other clients is refused there until then."
    return _finding("reservation", "good" if reservation["mine"] else "warning", line_of(reservation), advice)


def _finding(name: str, level: str, said: str, advice: str = "") -> dict[str, str]:
    return {"name": name, "level": level, "said": said, "advice": advice}


async def check(
    server: str | None, token_file: Path | None, ca_file: Path | None, on: Sequence[str]
) -> dict[str, list[dict[str, str]]]:
    """Return the findings by node; raises NotFound and RemoteError."""
    url = address(server or environment().get(PREFIX + "SERVER", DEFAULT_SERVER))
    variables = environment()
    token_file = token_file or (Path(variables[PREFIX + "TOKEN_FILE"]) if PREFIX + "TOKEN_FILE" in variables else None)
    ca_file = ca_file or (Path(variables[PREFIX + "CA_FILE"]) if PREFIX + "CA_FILE" in variables else None)
    async with connect(url, token_file, ca_file) as rest:
        selection = await select(rest, on)
        version = (await rest.get("/openapi.json"))["info"]["version"]
        nodes = {node["name"]: node for node in (await rest.get(NODES_PATH))["nodes"]}
        reserved = {each["node"]: each for each in await reservations_of(rest)}
        slots = asyncio.Semaphore(PARALLEL)

        async def one(machine: SelectedMachine) -> list[dict[str, str]]:
            async with slots:
                node = nodes.get(machine.name)
                found = [] if node is None else findings(node, version)
                if machine.name in reserved:
                    found.append(_reserved(reserved[machine.name]))
                if not machine.problem:
                    async with RestClient(machine.url, rest.token, rest.ca_file) as there:
                        found.append(await _answer(there))
                return found

        found = await asyncio.gather(*map(one, selection.machines))
        return {machine.name: each for machine, each in zip(selection.machines, found, strict=True)}


async def _answer(rest: RestClient) -> dict[str, str]:
    """Return whether a service is ready, and how long its answer took."""
    began = clock.steady()
    try:
        await rest.get("/ready")
    except RemoteError as error:
        return _finding("service", "bad", str(error), "Its log and `smartmob doctor` on the machine say more.")
    return _finding("service", "good", f"ready, answers in {1000 * (clock.steady() - began):.0f} ms")
