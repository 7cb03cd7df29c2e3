"""Machines as network namespaces: each has only a link to this machine. Without the rights for that, none is made."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

_TRIED_NETWORKS = 5


@dataclass(frozen=True, slots=True)
class Network:
    """`host` is the address of this machine for the others; `programs` starts a program on each of them."""

    host: str
    programs: dict[str, tuple[str, ...]]


async def _ip(*words: str) -> bool:
    process = await asyncio.create_subprocess_exec(
        "ip", *words, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL
    )
    return await process.wait() == 0


async def _link(machine: str, number: int, host: str, address: str) -> bool:
    """Make the namespace of a machine and a link to it; return whether that was allowed."""
    here = f"sm{os.getpid()}n{number}"
    return (
        await _ip("netns", "add", machine)
        and await _ip("link", "add", here, "type", "veth", "peer", "name", "eth0", "netns", machine)
        and await _ip("address", "add", f"{host}/32", "dev", here)
        and await _ip("link", "set", here, "up")
        and await _ip("route", "add", f"{address}/32", "dev", here, "src", host)
        and await _ip("-netns", machine, "address", "add", f"{address}/32", "dev", "eth0")
        and await _ip("-netns", machine, "link", "set", "lo", "up")
        and await _ip("-netns", machine, "link", "set", "eth0", "up")
        and await _ip("-netns", machine, "route", "add", f"{host}/32", "dev", "eth0")
    )


@asynccontextmanager
async def network(names: Sequence[str]) -> AsyncIterator[Network]:
    """Give a network of machines until the end of the block; where it is not allowed, they are this machine."""
    machines = {name: f"smartmob-{os.getpid()}-{name}" for name in names}
    try:
        for attempt in range(_TRIED_NETWORKS if shutil.which("ip") else 0):
            # Addresses for tests of networks (RFC 2544, section C.2.2): nothing else on this machine has one.
            net = f"198.18.{(os.getpid() + attempt) % 256}"
            made = [
                await _link(machine, number, f"{net}.1", f"{net}.{number + 2}")
                for number, machine in enumerate(machines.values())
            ]
            if all(made):
                yield Network(f"{net}.1", {name: ("ip", "netns", "exec", machines[name]) for name in names})
                return
            await _delete(list(machines.values()))
            if not any(made):
                break
        yield Network("127.0.0.1", dict.fromkeys(names, ()))
    finally:
        await _delete(list(machines.values()))


async def _delete(machines: Sequence[str]) -> None:
    """Delete namespaces; their links go with them."""
    if shutil.which("ip"):
        await asyncio.gather(*(_ip("netns", "delete", machine) for machine in machines))
