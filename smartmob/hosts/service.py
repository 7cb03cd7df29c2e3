"""What the feature `hosts` does: knows machines, takes their samples, watches its own, and finds it all again."""

from __future__ import annotations

import asyncio
import hmac
import itertools
import secrets
import socket
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import UTC, datetime, timedelta

import msgspec
import orjson
import structlog

from smartmob.errors import InvalidInput, NotAuthenticated, NotFound, Unavailable
from smartmob.hosts import model
from smartmob.hosts.authenticator import HostAuthenticator
from smartmob.hosts.events import HostRegistered, HostSampled
from smartmob.hosts.model import FIGURES, MinAvgMax, Point, SampleData, SampleRow, Snapshot, Span, TimeRules
from smartmob.hosts.store.partitions import MINUTES, SAMPLES, Partitions
from smartmob.hosts.store.reader import HostsReader
from smartmob.hosts.store.writer import HostsWriter
from smartmob.kernel.db.database import Record
from smartmob.kernel.db.writer import GroupCommitWriter
from smartmob.kernel.runtime import clock
from smartmob.kernel.runtime.events import EventBus
from smartmob.settings import HostsSettings

log = structlog.get_logger()

_DAY = 86_400.0
_OWN_HELD = 900
_ROLL_SECONDS = 20.0
_SETTLING_SECONDS = 5.0
_MAINTENANCE_ROUNDS = 180
_EVER = datetime(1970, 1, 1, tzinfo=UTC)
_END_OF_TIME = datetime(9999, 1, 1, tzinfo=UTC)


class UnsupportableName(NotAuthenticated):
    """A machine's name begins with a letter, is printable, has no colon and at most 128 characters."""


