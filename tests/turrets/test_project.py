"""The configuration of a requested run."""

from __future__ import annotations

import pytest

from smartmob.errors import InvalidInput
from smartmob.turrets.project import DECODER, Project, check_conditions, check_warm_up

RAW = b'{"run_time": 5, "name": "night", "turrets": [], "own": 1}'


def test_another_warm_up_changes_nothing_else() -> None:
    """The JSON keeps its other keys, and without another warm-up the project is the same."""
    project = Project(DECODER.decode(RAW), RAW, b"package")
    assert project.with_warm_up(None) is project
    changed = project.with_warm_up(2.0)
    assert (changed.config.warm_up, changed.config.name, changed.package) == (2.0, "night", b"package")
    assert DECODER.decode(changed.raw) == changed.config
    assert b'"own":1' in changed.raw


def test_a_warm_up_must_leave_seconds_to_measure() -> None:
    """Statistics have whole seconds, so a part of the last second leaves nothing."""
    check_warm_up(DECODER.decode(b'{"run_time": 5, "warm_up": 4}'), "$")
    with pytest.raises(InvalidInput, match="leave nothing of a run of 5 s") as refused:
        check_warm_up(DECODER.decode(b'{"run_time": 5, "warm_up": 4.1}'), "$")
    assert [fault.where for fault in refused.value.faults] == ["$.warm_up"]


def test_a_wrong_condition_is_named_by_its_path() -> None:
    """The error has the place in the JSON and the condition."""
    with pytest.raises(InvalidInput, match="p99>fast") as refused:
        check_conditions(DECODER.decode(b'{"run_time": 5, "fail_if": ["p99>fast"]}'), "$.config")
    assert [fault.where for fault in refused.value.faults] == ["$.config.fail_if"]
