"""The display of a running load test."""

from __future__ import annotations

from typing import Any

import pytest
from rich.console import Console

from smartmob.cli.run_display import RunDisplay, headline, rendered

FRAME: dict[str, Any] = {
    **{"id": "r", "state": "running", "reason": None, "elapsed": 7.2, "run_time": 30.0, "min_turrets": 2},
    **{"transactions": 12345, "errors": 6, "rate": 1700, "error_rate": 1, "counters": {}},
    "timers": {
        "All transactions": {
            **{"total": 12345, "total_errors": 6, "count": 1700, "errors": 1, "max": 0.5},
            **{"percentiles": {"50": 0.01, "95": 0.1, "99": 0.2}, "failed_percentiles": {"50": 3.0, "99": 4.5}},
        },
        "\x1b[31m[red]page": {
            **{"total": 5, "total_errors": 0, "count": 0, "errors": 0, "max": None},
            **{"percentiles": {}, "failed_percentiles": {}},
        },
    },
    "turrets": [
        {"uuid": "a", "name": "nav", "alive": True, "busiest": 0.42, "lag": 0.0},
        {"uuid": "b", "name": "old", "alive": False, "busiest": None, "lag": None},
    ],
}


def _drawn(frame: dict[str, Any], columns: int = 120) -> str:
    console = Console(width=columns, record=True, force_terminal=False)
    with console.capture() as capture:
        console.print(rendered(frame, columns))
    return capture.get()


def test_the_table_has_totals_and_the_last_second() -> None:
    """Totals, the last second, percentiles, and what is wrong with turrets."""
    drawn = _drawn(FRAME)
    for part in (
        "running: 7 of 30 s",
        "12,345",
        "1,700",
        "10.0 ms",
        "200.0 ms",
        "12,339",
        "3.00 s",
        "4.50 s",
        "turrets: 1",
        "42% of a core",
        "lost: old",
    ):
        assert part in drawn, part


def test_a_narrow_terminal_has_fewer_columns_and_cuts_no_cell() -> None:
    """A duration without its unit would be another one."""
    whole = FRAME["timers"]["All transactions"] | {"percentiles": {"50": 0.0111, "95": 0.1112, "99": 0.2223}}
    drawn = _drawn(FRAME | {"timers": {"GET /a/rather/long/address/of/a/page": whole}}, 80)
    assert all(part in drawn for part in ("12,339", "1,700", "11.1 ms", "111.2 ms", "222.3 ms"))
    assert "4.50" not in drawn


def test_names_are_shown_literally() -> None:
    """Characters that control a terminal, and markup, are shown literally."""
    drawn = _drawn(FRAME)
    assert "\x1b" not in drawn
    assert "[31m[red]page" in drawn


def test_the_display_names_the_missing_turrets() -> None:
    """The display names the missing turrets and how to start them."""
    said = headline(FRAME | {"state": "waiting"})
    assert said == "waiting for turrets: 1 of 2 connected (smartmob turret --tar PACKAGE)"
    assert "Timer" not in _drawn(FRAME | {"state": "waiting"})


def test_states_are_lines_without_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    """One line for each state, on standard error."""
    with RunDisplay() as display:
        for state in ("waiting", "waiting", "running", "running", "finished"):
            display.show(FRAME | {"state": state})
    output, errors = capsys.readouterr()
    assert output == ""
    assert [line.split(":")[0] for line in errors.splitlines()] == ["waiting for turrets", "running", "finished"]


def test_the_conditions_of_a_frame() -> None:
    """Each is a line with its state; a server of an earlier version sends none."""
    conditions = [{"state": "open", "condition": "rate<5", "text": "the rate is not decided"}]
    assert "open: rate<5: the rate is not decided" in _drawn(FRAME | {"conditions": conditions})
    assert "open" not in _drawn(FRAME)