class HostsService:
    """The use cases of the feature. `live` adds samples by group commit; it is the only way in."""

    def __init__(
        self,
        reader: HostsReader,
        writer: HostsWriter,
        partitions: Partitions,
        live: GroupCommitWriter[SampleRow],
        bus: EventBus,
        settings: HostsSettings,
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._partitions = partitions
        self._live = live
        self._bus = bus
        self._settings = settings
        self._guardian = HostAuthenticator(reader.secret)
        self._rules = TimeRules(settings.ahead, settings.oldest_days * _DAY)
        # Unique across services and restarts by the random part.
        self._numbers = itertools.count(secrets.randbits(61))
        self._own_held: deque[Snapshot] = deque(maxlen=_OWN_HELD)
        self._own_news = asyncio.Event()
        self.started = clock.now()
        self.own_name = settings.name or socket.gethostname()

    # -- machines -----------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Make the partitions that the first sample needs, and register the service's own machine."""
        for series in (SAMPLES, MINUTES):
            await self._partitions.keep(series, clock.now(), _EVER)
        for name in (self.own_name, f"{self.own_name}-service"):
            await self._writer.insert_host(name, clock.now(), own=True)
            row = await self._reader.secret(name)
            if row is not None and row["own"]:
                self.own_name = name
                return
            log.warning("hosts.name_taken", host=name)
        raise InvalidInput(f"the names {self.own_name} and {self.own_name}-service are taken; set --hosts-name")

    async def register(self, name: str, password: str, *, may_register: bool) -> tuple[str, bool]:
        """Return the client id of a machine and whether it is new.

        Raises UnsupportableName, and NotAuthenticated when the machine is known with another password, or when it is
        unknown and the caller may not register it. The last two take the same work, so that no name is found out.
        """
        if not model.is_name(name):
            raise UnsupportableName
        client_id = model.client_id(name, password)
        if self._guardian.known(client_id) is not None:
            return client_id, False
        if not may_register:
            if await self._guardian.verify(client_id) is None:
                raise NotAuthenticated
            return client_id, False
        # First whether it is there, then whether it is this one: somebody else may register it at the same moment.
        if await self._reader.secret(name) is not None:
            if await self._guardian.verify(client_id) is None:
                raise NotAuthenticated
            return client_id, False
        salt, secret = await self._guardian.hashed(password)
        added = await self._writer.insert_host(name, clock.now(), own=False, salt=salt, secret=secret)
        self._guardian.forget(name)
        if not added:
            # Somebody else registered it at the same moment; with the same password it is as good as ours.
            if await self._guardian.verify(client_id) is None:
                raise NotAuthenticated
            return client_id, False
        log.info("hosts.registered", host=name)
        self._bus.publish(HostRegistered(name))
        return client_id, True

    @property
    def credentials(self) -> int:
        """Return another number once a client id that was verified before may prove nothing more."""
        return self._guardian.edition

    @property
    def hashes(self) -> int:
        """Return how many passwords were hashed."""
        return self._guardian.hashes

    def known(self, client_id: str) -> str | None:
        """Return the name of the machine that a client id proves, if that was verified before."""
        return self._guardian.known(client_id)

    async def verify(self, client_id: str) -> str | None:
        """Return the name of the machine that a client id proves, or None."""
        return await self._guardian.verify(client_id)

    async def authenticate(self, client_id: str, name: str) -> None:
        """Raise NotAuthenticated unless the id is that of the machine `name`."""
        proven = self._guardian.known(client_id) or await self._guardian.verify(client_id)
        if proven is None or not hmac.compare_digest(proven.encode(), name.encode(errors="surrogateescape")):
            raise NotAuthenticated

    async def remove(self, name: str) -> None:
        """Remove a machine with its samples; raises NotFound."""
        if not await self._writer.delete_host(name):
            raise NotFound(f"there is no machine {name} that could be removed")
        self._guardian.forget(name)
        log.info("hosts.removed", host=name)

    async def hosts(self, after: str, limit: int) -> list[model.Host]:
        """Return machines in the order of their names, those after a name."""
        return [_host(row) for row in await self._reader.hosts(after, limit)]

    async def host(self, name: str) -> model.Host:
        """Return one machine; raises NotFound."""
        row = await self._reader.host(name)
        if row is None:
            raise NotFound(f"there is no machine {name}; GET /hosts/ lists them")
        return _host(row)

    # -- taking -------------------------------------------------------------------------------------------------------

    async def take(self, name: str, samples: Sequence[SampleData]) -> None:
        """Store samples of a machine, all or none; returns once they are committed. Raises InvalidInput."""
        await self._live.put([self._row(name, data, clock.epoch()) for data in samples])

    def take_soon(self, name: str, data: SampleData, tell: Callable[[Exception | None], None]) -> bool:
        """Store a sample without waiting, if there is room: `tell` is called as by `GroupCommitWriter.submit`.

        Returns whether that is under way. Raises InvalidInput, and Unavailable when the service stops.
        """
        if self._live.full:
            return False
        self._live.submit((self._row(name, data, clock.epoch()),), tell)
        return True

    async def backfill(self, name: str, samples: Sequence[SampleData]) -> tuple[int, list[str]]:
        """Store what can be stored of some samples; return how many those are, and why the others cannot be."""
        rows, refused = [], []
        now = clock.epoch()
        for data in samples:
            try:
                rows.append(self._row(name, data, now))
            except InvalidInput as error:
                refused.append(str(error))
        if rows:
            await self._live.put(rows)
        return len(rows), refused

    async def keep_offset(self, name: str, offset: float, delay: float) -> None:
        """Keep how far the clock of a machine is from ours."""
        await self._writer.insert_offset(name, clock.now(), offset, delay)

    def _row(self, name: str, data: SampleData, now: float) -> SampleRow:
        row = model.sample_row(name, data, next(self._numbers))
        self._rules.check(row.at, now)
        return row

    def keep_own(self, sweep: Snapshot) -> None:
        """Store a sweep of the service's own machine, as soon as the database takes it."""
        self._bus.publish(HostSampled(self.own_name, sweep))
        self._own_held.append(sweep)
        self._own_news.set()

    async def store_own_for_ever(self) -> None:
        """Store the sweeps of the service's own machine until cancelled."""
        while True:
            await self._own_news.wait()
            self._own_news.clear()
            held = list(self._own_held)
            try:
                await self._live.put([self._own_row(sweep) for sweep in held])
            except Unavailable:
                # They are stored with the next one; the writer has logged why.
                continue
            except Exception as error:
                log.error("hosts.own_samples_failed", samples=len(held), exc_info=error)
            for _ in held:
                if self._own_held and self._own_held[0].at <= held[-1].at:
                    self._own_held.popleft()

    def _own_row(self, sweep: Snapshot) -> SampleRow:
        data = msgspec.convert({**model.sample_fields(sweep), "time": sweep.at}, SampleData, strict=False)
        # The same number each time, so that a sweep is stored once even if the answer to its commit was lost.
        return model.sample_row(self.own_name, data, int(sweep.at * 1000) & (2**61 - 1))

    # -- finding ------------------------------------------------------------------------------------------------------

    async def sample_span(self, name: str) -> tuple[datetime, datetime] | None:
        """Return the times of the first and the last sample of a machine, or None without any."""
        first, last = await self._reader.sample_span(name)
        return None if first is None or last is None else (first, last)

    def report(self, name: str, first: datetime | None, last: datetime | None) -> AsyncIterator[list[Record]]:
        """Yield the samples of a span, both ends included, as JSON objects in the shape of seed 001."""
        return self._reader.report(name, first or _EVER, last or _END_OF_TIME)

    async def points(self, name: str, span: Span, most: int) -> tuple[float, AsyncIterator[list[Point]]]:
        """Return at most `most` points for a span, and their width in seconds; raw samples (width 0) where they fit."""
        if not await self._reader.secret(name):
            raise NotFound(f"there is no machine {name}; GET /hosts/ lists them")
        kept_since = clock.now() - timedelta(days=self._settings.keep_days)
        if span.start >= kept_since and await self._reader.count_samples(name, span, most + 1) <= most:
            return 0.0, self.samples(name, span)
        width = model.bucket_width(span, most)
        if span.start < kept_since:
            width = max(width, model.MINUTE)
        return float(width), self._bucketed(name, span, width)

    async def samples(self, name: str, span: Span) -> AsyncIterator[list[Point]]:
        """Yield the samples of a machine in a span, in the order of time, many at a time."""
        async for rows in self._reader.samples(name, span):
            yield [_sample_point(row) for row in rows]

    async def _bucketed(self, name: str, span: Span, width: int) -> AsyncIterator[list[Point]]:
        async for rows in self._reader.buckets([name], span, width):
            yield [_bucket_point(row, width) for row in rows]

    async def courses(self, names: Sequence[str], span: Span, most: int) -> dict[str, list[Point]]:
        """Return at most `most` points for a span of each machine, all of the same width."""
        width = model.bucket_width(span, most)
        if span.start < clock.now() - timedelta(days=self._settings.keep_days):
            width = max(width, model.MINUTE)
        found: dict[str, list[Point]] = {name: [] for name in names}
        async for rows in self._reader.buckets(names, span, width):
            for row in rows:
                found[row["host"]].append(_bucket_point(row, width))
        return found

    async def busy(self, start: datetime, end: datetime) -> list[model.HostLoad]:
        """Return how busy each machine was from `start` until before `end`, while its raw samples are still kept."""
        return [
            model.HostLoad(row["host"], row["samples"], _band(row, "cpu"))
            for row in await self._reader.host_loads(Span(start, end))
        ]

    # -- maintenance --------------------------------------------------------------------------------------------------

    async def keep_partitions(self, now: datetime) -> None:
        """Make the partitions that are needed soon, and drop what has been kept for long enough."""
        samples_before = now - timedelta(days=self._settings.keep_days)
        minutes_before = now - timedelta(days=self._settings.keep_minutes_days)
        for series, before in ((SAMPLES, samples_before), (MINUTES, minutes_before)):
            made, dropped = await self._partitions.keep(series, now, before)
            if dropped:
                log.info("hosts.expired", partitions=dropped)
            if made:
                log.debug("hosts.partitions_made", partitions=made)
        await self._writer.expire(samples_before, minutes_before)

    async def roll_up(self, lag: float) -> int:
        """Roll up what has arrived until `lag` seconds ago; return how many minutes changed."""
        return await self._writer.roll_up(lag)

    async def maintain_for_ever(self, patience: float) -> None:
        """Roll up all the time and look after the partitions each hour, until cancelled.

        A sample may be committed up to `patience` seconds after it arrived, so what is younger has to wait.
        """
        for number in itertools.count():
            try:
                # What is dropped must have been rolled up before.
                await self.roll_up(patience + _SETTLING_SECONDS)
                if number % _MAINTENANCE_ROUNDS == 0:
                    await self.keep_partitions(clock.now())
            except Unavailable as error:
                log.warning("hosts.maintenance_failed", reason=str(error))
            except Exception as error:
                log.error("hosts.maintenance_broken", exc_info=error)
            await asyncio.sleep(_ROLL_SECONDS)


def _host(row: Record) -> model.Host:
    latest = None
    if row["at"] is not None:
        detail = orjson.loads(row["detail"] or "{}")
        figures = {name: row[name] for name in FIGURES}
        latest = model.Latest(row["at"], **figures, cores=detail.get("cores"), temperatures=detail.get("temperatures"))
    offset = None
    if row["clock_at"] is not None:
        offset = model.ClockOffset(row["clock_at"], row["offset_seconds"], row["delay_seconds"])
    return model.Host(row["name"], row["own"], row["registered_at"], latest, offset)


def _sample_point(row: Record) -> Point:
    bands = (None if (value := row[name]) is None else MinAvgMax(value, value, value) for name in FIGURES)
    return Point(row["at"], 0.0, 1, *bands)


def _bucket_point(row: Record, width: int) -> Point:
    return Point(row["at"], float(width), row["samples"], *(_band(row, name) for name in FIGURES))


def _band(row: Record, name: str) -> MinAvgMax | None:
    least = row[f"{name}_min"]
    return None if least is None else MinAvgMax(least, row[f"{name}_avg"], row[f"{name}_max"])
