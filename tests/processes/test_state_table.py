"""The tables of states and transitions in the reference, compared with the state machine."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

from smartmob.processes import machine_events, model
from smartmob.processes import state_machine as m

PAGE = Path(__file__).parent.parent.parent / "docs" / "reference" / "process-runner.md"

# The order of the preparation is the preparer's; the state machine shows whatever is reported.
ADVANCES = {
    model.PENDING: (model.DOWNLOADING, model.UNPACKING),
    model.DOWNLOADING: (model.UNPACKING,),
    model.UNPACKING: (model.PROCESSING,),
}
FAILURES = {
    model.PENDING: (model.DOWNLOAD_FAILURE,),
    model.DOWNLOADING: (model.DOWNLOAD_FAILURE,),
    model.UNPACKING: (model.UNPACK_FAILURE,),
    model.PROCESSING: (
        model.UNPACK_FAILURE,
        model.NO_PROCFILE,
        model.UNKNOWN_PROCESS_TYPE,
        model.VIRTUAL_ENVIRONMENT_FAILURE,
        model.PIP_INSTALL_FAILURE,
    ),
}


class Step(NamedTuple):
    """One event and its effect; `before` and `after` are states."""

    phase: str
    before: str
    event: str
    actions: str
    next_phase: str
    after: str


def _events(machine: m.ProcessStateMachine, timer: int | None) -> Iterator[machine_events.Event]:
    """Yield the events that can happen now; `timer` is the number of the running timer."""
    yield from (
        machine_events.StartRequested(),
        machine_events.StartRequested(restart=True),
        machine_events.StopRequested(),
    )
    match machine.phase:
        case m.Phase.PREPARING if machine.state == model.STOPPING:
            yield from (
                machine_events.PreparationFailed(model.STOPPED),
                machine_events.Prepared(),
                machine_events.Prepared(depends=True),
            )
        case m.Phase.PREPARING:
            yield from map(machine_events.PreparationAdvanced, ADVANCES.get(machine.state, ()))
            yield from map(machine_events.PreparationFailed, FAILURES[machine.state])
            if machine.state == model.PROCESSING:
                yield from (machine_events.Prepared(), machine_events.Prepared(depends=True))
        case m.Phase.SPAWNING:
            yield from (machine_events.ProgramStarted(1), machine_events.StartFailed("reason"))
        case m.Phase.WAITING:
            yield from (
                machine_events.DependenciesMet(),
                machine_events.DependenciesMissing("reason"),
                machine_events.DependencyFailed("reason"),
            )
        case m.Phase.RUNNING:
            yield from (
                machine_events.Exited(1),
                machine_events.Exited(0, "hint", left_behind=True),
                machine_events.LivenessFailed("reason", has_passed=True),
            )
        case m.Phase.ENDING:
            yield machine_events.TreeGone() if machine.pid is None else machine_events.Exited(1)
    if timer is not None:
        yield machine_events.TimerFired(timer)


@cache
def _steps() -> frozenset[Step]:
    """Return all steps that the state machine can make, found by trying every event in every situation."""
    steps, seen = set(), set()
    waiting: list[tuple[m.ProcessStateMachine, int | None]] = [
        (m.ProcessStateMachine(10, lambda: 0.5, policy), None)
        for policy in (model.ALWAYS, model.ON_FAILURE, model.NEVER)
    ]
    while waiting:
        machine, timer = waiting.pop()
        situation = {
            name: value for name, value in vars(machine).items() if name not in ("_timer", "_random", "starts")
        }
        situation |= {"_early_exits": min(situation["_early_exits"], 2), "timer": timer is not None}
        if (key := repr(sorted(situation.items()))) in seen:
            continue
        seen.add(key)
        for event in _events(machine, timer):
            for uptime in (0.0, m.MINIMUM_UPTIME_SECONDS) if isinstance(event, machine_events.TreeGone) else (0.0,):
                following = copy.copy(machine)
                actions = following.handle(event, uptime)
                started = [action.number for action in actions if isinstance(action, machine_events.StartTimer)]
                still_running = timer if timer == following._timer else None
                names = ", ".join(map(_action, actions))
                steps.add(
                    Step(machine.phase, machine.state, _event(event), names, following.phase, following.state),
                )
                # The clock begins at 0 again, so that the situations are finite.
                following.started_at = None if following.started_at is None else 0.0
                following.next_try = None if following.next_try is None else 0.0
                waiting.append((following, started[-1] if started else still_running))
    return frozenset(steps)


def _event(event: machine_events.Event) -> str:
    """Return the name of an event, with the argument that matters."""
    match event:
        case machine_events.StartRequested(restart=True):
            return "StartRequested(restart)"
        case machine_events.PreparationFailed(state=model.STOPPED):
            return "PreparationFailed(stopped)"
    return type(event).__name__


def _action(action: machine_events.Action) -> str:
    if isinstance(action, machine_events.ReportEvent):
        return f"ReportEvent({action.kind.replace('restarted', 'started')})"
    return type(action).__name__


def _table(heading: str) -> list[list[str]]:
    """Return the cells of the first table behind a heading of the page, without its head."""
    text = PAGE.read_text(encoding="utf-8").split(f"\n{heading}\n", 1)[1]
    lines = re.search(r"(?m)(?:^\|.*\n)+", text)
    assert lines is not None
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[0].splitlines()[2:]]


def _codes(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


def test_the_table_of_states_is_that_of_the_state_machine() -> None:
    """Each state has one row, which names exactly the states that can follow it."""
    documented = {_codes(row[0])[0]: set(_codes(row[2])) for row in _table("## States")}
    found: dict[str, set[str]] = {state: set() for state in model.STATES}
    for step in _steps():
        if step.before != step.after:
            found[step.before].add(step.after)
    assert documented == found


def test_the_table_of_transitions_is_that_of_the_state_machine() -> None:
    """Each row is a step that the state machine makes, and each of its steps that changes something has a row."""
    rows = [
        [", ".join(_codes(cell)) or cell for cell in (row[0], row[1], *row[3:])] for row in _table("### Transitions")
    ]
    steps = [s for s in _steps() if s.actions or (s.phase, s.before) != (s.next_phase, s.after)]
    assert [step for step in steps if not any(_describes(row, step) for row in rows)] == []
    assert [row for row in rows if not any(_describes(row, step) for step in steps)] == []


def _describes(row: list[str], step: Step) -> bool:
    """Return whether a row of the table of transitions is about this step."""
    phase, event, actions, next_phase, state = row
    events = [step.event] if step.phase != m.Phase.IDLE else [step.event.removesuffix("(restart)")]
    states = {"unchanged": [step.before], "as reported": (*model.PREPARING, *model.FAILURES)}.get(state, [state])
    return (phase, actions, next_phase) == (step.phase, step.actions or "none", step.next_phase) and (
        event in events and step.after in states
    )


def test_the_table_of_phases_is_complete() -> None:
    """Each phase has one row."""
    assert [_codes(row[0])[0] for row in _table("### Phases")] == list(m.Phase)
