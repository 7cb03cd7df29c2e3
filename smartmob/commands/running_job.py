"""A job while it runs: its record, its output, the controls of its program, and the readers of its output."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Protocol

import msgspec

from smartmob.commands.model import STDOUT, Job, Outcome
from smartmob.commands.spool import Spool, Spools
from smartmob.kernel.observability.event_logger import get_logger
from smartmob.kernel.runtime.disk import DiskLow

log = get_logger()

_NO_SPACE_SECONDS = 1.0
"""Seconds between attempts to write output to a full disk."""


class Controls(Protocol):
    """The operations on the program or function of a job while it runs."""

    def signal(self, number: int) -> None:
        """Send a signal."""

    def kill(self) -> None:
        """Ask it to end, and kill it when it does not."""

    async def write(self, data: bytes) -> None:
        """Send input, and wait until it takes more."""

    def end_input(self) -> None:
        """Report the end of its input."""

    def resize(self, rows: int, columns: int) -> None:
        """Change the size of its terminal."""


class RunningJob:
    """A job while it runs.

    Readers are the clients that follow its output. A reader that holds an offset (`hold`) keeps the output from there
    on: the job waits for it (`wait_for_readers`) instead of dropping output that this reader has not received.
    """

    def __init__(self, record: Job, spool: Spool, spools: Spools) -> None:
        self.record = record
        self.spool = spool
        self.outcome: Outcome | None = None
        self.stopping = False
        self.disk_low: DiskLow | None = None
        self.recorded = asyncio.Event()
        self._spools = spools
        self._controls: Controls | None = None
        self._started_or_ended = asyncio.Event()
        self._waiting: list[asyncio.Future[None]] = []
        self._held_offsets: dict[object, int] = {}
        self._reader_moved = asyncio.Event()
        self._most_ahead_bytes = spools.most_ahead_bytes

    def set_controls(self, controls: Controls) -> None:
        """Record that the job's program or function has started, and how to control it."""
        self._controls = controls
        self._started_or_ended.set()
        if self.stopping:
            controls.kill()

    async def controls(self) -> Controls | None:
        """Wait until the job has started, and return its controls; None when it has ended."""
        await self._started_or_ended.wait()
        return self._controls if self.outcome is None else None

    def stop(self) -> None:
        """Ask the job to end, because the service stops."""
        self.stopping = True
        if self._controls is not None:
            self._controls.kill()

    def append(self, data: bytes, stream: int = STDOUT) -> None:
        """Write output of a stream to disk and wake the readers; raises OSError when the disk is full.

        When less than the floor of the disk is free, a last line in the output says so, the job is stopped, and
        DiskLow is raised.
        """
        if self.disk_low is not None:
            raise self.disk_low
        try:
            self._spools.append(self.spool, data, stream)
        except DiskLow as error:
            self._stop_for(error)
            raise
        finally:
            self._wake_readers()

    def _stop_for(self, error: DiskLow) -> None:
        self.disk_low = error
        log.error("job.disk_low", job=self.record.id, reason=error.strerror)
        with suppress(OSError):
            self.spool.append(f"\n[smartmob] the job was stopped, its output ends here: {error.strerror}\n".encode())
        if self._controls is not None:
            self._controls.kill()

    def emit(self, value: object) -> None:
        """Write a message of a command that is a function, as a line of output."""
        self.append(as_line(value))

    async def append_and_wait(self, data: bytes, stream: int = STDOUT) -> None:
        """Write output, and wait for the readers. On a full disk, repeat until it succeeds, so that no byte is lost.

        The output of a job that was stopped because the disk is low is dropped.
        """
        while True:
            try:
                self.append(data, stream)
            except DiskLow:
                return None
            except OSError as error:
                log.error("job.output_stuck", job=self.record.id, reason=error.strerror)
                await asyncio.sleep(_NO_SPACE_SECONDS)
            else:
                return await self.wait_for_readers()

    async def wait_for_readers(self) -> None:
        """Wait while a reader that holds an offset is more than half of the job's limit behind."""
        while self._held_offsets and self.spool.end - min(self._held_offsets.values()) > self._most_ahead_bytes:
            self._reader_moved.clear()
            await self._reader_moved.wait()

    def hold(self, reader: object, offset: int) -> None:
        """Keep the output from `offset` on for a reader."""
        self._held_offsets[reader] = offset
        self._reader_moved.set()

    def release(self, reader: object) -> None:
        """Keep no output for a reader any more."""
        self._held_offsets.pop(reader, None)
        self._reader_moved.set()

    async def wait_for_output(self, offset: int) -> None:
        """Wait until there is output from `offset` on, or the job has ended."""
        while self.spool.end <= offset and self.outcome is None:
            waiter = asyncio.get_running_loop().create_future()
            self._waiting.append(waiter)
            await waiter

    def finish(self, outcome: Outcome) -> None:
        """Set the outcome, and wake the readers."""
        self.outcome = outcome
        self._started_or_ended.set()
        self._wake_readers()

    def _wake_readers(self) -> None:
        waiting, self._waiting = self._waiting, []
        for waiter in waiting:
            if not waiter.done():
                waiter.set_result(None)


def as_line(value: object) -> bytes:
    """Return a message as output: texts and bytes as they are, other values as JSON, each with a line end."""
    if isinstance(value, bytes | bytearray):
        data = bytes(value)
    elif isinstance(value, str):
        data = value.encode(errors="surrogateescape")
    elif isinstance(value, BaseException):
        data = f"{type(value).__name__}: {value}".encode(errors="replace")
    else:
        data = msgspec.json.encode(value, enc_hook=str)
    return data if data.endswith(b"\n") else data + b"\n"
