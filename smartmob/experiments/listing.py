"""The tests of an experiment as lists show them: filtered, changed ones first, and as rows of CSV. No I/O."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated

import msgspec

from smartmob.experiments.model import Verdict, VerdictOnTest
from smartmob.experiments.stored_experiment import VerdictsPage

_ORDER = {verdict: rank for rank, verdict in enumerate(("slower", "faster", "unfit", "undecided", "same"))}


class VerdictFilter(msgspec.Struct, frozen=True):
    """The tests to list: those with one verdict, or with a text in their name."""

    verdict: Verdict | None = None
    name: str = ""
    limit: Annotated[int, msgspec.Meta(ge=1, le=100_000)] = 1_000
    offset: Annotated[int, msgspec.Meta(ge=0, le=100_000)] = 0


def listed(tests: Iterable[VerdictOnTest], wanted: VerdictFilter) -> VerdictsPage:
    """Return the tests of a filter: changed ones first, those with the largest change on top."""
    text = wanted.name.casefold()
    found = [
        test
        for test in tests
        if (wanted.verdict is None or test.verdict == wanted.verdict) and text in test.name.casefold()
    ]
    found.sort(key=_attention)
    return VerdictsPage(tests=found[wanted.offset : wanted.offset + wanted.limit], total=len(found))


def _attention(test: VerdictOnTest) -> tuple[int, float, str]:
    change = test.instructions.ratio if test.witness == "instructions" and test.instructions else test.ratio
    return _ORDER[test.verdict], -abs((change or 1.0) - 1.0), test.name


CSV_HEADER = (
    *("test", "verdict", "witness", "clock", "ratio", "low", "high", "cpu_ratio", "pairs", "set_aside"),
    *("base_seconds", "head_seconds", "instructions", "base_instructions", "head_instructions", "instructions_ratio"),
    *("memory", "memory_difference", "reason"),
)


def csv_row(test: VerdictOnTest) -> list[object]:
    """Return the cells of a test; a missing value is an empty cell."""
    counts, memory = test.instructions, test.memory
    cells: list[object] = [test.name, test.verdict, test.witness, test.clock, test.ratio, test.low, test.high]
    cells += [test.cpu_ratio, test.pairs, test.set_aside, test.base_seconds, test.head_seconds]
    cells += ["", "", "", ""] if counts is None else [counts.verdict, counts.base, counts.head, counts.ratio]
    cells += ["", ""] if memory is None else [memory.verdict, memory.difference]
    return ["" if cell is None else cell for cell in [*cells, test.reason]]
