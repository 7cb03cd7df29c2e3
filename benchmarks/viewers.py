"""Lean viewers of consoles, in a process of their own: they count lines, and do nothing else with them.

`python -m benchmarks.viewers HOST:PORT PATH…` opens a WebSocket for each path; one that begins with `!` is never read
from again. A line on standard input is answered by a line of JSON: the time and what has come so far.
"""

from __future__ import annotations

import os
import re
import select
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass

import orjson

from benchmarks.candidates import ROOT, CannotMeasure

_BUFFER_BYTES = 1024 * 1024
# The first byte of a text frame. It is found nowhere else in what is sent: the lines are ASCII and shorter than 126.
_FRAME = b"\x81"
_SKIPPED = re.compile(rb"\[smartmob\] (\d+) lines skipped")
_LONGEST_NOTE = 60


@dataclass(frozen=True, slots=True)
class Seen:
    """The lines that viewers have received and missed until `at` (seconds of the monotonic clock)."""

    at: float
    lines: list[int]
    skipped: list[int]


class Viewers:
    """The other process, seen from here."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process

    def look(self) -> Seen:
        """Return what they have seen until now."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(b"\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            raise CannotMeasure("the viewers have ended")
        return Seen(**orjson.loads(answer))


@contextmanager
def viewers(port: int, slugs: Sequence[str], stuck: Sequence[str] = ()) -> Iterator[Viewers]:
    """Let viewers look at consoles, and further ones that are stuck."""
    paths = [f"/attach-console/{slug}" for slug in slugs] + [f"!/attach-console/{slug}" for slug in stuck]
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.viewers", f"127.0.0.1:{port}", *paths],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=ROOT,
    )
    try:
        with process:
            found = Viewers(process)
            found.look()  # they answer once all of them are connected
            yield found
            process.kill()
    finally:
        process.kill()


def connect(host: str, port: int, path: str) -> tuple[socket.socket, bytes]:
    """Return a WebSocket's connection after the handshake, and what has come behind it already."""
    connection = socket.create_connection((host, port))
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.sendall(
        f"GET {path} HTTP/1.1\r\nHost: {host}:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
    )
    answer = b""
    while b"\r\n\r\n" not in answer:
        part = connection.recv(65536)
        if not part:
            break
        answer += part
    head, _, rest = answer.partition(b"\r\n\r\n")
    if b" 101 " not in head.split(b"\r\n")[0] + b" ":
        raise CannotMeasure(f"{path} is answered with {head[:200]!r}")
    return connection, rest


class _Reader:
    """One viewer that reads."""

    def __init__(self, connection: socket.socket, begun: bytes) -> None:
        self.connection = connection
        self.lines = begun.count(_FRAME)
        self.skipped = 0
        self._end = b""

    def read(self, buffer: bytearray, view: memoryview) -> bool:
        size = self.connection.recv_into(view)
        self.lines += buffer.count(_FRAME, 0, size)
        # A note may be cut in two by the end of the buffer.
        if buffer.find(b"[", 0, size) >= 0 or self._end:
            text = self._end + bytes(view[:size])
            for found in _SKIPPED.finditer(text):
                self.skipped += int(found[1])
                self.lines -= 1
            last = text.rfind(b"[smartmob]", -_LONGEST_NOTE) if len(text) > _LONGEST_NOTE else text.find(b"[")
            self._end = text[last:] if last >= 0 and b"skipped" not in text[last:] else b""
        return size > 0


def main(arguments: Sequence[str]) -> None:
    """Read until standard input ends."""
    host, port = arguments[0].split(":")
    poll, readers, stuck = select.epoll(), {}, []
    for path in arguments[1:]:
        connection, begun = connect(host, int(port), path.removeprefix("!"))
        if path.startswith("!"):
            stuck.append(connection)
            continue
        readers[connection.fileno()] = _Reader(connection, begun)
        poll.register(connection.fileno(), select.EPOLLIN)
    poll.register(0, select.EPOLLIN)
    buffer = bytearray(_BUFFER_BYTES)
    view = memoryview(buffer)
    while True:
        for fd, _ in poll.poll():
            if fd:
                if not readers[fd].read(buffer, view):
                    raise SystemExit("a viewer was disconnected")
                continue
            if not os.read(0, 1):
                return
            seen = Seen(time.monotonic(), [r.lines for r in readers.values()], [r.skipped for r in readers.values()])
            os.write(1, orjson.dumps(seen) + b"\n")


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        main(sys.argv[1:])
