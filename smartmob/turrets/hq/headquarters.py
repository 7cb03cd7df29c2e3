"""The headquarters at work: connects its machine with the sockets, the clock and the database.

Messages go from the channel to the collector and to the machine at once. What the collector has gathered is committed
by one task, a batch after the other; turrets are told what is stored only after the commit. While too much waits, the
channel is not read, so that turrets wait instead of this process growing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import replace

import structlog

from smartmob.errors import Conflict, NotFound, Unavailable
from smartmob.kernel.db.writer import GroupCommitWriter
from smartmob.kernel.runtime import clock
from smartmob.kernel.runtime.events import EventBus
from smartmob.kernel.runtime.tasks import TaskRegistry
from smartmob.settings import TurretsSettings
from smartmob.turrets.events import RunFinished, RunStarted, TurretSilent
from smartmob.turrets.hq.batch import Batch
from smartmob.turrets.hq.collector import Collector, Totals
from smartmob.turrets.hq.machine_events import (
    Action,
    Committed,
    Event,
    MemberChanged,
    Now,
    Publish,
    ResultsHeard,
    Resumed,
    Rules,
    RunAsked,
    RunChanged,
    RunState,
    StatusHeard,
    StopAsked,
    Ticked,
    TurretLost,
)
from smartmob.turrets.hq.run_recorder import RunRecorder
from smartmob.turrets.hq.sockets import HeadquartersSockets
from smartmob.turrets.hq.state_machine import HeadquartersStateMachine
from smartmob.turrets.model import ENDED, Counters, Member
from smartmob.turrets.protocol import MOST_TURRETS, encode_order

log = structlog.get_logger()

MOST_WAITING = 100_000
_READ_AGAIN_BELOW = 50_000
_COMMIT_EVERY = 0.25
_COMMIT_AGAIN_AFTER = 0.5
_SAMPLE = 200
_SAMPLES_PER_SECOND = 1.0


class Headquarters:
    """One headquarters. `ended` is called with each run that is over, once everything of it is stored."""

    def __init__(
        self,
        name: str,
        settings: TurretsSettings,
        live: GroupCommitWriter[Batch],
        keeper: RunRecorder,
        bus: EventBus,
        *,
        insecure: bool,
    ) -> None:
        self.channel = HeadquartersSockets(settings, insecure, self._take)
        self.collector = Collector(self._complain)
        self.machine = HeadquartersStateMachine(
            name, Rules(settings.lost_after, settings.quiet, settings.drain, settings.wait)
        )
        self.ended: Callable[[RunState], None] = lambda _: None
        self.changed: Callable[[], None] = lambda: None
        self._live = live
        self._keeper = keeper
        self._bus = bus
        self._keyed = settings.hq_turret_keys is not None
        self._in_flight = 0
        self._held: Batch | None = None
        self._closing = False
        self._work = asyncio.Event()
        self._tick = asyncio.Event()
        self._complained = float("-inf")
        self._tasks: list[asyncio.Task[None]] = []
        self._over: RunState | None = None

    # -- life -----------------------------------------------------------------------------------------------------

    async def open(self, tasks: TaskRegistry) -> None:
        """Take up the run that was on when the service ended, and listen."""
        await self._live.start(tasks)
        await self._keeper.make_partitions()
        found = await self._keeper.resume(self.machine.name)
        if self._keyed:
            # Before anybody is heard.
            self.collector.claims.load(await self._keeper.read_claims(self.machine.name))
        self.channel.open()
        if found is not None:
            self._resume(found.run, found.members, found.progress, found.totals, found.counters)
        self._tasks = [
            tasks.supervise("turrets-orders", self._keep_time),
            tasks.supervise("turrets-results", self._commit_until_closed),
        ]
        if (keys := self.channel.keys) is not None:
            self._tasks.append(tasks.supervise("turrets-keys", keys.follow))
        orders, results, external = self.channel.ports
        log.info("turrets.listening", publish_port=orders, rc_port=results, external_port=external)

    async def close(self) -> None:
        """Listen no more, and store what has come; a run that is on goes on at the next start."""
        if not self._tasks:
            return
        await self.channel.close()
        self._closing = True
        self._work.set()
        ticking, _, *following = self._tasks
        for task in (ticking, *following):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._live.close()

    @property
    def pending(self) -> int:
        """Return how many results are not stored yet."""
        return self.collector.pending + self._in_flight

    def now(self) -> Now:
        """Return the present."""
        return Now(asyncio.get_running_loop().time(), clock.now())

    # -- runs -----------------------------------------------------------------------------------------------------

    def begin(self, event: RunAsked) -> RunState:
        """Begin a run that is stored; raises Conflict when one is on."""
        self.check_free()
        self._handle(event)
        self._tick.set()
        assert self.machine.run is not None
        return self.machine.run

    def check_free(self) -> None:
        """Raise Conflict when a run is on, or when the last one is not stored yet."""
        run = self.current
        if run is not None:
            raise Conflict(
                f"run {run.id} is {run.state}; there is one run at a time. "
                f"Wait for its end, or stop it: POST /turret-runs/{run.id}/stop"
            )

    def stop(self, run: str, reason: str) -> RunState:
        """End a run; raises NotFound when it is not on."""
        active = self.machine.active
        if active is None or active.id != run:
            raise NotFound(f"run {run} is not on")
        self._handle(StopAsked(reason))
        self._tick.set()
        assert self.machine.run is not None
        return self.machine.run

    @property
    def current(self) -> RunState | None:
        """Return the run that is on; one that is over drains until everything of it is stored."""
        if self._over is not None:
            return replace(self._over, state="draining", ended_at=None)
        return self.machine.active

    # -- what comes -----------------------------------------------------------------------------------------------

    def _take(self, frames: list[bytes]) -> None:
        now = self.now()
        taken = self.collector.take(
            frames, now.wall.timestamp(), now.wall, self.machine.passed(now), self.channel.sender
        )
        for status in taken.statuses:
            if not self.machine.admits(status.identity):
                self.collector.counters.malformed += 1
                self._complain(b"", f"left out: a headquarters has at most {MOST_TURRETS} turrets")
                continue
            self._do(self.machine.handle(StatusHeard(status), now))
        if taken.stock:
            self.machine.handle(ResultsHeard(), now)
        if taken.results and self.channel.wanted and self.machine.active is not None:
            self.channel.republish(self.machine.active.id.encode(), taken.results)
        if self.collector.weight >= MOST_WAITING:
            self.channel.pause()
        if self.collector.plenty:
            self._work.set()

    def _complain(self, frame: bytes, why: str) -> None:
        moment = asyncio.get_running_loop().time()
        if moment - self._complained >= _SAMPLES_PER_SECOND:
            self._complained = moment
            sample = frame[:_SAMPLE].decode(errors="backslashreplace")
            log.warning("turrets.malformed", reason=why, sample=sample, count=self.collector.counters.malformed)

    # -- what is done ---------------------------------------------------------------------------------------------

    def _handle(self, event: Event) -> None:
        now = self.now()
        self._do(self.machine.handle(event, now))

    def _do(self, actions: Iterable[Action]) -> None:
        for action in actions:
            match action:
                case Publish():
                    self.channel.publish(encode_order(action.order))
                case RunChanged():
                    self._change(action.run)
                case MemberChanged():
                    self._keeper.keep_member(action.run, action.member)
                case TurretLost():
                    member = action.member
                    log.warning("turrets.lost", run=action.run, turret=member.name, uuid=member.uuid)
                    self._bus.publish(TurretSilent(action.run, member.uuid, member.name))

    def _change(self, run: RunState) -> None:
        log.info("turrets.run", run=run.id, name=run.config.name, state=run.state, reason=run.reason)
        if run.state == "waiting":
            self.collector.end()
            self.collector.totals, self.collector.counters = Totals(), Counters()
        if run.state == "running":
            assert run.started_at is not None
            self.collector.begin(run.id, run.started_at.timestamp(), {}, Totals(), Counters())
            self._bus.publish(RunStarted(run.id, run.config.name))
        if run.state in ENDED:
            self.collector.end()
            self._over = run
        else:
            totals = self.collector.totals
            self._keeper.keep_run(run, totals.transactions, totals.errors, self.collector.counters)
        self._work.set()
        self.changed()

    def _resume(
        self, run: RunState, members: tuple[Member, ...], progress: dict[str, int], totals: Totals, counters: Counters
    ) -> None:
        if run.started_at is not None:
            counters.restarts += 1
            self.collector.begin(run.id, run.started_at.timestamp(), progress, totals, counters)
            self._keeper.keep_run(run, totals.transactions, totals.errors, counters)
        log.info("turrets.resumed", run=run.id, state=run.state, transactions=totals.transactions)
        self._handle(Resumed(run, members, progress))

    # -- tasks ----------------------------------------------------------------------------------------------------

    async def _keep_time(self) -> None:
        while True:
            self._handle(Ticked(self.pending))
            with suppress(TimeoutError):
                async with asyncio.timeout(self.machine.nap(self.now())):
                    await self._tick.wait()
            self._tick.clear()

    async def _commit_until_closed(self) -> None:
        while True:
            await self._commit_once()
            while self.collector.plenty:
                await self._commit_once()
            await self._keep()
            if self._closing and not self.pending:
                return
            with suppress(TimeoutError):
                async with asyncio.timeout(_COMMIT_EVERY):
                    await self._work.wait()
            self._work.clear()

    async def _commit_once(self) -> None:
        now = self.now()
        run = self.machine.active
        everything = self._closing or (run is not None and run.state == "draining")
        # One that is held was being stored when this task died.
        batch = self._held or self.collector.cut(now.wall.timestamp(), self.machine.passed(now), everything=everything)
        self._held = batch
        # Whose a number is must be known after a restart, too, when it is acknowledged.
        await self._keep_claims(wait=batch is not None)
        if batch is None:
            return
        self._in_flight = batch.rows + len(batch.slices) + 1
        stored = await self._store(self.collector.allowed(batch, now.wall.timestamp()))
        self._held, self._in_flight = None, 0
        self.collector.committed(batch)
        for uuid, sequence in batch.progress.items():
            if stored and uuid not in self.collector.barred:
                self._handle(Committed(uuid, str(batch.run), sequence))
        if self.channel.paused and self.collector.weight < _READ_AGAIN_BELOW:
            self.channel.resume()
        if run is not None and run.state == "draining":
            self._tick.set()

    async def _keep_claims(self, *, wait: bool) -> None:
        """Store which keys uuids belong to; `wait` for the database as long as it takes."""
        while self.collector.claims.changes:
            stored = await self._keeper.write_claims(self.machine.name, self.collector.claims)
            if stored or not wait or self._closing:
                return
            await asyncio.sleep(_COMMIT_AGAIN_AFTER)

    async def _store(self, batch: Batch) -> bool:
        """Store a batch, and wait for the database as long as it takes; return False when it had to be given up.

        What the database refuses for its content is looked for by halves, and left out.
        """
        while batch:
            try:
                await self._live.put((batch,))
            except Unavailable as error:
                if self._closing:
                    log.error("turrets.results_lost", reason=str(error), results=batch.transactions)
                    return False
                log.warning("turrets.waiting", reason=str(error), results=batch.transactions)
                await asyncio.sleep(_COMMIT_AGAIN_AFTER)
            except Exception as error:
                halves = self.collector.divide(batch, self.now().wall.timestamp())
                if not halves:
                    self._refuse(batch, error)
                    return True
                return all([await self._store(half) for half in halves])
            else:
                return True
        return True

    def _refuse(self, batch: Batch, error: Exception) -> None:
        """Leave out what the database refuses, and acknowledge nothing more of its turret."""
        for owner in filter(None, batch.owners):
            self.collector.bar(owner)
        self.collector.counters.dropped += max(batch.transactions, 1)
        log.error("turrets.refused", results=batch.transactions, turrets=batch.owners, exc_info=error)

    async def _keep(self) -> None:
        """Store the state of the run and its turrets, and tell of its end once everything of it is stored."""
        over = self._over if not self.pending else None
        if over is not None:
            totals = self.collector.totals
            self._keeper.keep_run(over, totals.transactions, totals.errors, self.collector.counters)
        if await self._keeper.write() and over is not None:
            self._over = None
            totals = self.collector.totals
            self._bus.publish(RunFinished(over.id, over.config.name, over.state, totals.transactions, totals.errors))
            self.ended(over)
