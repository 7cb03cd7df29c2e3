"""The cannons of a process: rampup, the open model, the end of a run, and what goes wrong in scripts."""

from __future__ import annotations

import asyncio
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
async def test_everything_is_counted_once(transaction: type) -> None:
    """Counts, slices and timers tell of the same transactions."""
    async with firing(transaction, cannons=5) as made:
        made.begin()
        await until(lambda: made.look().transactions >= 50)
        assert made.look().users == 5
        counts = await made.end()
    assert counts.transactions == made.whole().count == made.whole("part").count
    assert (counts.errors, counts.users) == (0, 0)


@BOTH
async def test_raw_results(transaction: type) -> None:
    """Each transaction is a message, with the seconds since the start of the run, which was before this turret came."""
    async with firing(transaction) as made:
        made.begin(ahead=-100.0, raw=True)
        await until(lambda: made.look().transactions >= 3)
        counts = await made.end()
    assert len(made.frames) == counts.transactions
    results = [json.loads(frame) for frame in made.frames]
    assert all(result["elapsed"] > 100 and result["custom_timers"]["part"] > 0 for result in results)
    assert made.slices == []


@BOTH
async def test_steps_and_their_order(transaction: type) -> None:
    """One object per cannon; setup, run and tear_down in this order; timers are empty before each setup."""
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


async def test_setup_is_not_timed() -> None:
    """Neither is tear_down: they take their time, and the transaction takes none of it."""

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
    """When cannons begin."""

    @BOTH
    async def test_by_the_plan(self, transaction: type) -> None:
        """No cannon begins before its time, and all do."""
        begun: list[float] = []

        class Noting(transaction):
            def __init__(self, config: Any, context: Any) -> None:
                begun.append(time.monotonic())
                super().__init__(config, context)

        async with firing(Noting, cannons=10, rampup=0.5) as made:
            made.begin(ahead=0.1)
            await until(lambda: made.look().users == 10)
            await made.end()
        assert len(begun) == 10
        for index, moment in enumerate(sorted(begun)):
            assert moment - made.start >= index * 0.05 - 0.001

    @BOTH
    async def test_stopped_in_the_middle(self, transaction: type) -> None:
        """The cannons that have not begun never do."""
        async with firing(transaction, cannons=3, rampup=3000) as made:
            made.begin()
            await until(lambda: made.look().transactions)
            counts = await made.end()
        assert counts.users == 0
        assert counts.transactions == made.whole().count


class TestOpenModel:
    """Starts by the clock, not by the answers."""

    @BOTH
    async def test_the_plan_is_kept(self, transaction: type) -> None:
        """Every start of the plan is taken, none twice, and none after the end."""
        async with firing(transaction, cannons=5, rate=200) as made:
            made.begin(ahead=0.05, seconds=0.5)
            await until(lambda: made.look().transactions >= 100)
            counts = await made.end()
        assert (counts.transactions, counts.never_started, made.whole().count) == (100, 0, 100)

    @pytest.mark.parametrize("threads", [False, True], ids=["coroutines", "threads"])
    async def test_a_freeze_is_not_hidden(self, threads: bool) -> None:
        """A target that answers nothing for a second: who was to ask it meanwhile waited, and is counted so."""
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
            made.begin(ahead=0.05, seconds=2.0)
            asyncio.get_running_loop().call_later(1.05, thaw)
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
    async def test_what_nobody_started(self, transaction: type) -> None:
        """Starts that were due and found no free cannon are told."""
        free, release = asyncio.Event(), threading.Event()

        class Stuck(BaseTransaction):
            async def run(self) -> None:
                await free.wait()

        class StuckThread(BaseTransaction):
            def run(self) -> None:
                release.wait()

        async with firing(Stuck if transaction is Quick else StuckThread, cannons=1, rate=100) as made:
            made.begin(ahead=0.05, seconds=0.5)
            await until(lambda: time.monotonic() > made.start + 0.5)
            made.pool.stop(at_once=False)
            free.set()
            release.set()
            counts = await made.ended()
        assert (counts.transactions, counts.never_started) == (1, 49)

    @BOTH
    async def test_a_late_joiner(self, transaction: type) -> None:
        """It takes the starts from now on, not those before it came."""
        async with firing(transaction, cannons=5, rate=100) as made:
            made.begin(ahead=-100.0, seconds=100.3)
            await until(lambda: time.monotonic() > made.start + 100.3)
            counts = await made.end()
        assert 0 < counts.transactions + counts.never_started <= 31

    @BOTH
    async def test_a_plan_that_ends(self, transaction: type) -> None:
        """After the last start nothing begins any more."""
        stages = [{"seconds": 0.1, "rate": 50}, {"rate": 0}]
        async with firing(transaction, cannons=2, rate=stages) as made:
            made.begin(ahead=0.05)
            await until(lambda: made.look().transactions == 5)
            counts = await made.end()
        assert (counts.transactions, counts.never_started) == (5, 0)


