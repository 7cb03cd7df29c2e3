"""`smartmob demo`, as a newcomer runs it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.acceptance.commands import run

CACHE = Path(__file__).parents[2] / ".cache"


@pytest.mark.interop
@pytest.mark.timeout(900)
async def test_the_demo() -> None:
    """It starts a service, runs the bundled suite with the real plugin, shows what came of it, and ends."""
    code, output, errors = await run("demo", XDG_CACHE_HOME=str(CACHE))

    assert code == 0, errors
    assert errors.count("10 passed") == 2
    runs = [line.split() for line in output.splitlines() if "how=" in line]
    assert [(line[-1], line[-3]) for line in runs] == [("how=parallel", runs[0][-3]), ("how=plain", runs[1][-3])]
    assert output.count("test_insertion_sort[") == 4
    assert "smartmob tests ls" in errors
    assert "http://127.0.0.1:8080" in errors
