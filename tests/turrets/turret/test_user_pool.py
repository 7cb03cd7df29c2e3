"""The user pool of a process: rampup, open model, pauses, the end of a run, and errors of scripts."""

from __future__ import annotations

import asyncio
import itertools
import json
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from smartmob.turrets.protocol import LONGEST_ERROR
from smartmob.turrets.scripting import BaseTransaction, CustomTimer
from tests.turrets.turret.firing import firing
from tests.waiting import until


class Quick(BaseTransaction):
    """A coroutine that does nothing for a moment."""

    async def run(self) -> None:
        with CustomTimer(self, "part"):
            await asyncio.sleep(0.001)


class QuickThread(BaseTransaction):
    """The same for a thread."""

    def run(self) -> None:
        with CustomTimer(self, "part"):
            time.sleep(0.001)


BOTH = pytest.mark.parametrize("transaction", [Quick, QuickThread], ids=["coroutines", "threads"])


@BOTH
async def test_each_transaction_is_counted_once(transaction: type) -> None:
    """Counts, slices and timers agree."""
    async with firing(transaction, cannons=5) as made:
        made.begin()
        await until(lambda: made.look().transactions >= 50)
        assert made.look().users == 5
        counts = await made.end()
    assert counts.transactions == made.whole().count == made.whole("part").count
    assert (counts.errors, counts.users) == (0, 0)


@BOTH
async def test_a_raw_result_has_the_time_since_the_start(transaction: type) -> None:
    """The run started before the pool."""
    async with firing(transaction) as made:
        made.begin(ahead=-100.0, raw=True)
        await until(lambda: made.look().transactions >= 3)
        counts = await made.end()
    assert len(made.frames) == counts.transactions
    results = [json.loads(frame) for frame in made.frames]
    assert all(result["elapsed"] > 100 and result["custom_timers"]["part"] > 0 for result in results)
    assert made.slices == []


@BOTH
async def test_steps_run_in_order(transaction: type) -> None:
    """One object for each cannon; setup, run and tear_down; timers are empty before each setup."""
    made_objects, steps = [], []

    class Noting(transaction):
        def __init__(self, config: Any, context: Any) -> None:
            super().__init__(config, context)
            made_objects.append((config["name"], context))

        def setup(self) -> None:
            steps.append(("setup", dict(self.custom_timers)))

        def tear_down(self) -> None:
            steps.append(("tear_down", set(self.custom_timers)))

    async with firing(Noting) as made:
        made.begin()
        await until(lambda: made.look().transactions >= 2)
        await made.end()
    assert made_objects == [("n", {"c": 1})]
    assert len(steps) % 2 == 0
    assert steps[:4] == [("setup", {}), ("tear_down", {"part"})] * 2


async def test_setup_and_tear_down_are_not_timed() -> None:
    """Their time is no part of the transaction."""

    class Slow(BaseTransaction):
        async def setup(self) -> None:
            await asyncio.sleep(0.2)

        async def run(self) -> None:
            pass

        async def tear_down(self) -> None:
            await asyncio.sleep(0.2)

    async with firing(Slow) as made:
        began = time.monotonic()
        made.begin()
        counts = await until(lambda: (found := made.look()).transactions >= 2 and found)
        took = time.monotonic() - began
        await made.end()
    assert took >= 0.8
    assert made.whole().total <= took - counts.transactions * 0.4 + 0.2 * 2


class TestRampup:
    """The starts of cannons."""

    @BOTH
    async def test_no_cannon_starts_before_its_time(self, transaction: type) -> None:
        """And all of them start."""
        begun: list[float] = []

        class Noting(transaction):
            def __init__(self, config: Any, context: Any) -> None:
                begun.append(time.monotonic())
                super().__init__(config, context)

        async with firing(Noting, cannons=10, rampup=0.5) as made:
            made.begin(ahead=0.1)
            # A user counts from the start of its task; the transaction is made when that task has its turn.
            await until(lambda: made.look().users == len(begun) == 10)
            await made.end()
        assert len(begun) == 10
        for index, moment in enumerate(sorted(begun)):
            assert moment - made.start >= index * 0.05 - 0.001

    @BOTH
    async def test_cannons_do_not_start_after_a_stop(self, transaction: type) -> None:
        """Those that have not started never do."""
        async with firing(transaction, cannons=3, rampup=3000) as made:
            made.begin()
            await until(lambda: made.look().transactions)
            counts = await made.end()
        assert counts.users == 0
        assert counts.transactions == made.whole().count


AHEAD = 1.0
"""Seconds from now to the start of a plan: a pool that a busy machine lets begin after it skips what was due before."""


