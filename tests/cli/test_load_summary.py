"""The summary of a load test as tables for a terminal."""

from __future__ import annotations

import pytest

from smartmob.cli.load_summary import print_summary


def test_a_narrow_terminal_cuts_no_duration(capsys: pytest.CaptureFixture[str]) -> None:
    """It has fewer columns, each with its unit, also for failures."""
    shares = dict.fromkeys(("50", "90", "95", "99", "99.9"), 0.0111)
    row = {
        "count": 1_000,
        "errors": 9,
        "min": 0.001,
        "avg": 0.0222,
        "max": 0.3333,
        "stdev": 0.01,
        "percentiles": shares,
    }
    timers = {"All transactions": row | {"failed": row}, "GET /a/long/address": row | {"failed": None}}
    summary = {"id": "x" * 36, "transactions": 1_000, "errors": 9, "rate": 12.5, "warm_up": 0, "timers": timers}
    summary |= {"sent": 0, "received": 0, "error_texts": [], "timer_errors": {}, "other_error_texts": 0}
    print_summary(summary | {"trust": {"facts": [], "doubts": []}}, 80)
    lines = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
    assert max(map(len, lines)) <= 80, lines
    rows = [line.split() for line in lines if line.startswith("All transactions")]
    durations = ["22.2", "ms", "11.1", "ms", "11.1", "ms", "11.1", "ms", "333.3", "ms"]
    assert [row[-10:] for row in rows] == [durations, durations]
