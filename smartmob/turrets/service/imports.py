"""Imports of load tests that another tool fired: each becomes a run that has ended."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta

import msgspec

from smartmob.errors import InvalidInput, SettingsError
from smartmob.kernel.runtime import clock
from smartmob.turrets.conditions import KEY, planned
from smartmob.turrets.hq.batch import Batch, BatchNumbers, SliceRow
from smartmob.turrets.hq.machine_events import RunState
from smartmob.turrets.model import ALL_TRANSACTIONS, Run, RunConfig
from smartmob.turrets.names import FURTHER_TIMERS, timer_name
from smartmob.turrets.protocol import MOST_TIMERS, Slice
from smartmob.turrets.result_files.imported_run import GivenStats, ImportedRun, ImportHead, ImportLine
from smartmob.turrets.service.queries import RunQueries
from smartmob.turrets.service.reports import RunReports
from smartmob.turrets.slices import TRANSACTION, check_histograms
from smartmob.turrets.store.writer import ImportedRows, TurretsWriter

_IMPORTER = "import"
"""The uuid of the turret in slices of imported runs, which have no turret."""
_MOST_IMPORTS = 2
"""Imports at the same time; each holds a connection to the database."""
_INTERVAL_SECONDS, _MOST_INTERVALS = 10.0, 300
"""The length of a row in the tables of a report; longer runs have longer intervals, so that the number of rows is
limited.
"""


class RunImports:
    """Stores runs that another tool fired."""

    def __init__(self, queries: RunQueries, reports: RunReports, writer: TurretsWriter) -> None:
        self._queries = queries
        self._reports = reports
        self._writer = writer
        self._importing = asyncio.Semaphore(_MOST_IMPORTS)
        self._numbers = BatchNumbers()

    async def store(self, lines: AsyncIterator[Sequence[ImportLine]]) -> ImportedRun:
        """Store a run completely or not at all; one that is stored already stays unchanged. Raises InvalidInput."""
        async with self._importing:
            first = await anext(lines, ())
            if not first or first[0].head is None:
                raise InvalidInput("the first line must have the head of the import")
            head = first[0].head
            _check_conditions(head)
            run = str(head.run_id())
            created = clock.now()
            known = await self._write(head, created, first[1:], lines)
        if not known:
            await self._reports.store_summary(run)
        return ImportedRun(Run(**(await self._queries.find(run)).fields()), known)

    async def _write(
        self,
        head: ImportHead,
        created: datetime,
        first: Sequence[ImportLine],
        lines: AsyncIterator[Sequence[ImportLine]],
    ) -> bool:
        """Write the rows of a run; return whether it was stored already."""
        days = {
            (created + timedelta(days=day)).astimezone(UTC).date() for day in range(int(head.duration // 86_400) + 2)
        }
        run = head.run_id()
        async with self._writer.importing(run, days) as rows:
            if rows is None:
                return True
            wanted = _ImportedLines(head, created, self._numbers)
            await wanted.add(rows, first)
            async for some in lines:
                await wanted.add(rows, some)
            state, config, given = wanted.finish()
            await rows.finish(state, config, (wanted.transactions, wanted.errors), given)
        return False


def _check_conditions(head: ImportHead) -> None:
    """Raise InvalidInput if a condition cannot be read."""
    try:
        planned(list(head.fail_if), KEY, may_repeat=True)
    except SettingsError as error:
        raise InvalidInput.at("$.head.fail_if", str(error)) from None


class _ImportedLines:
    """The lines of one import: they are checked, counted and written in batches.

    The database keeps slices by the day of the *import*, so that retention counts from there.
    """

    def __init__(self, head: ImportHead, created: datetime, numbers: BatchNumbers) -> None:
        self._head = head
        self._created = created
        self._numbers = numbers
        self._given = GivenStats()
        self._names: set[str] = set()
        self.transactions = self.errors = 0

    async def add(self, rows: ImportedRows, lines: Sequence[ImportLine]) -> None:
        """Write lines. Raises InvalidInput."""
        made = await asyncio.to_thread(self._slices, lines)
        if not made:
            return
        batch = Batch(self._head.run_id(), self._created.timestamp(), self._numbers.next(self._created.timestamp()))
        batch.slices = [SliceRow(_IMPORTER, part) for part in made]
        own = [part for part in made if part.timer == TRANSACTION]
        batch.transactions = sum(part.total_count for part in own)
        batch.errors = sum(sum(part.errors.values()) for part in own)
        self.transactions += batch.transactions
        self.errors += batch.errors
        await rows.add(batch)

    def _check_line(self, line: ImportLine) -> None:
        if line.head is not None:
            raise InvalidInput("only the first line may have the head of the import")
        if line.given is not None and not self._head.aggregated:
            raise InvalidInput("an import with given statistics must be aggregated")
        if line.slices and self._head.aggregated:
            raise InvalidInput("an aggregated import has no slices")

    def _slices(self, lines: Sequence[ImportLine]) -> list[Slice]:
        """Return the slices of lines, with names that keep the rule of all timers."""
        made = []
        for line in lines:
            self._check_line(line)
            if line.given is not None:
                self._given.add(line.given)
            check_histograms(line.slices)
            for part in line.slices:
                if part.second > self._head.duration:
                    raise InvalidInput.at("$.slices", f"second {part.second} is after the end of the run")
                made.append(
                    part if part.timer == TRANSACTION else msgspec.structs.replace(part, timer=self._name(part))
                )
        return made

    def _name(self, part: Slice) -> str:
        name = part.timer if part.timer == FURTHER_TIMERS else timer_name(part.timer)
        if name not in self._names and len(self._names) >= MOST_TIMERS:
            return FURTHER_TIMERS
        self._names.add(name)
        return name

    def finish(self) -> tuple[RunState, bytes, bytes | None]:
        """Return the run, its configuration as JSON, and the given statistics as JSON. Raises InvalidInput."""
        head = self._head
        interval = max(
            _INTERVAL_SECONDS, _INTERVAL_SECONDS * (head.duration // (_INTERVAL_SECONDS * _MOST_INTERVALS) + 1)
        )
        config = RunConfig(
            run_time=head.duration,
            name=head.name or head.file,
            results_ts_interval=interval,
            fail_if=list(head.fail_if),
        )
        given = None
        if head.aggregated:
            whole = self._given.timers.get(ALL_TRANSACTIONS)
            if whole is None:
                raise InvalidInput(f"the given statistics have no timer {ALL_TRANSACTIONS}")
            self.transactions, self.errors = whole.count, whole.errors
            given = msgspec.json.encode(self._given)
        if not self.transactions:
            raise InvalidInput("the import has no transaction")
        ended = None if head.started_at is None else head.started_at + timedelta(seconds=head.duration)
        state = RunState(
            id=str(head.run_id()),
            config=config,
            state="finished",
            created_at=self._created,
            started_at=head.started_at,
            ceased_at=ended,
            ended_at=ended,
        )
        return (
            state,
            msgspec.json.encode(msgspec.to_builtins(config) | {"source": msgspec.to_builtins(head.source())}),
            given,
        )
