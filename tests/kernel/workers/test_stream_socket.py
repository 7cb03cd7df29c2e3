"""Connected sockets that a worker gives the owner."""

from __future__ import annotations

import asyncio
import socket

from smartmob.kernel.workers.stream_socket import StreamOpener, StreamReceiver


async def test_a_stream_connects_both_processes() -> None:
    """Bytes go both ways over each socket that was given; the end of the worker ends only the giving."""
    theirs, ours = socket.socketpair()
    accepted: asyncio.Queue[socket.socket] = asyncio.Queue()
    receiver, opener = StreamReceiver(ours, accepted.put_nowait), StreamOpener(theirs)
    loop = asyncio.get_running_loop()
    opened = [await opener.open() for _ in range(20)]
    got = [await accepted.get() for _ in opened]
    opener.close()
    for number, (mine, other) in enumerate(zip(opened, got, strict=True)):
        with mine, other:
            await loop.sock_sendall(mine, bytes((number,)))
            assert await loop.sock_recv(other, 8) == bytes((number,))
            await loop.sock_sendall(other, b"answer")
            assert await loop.sock_recv(mine, 8) == b"answer"
    receiver.close()
    assert ours.fileno() == -1
