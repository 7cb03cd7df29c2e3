"""The messages of a subreaper: its answers to right and wrong messages of the service."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from smartmob.kernel.subprocesses import watchdog
from smartmob.kernel.subprocesses.child import Spec
from tests.waiting import SECONDS, until

PACKAGE = Path(watchdog.__file__).parents[3]


class RawSubreaper:
    """A watchdog with one subreaper, and the service's ends of their sockets."""

    def __init__(self) -> None:
        self.service, inner = socket.socketpair()
        with inner:
            command = [sys.executable, "-I", "-S", "-c", watchdog.START, str(PACKAGE), str(inner.fileno()), "1024"]
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, pass_fds=(inner.fileno(),))
        self.channel, theirs = socket.socketpair()
        with theirs:
            socket.send_fds(self.service, [b"K"], [theirs.fileno()])

    def add_child(self) -> socket.socket:
        """Send a child whose output is discarded; return its control socket."""
        ours, theirs = socket.socketpair()
        with theirs, Path(os.devnull).open("r+b", buffering=0) as null:
            socket.send_fds(self.channel, [b"S"], [theirs.fileno(), *[null.fileno()] * 3])
        ours.settimeout(SECONDS)
        return ours

    def subreapers(self) -> list[psutil.Process]:
        return psutil.Process(self.process.pid).children()


@pytest.fixture
def raw() -> Iterator[RawSubreaper]:
    raw = RawSubreaper()
    yield raw
    raw.service.close()
    raw.channel.close()
    raw.process.wait()


def _received(control: socket.socket, last: bytes) -> list[str]:
    """Receive lines until one begins with `last`; return the first word of each."""
    data = b""
    while not any(line.startswith(last) for line in data.splitlines()):
        received = control.recv(4096)
        assert received, f"nothing after {data!r}"
        data += received
    return [line.split()[0] for line in data.decode().splitlines()]


def _spec(*argv: str) -> bytes:
    return Spec(argv, {"PATH": os.environ["PATH"]}, Path("/"), 0, 0, 0).encode()


def test_a_specification_in_pieces_starts_the_program(raw: RawSubreaper) -> None:
    """The program starts when the whole specification has come; other children do not wait for that."""
    data = _spec("sh", "-c", "exit 3")
    with raw.add_child() as slow, raw.add_child() as quick:
        slow.sendall(data[:2])
        quick.sendall(data)
        assert _received(quick, b"gone") == ["started", "exited", "gone"]
        slow.sendall(data[2:20])
        slow.sendall(data[20:])
        assert _received(slow, b"gone") == ["started", "exited", "gone"]


def test_orders_that_come_with_the_specification_are_carried_out(raw: RawSubreaper) -> None:
    """They are carried out in order, even those for a program that has ended."""
    with raw.add_child() as control:
        control.sendall(_spec("sleep", "60") + b"signal 0\nsignal 15\nkill\n")
        assert _received(control, b"gone") == ["started", "exited", "gone"]


def test_a_control_socket_closed_within_the_specification_starts_nothing(raw: RawSubreaper) -> None:
    """The subreaper goes on."""
    with raw.add_child() as control:
        control.sendall(_spec("sleep", "60")[:10])
    with raw.add_child() as control:
        control.sendall(_spec("true"))
        assert _received(control, b"gone") == ["started", "exited", "gone"]


def test_a_message_without_descriptors_is_ignored(raw: RawSubreaper) -> None:
    """There is no socket on which it could be answered."""
    raw.channel.sendall(b"S?")
    with raw.add_child() as control:
        control.sendall(_spec("true"))
        assert _received(control, b"gone") == ["started", "exited", "gone"]


async def test_a_dismissed_subreaper_ends_with_its_last_child(raw: RawSubreaper) -> None:
    """Until then its children still get orders on their control sockets."""
    with raw.add_child() as control:
        control.sendall(_spec("sleep", "60"))
        assert _received(control, b"started") == ["started"]
        raw.channel.close()
        control.sendall(b"signal 18\n")
        assert [subreaper.name() for subreaper in raw.subreapers()] == ["smartmob-keep"]
        control.sendall(b"kill\n")
        assert _received(control, b"gone") == ["exited", "gone"]
    await until(lambda: raw.subreapers() == [])


def test_a_subreaper_keeps_no_folder_in_use(raw: RawSubreaper, tmp_path: Path) -> None:
    """After starting a program in a folder it is in the root folder again."""
    with raw.add_child() as control:
        control.sendall(Spec(("true",), {"PATH": os.environ["PATH"]}, tmp_path, 0, 0, 0).encode())
        assert _received(control, b"gone") == ["started", "exited", "gone"]
    assert [subreaper.cwd() for subreaper in raw.subreapers()] == ["/"]


