"""Takes what turrets send: tells kinds of messages apart, counts what is wrong, and gathers what is to be stored.

Results that come one by one are kept as rows and folded into slices like those that our turrets send. A second is
folded as long as results of it may still come; one that comes later makes a further slice of the same second. No I/O.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Annotated, ClassVar
from uuid import UUID

import msgspec

from smartmob.errors import InvalidInput
from smartmob.kernel.http import json_depth
from smartmob.turrets import protocol
from smartmob.turrets.hq.batch import Batch, BatchNumbers, HealthRow, SliceRow
from smartmob.turrets.hq.live_seconds import LiveSeconds, size_of
from smartmob.turrets.hq.rows import Columns
from smartmob.turrets.hq.uuid_claims import UuidClaims
from smartmob.turrets.model import Counters
from smartmob.turrets.protocol import (
    LONGEST_ERROR,
    LONGEST_TEXT,
    MOST_ERROR_TEXTS,
    MOST_TIMERS,
    MOST_TURRETS,
    Figure,
    Name,
    Report,
    Result,
    Slice,
    Slices,
    Status,
    printable,
)
from smartmob.turrets.slices import TRANSACTION, Distribution, check_histograms

BATCH_ROWS = 20_000
PLENTY_ROWS = 5_000
OTHER_ERRORS = "(other errors)"

_OPEN_SECONDS = 3
_STALE_SECONDS = 2.0
_AHEAD_SECONDS = 60.0
_HEALTH_SECONDS = 0.5
_BYTES_PER_ROW = 100


class _Plain(msgspec.Struct, kw_only=True, gc=False, forbid_unknown_fields=True):
    """A result with the documented keys and nothing else; like `Result`, it has no number then."""

    elapsed: Figure
    epoch: Figure
    scriptrun_time: Figure
    error: Annotated[str, msgspec.Meta(max_length=LONGEST_TEXT)] = ""
    custom_timers: Annotated[dict[Name, Figure], msgspec.Meta(max_length=MOST_TIMERS)] = {}
    turret_name: Name | None = None

    uuid: ClassVar[msgspec.UnsetType] = msgspec.UNSET
    sequence: ClassVar[msgspec.UnsetType] = msgspec.UNSET


_PLAIN = msgspec.json.Decoder(_Plain)


@dataclass(slots=True)
class Taken:
    """What was in some frames besides what is kept: statuses, and the results that came one by one as they came."""

    statuses: list[Status] = field(default_factory=list)
    results: Sequence[bytes] = ()
    stock: bool = False


@dataclass(slots=True)
class Totals:
    """What a run has come to, by timer too."""

    transactions: int = 0
    errors: int = 0
    timers: dict[str, int] = field(default_factory=dict)


@dataclass(slots=True)
class _Second:
    """What is folded of one second, by timer; `fresh` holds values that are still to be recorded."""

    distributions: dict[str, Distribution] = field(default_factory=dict)
    fresh: dict[str, list[float]] = field(default_factory=dict)

    def settle(self) -> None:
        """Record the fresh values."""
        for timer, values in self.fresh.items():
            if values:
                self.distributions[timer].record_many(values)
                values.clear()


class Collector:
    """What is gathered for one run at a time; `complain` is told of a badly formed message and why it is one."""

    def __init__(self, complain: Callable[[bytes, str], None]) -> None:
        self.counters = Counters()
        self.totals = Totals()
        self.live = LiveSeconds()
        self.barred: set[str] = set()
        self.weight = 0
        self.claims = UuidClaims()
        self._complain = complain
        self._numbers = BatchNumbers()
        self._run: UUID | None = None
        self._run_name = ""
        self._started = 0.0
        self._now = 0.0
        self._passed = 0.0
        self._next: dict[str, int] = {}
        self._health_at: dict[str, float] = {}
        self._seconds: dict[int, _Second] = {}
        self._current: Batch | None = None
        self._ready: deque[Batch] = deque()

    def begin(self, run: str, started: float, progress: Mapping[str, int], totals: Totals, counters: Counters) -> None:
        """Gather for a run that starts at `started` (seconds since 1970) and has come so far."""
        self._run, self._run_name, self._started = UUID(run), run, started
        self._next = {uuid: sequence + 1 for uuid, sequence in progress.items()}
        self.totals, self.counters = totals, counters
        self.live = LiveSeconds()
        self.barred = set()
        self._health_at = {}
        self._seconds = {}
        self._current = Batch(self._run, started)

    def end(self) -> None:
        """Gather for no run: what was gathered is ready, whatever comes now is too late."""
        if self._current is not None:
            self._close_all(math.inf)
        self._run, self._current = None, None

    @property
    def pending(self) -> int:
        """Return how many rows are not handed out yet, those of seconds that are still folded included."""
        waiting = sum(batch.rows + len(batch.slices) for batch in self._ready)
        if self._current is not None:
            waiting += self._current.rows + len(self._current.slices) + len(self._current.progress)
        return waiting + len(self._seconds)

    @property
    def full(self) -> bool:
        """Return whether there is a batch of full size."""
        return bool(self._ready)

    @property
    def plenty(self) -> bool:
        """Return whether there is enough to be committed at once, rather than with what comes next."""
        return self.full or (self._current is not None and self._current.rows >= PLENTY_ROWS)

    # -- taking ---------------------------------------------------------------------------------------------------

    def take(self, frames: Sequence[bytes], now: float, wall: datetime, passed: float, sender: str = "") -> Taken:
        """Keep what is in `frames`; `now` is the time of day in seconds since 1970, `passed` that of the run.

        `sender` is the key of who sent them, where keys are known.
        """
        self._now, self._passed = now, passed
        try:
            plain = _PLAIN.decode_lines(b"\n".join(frames))
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            return self._take_slowly(frames, now, wall, sender)
        # Two halves of a message in two frames could make up a whole one.
        if len(plain) != len(frames) or not plain:
            return self._take_slowly(frames, now, wall, sender)
        self._keep_plain(plain, now)
        return Taken(results=frames, stock=True)

    def _take_slowly(self, frames: Iterable[bytes], now: float, wall: datetime, sender: str) -> Taken:
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
                    # In the order of arrival: numbers of one turret run over both kinds.
                    self._keep(results, now)
                    results = []
                    self._keep_slices(message)
                else:
                    statuses.append(message)
                    self._keep_health(message, wall)
            except InvalidInput as error:
                self.counters.malformed += 1
                self._complain(frame, str(error))
        stock = self._keep(results, now)
        return Taken(statuses, result_frames, stock)

    def _keep_plain(self, results: list[_Plain], now: float) -> None:
        """Keep results without a number, all at once where none is out of the ordinary: three times as fast."""
        columns = Columns.of(results)
        low, high, horizon = min(columns.epochs), max(columns.epochs), self._passed + _STALE_SECONDS
        if low < self._started:
            # Whole seconds: the first one began before the run.
            low = self._started
            columns.moments = [max(moment, low) for moment in columns.epochs]
            high = max(high, low)
        first, last = int(low - self._started), int(high - self._started)
        if self._run is None or high > now or first != last or max(columns.elapsed) > horizon:
            self._keep(results, now)
            return
        slot = self._second(first)
        slot.fresh[TRANSACTION] += columns.took
        for result in columns.odd.values():
            if result.error:
                self._count_error(slot, result.error)
            if result.custom_timers:
                self._keep_timers(slot, first, result.custom_timers)
        self._add_rows(columns)
        slot.settle()

    def _keep(self, results: Sequence[Result | _Plain], now: float) -> bool:
        """Keep results; return whether there were any without a number."""
        if self._run is None:
            self.counters.stale += len(results)
            return False
        started, latest = self._started, max(now, self._started)
        horizon = self._passed + _STALE_SECONDS
        kept: dict[str, tuple[list[Result | _Plain], list[float]]] = {"": ([], [])}
        stock = False
        current, fresh, slot = -1, [], _Second()
        for result in results:
            elapsed = result.elapsed
            if isinstance(result, _Plain) or result.sequence is msgspec.UNSET:
                stock = True
                if elapsed > horizon:
                    # It began before this run did.
                    self.counters.stale += 1
                    continue
                moment = result.epoch
                moment = started if moment < started else latest if moment > latest else moment
            else:
                if not self._is_next(result.uuid, result.run, result.sequence):
                    continue
                moment = started + (elapsed if 0.0 < elapsed < horizon else 0.0 if elapsed <= 0.0 else horizon)
            # Only numbered ones belong to a turret.
            owner = "" if result.uuid is msgspec.UNSET or result.sequence is msgspec.UNSET else str(result.uuid)
            results_kept, moments = kept.setdefault(owner, ([], []))
            results_kept.append(result)
            moments.append(moment)
            second = int(moment - started)
            if second != current:
                current, slot = second, self._second(second)
                fresh = slot.fresh[TRANSACTION]
            fresh.append(result.scriptrun_time)
            if result.error:
                self._count_error(slot, result.error)
            if result.custom_timers:
                self._keep_timers(slot, second, result.custom_timers)
        for owner, (results_kept, moments) in kept.items():
            if results_kept:
                columns = Columns.of(results_kept)
                columns.moments = moments
                self._add_rows(columns, owner)
        for slot in self._seconds.values():
            slot.settle()
        return stock

    def _second(self, second: int) -> _Second:
        slot = self._seconds.get(second)
        if slot is None:
            slot = self._seconds[second] = _Second()
            self._open_timer(slot, second, TRANSACTION)
        return slot

    def _open_timer(self, slot: _Second, second: int, timer: str) -> list[float]:
        distribution = slot.distributions[timer] = Distribution()
        values = slot.fresh[timer] = []
        self.live.add(second, timer, distribution)
        return values

    def _keep_timers(self, slot: _Second, second: int, timers: Mapping[str, float]) -> None:
        counts = self.totals.timers
        for name, value in timers.items():
            name = printable(name) or "(no name)"
            if not self._takes_timer(name, MOST_TIMERS):
                self._leave_out(1, f"a run has at most {MOST_TIMERS} timers")
                continue
            counts[name] = counts.get(name, 0) + 1
            values = slot.fresh.get(name)
            if values is None:
                values = self._open_timer(slot, second, name)
            values.append(value)

    def _count_error(self, slot: _Second, error: str) -> None:
        self.totals.errors += 1
        distribution = slot.distributions[TRANSACTION]
        text = error[:LONGEST_ERROR]
        if text not in distribution.errors and len(distribution.errors) >= MOST_ERROR_TEXTS:
            text = OTHER_ERRORS
        distribution.fail(text)
        assert self._current is not None
        self._current.errors += 1

    def _add_rows(self, columns: Columns, owner: str = "") -> None:
        count = len(columns)
        self.totals.transactions += count
        counts = self.totals.timers
        counts[TRANSACTION] = counts.get(TRANSACTION, 0) + count
        batch = self._current
        assert batch is not None
        self._give_number(batch, self._now)
        batch.transactions += count
        self.weight += batch.add(columns, owner)
        if batch.rows >= BATCH_ROWS:
            self._close_current()

    def _keep_slices(self, message: Slices) -> None:
        # Before the number is taken: what cannot be read later would spoil every summary of the run.
        check_histograms(message.slices)
        for part in message.slices:
            if part.second > self._passed + _AHEAD_SECONDS:
                raise InvalidInput.at("$.slices", f"second {part.second} has not come yet")
        if self._run is None:
            self.counters.stale += 1
            return
        if not self._is_next(message.uuid, message.run, message.sequence):
            return
        assert self._current is not None
        for given in message.slices:
            part = given
            if not given.timer.isprintable():
                part = msgspec.structs.replace(given, timer=printable(given.timer))
            # Turrets of ours count what is beyond under one further name.
            if not self._takes_timer(part.timer, MOST_TIMERS + 1):
                self._leave_out(part.count, f"a run has at most {MOST_TIMERS} timers")
                continue
            self._count_slice(part)
            row = SliceRow(message.uuid, part)
            self._current.slices.append(row)
            self.live.add(part.second, part.timer, part)
            self.weight += _weight(row)
        if len(self._current.slices) >= BATCH_ROWS:
            self._close_current()

    def _count_slice(self, part: Slice) -> None:
        counts = self.totals.timers
        counts[part.timer] = counts.get(part.timer, 0) + part.count
        if part.timer == TRANSACTION:
            errors = sum(part.errors.values())
            self.totals.transactions += part.count
            self.totals.errors += errors
            assert self._current is not None
            self._current.transactions += part.count
            self._current.errors += errors

    def _is_next(self, uuid: object, run: object, sequence: object) -> bool:
        """Take the number of a message if it is the next one of its turret."""
        if run != self._run_name or not isinstance(uuid, str) or not isinstance(sequence, int):
            self.counters.stale += 1
            return False
        if uuid in self.barred or (uuid not in self._next and len(self._next) >= MOST_TURRETS):
            self._leave_out(1, "too many turrets, or one of whose messages one was refused")
            return False
        wanted = self._next.get(uuid, 1)
        if sequence != wanted:
            self.counters.again += sequence < wanted
            return False
        self._next[uuid] = wanted + 1
        assert self._current is not None
        self._current.progress[uuid] = sequence
        return True

    def _keep_health(self, status: Status, wall: datetime) -> None:
        report = status.smartmob
        if self._current is None or not isinstance(report, Report) or report.run != self._run_name:
            return
        if (health := report.health) is not None and self._is_health_due(status.identity):
            self.weight += 1
            self._current.health.append(
                HealthRow(
                    *(wall, status.identity, report.users, health.cpu, health.busiest, health.lag, health.memory),
                    report.late_starts,
                )
            )

    def _is_health_due(self, uuid: str) -> bool:
        """Return whether so much time has passed since the last kept health of a turret."""
        last = self._health_at.get(uuid)
        if last is None and len(self._health_at) >= MOST_TURRETS:
            return False
        if last is not None and 0 <= self._now - last < _HEALTH_SECONDS:
            return False
        self._health_at[uuid] = self._now
        return True

    def _takes_timer(self, name: str, most: int) -> bool:
        """Return whether a timer is known, or may become known beside the others."""
        known = self.totals.timers
        return name == TRANSACTION or name in known or len(known) - (TRANSACTION in known) < most

    def _leave_out(self, results: int, why: str) -> None:
        """Count results that are not kept, and say why."""
        self.counters.dropped += results
        self._complain(b"", f"left out: {why}")

    # -- handing out ----------------------------------------------------------------------------------------------

    def cut(self, now: float, passed: float, *, everything: bool) -> Batch | None:
        """Return what is to be committed next; with `everything` also what is still folded."""
        if not self._ready and self._current is not None:
            self._close_all(math.inf if everything else passed - _OPEN_SECONDS)
        if not self._ready:
            return None
        batch = self._ready.popleft()
        self._give_number(batch, now)
        return batch

    def bar(self, uuid: str) -> None:
        """Keep nothing more of a turret in this run: what the database refused of it must not be acknowledged."""
        self.barred.add(uuid)

    def allowed(self, batch: Batch, now: float) -> Batch:
        """Return a batch without what it has of barred turrets, which is counted as left out."""
        owners = batch.owners if self.barred else []
        if self.barred.isdisjoint(owners):
            return batch
        kept = batch.only([owner for owner in owners if owner not in self.barred], self._numbers, now)
        self._leave_out(batch.transactions - kept.transactions, "an earlier message of the turret was refused")
        return kept

    def divide(self, batch: Batch, now: float) -> list[Batch]:
        """Return a batch in two halves, or nothing when it cannot be divided."""
        return batch.halves(self._numbers, now)

    def committed(self, batch: Batch) -> None:
        """Take note that a batch is stored."""
        self.weight -= batch.weight + len(batch.health)
        self.weight -= sum(_weight(row) for row in batch.slices if row.uuid)

    def _give_number(self, batch: Batch, now: float) -> None:
        if not batch.number:
            batch.number = self._numbers.next(now)

    def _close_all(self, limit: float) -> None:
        for second in [second for second in self._seconds if second < limit]:
            self._close_second(second)
        if self._current:
            self._close_current()

    def _close_second(self, second: int) -> None:
        slot = self._seconds.pop(second)
        assert self._current is not None
        for timer, distribution in slot.distributions.items():
            if distribution.count:
                self._current.slices.append(SliceRow("", distribution.slice(second, timer)))
        self._current.folded += slot.distributions[TRANSACTION].count

    def _close_current(self) -> None:
        assert self._run is not None and self._current is not None
        self._ready.append(self._current)
        self._current = Batch(self._run, self._started)


def _weight(row: SliceRow) -> int:
    """Return how many results one by one take as much memory as a slice."""
    return 1 + size_of(row.slice) // _BYTES_PER_ROW
