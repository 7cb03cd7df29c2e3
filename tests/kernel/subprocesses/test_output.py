"""Reading the output of children: all of it, in order, and without a wake-up for each line."""

from __future__ import annotations

import asyncio
import math
import os
from collections.abc import AsyncIterator
from contextlib import suppress

import pytest

from smartmob.kernel.subprocesses.output import _BUSY_WAKEUPS_OF_TWO_COUNT, Pipe, PipeReader
from tests.waiting import until


class Reading:
    """A pipe that is read, with the chunks that came."""

    def __init__(self) -> None:
        self.pipe_reader = PipeReader()
        self.chunks: list[bytes] = []
        self.ends = 0
        self.pipe = Pipe(self.chunks.append, self._end)
        self.pipe_reader.add(self.pipe)

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
    reading.pipe_reader.close(reading.pipe)


async def test_output_is_read_at_once(reading: Reading) -> None:
    """The end of a line is not waited for."""
    reading.write(b"no end")
    await until(lambda: reading.text == b"no end")
    assert reading.ends == 0


async def test_the_end_is_reported_once(reading: Reading) -> None:
    """It comes after all output, when the last writer has closed the pipe."""
    reading.write(b"last words")
    reading.pipe.hand_over()
    await until(lambda: reading.ends)
    reading.pipe_reader.close(reading.pipe)
    assert (reading.text, reading.ends) == (b"last words", 1)


async def test_nothing_of_a_flood_is_lost(reading: Reading) -> None:
    """A writer that is faster than the reader blocks, and all chunks arrive in order."""
    flood = b"".join(b"%0100d\n" % n for n in range(200_000))

    def write() -> None:
        sent = 0
        while sent < len(flood):
            sent += os.write(reading.pipe.write_end, flood[sent : sent + 65536])

    await asyncio.to_thread(write)
    reading.pipe.hand_over()
    await until(lambda: reading.ends)
    assert reading.text == flood


async def test_a_busy_pipe_is_read_in_sweeps_until_it_is_silent(reading: Reading) -> None:
    """All output arrives, with fewer reads than writes while the pipe is busy."""
    for turn in range(3):
        before = len(reading.chunks)
        for _ in range(200):
            reading.write(b"x")
            await asyncio.sleep(0)
        await until(lambda turn=turn: len(reading.text) == 201 * turn + 200)
        assert len(reading.chunks) - before < 200
        # After the pipe has become silent, a single byte must be read, too.
        await until(lambda: not reading.pipe_reader.busy)
        reading.write(b"y")
        await until(lambda turn=turn: len(reading.text) == 201 * (turn + 1))


async def test_a_busy_sibling_is_read_before_a_pipe_that_has_become_readable() -> None:
    """Its earlier output comes first, although it is otherwise read in sweeps only."""
    reader, found = PipeReader(), list[bytes]()
    pipes = [Pipe(found.append, lambda: None), Pipe(found.append, lambda: None, large=False)]
    pipes[0].sibling, pipes[1].sibling = pipes[1], pipes[0]
    for pipe in pipes:
        reader.add(pipe)
    while not reader.busy:
        os.write(pipes[0].write_end, b"x")
        await asyncio.sleep(0)
    reader.drain(pipes[0])
    found.clear()
    os.write(pipes[0].write_end, b"out")
    os.write(pipes[1].write_end, b"err")
    reader._on_readable(pipes[1])
    assert found == [b"out", b"err"]
    for pipe in pipes:
        reader.close(pipe)


async def test_a_burst_to_both_pipes_is_read_as_it_comes() -> None:
    """The order within it is kept, because sweeps begin only after hundreds of writes; then they do begin."""
    reader, found = PipeReader(), list[bytes]()
    pipes = [Pipe(found.append, lambda: None), Pipe(found.append, lambda: None, large=False)]
    pipes[0].sibling, pipes[1].sibling = pipes[1], pipes[0]
    for pipe in pipes:
        reader.add(pipe)
    written = []
    for number in range(200):
        written.append(b"%d" % number)
        os.write(pipes[number % 2].write_end, written[-1])
        await until(lambda: len(found) == len(written))
    assert found == written
    assert not reader.busy
    # As after so many wake-ups in quick succession, which a busy machine may not have.
    reader._wakeups[pipes[0]] = (math.inf, _BUSY_WAKEUPS_OF_TWO_COUNT)
    reader._on_readable(pipes[0])
    assert reader.busy == 1
    for pipe in pipes:
        reader.close(pipe)


async def test_drain_reads_what_is_in_the_pipe_now(reading: Reading) -> None:
    """It does not wait for the event loop, so that output comes before the exit."""
    reading.write(b"before the exit")
    reading.pipe_reader.drain(reading.pipe)
    assert reading.text == b"before the exit"


async def test_a_closed_pipe_is_never_read_again(reading: Reading) -> None:
    """Its descriptor may belong to another file; the writer gets an error."""
    write_end = os.dup(reading.pipe.write_end)
    reading.pipe_reader.close(reading.pipe)
    with pytest.raises(BrokenPipeError):
        os.write(write_end, b"too late")
    os.close(write_end)
    reading.pipe_reader.drain(reading.pipe)
    assert (reading.text, reading.ends) == (b"", 1)


async def test_a_pipe_is_made_where_the_kernel_allows_no_large_one() -> None:
    """The limit for all pipes of a user does not prevent one more child."""
    pipes = [Pipe(lambda _: None, lambda: None) for _ in range(100)]
    for pipe in pipes:
        pipe.hand_over()
        with suppress(OSError):
            os.close(pipe.fd)
