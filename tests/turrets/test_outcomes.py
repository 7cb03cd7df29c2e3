"""Outcomes: successes and failures of a timer, apart."""

from __future__ import annotations

from smartmob.turrets.outcomes import Outcomes, in_version_1
from smartmob.turrets.protocol import ErrorKind
from tests.turrets.messages import slice_of

HTTP = ErrorKind("HttpError", "503")


def _outcomes() -> Outcomes:
    made = Outcomes()
    made.merge(slice_of(0, [0.1, 0.2]))
    made.merge(slice_of(0, [3.0], errors={"no": 2}, late=1, failed=True, untimed=1, kind=HTTP))
    return made


def test_each_outcome_has_its_own_distribution() -> None:
    """Counts are those of both, and a failure without a duration is in neither."""
    made = _outcomes()
    assert (made.count, made.errors, made.late, made.mixed) == (4, 2, 1, 0)
    assert (made.ok.maximum, made.failed.minimum, made.failed.count) == (0.2, 3.0, 1)


def test_slices_and_sums_keep_all() -> None:
    """Merged values come out as two slices with the same sum."""
    made, again = _outcomes(), Outcomes()
    for part in made.slices(0, ""):
        again.merge(part)
    again.absorb(_outcomes())
    assert (again.count, again.errors, again.failed.kinds) == (8, 4, {"no": HTTP})
    assert Outcomes().slices(0, "") == []


def test_a_slice_of_version_1_has_both() -> None:
    """Its failures are counted, and told to be among the successes."""
    made = Outcomes()
    made.merge(slice_of(0, [0.1, 0.2, 3.0], errors={"no": 1}))
    assert (made.count, made.errors, made.mixed, made.ok.count, made.ok.errors) == (3, 1, 1, 3, {})


def test_an_old_headquarters_counts_the_same() -> None:
    """It adds up the slices of a timer, and counts errors of transactions only."""
    parts = [*_outcomes().slices(0, ""), *_outcomes().slices(0, "login")]
    old = in_version_1(parts)
    assert [(part.timer, part.count, sum(part.errors.values())) for part in old] == [
        ("", 2, 0), ("", 2, 2), ("login", 2, 0), ("login", 2, 0)
    ]  # fmt: skip
    assert not any(part.failed or part.untimed or part.kinds for part in old)
