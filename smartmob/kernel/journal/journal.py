"""The journal of a node: the state of its tables in memory, and a file with the changes that led to this state.

Each change is one line of JSON, `{"k": kind, "v": value}`. A change of an outgoing kind also has a number, and waits in
the outbox until the service has stored it. Concurrent callers share one synchronisation of the disk. When the file has
grown to several times its size, it is rewritten from the present state.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar
from uuid import uuid4

import msgspec

from smartmob.errors import StartupError, Unavailable
from smartmob.kernel.journal.journal_file import JournalFile
from smartmob.kernel.journal.waiting_records import Outbox, OutboxState, Outgoing
from smartmob.kernel.observability.event_logger import get_logger
from smartmob.kernel.runtime.row_writer import WriterStats
from smartmob.kernel.runtime.tasks import TaskRegistry

log = get_logger()

R_contra = TypeVar("R_contra", contravariant=True)

Entry = tuple[str, object]
"""The kind and the value of a change."""

_LEAST_BYTES = 1024 * 1024
"""Bytes below which the file is not rewritten."""
_GROWTH = 4
"""The file is rewritten when it has grown to this multiple of its last size."""
_MAX_WAITING = 10_000
"""Changes that wait for the disk; further ones are refused."""


class JournalTable(Protocol):
    """A part of the state, which applies the changes of its `kinds`."""

    @property
    def kinds(self) -> Collection[str]:
        """Return the kinds of its changes."""

    def apply(self, kind: str, value: msgspec.Raw) -> None:
        """Apply a change."""

    def entries(self) -> Iterator[Entry]:
        """Yield changes that lead to the present state."""


class _Line(msgspec.Struct, omit_defaults=True):
    k: str
    v: msgspec.Raw
    n: int = 0


_LINES = msgspec.json.Decoder(_Line)
_ID, _OUTBOX, _DELIVERED = "journal", "outbox", "delivered"


class Journal:
    """The state and its file. `outgoing` are the kinds that the service gets as well. `id` is made with the file."""

    def __init__(self, path: Path, outgoing: Collection[str] = (), outbox: Outbox | None = None) -> None:
        self.id = ""
        self.stats = WriterStats()
        self.outbox = Outbox() if outbox is None else outbox
        self._file = JournalFile(path)
        self._outgoing = outgoing
        self._tables: dict[str, JournalTable] = {}
        self._queue: deque[tuple[Sequence[Entry], asyncio.Future[None]]] = deque()
        self._submitted = asyncio.Event()
        self._added = asyncio.Event()
        self._compacted_bytes = 0
        self._closing = False
        self._task: asyncio.Task[None] | None = None

    def add_table(self, table: JournalTable) -> None:
        """Pass the changes of its kinds to a table; call this before `start`."""
        self._tables |= dict.fromkeys(table.kinds, table)

    async def start(self, tasks: TaskRegistry) -> None:
        """Read the file, and start writing; raises StartupError."""
        for number, text in enumerate(self._file.open(), start=1):
            try:
                self._apply(_LINES.decode(text))
            except (msgspec.MsgspecError, KeyError, ValueError) as error:
                raise StartupError(
                    f"the journal {self._file.path} is damaged in line {number} ({error}). Remove that line if you can "
                    "do without it, or move the file away to start with an empty one."
                ) from None
        if not self.id:
            self.id = str(uuid4())
            self._file.append([msgspec.json.encode({"k": _ID, "v": self.id})])
        self._compacted_bytes = self._file.size
        self._task = tasks.supervise("journal", self._write_until_closed)

    async def close(self) -> None:
        """Write the waiting changes, and close the file."""
        self._closing = True
        self._submitted.set()
        if self._task is not None:
            await asyncio.gather(self._task, return_exceptions=True)
        self._file.close()

    async def put(self, entries: Sequence[Entry]) -> None:
        """Store and apply all changes or none; raises Unavailable when the disk refuses them."""
        if self._closing:
            raise Unavailable("the node is stopping; nothing was stored")
        if self.stats.waiting >= _MAX_WAITING:
            self.stats.refused += 1
            raise Unavailable("too many writes are waiting; nothing was stored. Try again in a moment.")
        done = asyncio.get_running_loop().create_future()
        self._queue.append((entries, done))
        self.stats.waiting += len(entries)
        self._submitted.set()
        await done

    # -- the outbox ---------------------------------------------------------------------------------------------------

    @property
    def dropped(self) -> int:
        """Return how many records were dropped because too many waited."""
        return self.outbox.dropped

    async def first_records(self, max_bytes: int) -> Sequence[Outgoing]:
        """Return the oldest records, with at most `max_bytes` of values unless one alone has more."""
        return self.outbox.first(max_bytes)

    async def renew_id(self) -> None:
        """Take a new id, because the present one is also that of a copy of this machine, or of a later state."""
        log.warning("journal.id_renewed", path=str(self._file.path), id=self.id)
        await self.put([(_ID, str(uuid4()))])

    async def wait_for_records(self) -> None:
        """Wait until the outbox has records."""
        while not self.outbox:
            self._added.clear()
            await self._added.wait()

    async def delivered(self, number: int) -> None:
        """Remember that the service has stored the records up to this number."""
        await self.put([(_DELIVERED, number)])

    # -- writing ------------------------------------------------------------------------------------------------------

    async def _write_until_closed(self) -> None:
        while True:
            if not self._queue:
                if self._closing:
                    return
                self._submitted.clear()
                await self._submitted.wait()
                continue
            batch, self._queue = self._queue, deque()
            rows = sum(len(entries) for entries, _ in batch)
            try:
                await self._store(batch)
            finally:
                self.stats.waiting -= rows
                for _, done in batch:
                    if not done.done():
                        done.set_exception(Unavailable("the journal failed; it is not known whether this was stored"))

    async def _store(self, batch: Iterable[tuple[Sequence[Entry], asyncio.Future[None]]]) -> None:
        number = self.outbox.next
        lines: list[_Line] = []
        stored = []
        for entries, done in batch:
            try:
                encoded = [_Line(kind, msgspec.Raw(msgspec.json.encode(value))) for kind, value in entries]
            except (TypeError, UnicodeEncodeError, msgspec.MsgspecError) as error:
                done.set_exception(error)  # only this caller's content is wrong
                continue
            for line in encoded:
                if line.k in self._outgoing:
                    line.n, number = number, number + 1
            lines += encoded
            stored.append(done)
        try:
            await asyncio.to_thread(self._file.append, [msgspec.json.encode(line) for line in lines])
        except OSError as error:
            self.stats.refused += len(lines)
            log.error("journal.not_written", path=str(self._file.path), reason=error.strerror)
            reason = f"the journal cannot be written: {error.strerror}; nothing was stored"
            for done in stored:
                if not done.done():
                    done.set_exception(Unavailable(reason))
            return
        for line in lines:
            self._apply(line)
        self.stats.rows += len(lines)
        self.stats.batches += 1
        for done in stored:
            if not done.done():
                done.set_result(None)
        if self._file.size > max(_LEAST_BYTES, _GROWTH * self._compacted_bytes):
            await self._compact()

    async def _compact(self) -> None:
        """Rewrite the file from the present state."""
        entries: list[Entry] = [(_ID, self.id)]
        for table in dict.fromkeys(self._tables.values()):
            entries += table.entries()
        lines = [msgspec.json.encode({"k": kind, "v": value}) for kind, value in entries]
        # Records of the outbox have been applied already; they are written again with their numbers, only for the
        # outbox.
        waiting = (msgspec.json.encode({"k": _OUTBOX, "v": record}) for record in self.outbox.all())
        lines += [*waiting, msgspec.json.encode({"k": _OUTBOX, "v": self.outbox.state})]
        try:
            await asyncio.to_thread(self._file.rewrite, lines)
        except OSError as error:
            log.warning("journal.not_compacted", path=str(self._file.path), reason=error.strerror)
        self._compacted_bytes = self._file.size

    def _apply(self, line: _Line) -> None:
        if line.k == _ID:
            self.id = msgspec.json.decode(line.v, type=str)
        elif line.k == _DELIVERED:
            self.outbox.delivered(msgspec.json.decode(line.v, type=int))
        elif line.k == _OUTBOX:
            state = msgspec.json.decode(line.v, type=dict[str, Any])
            if "number" in state:
                self.outbox.add(msgspec.json.decode(line.v, type=Outgoing))
            else:
                self.outbox.restore(msgspec.convert(state, OutboxState))
        elif (table := self._tables.get(line.k)) is not None:
            table.apply(line.k, line.v)
            if line.n and (dropped := self.outbox.add(Outgoing(line.n, line.k, msgspec.Raw(bytes(line.v))))):
                log.warning("journal.records_dropped", dropped=dropped, in_all=self.outbox.dropped)
            self._added.set()
        # Unknown kinds are of a later version; they are left out when the file is rewritten.


class Encode(Protocol[R_contra]):
    """Returns the kind and the value of a row."""

    def __call__(self, row: R_contra, /) -> Entry: ...


class JournalWriter(Generic[R_contra]):
    """The writer of one feature; all of them write to one journal, which is started and closed separately."""

    def __init__(self, name: str, journal: Journal, encode: Encode[R_contra]) -> None:
        self.name = name
        self.stats = WriterStats()
        self._journal = journal
        self._encode = encode

    async def start(self, tasks: TaskRegistry) -> None:
        """Do nothing: the journal has started."""

    async def close(self) -> None:
        """Do nothing: the journal is closed after all features."""

    async def put(self, rows: Sequence[R_contra]) -> None:
        """Store all of the rows or none; raises Unavailable when they cannot be stored now."""
        self.stats.waiting += len(rows)
        try:
            await self._journal.put([self._encode(row) for row in rows])
            self.stats.rows += len(rows)
        finally:
            self.stats.waiting -= len(rows)
