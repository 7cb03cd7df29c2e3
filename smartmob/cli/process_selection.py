"""Selection of processes by slug, or of all processes of an application by its name."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeAlias

import click
from click.shell_completion import CompletionItem

from smartmob.cli import elsewhere
from smartmob.cli.server_options import DEFAULT_SERVER, connect
from smartmob.cli.suggestions import did_you_mean
from smartmob.client.http import RestClient
from smartmob.errors import NotFound, SmartmobError

Status: TypeAlias = dict[str, Any]
"""A process in the form of the REST API."""

_COMPLETION_SECONDS = 3.0


async def listed(rest: RestClient) -> list[Status]:
    """Return all processes sorted by slug, `web.2` before `web.10`; raises RemoteError.

    The service lists processes in the order of their creation, which is arbitrary for those created at once.
    """
    processes: list[Status] = (await rest.get("/api/v1/processes"))["processes"]
    return sorted(processes, key=lambda process: _in_order(process["slug"]))


def _in_order(slug: str) -> list[str | int]:
    return [int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", slug)]


async def select(rest: RestClient, names: Sequence[str]) -> list[Status]:
    """Return the processes of these names, each once; raises NotFound and RemoteError."""
    processes = await listed(rest)
    found: dict[str, Status] = {}
    for name in names:
        meant = [p for p in processes if p["slug"] == name] or [p for p in processes if p["app"] == name]
        if not meant:
            ending = await elsewhere.hint(rest, program=name) or _hint(name, processes)
            raise NotFound(f"there is no program {name}{' here' if ending.startswith('; it is') else ''}{ending}")
        found |= {p["slug"]: p for p in meant}
    return list(found.values())


def _hint(name: str, processes: Sequence[Status]) -> str:
    return did_you_mean(name, [p["slug"] for p in processes], "`smartmob ps` lists them")


def complete(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Return slugs and applications for the completion of a shell; none when the service does not answer."""
    try:
        given = (context.params.get(name) for name in ("server", "token_file", "ca_file"))
        processes = asyncio.run(_ask(*given))
    except (SmartmobError, TimeoutError):
        return []
    named = context.params.get(parameter.name or "") or ()
    items = {p["slug"]: p["state"] for p in processes}
    for app in dict.fromkeys(p["app"] for p in processes):
        items.setdefault(app, f"all of {app}")
    return [
        CompletionItem(name, help=text)
        for name, text in items.items()
        if name.startswith(incomplete) and name not in named
    ]


async def _ask(server: str | None, token_file: Path | None, ca_file: Path | None) -> list[Status]:
    async with asyncio.timeout(_COMPLETION_SECONDS), connect(server or DEFAULT_SERVER, token_file, ca_file) as rest:
        return await listed(rest)