class TestOpenModel:
    """Starts by the clock, not by the responses."""

    @BOTH
    async def test_each_start_of_the_plan_is_taken_once(self, transaction: type) -> None:
        """And none after the end."""
        async with firing(transaction, cannons=5, rate=200) as made:
            made.begin(ahead=AHEAD, seconds=0.5)
            await until(lambda: made.look().transactions >= 100)
            counts = await made.end()
        assert (counts.transactions, counts.never_started, made.whole().count) == (100, 0, 100)

    @BOTH
    async def test_a_rate_of_the_run_replaces_that_of_the_configuration(self, transaction: type) -> None:
        """Also where the configuration has none, and a rampup."""
        for settings in ({"rate": 5}, {"rampup": 60}):
            async with firing(transaction, cannons=5, **settings) as made:
                made.begin(ahead=AHEAD, seconds=0.5, rate=200.0)
                await until(lambda made=made: made.look().transactions >= 100)  # type: ignore[misc]  # bound now
                counts = await made.end()
            assert (counts.transactions, counts.never_started) == (100, 0)

    @pytest.mark.parametrize("threads", [False, True], ids=["coroutines", "threads"])
    async def test_a_freeze_is_not_hidden(self, threads: bool) -> None:
        """Transactions that were due while the target did not answer have their waiting time in the result."""
        thawed, thawed_for_threads = asyncio.Event(), threading.Event()

        class Frozen(BaseTransaction):
            async def run(self) -> None:
                await thawed.wait()

        class FrozenThread(BaseTransaction):
            def run(self) -> None:
                thawed_for_threads.wait()

        def thaw() -> None:
            thawed.set()
            thawed_for_threads.set()

        # With two cannons a closed loop would have two slow transactions, whatever the freeze hides.
        async with firing(FrozenThread if threads else Frozen, cannons=2, rate=100) as made:
            made.begin(ahead=AHEAD, seconds=2.0)
            asyncio.get_running_loop().call_later(AHEAD + 1.0, thaw)
            await until(lambda: made.look().transactions >= 200)
            counts = await made.end()
        whole = made.whole()
        slow = sum(count for value, count in whole.counts().items() if value >= 500_000)
        # 50 of 200 were due in the first half of the freeze.
        assert slow >= 49
        assert whole.percentiles([75])[75] >= 0.48
        assert counts.late_starts >= 90
        assert counts.lateness >= 0.5
        assert sum(part.late for part in made.slices) == counts.late_starts

    @BOTH
    async def test_starts_without_a_free_cannon_are_counted(self, transaction: type) -> None:
        """As never started."""
        free, release = asyncio.Event(), threading.Event()

        class Stuck(BaseTransaction):
            async def run(self) -> None:
                await free.wait()

        class StuckThread(BaseTransaction):
            def run(self) -> None:
                release.wait()

        async with firing(Stuck if transaction is Quick else StuckThread, cannons=1, rate=100) as made:
            made.begin(ahead=AHEAD, seconds=0.5)
            await until(lambda: time.monotonic() > made.start + 0.5)
            made.pool.stop(at_once=False)
            free.set()
            release.set()
            counts = await made.ended()
        assert (counts.transactions, counts.never_started) == (1, 49)

    @BOTH
    async def test_a_late_pool_takes_the_starts_from_now_on(self, transaction: type) -> None:
        """Not those before it came."""
        async with firing(transaction, cannons=5, rate=100) as made:
            made.begin(ahead=-100.0)
            began = time.monotonic()
            await until(lambda: made.look().transactions)
            counts = await made.end()
            took = time.monotonic() - began
        assert 0 < counts.transactions + counts.never_started <= took * 100 + 1

    @BOTH
    async def test_nothing_starts_after_the_last_start(self, transaction: type) -> None:
        """A rate of 0 at the end starts nothing."""
        stages = [{"seconds": 0.1, "rate": 50}, {"rate": 0}]
        async with firing(transaction, cannons=2, rate=stages) as made:
            made.begin(ahead=AHEAD)
            await until(lambda: made.look().transactions == 5)
            counts = await made.end()
        assert (counts.transactions, counts.never_started) == (5, 0)


class TestThreads:
    """Cannons that are threads."""

    async def test_no_thread_fires_before_all_are_started(self) -> None:
        """Otherwise the first ones would delay the start of the others."""
        there: list[int] = []

        class Busy(BaseTransaction):
            def run(self) -> None:
                there.append(sum(thread.name == "cannon" for thread in threading.enumerate()))
                time.sleep(0.001)

        async with firing(Busy, cannons=60) as made:
            made.begin(ahead=-5.0)  # a turret that joins late begins at once
            await until(lambda: made.look().transactions >= 60)
            await made.end()
        assert there[0] >= 60


