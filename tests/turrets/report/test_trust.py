"""The verdict on a run and its doubts."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from smartmob.turrets.model import (
    Absence,
    Counters,
    LoadPlan,
    MachineLoad,
    Member,
    Trust,
    TurretConfig,
)
from smartmob.turrets.protocol import Report
from smartmob.turrets.report.evidence import RunEvidence
from smartmob.turrets.report.trust import judge, worst

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
REPORT = Report(protocol=1, version="1", host="rack7", run="r", transactions=1000, final=True)
FINE = Member(
    uuid="0123456789", name="nav", script="v.py", cannons=5, rampup=0.0, status="ready", status_at=NOON,
    first_seen=NOON, ours=True, expected=4, received=4, busiest=0.3, lag=0.002, report=REPORT,
)  # fmt: skip


def _judge(counters: Counters | None = None, transactions: int = 1000, **changes: Any) -> Trust:
    report = msgspec.structs.replace(REPORT, **changes.pop("report", {}))
    member = msgspec.structs.replace(FINE, report=report, **changes)
    return judge([member], counters or Counters(), transactions, None, 0)


@pytest.mark.parametrize(
    ("planned", "words"),
    [
        (TurretConfig(name="nav", script="scripts/v.py"), ""),
        (TurretConfig(name="nav"), ""),
        (TurretConfig(name="other", script="v.py"), "is not a turret of this project, and fired its own script"),
        (TurretConfig(name="nav", script="w.py"), "fired v.py, but the project says w.py"),
    ],
)
def test_a_turret_of_another_project(planned: TurretConfig, words: str) -> None:
    """All connected turrets fire, so the report tells which were not meant."""
    trust = judge([FINE], Counters(), 1000, None, 0, planned=[planned])
    assert [words in doubt.what for doubt in trust.doubts] == [True] * bool(words)


def test_a_run_under_way_is_not_doubted_for_its_missing_end() -> None:
    """Its turrets have not sent all, and there may be no result yet."""
    member = msgspec.structs.replace(FINE, expected=None, received=1, status="Running")
    evidence = RunEvidence(ended=False, plan=LoadPlan(model="unknown", words=[]), duration=1.0)
    assert judge([member], Counters(), 0, None, 0, evidence=evidence) == Trust("not yet", [])


def test_a_wrong_clock_is_told() -> None:
    """With its difference and where the results are."""
    (doubt,) = _judge(Counters(clock_offset=-3600.4)).doubts
    assert "about 3,600 s behind that of the headquarters" in doubt.what


def test_a_good_run_is_trusted() -> None:
    """A run of turrets of smartmob without problems has no doubts."""
    assert _judge() == Trust("yes", [])
    assert worst([]) == "fine"


@pytest.mark.parametrize(
    ("changes", "verdict", "words"),
    [
        ({"busiest": 0.9}, "with care", "near its limit: it used 90% of a core"),
        ({"busiest": 0.99}, "no", "was at its limit, so its times include its own delays: it used 99% of a core"),
        ({"lag": 0.1}, "with care", "was blocked for up to 0.1 s"),
        ({"lag": 2.0}, "no", "was blocked for up to 2 s"),
        ({"lost": [Absence(NOON)]}, "no", "was lost from 12:00:00 UTC. It did not reconnect."),
        ({"lost": [Absence(NOON, NOON.replace(minute=5))]}, "no", "from 12:00:00 UTC until 12:05:00"),
        ({"status": "Aborted", "report": {"reason": "no memory"}}, "no", "ended as Aborted: no memory"),
        ({"twice": True}, "no", "Two turrets used the uuid of nav (01234567)"),
        ({"received": 3}, "no", "1 message of nav (01234567) did not arrive"),
        ({"expected": None}, "no", "did not report that it had sent everything"),
        ({"report": {"late_starts": 9}}, "yes", ""),
        ({"report": {"joined": 0.4}}, "yes", ""),
        ({"report": {"joined": 1.02}}, "with care", "began 1.02 s after the start of the run"),
        (
            {"report": {"late_starts": 20, "lateness": 0.5}},
            "with care",
            "2.0% of its transactions late, by up to 0.5 s",
        ),
        ({"report": {"late_starts": 200}}, "no", "20.0% of its transactions late"),
        ({"report": {"never_started": 2}}, "no", "no free cannon for 2 transactions"),
        ({"report": {"dropped": 1}}, "no", "had to drop 1 result."),
        ({"report": {"paused": 1.5}}, "with care", "pause for 1.5 s"),
        ({"ours": False, "report": {}, "expected": None}, "with care", "1 turret of OCT took part"),
        ({"counters": Counters(restarts=2), "ours": False}, "no", "was restarted 2 times during the run"),
        ({"counters": Counters(restarts=2)}, "yes", ""),
        ({"transactions": 0}, "no", "There is no result"),
        ({"counters": Counters(malformed=1)}, "with care", "Left out: 1 message that could not be read"),
        ({"counters": Counters(stale=1200)}, "with care", "1,200 results of an earlier run"),
        ({"counters": Counters(dropped=5)}, "no", "5 results could not be stored or read"),
    ],
)
def test_each_doubt_has_its_level_and_text(changes: dict[str, Any], verdict: str, words: str) -> None:
    """The text names the turret."""
    trust = _judge(**changes)
    assert trust.verdict == verdict
    assert words in " ".join(doubt.what for doubt in trust.doubts)


def _of_machines(*machines: MachineLoad) -> Trust:
    return judge([FINE], Counters(), 1000, None, 0, machines)


def test_a_saturated_machine_is_a_doubt() -> None:
    """If a turret fired from it, the run is not trusted."""
    assert _of_machines(MachineLoad("rack7", 90.0, 100.0, fired=True)) == Trust("yes", [])
    elsewhere = _of_machines(MachineLoad("rack8", 93.4, 100.0), MachineLoad("rack7", 30.0, 99.0, fired=True))
    assert (elsewhere.verdict, len(elsewhere.doubts)) == ("with care", 1)
    assert elsewhere.doubts[0].what.startswith("The processors of rack8 were 93% busy on average: if it is not")
    here = _of_machines(MachineLoad("rack7", 97.0, 100.0, fired=True))
    assert here.verdict == "no"
    assert "rack7 were 97% busy on average, and a turret fired from there" in here.doubts[0].what


def test_the_reason_of_a_failed_run_is_the_first_doubt() -> None:
    """Further doubts follow."""
    trust = judge([], Counters(), 5, "ended early", 3)
    assert trust.verdict == "no"
    assert [doubt.what for doubt in trust.doubts] == [
        "The run did not go as planned: ended early.",
        "3 results could not be stored or read.",
    ]
    assert worst(trust.doubts) == "bad"


def test_a_turret_with_another_version_of_the_script() -> None:
    """It has the name and the script of the project, and other bytes."""
    member = msgspec.structs.replace(FINE, report=msgspec.structs.replace(REPORT, script_digest="b" * 64))
    planned = [TurretConfig(name="nav", script="v.py")]
    for digests, words in (({"v.py": "a" * 64}, ["another version of v.py"]), ({"v.py": "b" * 64}, []), ({}, [])):
        trust = judge([member], Counters(), 1000, None, 0, planned=planned, digests=digests)
        assert [word in doubt.what for word, doubt in zip(words, trust.doubts, strict=True)] == [True] * len(words)


def test_a_turret_that_ended_before_it_heard_the_headquarters() -> None:
    """It is not taken for one of OCT."""
    trust = _judge(status="Aborted", ours=False, report={}, expected=None)
    assert [doubt.what for doubt in trust.doubts] == ["nav (01234567) ended as Aborted."]
