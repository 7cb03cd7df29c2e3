"""Counts of instructions: the files of Valgrind, and what the counts of both sides say."""

from __future__ import annotations

import pytest

from smartmob.experiments.instruction_counts import Counts, judge, needs_other_seed, parsed

_DUMP = b"""# callgrind format
version: 1
creator: callgrind-3.19.0
pid: 24708
cmd:  python -m pytest
part: 3

desc: I1 cache: \ndesc: Timerange: Basic block 1 - 2
desc: Trigger: Client Request: 17

positions: line
events: Ir
summary: 18446744073709538104

fn=(1) f
3 100

totals: 1222433
"""


def test_a_dump_has_its_label_and_its_total() -> None:
    """The total is that of the functions; the line `summary` can be below zero after the counters were set to zero."""
    assert parsed(_DUMP) == ("17", 1_222_433)


def test_the_dump_at_the_end_is_left_out() -> None:
    """Valgrind writes one when the program ends, which belongs to no call."""
    assert parsed(_DUMP.replace(b"Client Request: 17", b"Program termination")) is None
    assert parsed(b"") is None


_TWICE: Counts = ((1_000_000, 1_000_000), (1_000_000, 1_000_000))


_SHORT = (136_288, 111_409, 111_961, 111_289, 111_330, 119_842, 111_672)
"""Calls of a short test of CPython 3.11: it adapts itself in the first one, and a heap grows in the sixth."""
_LONGER = (138_516, 113_637, 114_189, 121_517, 113_558, 114_070, 113_900)
"""The same with 2 % more work, where the heap grows earlier."""


@pytest.mark.parametrize(
    ("first", "other", "verdict"),
    [
        (_TWICE, None, "equal"),
        (((1_000_000, 1_000_010), (1_000_500, 1_000_500)), None, "equal"),
        (((1_000_000, 1_000_000), (1_020_000, 1_020_000)), ((1_000_100, 1_000_100), (1_020_100, 1_020_100)), "more"),
        (((1_020_000, 1_020_000), (1_000_000, 1_000_000)), ((1_020_100, 1_020_100), (1_000_100, 1_000_100)), "fewer"),
        # Each seed says something else: sets and their order.
        (((1_000_000, 1_000_000), (1_020_000, 1_020_000)), ((1_020_000, 1_020_000), (1_000_000, 1_000_000)), "varies"),
        # The interpreter adapts itself, on both sides alike.
        (((1_000_000, 1_010_000), (1_020_000, 1_030_200)), ((1_000_000, 1_010_000), (1_020_000, 1_030_201)), "more"),
        (((1_000_000, 1_020_000), (1_000_000, 1_020_000)), None, "equal"),
        # A test with random input.
        (((1_000_000, 1_020_000), (1_030_000, 1_010_000)), ((1_000_000, 1_020_000), (1_030_000, 1_010_000)), "varies"),
        # Two calls of one side differ by more than the difference of both sides can be trusted.
        (((1_000_000, 1_030_000), (1_000_000, 1_000_000)), None, "varies"),
        (((1_000_000, 1_000_000), (1_020_000, 1_020_000)), None, "not confirmed"),
        # A short test, of which one call is unlike the others.
        ((_SHORT[:2], (138_516, 115_100)), (_SHORT, _LONGER), "more"),
        ((_LONGER[:2], _SHORT[:2]), (_LONGER, _SHORT), "fewer"),
        ((_SHORT[:2], (138_516, 115_100)), (_SHORT, _SHORT), "varies"),
        # One call only, which is equal to the unit.
        (((1_000_000,), (1_000_000,)), None, "equal"),
        (((1_000_000,), (1_005_000,)), ((1_000_000,), (1_005_001,)), "equal"),
        (((1_000_000,), (1_050_000,)), ((1_000_000,), (1_050_001,)), "more"),
    ],
)
def test_the_counts_are_judged(first: Counts, other: Counts | None, verdict: str) -> None:
    """More and fewer need both seeds and a test whose calls agree."""
    assert judge(first, other).verdict == verdict


def test_what_has_to_be_counted_again() -> None:
    """A difference of at least 1 %, or any that a single call has."""
    assert not needs_other_seed(_TWICE)
    assert not needs_other_seed(((1_000_000, 1_000_000), (1_005_000, 1_005_000)))
    assert needs_other_seed(((1_000_000, 1_000_000), (1_020_000, 1_020_000)))
    assert needs_other_seed(((1_000_000,), (1_005_000,)))
