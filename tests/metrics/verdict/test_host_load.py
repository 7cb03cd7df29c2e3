"""When a machine counts as busy with something else."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest

from smartmob.metrics.verdict.host_load import SuiteLoad, assess_load, cpu_of_node

NOON = datetime(2026, 11, 1, 12, tzinfo=UTC)


@dataclass(frozen=True)
class _Cpu:
    avg: float


@dataclass(frozen=True)
class _Host:
    host: str
    cpu: _Cpu | None


@pytest.mark.parametrize(
    ("cpu", "tests", "earlier", "busy"),
    [
        (95.0, 5.0, [5.0, 6.0, 90.0], True),
        (95.0, 90.0, [5.0, 6.0], False),
        (95.0, 5.0, [80.0, 85.0, 90.0], False),
        (95.0, 5.0, [], True),
        (20.0, 5.0, [], False),
        (3.0, 9.0, [0.0], False),
    ],
)
def test_busy(cpu: float, tests: float, earlier: list[float], busy: bool) -> None:
    """More than usual beside what the tests themselves take; never below nothing."""
    found = assess_load("rack7", cpu, tests, earlier)
    assert (found.busy, found.others >= 0.0, found.usual is None) == (busy, True, not earlier)
    assert f"{cpu:.0f}%" in found.explanation


def test_what_the_tests_take() -> None:
    """Parallel sessions take together what they take within the span of all."""
    efforts = [SuiteLoad(NOON, NOON + timedelta(seconds=8), 8.0), SuiteLoad(NOON, NOON + timedelta(seconds=10), 2.0)]
    together = SuiteLoad.combined(efforts)
    assert together is not None
    assert (together.cpu_percent(2), together.cpu_percent(0)) == (50.0, 0.0)
    assert SuiteLoad(NOON, NOON, 1.0).cpu_percent(1) == 0.0
    assert SuiteLoad(NOON, NOON + timedelta(seconds=1), 9.0).cpu_percent(1) == 100.0
    assert SuiteLoad.combined([]) is None


def test_which_machine() -> None:
    """Names are one in any case, and either may lack its domain; the same name goes before that."""
    hosts = [_Host("RACK7", _Cpu(1.0)), _Host("rack7.lab", _Cpu(2.0)), _Host("rack8", _Cpu(3.0)), _Host("mute", None)]
    assert cpu_of_node("rack7", hosts) == 1.0
    assert cpu_of_node("rack7.lab", hosts) == 2.0
    assert cpu_of_node("rack8.lab", hosts) == 3.0
    assert cpu_of_node("rack7.other", hosts[1:]) is None
    assert cpu_of_node("mute", hosts) is None
