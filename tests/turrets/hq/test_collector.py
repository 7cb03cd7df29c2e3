"""The collector: which messages of turrets are kept, aggregated, or counted as wrong."""

from __future__ import annotations

import math
import tracemalloc
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from smartmob.kernel.http.json_depth import MAX_LEVELS
from smartmob.turrets.hq.aggregation import OTHER_ERRORS, RunTotals
from smartmob.turrets.hq.batch import Batch
from smartmob.turrets.hq.collector import Received, ResultCollector
from smartmob.turrets.hq.pending_rows import BATCH_ROWS, ENOUGH_ROWS
from smartmob.turrets.model import Counters
from smartmob.turrets.protocol import MOST_ERROR_TEXTS, MOST_TIMERS
from smartmob.turrets.slices import Distribution
from tests.turrets.copied import rows_of
from tests.turrets.messages import oct_result, oct_status, own_status, slice_of, slices

RUN = "01a20788-1e4e-7206-a499-0770704355fa"
STARTED = 1_795_422_133.25
WALL = datetime(2026, 11, 23, 8, tzinfo=UTC)


class Gathered:
    """A collector of a running run, and the malformed messages that it reported."""

    def __init__(self, begun: bool = True, **progress: int) -> None:
        self.complaints: list[tuple[bytes, str]] = []
        self.collector = ResultCollector(lambda frame, why: self.complaints.append((frame, why)))
        if begun:
            self.collector.begin(RUN, STARTED, progress, RunTotals(), Counters())

    def take(self, *frames: bytes, passed: float = 5.0) -> Received:
        """Hand in messages `passed` seconds after the start."""
        return self.collector.receive(frames, STARTED + passed, WALL, passed)

    def cut(self, passed: float = 5.0, *, everything: bool = True) -> Batch:
        """Return the next batch."""
        batch = self.collector.next_batch(STARTED + passed, passed, everything=everything)
        assert batch is not None
        return batch


def _counts(batch: Batch) -> dict[tuple[int, str], int]:
    """Return the counts of successes and failures together, by second and timer."""
    counts: Counter[tuple[int, str]] = Counter()
    for row in batch.slices:
        counts[row.slice.second, row.slice.timer] += row.slice.total_count
    return dict(counts)


