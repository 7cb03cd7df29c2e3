"""`smartmob bench`: what a service does on this machine."""

from __future__ import annotations

import json

import pytest

from smartmob.cli import bench
from smartmob.errors import RemoteError
from tests.acceptance.commands import run


@pytest.mark.timeout(900)
async def test_everything_is_measured() -> None:
    """The disk first, then each feature that takes something; only one request has no times."""
    code, output, errors = await run("bench", "--seconds", "0.5", "--json")

    assert code == 0, errors
    found = json.loads(output)
    assert [one["what"].partition(" ")[0] for one in found["measured"]] == [
        *("disk:", "requests", "metrics", "metrics", "samples", "commands"),
    ]
    assert all(one["per_second"] > 0 for one in found["measured"])
    untimed = [one["what"] for one in found["measured"] if one["p50_ms"] is None]
    assert untimed == ["metrics of tests, as NDJSON in one request"]
    assert all(one["p50_ms"] <= one["p99_ms"] for one in found["measured"] if one["p50_ms"] is not None)


async def test_no_time_at_all() -> None:
    """It is a mistake of the caller."""
    code, _, errors = await run("bench", "--seconds", "0")

    assert code == 2
    assert "--seconds" in errors


def test_percentiles_are_those_of_answered_requests() -> None:
    """They are of those that were answered, whatever their order."""
    found = bench._measurement("x", [0.004, 0.001, 0.002, 0.003, 0.1], 2.0)

    assert (found.per_second, found.p50_ms, found.p99_ms) == (2.5, 3.0, 100.0)


def test_no_answer_at_all_is_an_error() -> None:
    """That is an error, not a figure of zero."""
    with pytest.raises(RemoteError, match="no request was answered within 2 s: x"):
        bench._measurement("x", [], 2.0)
