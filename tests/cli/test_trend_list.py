"""`smartmob tests trends`: the real command against a running service."""

from __future__ import annotations

import json
from typing import Any

import pytest

from smartmob.cli.trend_list import print_trends
from tests.cli.conftest import Command
from tests.metrics.suites import describe, send

pytestmark = pytest.mark.timeout(900)


async def test_trends_are_listed(client: Any, smartmob: Command) -> None:
    """The table has the commit, both levels and whether the change lasts; names, times and JSON select and show."""
    code, output, _ = await smartmob("tests", "trends")
    assert (code, output.strip()) == (0, "No run has been measured.")
    await describe(client)
    for hour in range(16):
        await send(client, f"s{hour:02}", hour, {"test_3": 0.2} if hour >= 10 else {})
    code, output, errors = await smartmob("tests", "trends")
    assert (code, errors) == (0, "")
    (line,) = [line for line in output.splitlines() if "test_3" in line]
    words = line.split()
    assert words[2:4] == ["of-s10", "tests.test_sum::test_3"]
    assert words[-2:] == ["99.98%", "slower"]
    assert "1 test changed its level; 1 of them is slower or larger now." in output
    assert "rack7, 3.11.7: 16 runs of 8 tests since " in output

    code, output, _ = await smartmob("tests", "trends", "test_4", "test_3", "--json", "--limit", "1")
    assert [row["variant"] for row in json.loads(output)["trends"]] == ["test_3"]
    assert "No test changed its level." in (await smartmob("tests", "trends", "test_4"))[1]
    assert "No run of this branch and time" in (await smartmob("tests", "trends", "--since", "2027-01-01"))[1]
    assert (await smartmob("tests", "trends", "--since", "9999d"))[0] == 0
    code, _, errors = await smartmob("tests", "trends", "--since", "yesterday")
    assert code == 2
    assert "--since yesterday: expected a date" in errors


def test_all_kinds_of_trends_are_shown(capsys: pytest.CaptureFixture[str]) -> None:
    """A drift, a change that is over, a factor of all tests, and a value that was zero."""
    row: dict[str, Any] = {
        **{"change": "step", "direction": "more", "item_id": "i", "path": "t", "item": "a", "variant": "a"},
        **{"machine_node": "rack7", "started_at": "2026-11-01T00:00:00Z", "run": "r", "scm_ref": "c"},
        **{"before": 0.1, "after": 0.3, "ratio": 3.0, "confidence": 0.999, "still": True},
    }
    together = {"item_id": None, "path": "", "item": "all tests together", "variant": "", "before": 1.0, "after": 1.3}
    place = {"machine_node": "rack7", "python_info": "3.11", "branch": "main", "runs": 9, "tests": 1}
    print_trends(
        {
            **{"explanation": "Said.", "unit": "s", "found": 9},
            "places": [place | {"first": "2026-11-01T00:00:00Z"}] * 2,
            "trends": [
                row,
                row | {"change": "drift", "still": False},
                row | together | {"ratio": 1.3, "direction": "less"},
                row | {"ratio": None, "before": 0.0},
            ],
        }
    )
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[-1] for line in lines[1:5]] == ["slower", "over", "faster", "slower"]
    assert "drift from c" in lines[2]
    assert "all tests together" in lines[3]
    assert "+30.0%" in lines[3]
    assert "+300.0 ms" in lines[4]
    assert "5 more changes are not shown; --limit shows more." in lines
    assert lines[-1].startswith("rack7, 3.11, branch main: 9 runs of 1 test")
