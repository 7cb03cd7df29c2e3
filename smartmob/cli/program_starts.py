"""Waiting until programs have started: they are ready or not, have run for a while, or have failed."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from urllib.parse import quote

from smartmob.cli import printing
from smartmob.cli.line_printer import EVENT_PREFIX
from smartmob.cli.process_selection import Status
from smartmob.client.http import RestClient
from smartmob.client.process_output import ALL_LINES, ProcessOutput, process_output
from smartmob.processes import model

NOT_STARTED = model.FAILURES | {model.BACKOFF, model.STOPPED}
"""States of a process that has failed, or has ended and is not started again at once."""
_DOES_NOT_EXIST = "which does not exist"
"""The end of the detail of a process that waits for one that was not created."""
_POLL_SECONDS = 5.0
"""Longest time between two requests for a status: an event is lost if its program then writes more than is kept."""


async def wait_until_started(rest: RestClient, slugs: Sequence[str], uptime: float) -> list[Status]:
    """Wait until each process is settled, or waits while another one is not ready; return them in their order.

    A program without a readiness check is settled when it has run for `uptime` seconds.
    """
    found: dict[str, Status] = {}
    tasks = {asyncio.get_running_loop().create_task(_wait_until_started(rest, slug, uptime)): slug for slug in slugs}
    try:
        while left := {task for task in tasks if tasks[task] not in found}:
            done, _ = await asyncio.wait(left, return_when=asyncio.FIRST_COMPLETED)
            found |= {tasks[task]: task.result() for task in done}
            if any(map(is_unready, found.values())):
                for slug in (tasks[task] for task in left - done):
                    if (process := await status_of(rest, slug))["state"] == model.WAITING:
                        found[slug] = process
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
    return [found[slug] for slug in slugs]


def is_unready(process: Status) -> bool:
    """Return whether a process runs and its readiness check fails."""
    readiness = process["readiness"]
    return bool(process["state"] == model.RUNNING and readiness and readiness["state"] == model.FAILING)


async def status_of(rest: RestClient, slug: str) -> Status:
    """Return the status of a process; raises RemoteError."""
    process: Status = await rest.get(f"/process-status/{quote(slug, safe='')}")
    return process


def with_port(process: Status) -> str:
    """Return that a process runs, with its port, for people."""
    return f"{process['slug']} runs with PORT={process['port']}"


async def _wait_until_started(rest: RestClient, slug: str, uptime: float) -> Status:
    """Wait until a process is settled, and return it. A program that ends before `uptime` is waited for again."""
    said, create_task = "", asyncio.get_running_loop().create_task
    async with process_output(rest, slug, tail=ALL_LINES, events=True) as lines, aclosing(_events(lines)) as events:
        next_event = create_task(_next(events))
        wait = 0.0  # the process may have started before, and its output may have displaced its events
        try:
            while True:
                await asyncio.wait({next_event}, timeout=wait)
                if next_event.done():
                    if next_event.result() is None:
                        return await status_of(rest, slug)
                    next_event = create_task(_next(events))
                process = await status_of(rest, slug)
                left = _seconds_until_started(process, uptime)
                wait = _POLL_SECONDS if left is None else min(left, _POLL_SECONDS)
                missing = process["state"] == model.WAITING and process["detail"].endswith(_DOES_NOT_EXIST)
                if missing or process["state"] in NOT_STARTED or left == 0:
                    return process
                known, said = said, _what_it_waits_for(process, uptime)
                if said and said != known:
                    printing.say(said)
        finally:
            next_event.cancel()
            await asyncio.wait({next_event})


async def _next(events: AsyncGenerator[str]) -> str | None:
    return await anext(events, None)


async def _events(lines: ProcessOutput) -> AsyncGenerator[str]:
    """Yield the lines about the process itself."""
    async for line in lines:
        if line.startswith(EVENT_PREFIX):
            yield line


def _seconds_until_started(process: Status, uptime: float) -> float | None:
    """Return the seconds until a process is settled if nothing happens: 0 for now, None if an event is needed."""
    if process["state"] != model.RUNNING or process["pid"] is None:
        return None
    if check := process["readiness"]:
        return None if check["state"] in (None, model.STARTING) else 0.0
    return max(0.0, uptime - (process["uptime"] or 0.0))


def _what_it_waits_for(process: Status, uptime: float) -> str:
    """Return why a process is not settled yet, for people; it is being prepared if this is empty."""
    if process["state"] == model.WAITING:
        return f"{process['slug']} {process['detail']}"
    if process["state"] != model.RUNNING:
        return ""
    if process["readiness"]:
        return f"{with_port(process)}, and is not ready yet"
    return f"{with_port(process)}, and is watched for {uptime:g} s" if sys.stderr.isatty() else ""
