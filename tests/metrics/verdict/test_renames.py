"""Renamed and moved tests: matched one to one by name, place and cost, and never guessed."""

from __future__ import annotations

import pytest

from smartmob.metrics.verdict.change_detection import ItemName
from smartmob.metrics.verdict.renames import Traits, match_renames
from smartmob.metrics.verdict.scales import SCALES

TIME = SCALES["total_time"]


def _side(*tests: tuple[str, str, float] | tuple[str, str, float, str]) -> dict[ItemName, Traits]:
    """Return tests that are given as path, variant, cost and perhaps the file."""
    return {
        (test[0], test[1].partition("[")[0], test[1], "function"): Traits(test[3] if len(test) > 3 else "", test[2])
        for test in tests
    }


def _matched(
    gone: dict[ItemName, Traits], new: dict[ItemName, Traits], kept: frozenset[ItemName] = frozenset()
) -> dict[str, str]:
    found = match_renames(gone, new, kept, TIME)
    assert len(set(found.values())) == len(found)
    return {f"{new[0]}::{new[2]}": f"{old[0]}::{old[2]}" for new, old in found.items()}


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (("tests.test_a", "test_x", 0.1), ("tests.unit.test_a", "test_x", 0.11)),
        (("tests.test_a", "test_x", 0.1), ("tests.test_b", "test_x", 0.11)),
        (("tests/test_a.py", "test_x", 0.1), ("tests/unit/test_a.py", "test_x", 0.3)),
        (("test_a.TestOld", "test_x", 0.1, "test_a.py"), ("test_a.TestNew", "test_x", 0.11, "test_a.py")),
        (("a.b.TestOld", "test_x", 0.1), ("a.b.TestNew", "test_x", 0.11)),
        (("com.old.SumTest", "adds", 0.1), ("org.fresh.math.SumTest", "adds", 0.1)),
        (("a.one", "test_rare", 0.1), ("b.two", "test_rare", 0.1)),
        (("test_a", "test_x[1]", 0.1), ("test_a", "test_x[one]", 0.1)),
        (("test_a", "test_x", 0.1), ("test_a", "test_x[0]", 0.1)),
        (("test_a.TestOld", "test_x[1]", 0.1, "test_a.py"), ("test_a.TestNew", "test_x[one]", 0.1, "test_a.py")),
        (("tests.test_a", "test_x[1]", 0.1), ("tests.unit.test_a", "test_x[one]", 0.1)),
        (("test_a", "test_addition", 0.1), ("test_a", "test_adding", 0.1)),
        (("test_a", "test_x", 0.0), ("test_b", "test_x", 0.0005)),
    ],
)
def test_one_renamed_test_is_matched(old: tuple[str, str, float], new: tuple[str, str, float]) -> None:
    """A moved file, a renamed class or function, and changed ids of parameters are the same test."""
    assert _matched(_side(old), _side(new)) == {f"{new[0]}::{new[1]}": f"{old[0]}::{old[1]}"}


@pytest.mark.parametrize(
    ("old", "new"),
    [
        # Another cost, or another name in another place.
        (("tests.test_a", "test_x", 0.1), ("tests.test_b", "test_x", 0.9)),
        (("tests.test_a", "test_x", 0.1), ("tests.test_b", "test_y", 0.1)),
        (("test_a", "test_x[1]", 0.1), ("test_a", "test_x[one]", 0.5)),
        (("test_a", "test_addition", 0.1), ("test_a", "test_zip_files", 0.1)),
        (("tests.test_a", "test_x", 0.0), ("tests.test_b", "test_x", 0.9)),
    ],
)
def test_another_test_is_not_matched(old: tuple[str, str, float], new: tuple[str, str, float]) -> None:
    """A test of another cost or with nothing in common is no renamed one."""
    assert _matched(_side(old), _side(new)) == {}


def test_what_is_ambiguous_is_not_guessed() -> None:
    """Two candidates on either side, or a name that other tests have, give no match."""
    one, two = ("a.one", "test_x", 0.1), ("b.two", "test_x", 0.1)
    assert _matched(_side(("c.three", "test_x", 0.1)), _side(one, two)) == {}
    assert _matched(_side(one, two), _side(("c.three", "test_x", 0.1))) == {}
    kept = frozenset({("d.four", "test_x", "test_x", "function")})
    assert _matched(_side(one), _side(two), kept) == {}
    assert _matched(_side(("t", "x[1]", 0.1), ("t", "x[2]", 0.1)), _side(("t", "x[a]", 0.1), ("t", "x[b]", 0.1))) == {}


def test_parameters_are_matched_by_their_cost() -> None:
    """Of the parameters of one function those are matched whose cost is like that of only one other."""
    gone = _side(("t", "x[1]", 0.1), ("t", "x[2]", 1.0), ("t", "x[3]", 9.0), ("t", "x[4]", 9.1))
    new = _side(("t", "x[a]", 0.11), ("t", "x[b]", 1.1), ("t", "x[c]", 9.0), ("t", "x[d]", 9.1))
    assert _matched(gone, new) == {"t::x[a]": "t::x[1]", "t::x[b]": "t::x[2]"}


def test_a_moved_folder_is_matched_file_by_file() -> None:
    """Names that occur in each of many files are matched by the name of the file."""
    gone = _side(*((f"tests.test_{n}", "test_init", 0.1) for n in range(20)))
    new = _side(*((f"tests.unit.test_{n}", "test_init", 0.1) for n in range(20)))
    found = _matched(gone, new)
    assert found == {f"tests.unit.test_{n}::test_init": f"tests.test_{n}::test_init" for n in range(20)}


def test_a_move_of_a_module_hides_no_slow_test() -> None:
    """If most tests of a module were moved, a test of it is the same one at any cost; with fewer it is not."""
    names = [f"test_{n}" for n in range(5)]
    gone = _side(*(("t.test_old", name, 0.1) for name in names))
    new = _side(*(("t.test_new", name, 9.0 if name == "test_4" else 0.1) for name in names))
    assert _matched(gone, new) == {f"t.test_new::{name}": f"t.test_old::{name}" for name in names}
    few = {name: traits for name, traits in gone.items() if name[1] in ("test_0", "test_1", "test_4")}
    assert set(_matched(few, new)) == {"t.test_new::test_0", "t.test_new::test_1"}


@pytest.mark.parametrize("one_function", [False, True])
def test_ten_thousand_tests_are_matched_in_passes(one_function: bool) -> None:
    """A renamed package with 10,000 tests, and 10,000 parameters of one function, need no comparison of all pairs."""
    number = 10_000
    if one_function:
        gone = _side(*(("t", f"x[{n}]", 1.0) for n in range(number)))
        new = _side(*(("t", f"x[new{n}]", 1.0) for n in range(number)))
        assert _matched(gone, new) == {}
    else:
        gone = _side(*((f"old.test_{n % 100}", f"test_{n}", 0.1) for n in range(number)))
        new = _side(*((f"fresh.test_{n % 100}", f"test_{n}", 0.1) for n in range(number)))
        assert len(_matched(gone, new)) == number
