"""The ends of load tests and jobs."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

import pytest

from smartmob.alerts import outcome_observer
from smartmob.alerts.conditions import JobFailed, LoadTestFailed
from smartmob.alerts.outcome_observer import ObservedOutcome, OutcomeObserver, by_conditions, ended_jobs, load_tests
from smartmob.commands.model import Job
from smartmob.turrets.model import ABORTED, Counters, Run
from tests.alerts.samples import NOW, rule


class Ends:
    """The outcomes that an observer reads; a test adds to `all`."""

    def __init__(self) -> None:
        self.all: list[ObservedOutcome] = []

    def add(self, ident: str, minute: int, *, failed: bool | None, subject: str = "soak", share: float = 0.0) -> None:
        """Let something end so many minutes after NOW."""
        self.all.append(
            ObservedOutcome(ident, subject, NOW + timedelta(minutes=minute), failed, f"{ident} ended", share)
        )

    async def read(self, start: datetime, end: datetime) -> Iterable[ObservedOutcome]:
        """Return the outcomes of a span, newest first, as the features do."""
        return [each for each in reversed(self.all) if start <= each.ended_at < end]


async def _seen(observer: OutcomeObserver, minute: int, condition: Any = None, **more: Any) -> list[tuple[str, str]]:
    await observer.read(NOW + timedelta(minutes=minute))
    made = rule(made_at=NOW - timedelta(minutes=30), **more)
    found = observer.observe(made, condition or LoadTestFailed()).found
    observer.commit()
    return [(str(each.health), each.cause) for each in found]


async def test_each_end_is_seen_once_and_in_order() -> None:
    """Two runs of one name that end between two looks are both seen."""
    ends = Ends()
    observer = OutcomeObserver(ends.read)
    assert await _seen(observer, 0) == []
    ends.add("one", 1, failed=True)
    ends.add("two", 2, failed=False)
    assert await _seen(observer, 3) == [("bad", "one"), ("good", "")]
    assert await _seen(observer, 4) == []


async def test_the_first_look_sees_only_the_newest_of_each_name() -> None:
    """A failure that a later success has ended is not told after a restart, one that stands is."""
    ends = Ends()
    ends.add("one", -9, failed=True)
    ends.add("two", -8, failed=False)
    ends.add("three", -7, failed=True, subject="spike")
    observer = OutcomeObserver(ends.read)
    assert sorted(await _seen(observer, 0)) == [("bad", "three"), ("good", "")]


async def test_a_bounded_number_of_outcomes_is_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a service that runs for long only the newest ends are remembered, and none of these is seen twice."""
    monkeypatch.setattr(outcome_observer, "_MAX_KNOWN_OUTCOMES", 3)
    ends = Ends()
    observer = OutcomeObserver(ends.read)
    await _seen(observer, 0)
    for number in range(1, 8):
        ends.add(str(number), 30 * number, failed=True)
        assert await _seen(observer, 30 * number) == [("bad", str(number))]
    assert list(observer._known) == ["5", "6", "7"]


async def test_a_look_that_failed_is_repeated() -> None:
    """An end that the rules have not seen is seen at the next look."""
    ends = Ends()
    observer = OutcomeObserver(ends.read)
    assert await _seen(observer, 0) == []
    ends.add("one", 1, failed=True)
    await observer.read(NOW + timedelta(minutes=2))
    assert await _seen(observer, 3) == [("bad", "one")]


async def test_what_failed_before_the_rule_is_no_alert() -> None:
    """A person who adds a rule knows what is broken; what a person stopped did not fail."""
    ends = Ends()
    ends.add("old", -40, failed=True)
    ends.add("stopped", -1, failed=None, subject="spike")
    assert await _seen(OutcomeObserver(ends.read), 0) == [("unknown", ""), ("unknown", "")]


async def test_a_share_of_errors_fails_a_load_test() -> None:
    """The limit is that of the rule, whatever the state of the run."""
    ends = Ends()
    ends.add("one", -1, failed=False, share=0.06)
    ends.add("two", -1, failed=False, subject="spike", share=0.05)
    assert sorted(await _seen(OutcomeObserver(ends.read), 0, LoadTestFailed(0.05))) == [("bad", "one"), ("good", "")]


