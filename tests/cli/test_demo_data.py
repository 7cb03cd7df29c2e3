"""The examples of `smartmob demo`."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from xml.etree import ElementTree

from smartmob.cli import demo_data

NOW = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)


def test_one_test_becomes_slower_and_one_run_is_disturbed() -> None:
    """The reports have a step in one test, one run in which all are slower, and the same figures each time."""
    found = list(demo_data.runs(NOW))
    assert found == list(demo_data.runs(NOW))
    times = {
        commit: {case.get("name"): float(case.get("time", "0")) for case in ElementTree.fromstring(report)}
        for commit, _, report in found
    }
    before, after = times[demo_data.LAST_GOOD_COMMIT], times[found[-1][0]]
    assert after[demo_data.SLOWER_TEST] > 1.3 * before[demo_data.SLOWER_TEST]
    calm, busy = (sum(times[commit].values()) for commit in demo_data.BUSY_COMMITS)
    assert busy > 1.4 * calm


def test_the_machine_is_busy_during_that_run_only() -> None:
    """Samples around each run have the usual load, except those around the disturbed run."""
    began = {commit: moment.timestamp() for commit, moment, _ in demo_data.runs(NOW)}
    disturbed = began[demo_data.BUSY_COMMITS[1]]
    for sample in demo_data.samples(NOW):
        assert (sample["cpu_load"] > 80) == (abs(sample["time"] - disturbed) <= 120)


def test_the_load_has_a_knee() -> None:
    """Times are flat at first and many times longer at the end."""
    rows = [line.split(",") for line in demo_data.load_results(NOW).splitlines()[1:]]
    elapsed = [int(row[1]) for row in rows]
    assert sum(elapsed[-100:]) > 10 * sum(elapsed[:100])
    assert {row[3] for row in rows} == {"200", "503"}


def test_one_process_of_the_program_crashes(tmp_path: Path) -> None:
    """One of its two processes ends with an error."""
    program = demo_data.crashing_program(tmp_path)
    assert "exit 3" in (program / "Procfile").read_text()
