"""The headquarters: connects its state machine with the sockets, the clock and the database.

Messages go from the sockets to the collector and to the state machine at once. One task commits the collected rows,
batch after batch; results are acknowledged only after their commit. While too many rows wait, the socket of results is
not read, so that turrets wait and the memory of this process stays bounded.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable
from contextlib import suppress
from functools import cached_property
from typing import TYPE_CHECKING

import msgspec
from msgspec.structs import replace

from smartmob.errors import Conflict, Unavailable
from smartmob.feature_settings import TurretsSettings
from smartmob.kernel.db.writer import GroupCommitWriter
from smartmob.kernel.observability.event_logger import get_logger
from smartmob.kernel.runtime import clock
from smartmob.kernel.runtime.events import EventBus
from smartmob.kernel.runtime.tasks import TaskRegistry
from smartmob.kernel.services.service_registry import ServiceRegistry
from smartmob.turrets.events import RunFinished, RunStarted, TurretSilent
from smartmob.turrets.hq.aggregation import RunTotals
from smartmob.turrets.hq.batch import Batch
from smartmob.turrets.hq.collector import ResultCollector
from smartmob.turrets.hq.live_conditions import LiveConditions, longest_rampup
from smartmob.turrets.hq.machine_events import (
    Action,
    Committed,
    Event,
    MemberChanged,
    Now,
    Publish,
    ResultsReceived,
    Resumed,
    RunChanged,
    RunRequested,
    RunState,
    Stalled,
    StatusReceived,
    StopRequested,
    Ticked,
    Timeouts,
    TurretLost,
)
from smartmob.turrets.hq.run_recorder import ResumableRun, RunRecorder
from smartmob.turrets.hq.run_snapshot import RunSnapshot, RunStateChanged, RunStored
from smartmob.turrets.hq.state_machine import HeadquartersStateMachine
from smartmob.turrets.model import ENDED, Counters, Member
from smartmob.turrets.protocol import MOST_TURRETS, encode_order

if TYPE_CHECKING:
    from smartmob.turrets.hq.sockets import HeadquartersSockets

log = get_logger()

PAUSE_ROWS = 100_000
"""The weight of waiting rows at which the socket of results is no longer read."""
RESUME_ROWS = 50_000
"""The weight of waiting rows below which the socket of results is read again."""
_COMMIT_SECONDS = 0.25
"""The longest time that rows wait for others before they are committed."""
_RETRY_SECONDS = 0.5
"""The time between two attempts to commit while the database is away."""
_SAMPLE_BYTES = 200
"""The length of a malformed message in a log line."""
_EVALUATION_SECONDS = 1.0
"""The shortest time between two evaluations of the conditions of a run."""
_STALL_SECONDS = 0.2
"""A timer that is late by this much shows that the process stood still; otherwise timers are late by milliseconds."""
_LOG_INTERVAL_SECONDS = 1.0
"""The shortest time between two log events about malformed messages."""


class Headquarters:
    """One headquarters, and the owner of the state of its run: readers get a `snapshot`.

    Publishes RunStateChanged when the state of a run changes, and RunFinished and RunStored once an ended run is stored
    completely. The writer must have been started before `open`.
    """

    def __init__(
        self,
        name: str,
        services: ServiceRegistry,
        settings: TurretsSettings,
        writer: GroupCommitWriter[Batch],
        recorder: RunRecorder,
        bus: EventBus,
        *,
        insecure: bool,
    ) -> None:
        self._name = name
        self._services = services
        self._settings = settings
        self._insecure = insecure
        self._collector = ResultCollector(self._log_malformed)
        timeouts = Timeouts(settings.lost_after, settings.quiet, settings.drain, settings.wait)
        self._machine = HeadquartersStateMachine(name, timeouts)
        self._writer = writer
        self._recorder = recorder
        self._bus = bus
        self._uses_keys = settings.hq_turret_keys is not None
        # The batch that is being committed; it stays here when an attempt fails, also when the task dies.
        self._committing: deque[Batch] = deque()
        # The run that has ended, until everything of it is stored.
        self._ended_run: RunState | None = None
        self._closing = False
        self._work = asyncio.Event()
        self._tick = asyncio.Event()
        self._last_logged_at = float("-inf")
        self._evaluated_at = float("-inf")
        self._tasks: list[asyncio.Task[None]] = []

    @cached_property
    def _sockets(self) -> HeadquartersSockets:
        """Return the sockets; ZeroMQ is imported with the first load test."""
        from smartmob.turrets.hq.sockets import HeadquartersSockets

        return HeadquartersSockets(self._settings, self._insecure, self._receive)

    # -- start and end --------------------------------------------------------------------------------------------

    @property
    def service(self) -> str:
        """Return the id of the service, to which the runs and claims belong; see `ServiceRegistry`."""
        return self._services.id

    async def open(self, tasks: TaskRegistry) -> None:
        """Resume the run that had not ended when the service ended, and listen."""
        await self._recorder.make_partitions()
        await self._recorder.adopt(self._name, self.service)
        resumable = await self._recorder.resume(self.service)
        if self._uses_keys:
            # Before the first message is read.
            self._collector.claims.load(await self._recorder.read_claims(self.service))
        self._sockets.open()
        if resumable is not None:
            self._resume(resumable)
        self._start_tasks(tasks)
        orders, results, external = self._sockets.ports
        log.info("turrets.listening", publish_port=orders, rc_port=results, external_port=external)

    def _start_tasks(self, tasks: TaskRegistry) -> None:
        self._tasks = [
            tasks.supervise("turrets-orders", self._run_timer),
            tasks.supervise("turrets-results", self._run_commits),
        ]
        if (keys := self._sockets.keys) is not None:
            self._tasks.append(tasks.supervise("turrets-keys", keys.run_reload))

    async def close(self) -> None:
        """Stop listening, and store what was received; a run that has not ended is resumed at the next start."""
        if not self._tasks:
            return
        timer, commits, *others = self._tasks
        for task in (timer, *others):
            task.cancel()
        # The timer sends orders, so it ends before the sockets are closed.
        await asyncio.gather(timer, *others, return_exceptions=True)
        await self._sockets.close()
        self._closing = True
        self._work.set()
        await asyncio.gather(commits, return_exceptions=True)

    # -- reading --------------------------------------------------------------------------------------------------

    @property
    def ports(self) -> tuple[int, int, int]:
        """Return the ports of orders, results and republished results."""
        return self._sockets.ports

    def members(self) -> list[Member]:
        """Return the turrets of the run; without a run, those that were heard lately."""
        return self._machine.members()

    def snapshot(self) -> RunSnapshot | None:
        """Return the newest run as it is now, or None before the first; it is draining until all of it is stored."""
        run = self._run()
        if run is None:
            return None
        now, totals = self._now(), self._collector.totals
        return RunSnapshot(
            run=run,
            members=self.members(),
            totals=replace(totals, timers=dict(totals.timers), failures=dict(totals.failures)),
            counters=msgspec.structs.replace(self._collector.counters),
            firing_seconds=self._machine.firing_seconds(now),
            seconds_since_start=self._machine.seconds_since_start(now),
            recent=self._collector.live,
            conditions=self._collector.conditions.results,
        )

    @property
    def pending(self) -> int:
        """Return how many rows are not stored yet; a batch that is being committed counts for at least 1."""
        committing = sum(batch.rows + len(batch.slices) + 1 for batch in self._committing)
        return self._collector.pending + committing

    @property
    def paused(self) -> bool:
        """Return whether reading results is paused, because too many rows wait."""
        return bool(self._tasks) and self._sockets.paused

    def _run(self) -> RunState | None:
        if self._ended_run is not None:
            return replace(self._ended_run, state="draining", ended_at=None)
        return self._machine.run

    def _now(self) -> Now:
        return Now(asyncio.get_running_loop().time(), clock.now())

    # -- runs -----------------------------------------------------------------------------------------------------

    def check_free(self) -> None:
        """Raise Conflict when a run has not ended, or is not stored completely."""
        run = self._run()
        if run is not None and run.state not in ENDED:
            raise Conflict(
                f"run {run.id} is {run.state}; there is one run at a time. "
                f"Wait for its end, or stop it: POST /turret-runs/{run.id}/stop"
            )

    def begin(self, event: RunRequested) -> None:
        """Begin a run that is stored; raises Conflict when another one has not ended."""
        self.check_free()
        self._handle(event)
        self._tick.set()

    def stop(self, run: str, reason: str) -> None:
        """Stop a run; one that has ended stays as it is."""
        active = self._machine.active
        if active is not None and active.id == run:
            self._handle(StopRequested(reason))
            self._tick.set()

    # -- messages -------------------------------------------------------------------------------------------------

    def _receive(self, frames: list[bytes]) -> None:
        now = self._now()
        since_start = self._machine.seconds_since_start(now)
        received = self._collector.receive(
            frames, now.wall.timestamp(), now.wall, since_start, sender=self._sockets.sender
        )
        for status in received.statuses:
            if not self._machine.accepts(status.identity):
                self._collector.counters.malformed += 1
                self._log_malformed(b"", f"left out: a headquarters has at most {MOST_TURRETS} turrets")
                continue
            self._perform(self._machine.handle(StatusReceived(status), now))
        if received.has_oct_results:
            self._machine.handle(ResultsReceived(), now)
        active = self._machine.active
        if received.results and self._sockets.has_subscribers and active is not None:
            self._sockets.republish(active.id.encode(), received.results)
        self._regulate()

    def _regulate(self) -> None:
        """Stop reading while too many rows wait; commit as soon as there are enough of them."""
        if self._collector.rows.weight >= PAUSE_ROWS:
            self._sockets.pause()
        if self._collector.rows.has_enough:
            self._work.set()

    def _log_malformed(self, frame: bytes, reason: str) -> None:
        moment = asyncio.get_running_loop().time()
        if moment - self._last_logged_at >= _LOG_INTERVAL_SECONDS:
            self._last_logged_at = moment
            sample = frame[:_SAMPLE_BYTES].decode(errors="backslashreplace")
            log.warning("turrets.malformed", reason=reason, sample=sample, count=self._collector.counters.malformed)

    # -- actions --------------------------------------------------------------------------------------------------

    def _handle(self, event: Event) -> None:
        self._perform(self._machine.handle(event, self._now()))

    def _perform(self, actions: Iterable[Action]) -> None:
        for action in actions:
            match action:
                case Publish():
                    self._sockets.publish(encode_order(action.order))
                case RunChanged():
                    self._on_state_changed(action.run)
                case MemberChanged():
                    self._recorder.record_member(action.run, action.member)
                case TurretLost():
                    member = action.member
                    log.warning("turrets.lost", run=action.run, turret=member.name, uuid=member.uuid)
                    self._bus.publish(TurretSilent(action.run, member.uuid, member.name))

    def _on_state_changed(self, run: RunState) -> None:
        log.info("turrets.run_changed", run=run.id, name=run.name, state=run.state, reason=run.reason)
        if run.state == "waiting":
            self._collector.end()
            self._collector.reset_counts()
        if run.state == "running":
            assert run.started_at is not None
            self._collector.begin(run.id, run.started_at.timestamp(), {}, RunTotals(), Counters())
            self._collector.conditions = LiveConditions.of(run.config)
            self._bus.publish(RunStarted(run.id, run.name))
        if run.state in ENDED:
            self._collector.end()
            self._ended_run = run
        else:
            self._record(run)
        self._work.set()
        self._bus.publish(RunStateChanged(run.id))

    def _record(self, run: RunState) -> None:
        totals = self._collector.totals
        self._recorder.record_run(run, totals.transactions, totals.errors, self._collector.counters)

    def _resume(self, found: ResumableRun) -> None:
        run, counters = found.run, found.counters
        if run.started_at is not None:
            counters.restarts += 1
            self._collector.begin(run.id, run.started_at.timestamp(), found.progress, found.totals, counters)
            self._collector.conditions = found.conditions
            self._record(run)
        log.info("turrets.resumed", run=run.id, state=run.state, transactions=found.totals.transactions)
        self._handle(Resumed(run, found.members, found.progress))

    # -- tasks ----------------------------------------------------------------------------------------------------

    async def _run_timer(self) -> None:
        """Notify the state machine that time has passed, and for how long this process stood still."""
        loop = asyncio.get_running_loop()
        while True:
            self._handle(Ticked(self.pending))
            self._evaluate_conditions()
            seconds = self._machine.seconds_to_next_tick(self._now())
            due = loop.time() + seconds
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._tick.wait()
            self._tick.clear()
            if (late := loop.time() - due) >= _STALL_SECONDS:
                self._handle(Stalled(late))

    def _evaluate_conditions(self) -> None:
        """Evaluate the conditions of the run that fires, and stop it if one aborts it; at most once a second."""
        now, run = self._now(), self._machine.active
        if run is None or run.state != "running" or now.steady < self._evaluated_at + _EVALUATION_SECONDS:
            return
        self._evaluated_at = now.steady
        rampup = longest_rampup(run.config, (member.rampup for member in self.members()))
        reason = self._collector.conditions.evaluate(self._machine.firing_seconds(now), rampup)
        if reason is not None:
            log.warning("turrets.aborted", run=run.id, name=run.config.name, reason=reason)
            self._handle(StopRequested(reason))

    async def _run_commits(self) -> None:
        """Commit batch after batch until the headquarters is closed and everything is stored.

        This is the only loop that tries again: an attempt that fails leaves its batch in `_committing`.
        """
        while True:
            stored = await self._commit_next()
            if not stored and not self._closing:
                await asyncio.sleep(_RETRY_SECONDS)
                continue
            if self._committing or self._collector.rows.has_enough:
                continue
            # After the sockets are closed the state no longer changes, so one whole pass records the last state.
            closing = self._closing
            await self._record_end()
            if closing and not self.pending:
                return
            with suppress(TimeoutError):
                async with asyncio.timeout(_COMMIT_SECONDS):
                    await self._work.wait()
            self._work.clear()

    async def _commit_next(self) -> bool:
        """Commit one batch and acknowledge it; return False while the database is away."""
        now, run = self._now(), self._machine.active
        draining = run is not None and run.state == "draining"
        if not self._committing:
            epoch, since_start = now.wall.timestamp(), self._machine.seconds_since_start(now)
            batch = self._collector.next_batch(epoch, since_start, everything=self._closing or draining)
            if batch is not None:
                self._committing.append(self._collector.without_blocked(batch, epoch))
        # A claim is stored before its results are acknowledged: after a restart the uuid must belong to the same key.
        claims_stored = await self._store_claims()
        if not self._committing:
            return True
        if not claims_stored and not self._closing:
            return False
        if not await self._commit(self._committing[0]):
            return False
        if self._sockets.paused and self._collector.rows.weight < RESUME_ROWS:
            self._sockets.resume()
        if draining:
            self._tick.set()
        return True

    async def _store_claims(self) -> bool:
        """Store the keys to which uuids belong; return False while the database is away."""
        if not self._collector.claims.changes:
            return True
        return await self._recorder.write_claims(self.service, self._collector.claims)

    async def _commit(self, batch: Batch) -> bool:
        """Commit the first batch of `_committing`; return False while the database is away.

        A batch that the database refuses for its content is replaced by its halves, until one cannot be divided; that
        one is dropped.
        """
        try:
            if batch:
                await self._writer.put((batch,))
        except Unavailable as error:
            if not self._closing:
                log.warning("turrets.waiting", reason=str(error), results=batch.transactions)
                return False
            log.error("turrets.results_lost", reason=str(error), results=batch.transactions)
            self._finish(batch, stored=False)
        except Exception as error:
            if halves := self._collector.rows.halves(batch, self._now().wall.timestamp()):
                self._committing.popleft()
                self._committing.extendleft(reversed(halves))
            else:
                self._drop(batch, error)
                self._finish(batch, stored=True)
        else:
            self._finish(batch, stored=True)
        return True

    def _finish(self, batch: Batch, *, stored: bool) -> None:
        """Remove the first batch of `_committing`, and acknowledge its messages if it is stored."""
        self._committing.popleft()
        self._collector.rows.committed(batch)
        for uuid, sequence in batch.progress.items():
            if stored and uuid not in self._collector.blocked:
                self._handle(Committed(uuid, str(batch.run), sequence))

    def _drop(self, batch: Batch, error: Exception) -> None:
        """Leave out rows that the database refuses, and acknowledge no further messages of their turret."""
        for owner in filter(None, batch.owners):
            self._collector.block(owner)
        self._collector.counters.dropped += max(batch.transactions, 1)
        log.error("turrets.refused", results=batch.transactions, turrets=batch.owners, exc_info=error)

    async def _record_end(self) -> None:
        """Store the state of the run and its turrets, and report its end once everything of it is stored."""
        ended = self._ended_run if not self.pending else None
        if ended is not None:
            self._record(ended)
        if await self._recorder.write() and ended is not None:
            self._ended_run = None
            snapshot = self.snapshot()
            assert snapshot is not None
            totals = snapshot.totals
            self._bus.publish(RunFinished(ended.id, ended.name, ended.state, totals.transactions, totals.errors))
            self._bus.publish(RunStored(snapshot))