async def test_jobs_end_in_several_ways() -> None:
    """A status other than 0, a signal and a lost job are failures; a job that the service stopped is not."""

    class Jobs:
        async def between(self, *_: Any) -> list[Job]:
            states = (("exited", 0), ("exited", 2), ("exited", -9), ("lost", None), ("failed", 1), ("stopped", None))
            return [
                Job(
                    id=number,
                    command="exec",
                    argv=["make", f"t{number}\n"],
                    cwd="/",
                    env_names=[],
                    client="me",
                    state=state,
                    started_at=NOW,
                    ended_at=NOW,
                    exit_code=code,
                )
                for number, (state, code) in enumerate(states)
            ] + [Job(id=9, command="e", argv=["x"], cwd="/", env_names=[], client="", state="running", started_at=NOW)]

    read = ended_jobs(Jobs())
    found = list(await read(NOW, NOW))
    assert [each.failed for each in found] == [False, True, True, True, True, None]
    assert found[1].summary.startswith("job 1 (make 't1 ') exited, exit code 2")
    observer = OutcomeObserver(read)
    await observer.read(NOW)
    assert len(observer.observe(rule(), JobFailed()).found) == 6


class Undecided:
    """Load tests whose conditions are decided once a test says so in `met`."""

    def __init__(self) -> None:
        self.met: list[str] | None = None

    async def concluded_between(self, start: datetime, end: datetime, limit: int) -> list[Run]:
        """Return one load test that a person stopped."""
        return [_run(1, "stopped", "stopped by request")]

    async def failed_conditions(self, ident: str) -> list[str] | None:
        """Return the conditions that were met."""
        return self.met


async def test_an_end_is_seen_with_the_final_verdict_of_its_conditions() -> None:
    """Some conditions are decided at the end only, also of a run that was stopped; its verdict is waited for."""
    for met, seen in (
        (["rate<50: rate 40 < 50", "untrusted: no"], [("bad", "1")]),
        ([], [("unknown", "")]),
    ):
        runs = Undecided()
        observer = OutcomeObserver(load_tests(runs), by_conditions(runs))
        assert await _seen(observer, 0) == []
        assert await _seen(observer, 1) == []
        runs.met = met
        assert await _seen(observer, 2) == seen
        assert await _seen(observer, 3) == []
    outcome = ObservedOutcome("1", "soak", NOW, None, "the load test soak stopped")
    runs.met = ["rate<50: rate 40 < 50", "untrusted: no"]
    found = await by_conditions(runs)(outcome, NOW)
    assert found is not None
    assert found.summary == "the load test soak stopped; it met rate<50: rate 40 < 50 and 1 more"


async def test_a_verdict_that_never_comes_is_not_waited_for() -> None:
    """The end is seen without it."""
    runs = Undecided()
    observer = OutcomeObserver(load_tests(runs), by_conditions(runs))
    assert [await _seen(observer, minute) for minute in (0, 2, 3)] == [[], [], [("unknown", "")]]


async def test_a_load_test_that_a_condition_stopped_failed() -> None:
    """One that a person stopped did not."""

    class Runs(Undecided):
        async def concluded_between(self, start: datetime, end: datetime, limit: int) -> list[Run]:
            ends = (
                ("finished", None),
                ("failed", "no turret"),
                ("stopped", "stopped by request"),
                ("stopped", f"{ABORTED}p99>1s: p99 2.00 s > 1.00 s"),
            )
            return [_run(number, state, reason) for number, (state, reason) in enumerate(ends)]

    found = list(await load_tests(Runs())(NOW, NOW))
    assert [each.failed for each in found] == [False, True, None, True]


def _run(number: int, state: Any, reason: str | None) -> Run:
    """Return a load test that ended."""
    return Run(
        id=str(number), name="soak", state=state, reason=reason, created_at=NOW, started_at=NOW, ceased_at=NOW,
        ended_at=NOW, run_time=1.0, min_turrets=1, results="slices", transactions=1, errors=0, counters=Counters(),
        package=False, summary="", report="", live="",
    )  # fmt: skip