class TestErrors:
    """An error of a script is a result, and firing goes on."""

    @pytest.mark.parametrize("error", [ValueError("broken"), SystemExit(3), asyncio.CancelledError(), KeyError()])
    @BOTH
    async def test_an_error_in_run_is_a_result(self, transaction: type, error: BaseException) -> None:
        """Every other transaction fails."""
        queue: Iterator[bool] = itertools.cycle([True, False])

        class Broken(BaseTransaction):
            async def run(self) -> None:
                await asyncio.sleep(0.001)
                if next(queue):
                    raise error

        class BrokenThread(BaseTransaction):
            def run(self) -> None:
                time.sleep(0.001)
                if next(queue):
                    raise error

        async with firing(Broken if transaction is Quick else BrokenThread) as made:
            made.begin()
            await until(lambda: made.look().transactions >= 4)
            counts = await made.end()
        assert counts.errors in (counts.transactions // 2, (counts.transactions + 1) // 2)
        assert set(made.whole().errors) == {str(error) or type(error).__name__}

    @pytest.mark.parametrize("step", ["__init__", "setup", "tear_down"])
    @BOTH
    async def test_an_error_in_another_step_is_named(self, transaction: type, step: str) -> None:
        """The text names the step; a failing constructor is tried again later."""

        class Broken(transaction):
            pass

        def fail(*_: object) -> None:
            raise ValueError("broken")

        setattr(Broken, step, fail)
        async with firing(Broken) as made:
            made.begin()
            await until(lambda: made.look().transactions >= 1)
            counts = await made.end()
        assert counts.errors == counts.transactions
        assert set(made.whole().errors) == {f"{step}: broken"}

    async def test_a_long_error_text_is_cut(self) -> None:
        """To what can be sent."""

        class Broken(BaseTransaction):
            async def run(self) -> None:
                raise ValueError("x" * 100_000)

        async with firing(Broken) as made:
            made.begin()
            await until(lambda: made.look().transactions >= 1)
            await made.end()
        assert {len(text) for text in made.whole().errors} == {LONGEST_ERROR}


class TestTheEnd:
    """The end of a run."""

    @BOTH
    async def test_an_unfinished_transaction_is_an_error_after_the_grace(self, transaction: type) -> None:
        """With its time so far."""
        release, begun = threading.Event(), list[object]()

        class Stuck(BaseTransaction):
            async def run(self) -> None:
                begun.append(self)
                await asyncio.Event().wait()

        class StuckThread(BaseTransaction):
            def run(self) -> None:
                begun.append(self)
                release.wait()

        async with firing(Stuck if transaction is Quick else StuckThread, cannons=3, grace=0.1) as made:
            made.begin()
            await until(lambda: len(begun) == 3)
            counts = await made.end()
        release.set()
        assert made.whole().errors == {"not finished when the run ended": 3}
        assert made.whole().minimum >= 0.1
        assert counts.transactions == 3

    async def test_a_script_that_catches_its_cancellation_is_counted_once(self) -> None:
        """As not finished."""

        begun = asyncio.Event()

        class Stubborn(BaseTransaction):
            async def run(self) -> None:
                begun.set()
                try:
                    await asyncio.Event().wait()
                except asyncio.CancelledError:
                    pass

        async with firing(Stubborn, grace=0.0) as made:
            made.begin()
            await begun.wait()
            counts = await made.end()
        assert counts.transactions == 1

    @BOTH
    async def test_nothing_starts_during_a_pause(self, transaction: type) -> None:
        """And its time is reported."""
        async with firing(transaction, cannons=2) as made:
            made.begin()
            await until(lambda: made.look().transactions >= 2)
            made.pool.pause()
            before = made.look().transactions
            await asyncio.sleep(0.3)
            # Each cannon ends the transaction that it had begun.
            assert made.look().transactions <= before + 2
            before = made.look().transactions
            made.pool.resume()
            await until(lambda: made.look().transactions > before)
            counts = await made.end()
        assert counts.paused >= 0.3

    @BOTH
    async def test_a_pool_stopped_before_its_start_fires_nothing(self, transaction: type) -> None:
        """Its counts are 0."""
        async with firing(transaction, cannons=3) as made:
            made.begin(ahead=100.0)
            await asyncio.sleep(0)
            counts = await made.end(at_once=True)
        assert counts.transactions == 0
