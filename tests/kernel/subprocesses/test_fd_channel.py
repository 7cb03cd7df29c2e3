"""Messages with file descriptors arrive whole and in order, even when the receiver pauses."""

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


async def test_a_message_arrives_with_its_descriptors(pair: tuple[FdChannel, socket.socket]) -> None:
    """The receiver gets descriptors of its own for the same open files."""
    channel, theirs = pair
    read, write = os.pipe()
    await channel.send(b"S", (write,))
    message, fds, _, _ = socket.recv_fds(theirs, 1, 4)
    os.write(fds[0], b"through")
    assert (message, os.read(read, 100)) == (b"S", b"through")
    for fd in (read, write, *fds):
        os.close(fd)


async def _fill(channel: FdChannel) -> list[asyncio.Task[None]]:
    """Send until a message has to wait, and two more."""
    sent: list[asyncio.Task[None]] = []
    while len([task for task in sent if not task.done()]) < 3:
        sent.append(asyncio.create_task(channel.send(b"%03d" % (len(sent) % 1000), ())))
        await asyncio.sleep(0)
    return sent


async def test_a_sender_waits_until_the_receiver_reads(pair: tuple[FdChannel, socket.socket]) -> None:
    """All messages arrive in the order in which they were sent."""
    channel, theirs = pair
    sent = await _fill(channel)
    theirs.setblocking(False)
    received = b""
    while len(received) < 3 * len(sent):
        received += await asyncio.get_running_loop().sock_recv(theirs, 4096)
    await asyncio.gather(*sent)
    assert received == b"".join(b"%03d" % (number % 1000) for number in range(len(sent)))


async def test_closing_the_channel_ends_waiting_senders_with_an_error(pair: tuple[FdChannel, socket.socket]) -> None:
    """Later senders get the error, too."""
    channel, _ = pair
    sent = await _fill(channel)
    channel.close()
    results = await asyncio.gather(*sent, return_exceptions=True)
    assert [isinstance(result, OSError) for result in results[-3:]] == [True] * 3
    assert channel.fileno() == -1
    with pytest.raises(OSError, match="Bad file descriptor"):
        await channel.send(b"S", ())


async def test_sending_to_a_closed_receiver_raises(pair: tuple[FdChannel, socket.socket]) -> None:
    """The error is BrokenPipeError."""
    channel, theirs = pair
    theirs.close()
    with pytest.raises(BrokenPipeError):
        await channel.send(b"S", ())
