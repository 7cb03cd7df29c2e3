"""The keeper's side of its sockets: what it does with what the service says, word by word."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from smartmob.kernel.children import guardian
from smartmob.kernel.children.nursery import Spec
from tests.waiting import until

PACKAGE = Path(guardian.__file__).parents[3]


class Keeping:
    """A guardian with one keeper, spoken to by hand."""

    def __init__(self) -> None:
        self.service, inner = socket.socketpair()
        with inner:
            command = [sys.executable, "-I", "-S", "-c", guardian.START, str(PACKAGE), str(inner.fileno()), "1024"]
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