class TestOctResults:
    """Single results without a number."""

    def test_results_are_stored_and_aggregated(self) -> None:
        """Each result is a row, and is in the slice of its second, by the time that its turret sent."""
        gathered = Gathered()
        taken = gathered.take(
            oct_result(epoch=STARTED + 1.5, scriptrun_time=0.1),
            oct_result(epoch=STARTED + 1.6, scriptrun_time=0.3, error="boom"),
            oct_result(epoch=STARTED + 3.0, custom_timers={"page": 0.2}),
        )
        assert taken.has_oct_results
        batch = gathered.cut()
        assert [row.duration for row in rows_of(batch)] == [0.1, 0.3, 0.01]
        assert [row.moment - STARTED for row in rows_of(batch)] == pytest.approx([1.5, 1.6, 3.0])
        assert _counts(batch) == {(1, ""): 2, (3, ""): 1, (3, "page"): 1}
        first, failed = (row.slice for row in batch.slices[:2])
        assert (first.total, first.minimum, first.maximum, first.errors) == (0.1, 0.1, 0.1, {})
        assert (failed.failed, failed.total, failed.errors) == (True, 0.3, {"boom": 1})
        assert (batch.transactions, batch.errors, batch.aggregated) == (3, 1, 3)
        totals = gathered.collector.totals
        assert (totals.transactions, totals.errors, totals.timers) == (3, 1, {"": 3, "page": 1})

    def test_an_error_text_with_the_word_status_is_a_result(self) -> None:
        """Only the key makes a message a status."""
        gathered = Gathered()
        taken = gathered.take(oct_result(error='{"status": "Running"}'))
        assert (taken.statuses, gathered.collector.totals.errors) == ([], 1)

    def test_both_ways_of_decoding_keep_the_same_results(self) -> None:
        """Messages with one of another kind among them are decoded one by one."""
        frames = [oct_result(epoch=STARTED + n / 10, scriptrun_time=n / 100) for n in range(50)]
        plain, mixed = Gathered(), Gathered()
        plain.take(*frames)
        mixed.take(*frames[:25], oct_status("Running"), *frames[25:])
        one, other = plain.cut(), mixed.cut()
        assert one.slices == other.slices
        assert [replace(row, batch=0) for row in rows_of(one)] == [replace(row, batch=0) for row in rows_of(other)]
        assert one.transactions == other.transactions

    def test_times_outside_the_run_are_moved_into_it(self) -> None:
        """A row never falls out of the run, whatever the clock of its turret."""
        gathered = Gathered()
        gathered.take(oct_result(epoch=0.0), oct_result(epoch=9e12), passed=5.0)
        assert [row.moment - STARTED for row in rows_of(gathered.cut())] == pytest.approx([5.0, 5.0])

    @pytest.mark.parametrize("offset", [-3600.0, -3.0, 3600.0, 90.0])
    def test_a_turret_whose_clock_is_wrong(self, offset: float) -> None:
        """Its results are in the seconds in which they were made, and the difference is told."""
        gathered = Gathered()
        for passed in (1.2, 2.2, 4.7):
            epoch = float(int(STARTED + passed + offset))
            gathered.take(oct_result(elapsed=passed - 0.1, epoch=epoch), passed=passed)
        gathered.take(oct_result(elapsed=4.7, epoch=STARTED + 4.0), passed=4.8)
        moments = [row.moment - STARTED for row in rows_of(gathered.cut())]
        assert moments == pytest.approx([1.2, 2.2, 4.7, 4.0], abs=0.01)
        assert gathered.collector.counters.clock_offset == pytest.approx(offset, abs=1.5)

    def test_a_turret_whose_clock_is_set_during_the_run_loses_nothing(self) -> None:
        """Turrets of OCT measure by the time of day, so that all their times jump; they have begun in this run."""
        gathered = Gathered()
        gathered.take(oct_result(elapsed=4.0, epoch=STARTED + 4.0), passed=4.1)
        gathered.take(oct_result(elapsed=3605.0, epoch=STARTED + 3605.0), passed=5.1)
        gathered.take(oct_result(elapsed=3605.0, epoch=STARTED + 4.0), passed=5.1)
        assert [row.moment - STARTED for row in rows_of(gathered.cut())] == pytest.approx([4.0, 5.1])
        assert gathered.collector.counters.stale == 1
        assert gathered.collector.counters.clock_offset == pytest.approx(3600, abs=1.5)

    def test_a_turret_of_ours_whose_clock_is_wrong(self) -> None:
        """Its results are placed by their time since the start, and the difference is told, as for those of OCT."""
        gathered = Gathered()
        given = {"uuid": "b", "run": RUN, "sequence": 1}
        gathered.take(oct_result(elapsed=1.0, epoch=STARTED + 1.0 - 3600.0, **given), passed=1.2)
        assert [row.moment - STARTED for row in rows_of(gathered.cut())] == pytest.approx([1.0])
        assert gathered.collector.counters.clock_offset == -3600.0

    def test_impossible_times_are_malformed(self) -> None:
        """Valid results beside them are kept."""
        gathered = Gathered()
        gathered.take(oct_result(scriptrun_time=1e308), oct_result(), oct_result(custom_timers={"page": -1e308}))
        own = gathered.cut().slices[0].slice
        assert (own.count, own.maximum) == (1, 0.01)
        assert gathered.collector.counters.malformed == 2

    def test_results_of_an_earlier_run_are_stale(self) -> None:
        """A turret that hung sends its last results during the next run: they took longer than that has lasted."""
        gathered = Gathered()
        gathered.take(oct_result(elapsed=60.0), oct_result(elapsed=4.0), passed=5.0)
        assert (gathered.collector.totals.transactions, gathered.collector.counters.stale) == (1, 1)

    def test_results_without_a_run_are_stale(self) -> None:
        """They are counted and not kept."""
        gathered = Gathered(begun=False)
        gathered.take(oct_result(), oct_result())
        assert (gathered.collector.counters.stale, gathered.collector.pending) == (2, 0)

    def test_a_second_stays_open_for_late_results(self) -> None:
        """An open second makes one slice; a result that comes after its end makes another."""
        gathered = Gathered()
        gathered.take(oct_result(epoch=STARTED + 1.0), passed=1.5)
        batch = gathered.cut(1.5, everything=False)
        assert (batch.rows, batch.slices, batch.aggregated) == (1, [], 0)
        gathered.take(oct_result(epoch=STARTED + 1.2), passed=2.0)
        gathered.take(oct_result(epoch=STARTED + 6.0), passed=6.0)
        batch = gathered.cut(6.0, everything=False)
        assert (_counts(batch), batch.aggregated) == ({(1, ""): 2}, 2)
        gathered.take(oct_result(epoch=STARTED + 1.0), passed=7.0)
        assert _counts(gathered.cut(7.0)) == {(1, ""): 1, (6, ""): 1}

    def test_batches_are_bounded(self) -> None:
        """More rows than fit into one batch are handed out in several, in the order of arrival."""
        gathered = Gathered()
        for chunk in range(45):
            gathered.take(*(oct_result(scriptrun_time=float(chunk * 1000 + n)) for n in range(1000)))
        assert gathered.collector.rows.has_full_batch
        sizes = []
        seen: list[float] = []
        while (batch := gathered.collector.next_batch(STARTED, 5.0, everything=True)) is not None:
            sizes.append(batch.rows)
            seen += [row.duration for row in rows_of(batch)]
        assert (sizes, seen) == ([BATCH_ROWS, BATCH_ROWS, 5000], [float(n) for n in range(45_000)])

    def test_enough_rows_do_not_wait_for_more(self) -> None:
        """A batch that is not full is handed out at once if it is worth a commit of its own."""
        gathered = Gathered()
        gathered.take(*(oct_result() for _ in range(ENOUGH_ROWS - 1)))
        assert not gathered.collector.rows.has_enough
        gathered.take(oct_result())
        assert (gathered.collector.rows.has_enough, gathered.collector.rows.has_full_batch) == (True, False)
        assert gathered.cut(everything=False).rows == ENOUGH_ROWS
        assert not gathered.collector.rows.has_enough

    def test_the_weight_is_zero_when_everything_is_stored(self) -> None:
        """The weight grows with received messages and falls with stored batches."""
        gathered = Gathered()
        gathered.take(
            oct_result(custom_timers={"a": 1.0}), slices(RUN, 1, [slice_of(1, [n / 1000 for n in range(500)])])
        )
        assert gathered.collector.rows.weight > 2
        while (batch := gathered.collector.next_batch(STARTED, 5.0, everything=True)) is not None:
            gathered.collector.rows.committed(batch)
        assert (gathered.collector.rows.weight, gathered.collector.pending) == (0, 0)

    def test_different_texts_and_timers_are_bounded(self) -> None:
        """A script with a new error text or timer for each transaction does not fill the memory."""
        gathered = Gathered()
        count = MOST_TIMERS + 50
        gathered.take(*(oct_result(error=f"e{n}" + "x" * 9000, custom_timers={f"t{n}": 0.1}) for n in range(count)))
        batch = gathered.cut()
        own = next(row.slice for row in batch.slices if row.slice.timer == "")
        assert len(own.errors) == MOST_ERROR_TEXTS + 1
        assert (own.errors[OTHER_ERRORS], sum(own.errors.values())) == (count - MOST_ERROR_TEXTS, count)
        assert max(map(len, own.errors)) == 1000
        assert gathered.collector.counters.dropped == 50

    def test_the_end_of_a_run_closes_its_seconds(self) -> None:
        """Open seconds are handed out, and later results are stale."""
        gathered = Gathered()
        gathered.take(oct_result())
        gathered.collector.end()
        gathered.take(oct_result())
        assert (gathered.cut().aggregated, gathered.collector.counters.stale) == (1, 1)


