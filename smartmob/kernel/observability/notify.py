"""Tells systemd that the service is ready, lives and stops: datagrams as sd_notify(3) has them. Silent without it."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Mapping
from contextlib import suppress


class Notifier:
    """Speaks to the one who started this process, if that wants to know; `env` is this process's environment."""

    def __init__(self, env: Mapping[str, str]) -> None:
        address = env.get("NOTIFY_SOCKET", "")
        # An abstract address begins with NUL, which no variable can hold.
        self._address = "\0" + address[1:] if address.startswith("@") else address
        given, meant = env.get("WATCHDOG_USEC", ""), env.get("WATCHDOG_PID", "")
        watched = given.isdecimal() and int(given) > 0 and meant in ("", str(os.getpid()))
        self._interval = int(given) / 2_000_000 if watched else None
        self._timer: asyncio.TimerHandle | None = None

    def ready(self) -> None:
        """Tell that the work has begun; from now on the running loop tells that it turns, as often as is wanted."""
        self._tell("READY=1")
        if self._interval is not None:
            self._live()

    def stopping(self) -> None:
        """Tell that the end has begun."""
        self._tell("STOPPING=1")

    def close(self) -> None:
        """Tell nothing any more."""
        if self._timer is not None:
            self._timer.cancel()

    def _live(self) -> None:
        assert self._interval is not None
        self._tell("WATCHDOG=1")
        self._timer = asyncio.get_running_loop().call_later(self._interval, self._live)

    def _tell(self, text: str) -> None:
        if not self._address.startswith(("/", "\0")):
            return
        # One that has gone, or does not read, is no reason to stand still.
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            sock.setblocking(False)
            sock.sendto(text.encode(), self._address)
