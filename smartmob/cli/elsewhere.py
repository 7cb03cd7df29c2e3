"""The machine of the lab that has a program or job, for a command that was sent to another one."""

from __future__ import annotations

from typing import Any

import click

from smartmob.cli.on_nodes import SHARED
from smartmob.cli.server_options import command_line_at, node_of
from smartmob.client.http import RestClient
from smartmob.errors import RemoteError

_MOST_NAMED = 3  # machines


async def hint(rest: RestClient, *, program: str | None = None, job: int | None = None) -> str:
    """Return the end of a message: the machines that have the program or job, with the command line for the first.

    It is empty if no machine has it, and for a command that runs on several machines.
    """
    if SHARED.get() is not None:
        return ""
    lab, here = node_of(rest.url)
    asked: dict[str, Any] = {"program": program} if job is None else {"job": job}
    try:
        async with rest.for_service(lab) as client:
            found = [each["name"] for each in (await client.get("/api/v1/machines", **asked))["machines"]]
            on_lab = bool(here) and await _has(client, program, job)
    except RemoteError:
        return ""  # an earlier release, or a token without the right to ask
    names = [name for name in found if name != here]
    if not (names or on_lab):
        return ""
    shown = [*(["the service itself"] if on_lab else []), *names]
    more = f" and {len(shown) - _MOST_NAMED} more" if len(shown) > _MOST_NAMED else ""
    context = click.get_current_context(silent=True)
    words = [str(context.info_name) if context else "", str(program if job is None else job)]
    on = [] if on_lab else ["--on", names[0]]
    line = command_line_at(lab, *filter(None, words), *on)
    return f"; it is on {', '.join(shown[:_MOST_NAMED])}{more}: `{line}`"


async def _has(client: RestClient, program: str | None, job: int | None) -> bool:
    """Return whether the service at this address has the program or the job on its own machine."""
    if job is None:
        programs = (await client.get("/api/v1/processes"))["processes"]
        return any(program in (each["slug"], each["app"]) for each in programs)
    try:
        await client.get(f"/jobs/{job}")
    except RemoteError:
        return False
    return True
