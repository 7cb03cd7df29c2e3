"""The records of jobs."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from smartmob.commands import model
from smartmob.commands.model import Job


@pytest.mark.parametrize(
    ("argv", "line"),
    [(["ls | wc"], "ls | wc"), (["ls", "a b"], "ls 'a b'"), (["ls", "-l"], "ls -l")],
)
def test_a_command_line_is_what_a_person_would_type(argv: list[str], line: str) -> None:
    """A list of arguments is quoted where it must be."""
    job = Job(
        id=1, command="exec", argv=argv, cwd="/", env_names=[], client="me", state=model.RUNNING,
        started_at=datetime(2026, 1, 1, tzinfo=UTC),
    )  # fmt: skip

    assert job.command_line == line
    assert job.running
