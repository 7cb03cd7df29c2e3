"""The state machine of a check: thresholds, flapping, and the times of its executions."""

from __future__ import annotations

import itertools
import re
from itertools import pairwise
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from smartmob.processes import model
from smartmob.processes.health import state_machine as m


def _machine(**changes: float) -> m.CheckStateMachine:
    return m.CheckStateMachine(model.HealthCheck(tcp=1, interval=2.0, **changes))


def test_the_first_execution_waits_for_the_initial_delay_and_the_next_for_the_end_of_the_one_before() -> None:
    """A slow check is never executed twice at once."""
    machine = _machine(initial_delay=5.0)
    assert machine.handle(m.Began(), 10.0) == [m.Execute(15.0)]
    assert machine.handle(m.Finished(True), 40.0) == [m.Passed(), m.Execute(42.0)]
    assert machine.handle(m.Finished(True), 43.0) == [m.Execute(45.0)]


def test_thresholds_count_results_in_a_row() -> None:
    """One result of the other kind begins the count again."""
    machine = _machine(success_threshold=2, failure_threshold=3)
    told = ""
    for result in "+-++--+----+-++":
        actions = machine.handle(m.Finished(result == "+", "reason"), 0.0)
        told += result + "".join(type(each).__name__[0] for each in actions if not isinstance(each, m.Execute))
    assert told == "+-++P--+---F-+-++P"
    assert (machine.state, machine.failures, machine.detail, machine.has_passed) == (model.PASSING, 0, "", True)


def test_a_check_that_cannot_be_executed_changes_nothing() -> None:
    """The program is not at fault, so it is neither ready nor restarted for it."""
    machine = _machine(failure_threshold=2)
    for passed in (False, None, None):
        assert machine.handle(m.Finished(passed, "no files"), 1.0) == [m.Execute(3.0)]
    assert (machine.state, machine.failures, machine.detail) == (model.STARTING, 1, "no files")
    assert machine.handle(m.Finished(False, "refused"), 1.0) == [m.Failed("refused"), m.Execute(3.0)]
    assert (machine.state, machine.has_passed) == (model.FAILING, False)


@given(st.lists(st.booleans()), st.integers(1, 4), st.integers(1, 4))
def test_a_change_is_told_once(results: list[bool], successes: int, failures: int) -> None:
    """The actions alternate, and the state is that of the last one; each result leads to one execution."""
    machine = _machine(success_threshold=successes, failure_threshold=failures)
    told = []
    for passed in results:
        *changes, following = machine.handle(m.Finished(passed, "reason"), 0.0)
        assert isinstance(following, m.Execute)
        told += [type(change) for change in changes]
    assert all(one is not other for one, other in pairwise(told))
    state = {m.Passed: model.PASSING, m.Failed: model.FAILING}[told[-1]] if told else model.STARTING
    assert machine.state == state


def test_the_page_has_each_state_with_those_that_follow_it() -> None:
    """The table of states in docs/reference/health-checks.md is what any sequence of results does."""
    text = (Path(__file__).parents[3] / "docs" / "reference" / "health-checks.md").read_text(encoding="utf-8")
    table = text.partition("### States of a check")[2].partition("\n##")[0]
    rows = re.findall(r"(?m)^\| `(\w+)` \| [^|]+ \| ([^|]+) \|$", table)
    followed = {state: set(re.findall(r"`(\w+)`", others)) for state, others in rows}
    found: dict[str, set[str]] = {model.STARTING: set()}
    for results in itertools.product((True, False, None), repeat=6):
        machine = m.CheckStateMachine(model.HealthCheck(http="/", success_threshold=2, failure_threshold=2))
        for result in results:
            before = machine.state
            machine.handle(m.Finished(result), 0.0)
            if machine.state != before:
                found.setdefault(before, set()).add(machine.state)
    assert followed == found
