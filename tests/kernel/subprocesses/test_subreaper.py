"""The keeper's side of its sockets: what it does with what the service says, word by word."""

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
from smartmob.kernel.subprocesses.spawner import Spec
from tests.waiting import until

PACKAGE = Path(watchdog.__file__).parents[3]


class Keeping:
    """A guardian with one keeper, spoken to by hand."""

    def __init__(self) -> None:
        self.service, inner = socket.socketpair()
        with inner:
            command = [sys.executable, "-I", "-S", "-c", watchdog.START, str(PACKAGE), str(inner.fileno()), "1024"]
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, pass_fds=(inner.fileno(),))
        self.line, theirs = socket.socketpair()
        with theirs:
            socket.send_fds(self.service, [b"K"], [theirs.fileno()])

    def announce(self) -> socket.socket:
        """Announce a child whose output is thrown away; return its control socket."""
        ours, theirs = socket.socketpair()
        with theirs, Path(os.devnull).open("r+b", buffering=0) as null:
            socket.send_fds(self.line, [b"S"], [theirs.fileno(), *[null.fileno()] * 3])
        ours.settimeout(30)
        return ours

    def keepers(self) -> list[psutil.Process]:
        return psutil.Process(self.process.pid).children()


@pytest.fixture
def keeping() -> Iterator[Keeping]:
    keeping = Keeping()
    yield keeping
    keeping.service.close()
    keeping.line.close()
    keeping.process.wait()


def _told(control: socket.socket, last: bytes) -> list[str]:
    """Return the first words of the lines until one begins with `last`."""
    data = b""
    while not any(line.startswith(last) for line in data.splitlines()):
        received = control.recv(4096)
        assert received, f"nothing after {data!r}"
        data += received
    return [line.split()[0] for line in data.decode().splitlines()]


def _spec(*argv: str) -> bytes:
    return Spec(argv, {"PATH": os.environ["PATH"]}, Path("/"), 0, 0, 0).encode()


def test_a_specification_in_pieces(keeping: Keeping) -> None:
    """The program starts when all of it is there; other children do not wait for that."""
    data = _spec("sh", "-c", "exit 3")
    with keeping.announce() as slow, keeping.announce() as quick:
        slow.sendall(data[:2])
        quick.sendall(data)
        assert _told(quick, b"gone") == ["started", "exited", "gone"]
        slow.sendall(data[2:20])
        slow.sendall(data[20:])
        assert _told(slow, b"gone") == ["started", "exited", "gone"]


def test_orders_that_come_with_the_specification(keeping: Keeping) -> None:
    """They are carried out one after the other, those for a program that has ended included."""
    with keeping.announce() as control:
        control.sendall(_spec("sleep", "60") + b"signal 0\nsignal 15\nkill\n")
        assert _told(control, b"gone") == ["started", "exited", "gone"]


def test_who_hangs_up_before_the_program_is_told(keeping: Keeping) -> None:
    """Nothing is started, and the keeper goes on."""
    with keeping.announce() as control:
        control.sendall(_spec("sleep", "60")[:10])
    with keeping.announce() as control:
        control.sendall(_spec("true"))
        assert _told(control, b"gone") == ["started", "exited", "gone"]


def test_a_word_without_descriptors_is_ignored(keeping: Keeping) -> None:
    """Nothing could be told about it."""
    keeping.line.sendall(b"S?")
    with keeping.announce() as control:
        control.sendall(_spec("true"))
        assert _told(control, b"gone") == ["started", "exited", "gone"]


async def test_a_dismissed_keeper_ends_with_its_last_child(keeping: Keeping) -> None:
    """Not before: what it keeps is still ordered by the control sockets."""
    with keeping.announce() as control:
        control.sendall(_spec("sleep", "60"))
        assert _told(control, b"started") == ["started"]
        keeping.line.close()
        control.sendall(b"signal 18\n")
        assert [keeper.name() for keeper in keeping.keepers()] == ["smartmob-keep"]
        control.sendall(b"kill\n")
        assert _told(control, b"gone") == ["exited", "gone"]
    await until(lambda: keeping.keepers() == [])


