"""The bytes in which results go to the database."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smartmob.turrets.hq.oct_results import OctResult
from smartmob.turrets.hq.rows import AnyResult, Columns, encode, text
from smartmob.turrets.protocol import Result
from tests.turrets.copied import Row, read

RUN = UUID("01a20788-1e4e-7206-a499-0770704355fa")
NOON = 1_795_521_600.0

_TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=5)
_RESULTS = st.builds(
    Result,
    elapsed=st.floats(0, 100),
    epoch=st.sampled_from([NOON, NOON + 0.25]),
    scriptrun_time=st.floats(0, 100),
    error=st.just("") | _TEXTS,
    custom_timers=st.just({}) | st.dictionaries(_TEXTS, st.floats(0, 100), max_size=2),
    turret_name=st.none() | _TEXTS,
)


def _result(**changes: Any) -> Result:
    return Result(**({"elapsed": 1.5, "epoch": NOON, "scriptrun_time": 0.25} | changes))


def _encoded(results: Sequence[AnyResult], moments: list[float] | None = None, first: int = 0) -> list[Row]:
    columns = Columns.of(results)
    if moments is not None:
        columns.moments = moments
    return sorted(read(encode(RUN, 7, first, columns)), key=lambda row: row.seq)


@pytest.mark.parametrize("count", [1, 100])
def test_every_column_has_its_value(count: int) -> None:
    """Texts and numbers are in their columns, whether there are few rows or many."""
    odd = _result(error="a\0b", custom_timers={"page": 0.5}, turret_name="nav", uuid="u1")
    rows = _encoded([odd] + [_result() for _ in range(count)], [NOON + 0.000001] * (count + 1), first=20)
    assert rows[0] == Row(
        7, 20, pytest.approx(NOON + 0.000001), 1.5, NOON, 0.25, "a\ufffdb", '{"page":0.5}', "nav", "u1"
    )
    plain = [(row.seq, row.elapsed, row.duration, row.error, row.timers, row.name, row.uuid) for row in rows[1:]]
    assert plain == [(21 + n, 1.5, 0.25, "", None, None, None) for n in range(count)]


@given(st.lists(_RESULTS, min_size=1, max_size=60))
def test_oct_results_have_the_columns_of_other_results(results: list[Result]) -> None:
    """All columns, and the same results with texts: those with an error, timers or a name."""
    oct_turret = [
        OctResult(**{name: getattr(result, name) for name in OctResult.__struct_fields__}) for result in results
    ]
    columns, others = Columns.of_oct(oct_turret), Columns.of(oct_turret)
    assert columns == others
    assert [*columns.with_texts] == [*Columns.of(results).with_texts]


@given(st.lists(_RESULTS, min_size=1, max_size=60), st.integers(0, 10_000))
def test_rows_are_those_of_the_results(results: list[Result], first: int) -> None:
    """Each result is one row, in the order of arrival, with its own numbers and texts."""
    rows = _encoded(results, first=first)
    assert [row.seq for row in rows] == [*range(first, first + len(results))]
    for row, result in zip(rows, results, strict=True):
        assert (row.elapsed, row.epoch, row.duration) == (result.elapsed, result.epoch, result.scriptrun_time)
        assert row.moment == pytest.approx(result.epoch, abs=1e-6)
        assert row.error == text(result.error or "")
        assert (row.timers is None) == (not result.custom_timers)
        assert row.name == (text(str(result.turret_name)) if result.turret_name else None)


def test_bytes_stay_in_their_rows_and_columns() -> None:
    """Columns that differ in each byte are encoded correctly."""
    random.seed(7)
    times = [(random.uniform(0, 1e9), random.uniform(-1e9, 1e9), random.random()) for _ in range(500)]
    results = [_result(elapsed=a, epoch=b, scriptrun_time=c) for a, b, c in times]
    rows = _encoded(results, [NOON + place for place in range(500)])
    assert [(row.elapsed, row.epoch, row.duration) for row in rows] == times
    assert [row.moment for row in rows] == [NOON + place for place in range(500)]


def test_nul_is_replaced() -> None:
    """PostgreSQL cannot store NUL; U+FFFD is stored in its place."""
    assert text("a\0b") == "a\ufffdb"
