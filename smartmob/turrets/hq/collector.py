"""Collects the messages of turrets: decodes them, counts the wrong ones, and gathers the rows to be stored.

Single results become rows and are aggregated into slices like those that turrets of smartmob send. No I/O.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from uuid import UUID

import msgspec

from smartmob.errors import InvalidInput
from smartmob.kernel.http import json_depth
from smartmob.turrets import protocol
from smartmob.turrets.hq.aggregation import Aggregator, OpenSecond, RunTotals, failed_timers
from smartmob.turrets.hq.batch import Batch, HealthRow, SliceRow
from smartmob.turrets.hq.live_conditions import LiveConditions
from smartmob.turrets.hq.live_seconds import LiveSeconds
from smartmob.turrets.hq.oct_results import OctResult, decode_oct_results
from smartmob.turrets.hq.pending_rows import PendingRows
from smartmob.turrets.hq.rows import AnyResult, Columns
from smartmob.turrets.hq.turret_clocks import CLOCK_SECONDS, TurretClocks
from smartmob.turrets.hq.uuid_claims import UuidClaims
from smartmob.turrets.model import Counters
from smartmob.turrets.names import by_timer, counted_name
from smartmob.turrets.protocol import (
    MOST_TIMERS,
    MOST_TURRETS,
    ErrorKind,
    Report,
    Result,
    ResultDetails,
    Slice,
    Slices,
    Status,
    TimerError,
)
from smartmob.turrets.slices import TRANSACTION, check_histograms

_OPEN_SECONDS = 3
"""The number of later seconds after which a second of the run is no longer aggregated."""
_STALE_SECONDS = 2.0
"""A result whose `elapsed` exceeds the run so far by this much belongs to an earlier run."""
_AHEAD_SECONDS = 60.0
"""A slice may belong to a second that is this far in the future."""
_HEALTH_SECONDS = 0.5
"""The shortest time between two kept health reports of a turret."""


_NO_DETAILS = ResultDetails()
"""The details of a result that has none: its duration counts, and of its error only the text is known."""


class Received(msgspec.Struct):
    """Some messages after decoding: the statuses, and the frames of single results.

    `has_oct_results` is true when some results had no number.
    """

    statuses: list[Status] = msgspec.field(default_factory=list)
    results: Sequence[bytes] = ()
    has_oct_results: bool = False


class ResultCollector:
    """Collects for one run at a time; calls `on_malformed` with a wrong message and the reason."""

    def __init__(self, on_malformed: Callable[[bytes, str], None]) -> None:
        self.counters = Counters()
        self.totals = RunTotals()
        self.live = LiveSeconds()
        self.conditions = LiveConditions()
        self.rows = PendingRows()
        self.claims = UuidClaims()
        self.blocked: set[str] = set()
        self._on_malformed = on_malformed
        self._aggregator = Aggregator(self.live)
        self._clocks = TurretClocks()
        self._run_id = ""
        self._started = 0.0
        self._now = 0.0
        self._since_start = 0.0
        self._next: dict[str, int] = {}
        self._health_at: dict[str, float] = {}

    def begin(
        self, run: str, started: float, progress: Mapping[str, int], totals: RunTotals, counters: Counters
    ) -> None:
        """Collect for a run that starts at `started` (seconds since 1970), and has stored these totals already."""
        self._run_id, self._started = run, started
        self._next = {uuid: sequence + 1 for uuid, sequence in progress.items()}
        self.totals, self.counters = totals, counters
        self.live = LiveSeconds()
        self.blocked = set()
        self._health_at = {}
        self._aggregator = Aggregator(self.live)
        self._clocks = TurretClocks()
        self.rows.begin(UUID(run), started)

    def end(self) -> None:
        """Close the batches of the run; messages that come afterwards are counted as stale."""
        if self.rows.has_run:
            self._close_seconds(math.inf)
            self.rows.end()

    def reset_counts(self) -> None:
        """Reset all counters."""
        self.totals, self.counters = RunTotals(), Counters()

    @property
    def pending(self) -> int:
        """Return how many rows were not handed out yet, including the seconds that are still open."""
        return len(self.rows) + len(self._aggregator)

    # -- receiving ------------------------------------------------------------------------------------------------

    def receive(
        self, frames: Sequence[bytes], now: float, wall: datetime, since_start: float, sender: str = ""
    ) -> Received:
        """Decode `frames` and keep their results.

        `now` is the time in seconds since 1970, `since_start` in seconds since the start of the run. `sender` is the
        public key of the turret that sent them, or "" where keys are not used.
        """
        self._now, self._since_start = now, since_start
        results = decode_oct_results(frames)
        if not results:
            return self._receive_one_by_one(frames, wall, sender)
        columns = Columns.of_oct(results)
        for index in columns.with_texts:
            result = results[index]
            if result.custom_timers:
                result.custom_timers = by_timer(result.custom_timers)
        self._keep_oct_results(results, columns)
        return Received(results=frames, has_oct_results=True)

    def _receive_one_by_one(self, frames: Iterable[bytes], wall: datetime, sender: str) -> Received:
        statuses: list[Status] = []
        results: list[Result] = []
        result_frames: list[bytes] = []
        for frame in frames:
            try:
                json_depth.check(frame)
                message = protocol.decode(frame)
                self.claims.check(message, sender)
                if isinstance(message, Result):
                    results.append(message)
                    result_frames.append(frame)
                elif isinstance(message, Slices):
                    # In the order of arrival: a turret numbers results and slices together.
                    self._keep_results(results)
                    results = []
                    self._keep_slices(message)
                else:
                    statuses.append(message)
                    self._keep_health(message, wall)
            except InvalidInput as error:
                self.counters.malformed += 1
                self._on_malformed(frame, str(error))
        has_oct_results = self._keep_results(results)
        return Received(statuses, result_frames, has_oct_results)

    # -- single results -------------------------------------------------------------------------------------------

    def _keep_oct_results(self, results: list[OctResult], columns: Columns) -> None:
        """Keep results without a number: all together if they are of one second, which is three times as fast."""
        low, high, horizon = min(columns.epochs), max(columns.epochs), self._since_start + _STALE_SECONDS
        longest, earliest = max(columns.elapsed), self._started - CLOCK_SECONDS
        # The first comparison decides in nearly all cases, and needs no difference of each result.
        wrong = low - longest < earliest and min(map(operator.sub, columns.epochs, columns.elapsed)) < earliest
        if low < self._started:
            # Turrets of OCT send whole seconds: that of the start is earlier than the start.
            low = self._started
            columns.moments = [max(moment, low) for moment in columns.epochs]
            high = max(high, low)
        first, last = int(low - self._started), int(high - self._started)
        if not self.rows.has_run or wrong or high > self._now or first != last or longest > horizon:
            self._keep_results(results)
            return
        second = self._aggregator.open(first)
        durations = columns.durations.copy()
        for index, result in reversed(columns.with_texts.items()):
            if result.error:
                del durations[index]
                self._keep_texts(second, first, result)
            elif result.custom_timers:
                self._keep_timers(second, first, result.custom_timers)
        second.pending[TRANSACTION] += durations
        self._add_rows(columns)
        second.flush()

    def _keep_results(self, results: Sequence[Result | OctResult]) -> bool:
        """Keep results of any kind; return whether some had no number."""
        if not self.rows.has_run:
            self.counters.stale += len(results)
            return False
        started, latest = self._started, max(self._now, self._started)
        horizon = self._since_start + _STALE_SECONDS
        kept: dict[str, tuple[list[Result | OctResult], list[float]]] = {"": ([], [])}
        has_oct_results = False
        current, pending, second = -1, list[float](), OpenSecond()
        for result in results:
            elapsed = result.elapsed
            if isinstance(result, OctResult) or result.sequence is msgspec.UNSET:
                has_oct_results = True
                if (
                    elapsed > horizon
                    and not started <= result.epoch - elapsed + CLOCK_SECONDS <= latest + 2 * CLOCK_SECONDS
                ):
                    # Its turret has fired for longer than this run: it is of an earlier run. If it began in this one,
                    # its clock was set meanwhile: turrets of OCT measure `elapsed` by the time of day.
                    self.counters.stale += 1
                    continue
                moment = result.epoch
                if self._clocks.is_wrong(moment, elapsed, started, latest):
                    moment = self._clocks.moment(moment, elapsed, latest)
                    self.counters.clock_offset = round(self._clocks.offset, 1)
                moment = started if moment < started else latest if moment > latest else moment
            else:
                if not self._is_next(result.uuid, result.run, result.sequence):
                    continue
                moment = started + (elapsed if 0.0 < elapsed < horizon else 0.0 if elapsed <= 0.0 else horizon)
                if abs(result.epoch - moment) > CLOCK_SECONDS:
                    self._clocks.observe(result.epoch - moment)
                    self.counters.clock_offset = round(self._clocks.offset, 1)
            # Only numbered results belong to a turret.
            owner = "" if result.uuid is msgspec.UNSET or result.sequence is msgspec.UNSET else str(result.uuid)
            kept_results, moments = kept.setdefault(owner, ([], []))
            kept_results.append(result)
            moments.append(moment)
            number = int(moment - started)
            if number != current:
                current, second = number, self._aggregator.open(number)
                pending = second.pending[TRANSACTION]
            if not result.error:
                pending.append(result.scriptrun_time)
            if result.error or result.custom_timers:
                self._keep_texts(second, number, result)
        for owner, (kept_results, moments) in kept.items():
            if kept_results:
                columns = Columns.of(kept_results)
                columns.moments = moments
                self._add_rows(columns, owner)
        self._aggregator.flush()
        return has_oct_results

    def _keep_texts(self, second: OpenSecond, number: int, result: AnyResult) -> None:
        """Aggregate the error and the timers of a result; a failed result is no pending value of its second."""
        error, timers, details = result.error or "", result.custom_timers, result.details
        if error:
            self.totals.count(TRANSACTION, 0, 1)
            self.totals.errors += 1
            self.rows.batch.errors += 1
            known = details if isinstance(details, ResultDetails) else _NO_DETAILS
            seconds = None if known.untimed else result.scriptrun_time
            second.fail(TRANSACTION, seconds, error, ErrorKind(known.kind, known.code))
        if timers:
            failed = failed_timers(error, timers, details)
            self._aggregator.add_timers(second, number, self._count_timers(timers, failed), failed)

    def _keep_timers(self, second: OpenSecond, number: int, timers: Mapping[str, float]) -> None:
        """Aggregate the timers of a successful result."""
        pending, counts = second.pending, self.totals.timers
        for name, value in timers.items():
            values = pending.get(name)
            if values is None:
                if not self._accepts_timer(name, MOST_TIMERS):
                    self._drop(1, f"a run has at most {MOST_TIMERS} timers")
                    continue
                values = self._aggregator.open_timer(second, number, name)
            counts[name] = counts.get(name, 0) + 1
            values.append(value)

    def _count_timers(self, timers: Mapping[str, float], failed: Mapping[str, TimerError]) -> list[tuple[str, float]]:
        """Count the values of timers by name; return those that are within the limit of timers."""
        counted: list[tuple[str, float]] = []
        for name, value in timers.items():
            if not self._accepts_timer(name, MOST_TIMERS):
                self._drop(1, f"a run has at most {MOST_TIMERS} timers")
                continue
            self.totals.count(name, 1, name in failed)
            counted.append((name, value))
        return counted

    def _add_rows(self, columns: Columns, owner: str = "") -> None:
        count = len(columns)
        self.totals.transactions += count
        self.totals.count(TRANSACTION, count, 0)
        self.rows.add_results(columns, owner, self._now)

    # -- slices and health ----------------------------------------------------------------------------------------

    def _keep_slices(self, message: Slices) -> None:
        # Checked before the number is accepted: an unreadable histogram would spoil every summary of the run.
        check_histograms(message.slices)
        for part in message.slices:
            if part.second > self._since_start + _AHEAD_SECONDS:
                raise InvalidInput.at("$.slices", f"second {part.second} has not come yet")
        if not self.rows.has_run:
            self.counters.stale += 1
            return
        if not self._is_next(message.uuid, message.run, message.sequence):
            return
        rows: list[SliceRow] = []
        for received in message.slices:
            part = received
            if part.timer and (name := counted_name(part.timer)) != part.timer:
                part = msgspec.structs.replace(received, timer=name)
            # Turrets of smartmob count the timers beyond the limit under one further name.
            if not self._accepts_timer(part.timer, MOST_TIMERS + 1):
                self._drop(part.total_count, f"a run has at most {MOST_TIMERS} timers")
                continue
            self._count_slice(part)
            rows.append(SliceRow(message.uuid, part))
            self.live.add(part.second, part.timer, part)
        self.rows.add_slices(rows)
        self.conditions.add(row.slice for row in rows)

    def _count_slice(self, part: Slice) -> None:
        errors = sum(part.errors.values())
        self.totals.count(part.timer, part.total_count, errors)
        if part.timer == TRANSACTION:
            self.totals.transactions += part.total_count
            self.totals.errors += errors
            self.rows.batch.transactions += part.total_count
            self.rows.batch.errors += errors

    def _is_next(self, uuid: object, run: object, sequence: object) -> bool:
        """Accept the number of a message if it is the next one of its turret; return whether it is."""
        if run != self._run_id or not isinstance(uuid, str) or not isinstance(sequence, int):
            self.counters.stale += 1
            return False
        if uuid in self.blocked or (uuid not in self._next and len(self._next) >= MOST_TURRETS):
            self._drop(1, "too many turrets, or one of whose messages one was refused")
            return False
        wanted = self._next.get(uuid, 1)
        if sequence != wanted:
            self.counters.again += sequence < wanted
            return False
        self._next[uuid] = wanted + 1
        self.rows.batch.progress[uuid] = sequence
        return True

    def _keep_health(self, status: Status, wall: datetime) -> None:
        report = status.smartmob
        if not self.rows.has_run or not isinstance(report, Report) or report.run != self._run_id:
            return
        if (health := report.health) is not None and self._is_health_due(status.identity):
            self.rows.add_health(
                HealthRow(
                    at=wall,
                    uuid=status.identity,
                    users=report.users,
                    cpu=health.cpu,
                    busiest=health.busiest,
                    lag=health.lag,
                    memory=health.memory,
                    late_starts=report.late_starts,
                )
            )

    def _is_health_due(self, uuid: str) -> bool:
        """Return whether enough time has passed since the last kept health of a turret."""
        last = self._health_at.get(uuid)
        if last is None and len(self._health_at) >= MOST_TURRETS:
            return False
        if last is not None and 0 <= self._now - last < _HEALTH_SECONDS:
            return False
        self._health_at[uuid] = self._now
        return True

    def _accepts_timer(self, name: str, most: int) -> bool:
        """Return whether a timer is known, or may be added to those that are known."""
        known = self.totals.timers
        return name == TRANSACTION or name in known or len(known) - (TRANSACTION in known) < most

    def _drop(self, results: int, reason: str) -> None:
        """Count results that are not kept, and report the reason."""
        self.counters.dropped += results
        self._on_malformed(b"", f"left out: {reason}")

    # -- handing out ----------------------------------------------------------------------------------------------

    def next_batch(self, now: float, since_start: float, *, everything: bool) -> Batch | None:
        """Return the batch to commit next, or None; with `everything`, seconds that are still open are closed."""
        if not self.rows.has_full_batch and self.rows.has_run:
            self._close_seconds(math.inf if everything else since_start - _OPEN_SECONDS)
            self.rows.close_batch()
        return self.rows.pop(now)

    def block(self, uuid: str) -> None:
        """Keep nothing more of a turret in this run: a later number would acknowledge what the database refused."""
        self.blocked.add(uuid)

    def without_blocked(self, batch: Batch, now: float) -> Batch:
        """Return a batch without the rows of blocked turrets, which are counted as dropped."""
        owners = batch.owners if self.blocked else []
        if self.blocked.isdisjoint(owners):
            return batch
        kept = self.rows.only(batch, [owner for owner in owners if owner not in self.blocked], now)
        self._drop(batch.transactions - kept.transactions, "an earlier message of the turret was refused")
        return kept

    def _close_seconds(self, before: float) -> None:
        rows, aggregated = self._aggregator.close(before)
        self.rows.batch.slices += rows
        self.conditions.add(row.slice for row in rows)
        self.rows.batch.aggregated += aggregated
