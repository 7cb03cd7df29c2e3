"""A job while it runs: readers that hold its output, and messages as lines of output."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from smartmob.commands.running_job import as_line
from tests.commands.features import feature
from tests.waiting import until

MIB = 1024 * 1024


async def test_a_job_waits_for_the_client_that_started_it(database_url: str, tmp_path: Path) -> None:
    """Output that this client has not received is not dropped, however slow it is."""
    async with feature(database_url, tmp_path, job_output=2 * MIB) as commands:
        reply = commands.begin("exec", ["head", "-c", str(12 * MIB), "/dev/zero"])
        reply.open.clear()
        await until(lambda: reply.number)
        await until(lambda: (job := commands.service.supervisor.find(reply.number)) and job.spool.end >= MIB)
        reply.open.set()
        await reply.ended.wait()

        assert (len(reply.data), reply.gaps, reply.code) == (12 * MIB, [], 0)
        assert (await commands.service.jobs.get(reply.number)).kept_from >= 10 * MIB


@pytest.mark.parametrize(
    ("value", "line"),
    [
        ("text", b"text\n"),
        ("line\n", b"line\n"),
        (b"\xff", b"\xff\n"),
        ({"a": [1]}, b'{"a":[1]}\n'),
        (ValueError("no"), b"ValueError: no\n"),
        (object, b"\"<class 'object'>\"\n"),
    ],
)
def test_messages_of_background_commands_are_lines(value: Any, line: bytes) -> None:
    """Texts and bytes stay as they are, other values become JSON, and each has a line end."""
    assert as_line(value) == line