def _raw(*fields: bytes) -> bytes:
    """Return a specification of these fields."""
    data = b"".join(field + b"\0" for field in fields)
    return len(data).to_bytes(4, "big") + data


HOSTILE = {
    "a variable without a name": _raw(b"/", b"", b"1", b"true", b"=1"),
    "a variable without a sign": _raw(b"/", b"", b"1", b"true", b"NAME"),
    "no number of arguments": _raw(b"/", b"", b"x", b"true"),
    "a negative number of arguments": _raw(b"/", b"", b"-1", b"true"),
    "no arguments": _raw(b"/", b"", b"0"),
    "an empty program": _raw(b"/", b"", b"1", b""),
    "too few fields": _raw(b"/"),
    "a specification of one byte": b"\0\0\0\1x",
    "an empty folder": _raw(b"", b"", b"1", b"true"),
    "a folder of 100,000 letters": _raw(b"/" + b"x" * 100_000, b"", b"1", b"true"),
    "a terminal that is none": _raw(b"/", b"/no/such/terminal", b"1", b"true"),
    "more arguments than the system takes": _raw(b"/", b"", b"1", b"true", b"x" * 7_000_000),
    "one argument that is too long": _raw(b"/", b"", b"2", b"true", b"x" * 1_000_000),
    "more than a subreaper takes": b"\x7f\xff\xff\xff" + b"x" * 100_000,
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_failed_start_does_not_harm_other_children(raw: RawSubreaper, name: str) -> None:
    """It is answered with `failed`, the other children go on, and the next one starts."""
    with raw.add_child() as other:
        other.sendall(_spec("sleep", "60"))
        assert _received(other, b"started") == ["started"]
        subreapers = [subreaper.pid for subreaper in raw.subreapers()]
        with raw.add_child() as hostile:
            with contextlib.suppress(OSError):  # the subreaper may close the socket before it has read all
                hostile.sendall(HOSTILE[name])
            assert _received(hostile, b"failed") == ["failed"]
        with raw.add_child() as next_one:
            next_one.sendall(_spec("true"))
            assert _received(next_one, b"gone") == ["started", "exited", "gone"]
        assert [subreaper.pid for subreaper in raw.subreapers()] == subreapers
        other.sendall(b"kill\n")
        assert _received(other, b"gone") == ["exited", "gone"]


@pytest.mark.parametrize(
    "orders",
    [
        b"signal x\n",
        b"signal 99999999999999999999\n",
        b"signal -1\n",
        b"signal 1000\n",
        b"\xff\0\n",
        b"x" * 200_000 + b"\n",
    ],
)
def test_malformed_orders_are_ignored(raw: RawSubreaper, orders: bytes) -> None:
    """The program still gets the orders that follow."""
    with raw.add_child() as control:
        control.sendall(_spec("sleep", "60"))
        assert _received(control, b"started") == ["started"]
        control.sendall(orders + b"kill\n")
        assert _received(control, b"gone") == ["exited", "gone"]


def test_a_child_with_wrong_descriptors_is_dropped(raw: RawSubreaper, tmp_path: Path) -> None:
    """Its control socket may be another kind of file, or there may be too few descriptors."""
    with raw.add_child() as other:
        other.sendall(_spec("sleep", "60"))
        assert _received(other, b"started") == ["started"]
        for path, flags in (
            (os.devnull, os.O_RDWR),
            (tmp_path, os.O_RDONLY),
            (tmp_path / "file", os.O_CREAT | os.O_WRONLY),
        ):
            fd = os.open(path, flags)
            for count in (1, 3, 4):
                socket.send_fds(raw.channel, [b"S"], [fd] * count)
            os.close(fd)
        raw.channel.sendall(b"\0\xffS" * 100)
        with raw.add_child() as next_one:
            next_one.sendall(_spec("true"))
            assert _received(next_one, b"gone") == ["started", "exited", "gone"]
        other.sendall(b"kill\n")
        assert _received(other, b"gone") == ["exited", "gone"]


def test_malformed_messages_do_not_harm_the_watchdog(raw: RawSubreaper) -> None:
    """Unknown messages and subreapers that end at once do not harm the other children."""
    with raw.add_child() as other:
        other.sendall(_spec("sleep", "60"))
        assert _received(other, b"started") == ["started"]
        raw.service.sendall(b"\0\xffxK" + b"B" + (1).to_bytes(4, "big"))
        with Path(os.devnull).open("rb") as null:
            socket.send_fds(raw.service, [b"K"], [null.fileno()])
        raw.service.settimeout(SECONDS)
        assert raw.service.recv(1) == b"b"
        with raw.add_child() as next_one:
            next_one.sendall(_spec("true"))
            assert _received(next_one, b"gone") == ["started", "exited", "gone"]
        other.sendall(b"kill\n")
        assert _received(other, b"gone") == ["exited", "gone"]