class TestThreads:
    """What only threads have."""

    async def test_none_fires_before_all_are_there(self) -> None:
        """Else those that fire would keep the others, and whoever gathers the results, from their turn."""
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
    """What goes wrong in a script is a result, and firing goes on."""

    @pytest.mark.parametrize("error", [ValueError("broken"), SystemExit(3), asyncio.CancelledError(), KeyError()])
    @BOTH
    async def test_in_run(self, transaction: type, error: BaseException) -> None:
        """Every other transaction fails."""
        queue: Iterator[bool] = iter([True, False] * 100)

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
    async def test_in_another_step(self, transaction: type, step: str) -> None:
        """The text says in which; a failing constructor is tried again only after a while."""

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

    async def test_a_text_of_any_length(self) -> None:
        """It is cut to what may be sent."""

        class Broken(BaseTransaction):
            async def run(self) -> None:
                raise ValueError("x" * 100_000)

        async with firing(Broken) as made:
            made.begin()
            await until(lambda: made.look().transactions >= 1)
            await made.end()
        assert {len(text) for text in made.whole().errors} == {LONGEST_ERROR}


class TestTheEnd:
    """How a run ends."""

    @BOTH
    async def test_what_does_not_end(self, transaction: type) -> None:
        """After the grace a transaction under way is an error with its time so far; the others have been counted."""
        release = threading.Event()

        class Stuck(BaseTransaction):
            async def run(self) -> None:
                await asyncio.Event().wait()

        class StuckThread(BaseTransaction):
            def run(self) -> None:
                release.wait()

        async with firing(Stuck if transaction is Quick else StuckThread, cannons=3, grace=0.1) as made:
            made.begin()
            await until(lambda: made.look().users == 3)
            await asyncio.sleep(0.05)
            counts = await made.end()
        release.set()
        assert made.whole().errors == {"not finished when the run ended": 3}
        assert made.whole().minimum >= 0.1
        assert counts.transactions == 3

    async def test_a_script_that_does_not_let_go(self) -> None:
        """One that catches its cancellation is not counted a second time."""

        class Stubborn(BaseTransaction):
            async def run(self) -> None:
                try:
                    await asyncio.Event().wait()
                except asyncio.CancelledError:
                    pass

        async with firing(Stubborn, grace=0.0) as made:
            made.begin()
            await until(lambda: made.look().users)
            counts = await made.end()
        assert counts.transactions == 1

    @BOTH
    async def test_pause(self, transaction: type) -> None:
        """Nothing begins while it lasts, and its time is told."""
        async with firing(transaction, cannons=2) as made:
            made.begin()
            await until(lambda: made.look().transactions >= 2)
            made.pool.pause()
            await asyncio.sleep(0.2)
            before = made.look().transactions
            await asyncio.sleep(0.1)
            assert made.look().transactions == before
            made.pool.resume()
            await until(lambda: made.look().transactions > before)
            counts = await made.end()
        assert counts.paused >= 0.3

    @BOTH
    async def test_before_it_began(self, transaction: type) -> None:
        """Ended before its start, nothing is fired."""
        async with firing(transaction, cannons=3) as made:
            made.begin(ahead=100.0)
            await asyncio.sleep(0)
            counts = await made.end(at_once=True)
        assert counts.transactions == 0