class TestNumberedMessages:
    """Slices and numbered results of turrets of smartmob."""

    def test_each_number_is_stored_once_and_in_order(self) -> None:
        """A repetition is dropped, and so is a message after a gap, since it will be repeated."""
        gathered = Gathered()
        part = slice_of(1, [0.1, 0.2], errors={"boom": 1})
        gathered.take(*(slices(RUN, number, [part]) for number in (1, 2, 2, 4, 1, 3)))
        batch = gathered.cut()
        assert (len(batch.slices), batch.progress) == (3, {"u1": 3})
        assert (batch.transactions, batch.errors) == (6, 3)
        assert gathered.collector.counters.again == 2

    def test_numbers_go_on_after_a_restart(self) -> None:
        """The last stored number comes from the database."""
        gathered = Gathered(u1=7)
        gathered.take(slices(RUN, 7, [slice_of(1, [0.1])]), slices(RUN, 8, [slice_of(1, [0.1])]))
        assert gathered.cut().progress == {"u1": 8}

    def test_each_turret_has_its_own_numbers(self) -> None:
        """Two turrets use the same numbers."""
        gathered = Gathered()
        gathered.take(slices(RUN, 1, [slice_of(1, [0.1])], "a"), slices(RUN, 1, [slice_of(1, [0.1])], "b"))
        assert gathered.cut().progress == {"a": 1, "b": 1}

    def test_messages_of_another_run_are_stale(self) -> None:
        """They are counted and not kept."""
        gathered = Gathered()
        gathered.take(slices("another", 1, [slice_of(1, [0.1])]))
        assert (gathered.collector.counters.stale, gathered.collector.pending) == (1, 0)

    def test_numbered_results_are_stored_once(self) -> None:
        """They are aggregated by the seconds that their turret sent."""
        gathered = Gathered()
        own = {"uuid": "u1", "run": RUN, "turret_name": "nav"}
        frames = [oct_result(elapsed=3.5, sequence=number, **own) for number in (1, 2, 1)]
        taken = gathered.take(*frames)
        batch = gathered.cut()
        assert (batch.rows, _counts(batch), batch.progress) == (2, {(3, ""): 2}, {"u1": 2})
        assert not taken.has_oct_results

    def test_an_unreadable_slice_does_not_use_its_number(self) -> None:
        """It is malformed, and a valid message with the same number is stored."""
        gathered = Gathered()
        broken = slices(RUN, 1, [slice_of(1, [0.1])]).replace(b'"histogram":"H', b'"histogram":"X')
        gathered.take(broken)
        assert gathered.collector.counters.malformed == 1
        gathered.take(slices(RUN, 1, [slice_of(1, [0.1])]))
        assert gathered.cut().progress == {"u1": 1}

    def test_a_slice_of_the_far_future_is_malformed(self) -> None:
        """There are no partitions for a row that is years ahead."""
        gathered = Gathered()
        gathered.take(slices(RUN, 1, [slice_of(400_000_000, [0.1])]))
        assert (gathered.collector.counters.malformed, gathered.collector.pending) == (1, 0)

    def test_health_in_the_run_is_stored(self) -> None:
        """Health that is sent outside the run is not."""
        gathered = Gathered()
        health = {"cpu": 1.5, "busiest": 0.9, "cores": 2, "lag": 0.01, "memory": 1000}
        gathered.take(own_status("Running", RUN, health=health, users=7, late_starts=3), own_status("ready", None))
        (row,) = gathered.cut().health
        assert (row.at, row.uuid, row.users, row.busiest, row.late_starts) == (WALL, "u1", 7, 0.9, 3)


