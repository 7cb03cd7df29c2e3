"""Lines: words with file descriptors, whole and in order, also when the other side reads nothing for a while."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Iterator

import pytest

from smartmob.kernel.subprocesses.fd_channel import FdChannel


@pytest.fixture
def pair() -> Iterator[tuple[FdChannel, socket.socket]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        yield FdChannel(ours), theirs


async def test_a_word_comes_with_its_descriptors(pair: tuple[FdChannel, socket.socket]) -> None:
    """As descriptors of the receiver, of the same open files."""
    line, theirs = pair
    read, write = os.pipe()
    await line.send(b"S", (write,))
    word, fds, _, _ = socket.recv_fds(theirs, 1, 4)
    os.write(fds[0], b"through")
    assert (word, os.read(read, 100)) == (b"S", b"through")
    for fd in (read, write, *fds):
        os.close(fd)


async def _fill(line: FdChannel) -> list[asyncio.Task[None]]:
    """Send until it has to wait, and then twice more."""
    sent: list[asyncio.Task[None]] = []
    while len([task for task in sent if not task.done()]) < 3:
        sent.append(asyncio.create_task(line.send(b"%03d" % (len(sent) % 1000), ())))
        await asyncio.sleep(0)
    return sent


async def test_who_sends_waits_until_the_other_side_reads(pair: tuple[FdChannel, socket.socket]) -> None:
    """All words come, in the order in which they were sent."""
    line, theirs = pair
    sent = await _fill(line)
    theirs.setblocking(False)
    received = b""
    while len(received) < 3 * len(sent):
        received += await asyncio.get_running_loop().sock_recv(theirs, 4096)
    await asyncio.gather(*sent)
    assert received == b"".join(b"%03d" % (number % 1000) for number in range(len(sent)))


async def test_who_waits_is_told_that_the_line_was_closed(pair: tuple[FdChannel, socket.socket]) -> None:
    """By this side or by the other."""
    line, _ = pair
    sent = await _fill(line)
    line.close()
    results = await asyncio.gather(*sent, return_exceptions=True)
    assert [isinstance(result, OSError) for result in results[-3:]] == [True] * 3
    assert line.fileno() == -1
    with pytest.raises(OSError, match="Bad file descriptor"):
        await line.send(b"S", ())


async def test_nobody_is_at_the_other_end(pair: tuple[FdChannel, socket.socket]) -> None:
    """It has closed its end."""
    line, theirs = pair
    theirs.close()
    with pytest.raises(BrokenPipeError):
        await line.send(b"S", ())
