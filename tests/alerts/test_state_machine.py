"""The state machine of one alert, by tables and by histories that hypothesis makes."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smartmob.alerts.state_machine import (
    RECOVERED,
    Action,
    AlertPhase,
    AlertState,
    Announce,
    Event,
    Fire,
    Gone,
    Observed,
    Resolve,
    SubjectHealth,
    Supersede,
    Timing,
    handle,
)

BAD, GOOD = Observed(SubjectHealth.BAD), Observed(SubjectHealth.GOOD)
BETWEEN, UNKNOWN = Observed(SubjectHealth.BETWEEN), Observed(SubjectHealth.UNKNOWN)
FIRED = Fire("", notify=True)


def _play(timing: Timing, *history: tuple[float, Event]) -> list[tuple[float, Action]]:
    """Return the actions of a history, each with its time."""
    state, done = AlertState(), []
    for at, event in history:
        state, actions = handle(state, event, timing, at)
        done += [(at, action) for action in actions]
    return done


def test_a_subject_fires_after_it_was_bad_for_long_enough() -> None:
    """A short peak fires nothing, and the time counts from the first bad observation of the row."""
    timing = Timing(pending_for=60)
    assert _play(timing, (0, BAD), (30, BAD), (45, GOOD), (50, BAD), (109, BAD)) == []
    assert _play(timing, (0, BAD), (30, UNKNOWN), (60, BAD), (90, BAD)) == [(60, FIRED)]


def test_it_resolves_after_it_was_good_for_long_enough() -> None:
    """A bad or half-good observation in between begins the time anew, and none without news does."""
    timing = Timing(recover_for=60)
    resolved = Resolve(RECOVERED, notify=True)
    assert _play(timing, (0, BAD), (10, GOOD), (69, GOOD), (70, GOOD)) == [(0, FIRED), (70, resolved)]
    assert _play(timing, (0, BAD), (10, GOOD), (40, BETWEEN), (71, GOOD), (130, GOOD)) == [(0, FIRED)]
    assert _play(timing, (0, BAD), (10, GOOD), (40, UNKNOWN), (71, GOOD)) == [(0, FIRED), (71, resolved)]


def test_a_value_between_the_limits_ends_what_is_pending() -> None:
    """Between the limits a figure is not bad, so it does not count towards firing."""
    assert _play(Timing(pending_for=60), (0, BAD), (30, BETWEEN), (60, BAD)) == []


def test_a_firing_alert_is_repeated_only_if_that_is_wanted() -> None:
    """Without `repeat` there is one notification, with it one for each interval."""
    history = [(float(at), BAD) for at in range(0, 301, 10)]
    assert _play(Timing(), *history) == [(0, FIRED)]
    again = Announce(repeated=True)
    assert _play(Timing(repeat=100), *history) == [(0, FIRED), (100, again), (200, again), (300, again)]


def test_a_silence_holds_a_notification_back_until_it_ends() -> None:
    """A silenced alert is stored; if it still fires when the silence ends, its receivers are told then, once."""
    silenced = Observed(SubjectHealth.BAD, silenced=True)
    assert _play(Timing(), (0, silenced), (10, silenced), (20, BAD), (30, BAD)) == [
        (0, Fire("", notify=False)),
        (20, Announce(repeated=False)),
    ]


def test_an_end_is_told_only_to_those_who_know_the_beginning() -> None:
    """An alert that began and ended within a silence causes no message."""
    silenced = Observed(SubjectHealth.BAD, silenced=True)
    assert _play(Timing(), (0, silenced), (10, GOOD))[-1] == (10, Resolve(RECOVERED, notify=False))


def test_a_further_cause_takes_the_place_of_the_first() -> None:
    """Each failed run is told once; the alert of the earlier one is closed without a message."""
    first, second = Observed(SubjectHealth.BAD, "run 1"), Observed(SubjectHealth.BAD, "run 2")
    assert _play(Timing(), (0, first), (10, first), (20, second), (30, second)) == [
        (0, Fire("run 1", notify=True)),
        (20, Supersede()),
        (20, Fire("run 2", notify=True)),
    ]


def test_a_removed_subject_ends_its_alert_with_the_reason() -> None:
    """A removed machine cannot recover; a pending alert is forgotten without a message."""
    assert _play(Timing(), (0, BAD), (10, Gone("removed"))) == [(0, FIRED), (10, Resolve("removed", notify=True))]
    assert _play(Timing(pending_for=60), (0, BAD), (10, Gone("removed"))) == []


_events: st.SearchStrategy[Any] = st.one_of(
    st.builds(Observed, st.sampled_from(SubjectHealth), st.sampled_from(["", "a", "b"]), st.booleans()),
    st.builds(Gone, st.just("removed"), st.booleans()),
)
_timings = st.builds(
    Timing, st.sampled_from([0.0, 5.0, 60.0]), st.sampled_from([0.0, 5.0, 60.0]), st.sampled_from([None, 30.0])
)


@given(_timings, st.lists(st.tuples(st.floats(0, 40), _events), max_size=60))
def test_no_history_notifies_twice_for_one_cause(timing: Timing, steps: list[tuple[float, Any]]) -> None:
    """Between two ends of an alert, one cause is notified once; a repetition comes only after its interval."""
    state, now = AlertState(), 0.0
    told: str | None = None
    told_at, firing = 0.0, False
    for step, event in steps:
        now += step
        state, actions = handle(state, event, timing, now)
        for action in actions:
            match action:
                case Fire():
                    assert not firing
                    firing, told, told_at = True, action.cause if action.notify else None, now
                case Announce(repeated=False):
                    assert firing and told is None
                    told, told_at = state.cause, now
                case Announce():
                    assert firing and told is not None and timing.repeat is not None
                    assert now - told_at >= timing.repeat
                    told_at = now
                case Supersede():
                    assert firing
                    firing, told = False, None
                case Resolve():
                    assert firing
                    assert not (action.notify and told is None)
                    firing, told = False, None
        assert firing == (state.phase is AlertPhase.FIRING)


@given(_timings, st.lists(st.tuples(st.floats(0, 40), _events), max_size=60), st.integers(0, 60))
def test_a_restart_notifies_nothing_again(timing: Timing, steps: list[tuple[float, Any]], cut: int) -> None:
    """A firing alert that is read from the database goes on as if there had been no restart, but for `good_since`."""
    state, now = AlertState(), 0.0
    for number, (step, event) in enumerate(steps):
        now += step
        if number == cut and state.phase is AlertPhase.FIRING:
            state = AlertState(AlertPhase.FIRING, state.cause, notified_at=state.notified_at)
            _, actions = handle(state, Observed(SubjectHealth.BAD, state.cause, silenced=True), timing, now)
            assert actions == []
        state, _ = handle(state, event, timing, now)


@pytest.mark.parametrize("phase", list(AlertPhase))
@pytest.mark.parametrize("event", [BAD, GOOD, BETWEEN, UNKNOWN, Gone("x")])
def test_every_event_is_accepted_in_every_phase(phase: AlertPhase, event: Event) -> None:
    """No combination raises, and the state that follows is one of the three."""
    state = AlertState(phase, bad_since=0.0 if phase is AlertPhase.PENDING else None)
    assert handle(state, event, Timing(), 1.0)[0].phase in AlertPhase


_PAGE = Path(__file__).parents[2] / "docs" / "reference" / "alerts.md"
_ROWS = re.findall(r"^\| `(ok|pending|firing)` \| `(\w+)`(.*?) \| `(\w+)`", _PAGE.read_text(encoding="utf-8"), re.M)


@pytest.mark.parametrize(("phase", "health", "more", "after"), _ROWS)
def test_the_reference_tells_the_transitions(phase: str, health: str, more: str, after: str) -> None:
    """Each row of the table of states is what the state machine does."""
    timing = Timing(pending_for=10, recover_for=10)
    state = AlertState(
        AlertPhase(phase), bad_since=0.0 if phase == "pending" else None, good_since=0.0, notified_at=0.0
    )
    long_enough = "long enough" in more
    cause = "another" if "another cause" in more else ""
    if phase == "firing" and not long_enough:
        state = AlertState(AlertPhase.FIRING, notified_at=0.0)
    found, _ = handle(state, Observed(SubjectHealth(health), cause), timing, 20.0 if long_enough else 5.0)
    assert found.phase == after
    assert len(_ROWS) == 10
