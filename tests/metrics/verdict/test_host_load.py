"""The assessment of the host load during a run."""

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
def test_a_machine_is_busy_if_other_programs_use_more_than_usual(
    cpu: float, tests: float, earlier: list[float], busy: bool
) -> None:
    """The load by the tests does not count, and the load by others is never negative."""
    found = assess_load("rack7", cpu, tests, earlier)
    assert (found.busy, found.others >= 0.0, found.usual is None) == (busy, True, not earlier)
    assert f"{cpu:.0f}%" in found.explanation


def test_the_load_of_parallel_sessions_is_combined() -> None:
    """Parallel sessions use their processor seconds within the span of all."""
    loads = [SuiteLoad(NOON, NOON + timedelta(seconds=8), 8.0), SuiteLoad(NOON, NOON + timedelta(seconds=10), 2.0)]
    combined = SuiteLoad.combined(loads)
    assert combined is not None
    assert (combined.cpu_percent(2), combined.cpu_percent(0)) == (50.0, 0.0)
    assert SuiteLoad(NOON, NOON, 1.0).cpu_percent(1) == 0.0
    assert SuiteLoad(NOON, NOON + timedelta(seconds=1), 9.0).cpu_percent(1) == 100.0
    assert SuiteLoad.combined([]) is None


def test_a_machine_is_found_with_or_without_its_domain() -> None:
    """Names are compared without case, and either may lack its domain; an exact match comes first."""
    hosts = [_Host("RACK7", _Cpu(1.0)), _Host("rack7.lab", _Cpu(2.0)), _Host("rack8", _Cpu(3.0)), _Host("mute", None)]
    assert cpu_of_node("rack7", hosts) == 1.0
    assert cpu_of_node("rack7.lab", hosts) == 2.0
    assert cpu_of_node("rack8.lab", hosts) == 3.0
    assert cpu_of_node("rack7.other", hosts[1:]) is None
    assert cpu_of_node("mute", hosts) is None