class TestBadMessages:
    """Frames that are not valid messages."""

    @pytest.mark.parametrize(
        "frame",
        [
            b"",
            b"\xff\xfe",
            b"nonsense",
            b"[]",
            b"{}",
            b'{"elapsed": 1, "epoch": 1}',
            oct_result(scriptrun_time="soon"),
            oct_result(scriptrun_time=None),
            oct_result(custom_timers={"a": []}),
            oct_result().replace(b"0.01", b"1e999"),
            b'{"status": 7}',
            b'{"slices": 7}',
            b"[" * 100_000,
        ],
        ids=repr,
    )
    def test_a_wrong_message_is_counted_and_reported(self, frame: bytes) -> None:
        """Valid messages that came with it are kept."""
        gathered = Gathered()
        gathered.take(oct_result(), frame, oct_result())
        assert gathered.collector.counters.malformed == 1
        assert gathered.complaints[0][0] == frame
        assert gathered.collector.totals.transactions == 2

    def test_frames_are_not_joined_or_split(self) -> None:
        """Two halves are not one message, and two messages in a frame are none."""
        gathered = Gathered()
        whole = oct_result()
        gathered.take(whole[:20], whole[20:])
        gathered.take(whole + whole)
        assert (gathered.collector.totals.transactions, gathered.collector.counters.malformed) == (0, 3)

    def test_levels_are_bounded(self) -> None:
        """A result whose field has too many levels is malformed, one with fewer is kept."""
        gathered = Gathered()
        result = oct_result()
        for levels in (MAX_LEVELS - 1, MAX_LEVELS):
            gathered.take(result[:-1] + b', "more": ' + b"[" * levels + b"]" * levels + b"}")
        assert (gathered.collector.totals.transactions, gathered.collector.counters.malformed) == (1, 1)

    @given(st.lists(st.binary(max_size=60), max_size=8))
    def test_any_bytes_are_counted_as_malformed(self, frames: list[bytes]) -> None:
        """No frame raises an error."""
        gathered = Gathered()
        gathered.take(*frames)
        assert gathered.collector.counters.malformed == len(frames)


