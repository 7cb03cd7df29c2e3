"""Notifications to systemd, over sockets like systemd's."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from smartmob.kernel.observability.notify import Notifier


@contextmanager
def _listening(address: str) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(address)
        sock.setblocking(False)
        yield sock


def _heard(sock: socket.socket) -> list[str]:
    heard = []
    while True:
        try:
            heard.append(sock.recv(4096).decode())
        except BlockingIOError:
            return heard


@pytest.mark.parametrize("abstract", [False, True])
def test_ready_and_stopping_are_sent(tmp_path: Path, abstract: bool) -> None:
    """Ready and stopping are one datagram each, to a file socket or an abstract one."""
    name = f"smartmob-test-{os.getpid()}-{tmp_path.name}"
    bound, told = (f"\0{name}", f"@{name}") if abstract else (str(tmp_path / "notify"),) * 2
    with _listening(bound) as sock:
        notifier = Notifier({"NOTIFY_SOCKET": told})
        notifier.ready()
        notifier.stopping()
        notifier.close()

        assert _heard(sock) == ["READY=1", "STOPPING=1"]


async def test_the_watchdog_is_notified_regularly(tmp_path: Path) -> None:
    """The event loop reports that it is alive until `close`."""
    with _listening(str(tmp_path / "notify")) as sock:
        notifier = Notifier({"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "20000"})
        loop = asyncio.get_running_loop()
        notifier.ready()

        assert await loop.sock_recv(sock, 4096) == b"READY=1"
        for _ in range(3):
            assert await loop.sock_recv(sock, 4096) == b"WATCHDOG=1"
        notifier.close()


@pytest.mark.parametrize(
    "env",
    [
        {"WATCHDOG_USEC": "0"},
        {"WATCHDOG_USEC": "soon"},
        {"WATCHDOG_USEC": "20000", "WATCHDOG_PID": "1"},
        {},
    ],
)
async def test_without_a_watchdog_only_readiness_is_sent(tmp_path: Path, env: dict[str, str]) -> None:
    """Without an interval, or with one for another process, only readiness is reported."""
    with _listening(str(tmp_path / "notify")) as sock:
        notifier = Notifier({"NOTIFY_SOCKET": str(tmp_path / "notify"), **env})
        notifier.ready()

        assert _heard(sock) == ["READY=1"]


async def test_a_watchdog_for_this_process_counts(tmp_path: Path) -> None:
    """An interval for this process is used."""
    env = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "60000000", "WATCHDOG_PID": str(os.getpid())}
    with _listening(env["NOTIFY_SOCKET"]) as sock:
        notifier = Notifier(env)
        notifier.ready()
        notifier.close()

        assert _heard(sock) == ["READY=1", "WATCHDOG=1"]


@pytest.mark.parametrize("address", ["", "relative", "vsock:2:1234", "/nowhere/notify", "@nobody-listens-here"])
def test_a_missing_socket_is_ignored(address: str) -> None:
    """A missing, invalid or closed socket raises no error."""
    notifier = Notifier({"NOTIFY_SOCKET": address})
    notifier.ready()
    notifier.stopping()
    notifier.close()


def test_a_full_socket_does_not_block(tmp_path: Path) -> None:
    """A full socket delays nothing."""
    with _listening(str(tmp_path / "notify")) as sock:
        notifier = Notifier({"NOTIFY_SOCKET": str(tmp_path / "notify")})
        for _ in range(10_000):
            notifier.stopping()

        assert 0 < len(_heard(sock)) < 10_000
