"""Reading what children write: everything, in order, and without a wake-up for each line."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import suppress

import pytest

from smartmob.kernel.subprocesses.output import Pipe, PipeReader
from tests.waiting import until


class Reading:
    """A pipe that is read, and what came of it."""

    def __init__(self) -> None:
        self.sweeper = PipeReader()
        self.chunks: list[bytes] = []
        self.ends = 0
        self.pipe = Pipe(self.chunks.append, self._end)
        self.sweeper.add(self.pipe)

    def _end(self) -> None:
        self.ends += 1

    def write(self, data: bytes) -> None:
        os.write(self.pipe.write_end, data)

    @property
    def text(self) -> bytes:
        return b"".join(self.chunks)


@pytest.fixture
async def reading() -> AsyncIterator[Reading]:
    reading = Reading()
    yield reading
    reading.sweeper.close(reading.pipe)


async def test_hands_over_what_was_written(reading: Reading) -> None:
    """At once, without waiting for the end of a line."""
    reading.write(b"no end")
    await until(lambda: reading.text == b"no end")
    assert reading.ends == 0


async def test_tells_the_end_once(reading: Reading) -> None:
    """When the last writer has closed, after all that was written."""
    reading.write(b"last words")
    reading.pipe.hand_over()
    await until(lambda: reading.ends)
    reading.sweeper.close(reading.pipe)
    assert (reading.text, reading.ends) == (b"last words", 1)


async def test_loses_nothing_of_a_flood(reading: Reading) -> None:
    """A writer that is faster than we are waits, and everything arrives in order."""
    flood = b"".join(b"%0100d\n" % n for n in range(200_000))

    def write() -> None:
        sent = 0
        while sent < len(flood):
            sent += os.write(reading.pipe.write_end, flood[sent : sent + 65536])

    await asyncio.to_thread(write)
    reading.pipe.hand_over()
    await until(lambda: reading.ends)
    assert reading.text == flood


async def test_a_busy_pipe_is_swept_and_a_silent_one_watched_again(reading: Reading) -> None:
    """Whether it writes often or seldom, all of it arrives; and a wake-up is not paid for each write."""
    for turn in range(3):
        before = len(reading.chunks)
        for _ in range(200):
            reading.write(b"x")
            await asyncio.sleep(0)
        await until(lambda turn=turn: len(reading.text) == 201 * turn + 200)
        assert len(reading.chunks) - before < 200
        # Silent for longer than it is swept: a single byte must be noticed all the same.
        await until(lambda: not reading.sweeper.busy)
        reading.write(b"y")
        await until(lambda turn=turn: len(reading.text) == 201 * (turn + 1))


async def test_drain_reads_what_is_there_now(reading: Reading) -> None:
    """Without waiting for the loop: what was written before an exit is told before it."""
    reading.write(b"before the exit")
    reading.sweeper.drain(reading.pipe)
    assert reading.text == b"before the exit"


async def test_a_closed_pipe_is_never_read_again(reading: Reading) -> None:
    """Its descriptor may belong to somebody else by then; the writer notices."""
    write_end = os.dup(reading.pipe.write_end)
    reading.sweeper.close(reading.pipe)
    with pytest.raises(BrokenPipeError):
        os.write(write_end, b"too late")
    os.close(write_end)
    reading.sweeper.drain(reading.pipe)
    assert (reading.text, reading.ends) == (b"", 1)


async def test_works_where_the_kernel_gives_no_large_pipes() -> None:
    """The limit for all pipes of a user does not keep anybody from starting one more child."""
    pipes = [Pipe(lambda _: None, lambda: None) for _ in range(100)]
    for pipe in pipes:
        pipe.hand_over()
        with suppress(OSError):
            os.close(pipe.fd)
