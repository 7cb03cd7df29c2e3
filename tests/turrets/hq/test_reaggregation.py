"""Slices that are made from stored results are the same as those that were made when the results came."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from smartmob.turrets.hq.aggregation import RunTotals
from smartmob.turrets.hq.collector import ResultCollector
from smartmob.turrets.hq.reaggregation import reaggregate
from smartmob.turrets.model import Counters
from tests.turrets.messages import oct_result, slice_of, slices
from tests.turrets.stored import Store

STARTED = datetime(2026, 11, 23, 23, 59, 58, 123456, tzinfo=UTC)


async def test_reaggregation_makes_the_same_slices(store: Store) -> None:
    """For a run over midnight, with timers and errors, also at the very beginning of a second."""
    run = uuid4()
    collector = ResultCollector(lambda frame, why: pytest.fail(why))
    collector.begin(str(run), STARTED.timestamp(), {}, RunTotals(), Counters())
    frames = [
        oct_result(
            epoch=STARTED.timestamp() + number / 8,
            elapsed=0.0,
            scriptrun_time=number / 997,
            error="boom" if number % 7 == 0 else "",
            custom_timers={"page": number / 500} if number % 3 else {},
        )
        for number in range(80)
    ]
    own = slices(str(run), 1, [slice_of(2, [0.5])])
    collector.receive([*frames, own], STARTED.timestamp() + 11, STARTED + timedelta(seconds=11), 11.0)
    collector.end()
    batch: Any = collector.next_batch(STARTED.timestamp(), 11.0, everything=True)
    await store.live.put((batch,))
    before = await store.slices(run)
    totals = await store.reader.totals(run)
    assert (totals.transactions, totals.results, totals.aggregated) == (81, 80, 80)

    await reaggregate(store.reader, store.writer, run, STARTED)

    after = await store.slices(run)
    assert [(part.second, part.timer, part.count, part.errors, part.histogram) for part in after] == [
        (part.second, part.timer, part.count, part.errors, part.histogram) for part in before
    ]
    assert [part.total for part in after] == pytest.approx([part.total for part in before])
    assert sum(part.count for part in after if not part.timer) == 81


async def test_a_batch_is_stored_once(store: Store) -> None:
    """A batch that was committed without an answer is not stored again."""
    run = uuid4()
    collector = ResultCollector(lambda frame, why: pytest.fail(why))
    collector.begin(str(run), STARTED.timestamp(), {}, RunTotals(), Counters())
    collector.receive([oct_result(), slices(str(run), 1, [slice_of(0, [0.1])])], 2e9, STARTED, 1.0)
    collector.end()
    batch: Any = collector.next_batch(2e9, 1.0, everything=True)
    await store.live.put((batch,))
    await store.live.put((batch,))
    assert (await store.reader.totals(run)).transactions == 2
    assert await store.reader.progress(run) == {"u1": 1}
    assert sum([len(some) async for some in store.reader.results(run)]) == 1
    assert await store.reader.timer_counts(run) == {"": 2}


async def test_a_run_without_results_has_no_slices(store: Store) -> None:
    """Re-aggregation of it does nothing."""
    run = uuid4()
    await reaggregate(store.reader, store.writer, run, STARTED)
    assert await store.slices(run) == []