def test_a_keeper_keeps_no_folder_in_use(keeping: Keeping, tmp_path: Path) -> None:
    """It has started a program there, and is back where it was."""
    with keeping.announce() as control:
        control.sendall(Spec(("true",), {"PATH": os.environ["PATH"]}, tmp_path, 0, 0, 0).encode())
        assert _told(control, b"gone") == ["started", "exited", "gone"]
    assert [keeper.cwd() for keeper in keeping.keepers()] == ["/"]


def _raw(*fields: bytes) -> bytes:
    """Return a specification of any fields."""
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
    "more than a keeper takes": b"\x7f\xff\xff\xff" + b"x" * 100_000,
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_start_that_fails_costs_its_sender_only(keeping: Keeping, name: str) -> None:
    """It is answered as failed; what the keeper keeps goes on, and it starts the next one."""
    with keeping.announce() as other:
        other.sendall(_spec("sleep", "60"))
        assert _told(other, b"started") == ["started"]
        keepers = [keeper.pid for keeper in keeping.keepers()]
        with keeping.announce() as hostile:
            with contextlib.suppress(OSError):  # the keeper may hang up before it has all
                hostile.sendall(HOSTILE[name])
            assert _told(hostile, b"failed") == ["failed"]
        with keeping.announce() as next_one:
            next_one.sendall(_spec("true"))
            assert _told(next_one, b"gone") == ["started", "exited", "gone"]
        assert [keeper.pid for keeper in keeping.keepers()] == keepers
        other.sendall(b"kill\n")
        assert _told(other, b"gone") == ["exited", "gone"]


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
def test_orders_that_are_none(keeping: Keeping, orders: bytes) -> None:
    """They are left out, and the program is still ordered by those that follow."""
    with keeping.announce() as control:
        control.sendall(_spec("sleep", "60"))
        assert _told(control, b"started") == ["started"]
        control.sendall(orders + b"kill\n")
        assert _told(control, b"gone") == ["exited", "gone"]


def test_descriptors_that_are_no_sockets(keeping: Keeping, tmp_path: Path) -> None:
    """A child whose control socket is something else, or that has too few descriptors, is let go of."""
    with keeping.announce() as other:
        other.sendall(_spec("sleep", "60"))
        assert _told(other, b"started") == ["started"]
        for path, flags in (
            (os.devnull, os.O_RDWR),
            (tmp_path, os.O_RDONLY),
            (tmp_path / "file", os.O_CREAT | os.O_WRONLY),
        ):
            fd = os.open(path, flags)
            for count in (1, 3, 4):
                socket.send_fds(keeping.line, [b"S"], [fd] * count)
            os.close(fd)
        keeping.line.sendall(b"\0\xffS" * 100)
        with keeping.announce() as next_one:
            next_one.sendall(_spec("true"))
            assert _told(next_one, b"gone") == ["started", "exited", "gone"]
        other.sendall(b"kill\n")
        assert _told(other, b"gone") == ["exited", "gone"]


def test_a_guardian_that_gets_garbage(keeping: Keeping) -> None:
    """Words that it does not know and keepers that end at once cost the others nothing."""
    with keeping.announce() as other:
        other.sendall(_spec("sleep", "60"))
        assert _told(other, b"started") == ["started"]
        keeping.service.sendall(b"\0\xffxK" + b"B" + (1).to_bytes(4, "big"))
        with Path(os.devnull).open("rb") as null:
            socket.send_fds(keeping.service, [b"K"], [null.fileno()])
        keeping.service.settimeout(30)
        assert keeping.service.recv(1) == b"b"
        with keeping.announce() as next_one:
            next_one.sendall(_spec("true"))
            assert _told(next_one, b"gone") == ["started", "exited", "gone"]
        other.sendall(b"kill\n")
        assert _told(other, b"gone") == ["exited", "gone"]