@given(st.lists(st.tuples(st.floats(0, 30), st.floats(0, 5), st.booleans()), max_size=80), st.integers(1, 7))
def test_nothing_is_lost_or_counted_twice(results: list[tuple[float, float, bool]], every: int) -> None:
    """However results are spread over time and batches, rows and slices have each of them once."""
    gathered = Gathered()
    rows = folded = 0
    counts: dict[str, Any] = {"count": 0, "errors": 0, "total": 0.0}

    def store(batch: Batch | None) -> None:
        nonlocal rows, folded
        if batch is not None:
            assert batch.run == UUID(RUN)
            rows, folded = rows + batch.rows, folded + batch.aggregated
            for row in batch.slices:
                whole = Distribution()
                whole.merge(row.slice)
                counts["count"] += whole.count
                counts["errors"] += whole.failed
                counts["total"] += whole.total

    for index, (at, took, failed) in enumerate(results):
        frame = oct_result(elapsed=0.0, epoch=STARTED + at, scriptrun_time=took, error="boom" if failed else "")
        gathered.take(frame, passed=at)
        if index % every == 0:
            store(gathered.collector.next_batch(STARTED + at, at, everything=False))
    gathered.collector.end()
    while (batch := gathered.collector.next_batch(STARTED, 30.0, everything=True)) is not None:
        store(batch)

    assert rows == folded == counts["count"] == len(results)
    assert counts["errors"] == sum(failed for _, _, failed in results)
    assert math.isclose(counts["total"], sum(took for _, took, _ in results), abs_tol=1e-9)


def test_a_message_of_too_many_levels_is_malformed() -> None:
    """Valid messages beside it are kept."""
    gathered = Gathered()
    gathered.take(oct_result(), b'{"elapsed": ' + b"[" * 20_000, oct_result())
    assert len(gathered.complaints) == 1
    assert sum(_counts(gathered.cut()).values()) > 0


class TestBounds:
    """Limits of the data that one turret can make the headquarters keep."""

    def test_the_live_slices_of_a_second_are_bounded(self) -> None:
        """Slices of a second are kept for the live view up to 8 MiB with their error texts; all are stored."""
        gathered = Gathered()
        errors = {f"{number}" + "x" * 999: 1 for number in range(5)}
        part = slice_of(1, [1e-6 * 1.01**number for number in range(20)], errors=errors)
        each = len(part.histogram) + sum(map(len, part.errors))
        count = 2 * 8 * 1024 * 1024 // each
        for number in range(count):
            gathered.take(slices(RUN, number + 1, [part]))
        shown = gathered.collector.live.of(1)[""]
        assert 8 * 1024 * 1024 - each < each * len(shown) <= 8 * 1024 * 1024
        assert gathered.collector.totals.transactions == count * part.count
        # A second that is over is shown no more.
        for second in range(2, 12):
            gathered.take(slices(RUN, count + second - 1, [slice_of(second, [0.1])]))
        assert len(gathered.collector.live) == 8

    def test_the_rate_of_health_is_bounded(self) -> None:
        """Two rows a second are kept of each turret, however often it sends its health."""
        gathered = Gathered()
        health = {"cpu": 1.0, "busiest": 1.0, "cores": 1, "lag": 0.0, "memory": 1}
        for number in range(300):
            gathered.take(own_status("Running", RUN, "u1", health=health), passed=5.0 + number / 100)
        gathered.take(own_status("Running", RUN, "u2", health=health), passed=8.0)
        kept = [row.uuid for row in gathered.cut().health]
        assert (kept.count("u1"), kept.count("u2")) == (6, 1)

    def test_long_names_are_not_kept(self) -> None:
        """A hundred slices with a timer of two megabytes are refused and take no memory."""
        gathered = Gathered()
        message = slices(RUN, 1, [msgspec.structs.replace(slice_of(1, [0.1]), timer="x" * 2_000_000)])
        gathered.take(message)
        gathered.complaints.clear()
        tracemalloc.start()
        try:
            for _ in range(100):
                gathered.take(message)
                gathered.complaints.clear()
            kept, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert gathered.collector.counters.malformed == 101
        assert kept < 4 * 1024 * 1024
        assert gathered.collector.pending == 0

    def test_the_timers_of_a_run_are_bounded(self) -> None:
        """Values of timers beyond a thousand are counted as dropped, in results and in slices."""
        gathered = Gathered()
        for number in range(2):
            timers = {f"a{number}-{timer}": 0.1 for timer in range(700)}
            gathered.take(oct_result(epoch=STARTED + 1.0, custom_timers=timers))
        assert len(gathered.collector.totals.timers) == 1 + MOST_TIMERS
        assert gathered.collector.counters.dropped == 400
        gathered.take(slices(RUN, 1, [slice_of(1, [0.1] * 3, timer=f"b{timer}") for timer in range(10)]))
        assert len(gathered.collector.totals.timers) == 2 + MOST_TIMERS
        assert gathered.collector.counters.dropped == 427
