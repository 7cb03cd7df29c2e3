"""When a program counts as started."""

from __future__ import annotations

from typing import Any

import pytest

from smartmob.cli.program_starts import _seconds_until_started, is_unready, wait_until_started
from smartmob.client.http import RestClient
from smartmob.client.process_output import ALL_LINES, process_output

RUNNING: dict[str, Any] = {"state": "running", "pid": 7, "uptime": 4.0, "readiness": None}


@pytest.mark.parametrize(
    ("changes", "seconds"),
    [
        ({}, 6.0),
        ({"uptime": 10.5}, 0.0),
        ({"pid": None, "uptime": None}, None),
        ({"state": "processing"}, None),
        ({"readiness": {"state": "starting"}}, None),
        ({"readiness": {"state": "passing"}}, 0.0),
        ({"readiness": {"state": "failing"}}, 0.0),
    ],
)
def test_a_program_has_started_when_it_is_ready_or_has_run_for_a_while(
    changes: dict[str, Any], seconds: float | None
) -> None:
    """A readiness check decides where there is one, else the time since the start; nothing is decided without a pid."""
    assert _seconds_until_started(RUNNING | changes, 10.0) == seconds
    assert is_unready(RUNNING | changes) == (changes.get("readiness") == {"state": "failing"})


@pytest.mark.timeout(900)
async def test_a_program_whose_output_displaced_its_start_has_started(
    smartmob: Any, rest: RestClient, program: Any
) -> None:
    """Of more output than is kept, the first lines are lost, and with them the one about the start."""
    assert (await smartmob("run", program("chatty", "web: seq 1 300000; exec sleep 1000\n"), "-d", "--uptime", "0"))[
        0
    ] == 0
    async with process_output(rest, "chatty.web.0", tail=ALL_LINES, follow=True) as lines:
        async for line in lines:
            if line == "300000":
                break

    (process,) = await wait_until_started(rest, ["chatty.web.0"], 0.1)

    assert process["state"] == "running"
