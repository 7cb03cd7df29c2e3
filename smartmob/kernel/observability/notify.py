"""Notifications to systemd: ready, alive and stopping (sd_notify(3)). Without systemd it does nothing."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Mapping
from contextlib import suppress


class Notifier:
    """Sends notifications to the service manager that started this process; `env` is the environment of the process."""

    def __init__(self, env: Mapping[str, str]) -> None:
        address = env.get("NOTIFY_SOCKET", "")
        # An abstract address begins with NUL, which a variable cannot contain, so systemd writes @.
        self._address = "\0" + address[1:] if address.startswith("@") else address
        usec, pid = env.get("WATCHDOG_USEC", ""), env.get("WATCHDOG_PID", "")
        watched = usec.isdecimal() and int(usec) > 0 and pid in ("", str(os.getpid()))
        # Half of the watchdog's interval, in seconds, as sd_watchdog_enabled(3) recommends.
        self._interval = int(usec) / 2_000_000 if watched else None
        self._timer: asyncio.TimerHandle | None = None

    def ready(self) -> None:
        """Report that the service is ready; from now on the event loop reports regularly that it is alive."""
        self._send("READY=1")
        if self._interval is not None:
            self._keep_alive()

    def stopping(self) -> None:
        """Report that the stop has begun."""
        self._send("STOPPING=1")

    def close(self) -> None:
        """Stop reporting."""
        if self._timer is not None:
            self._timer.cancel()

    def _keep_alive(self) -> None:
        assert self._interval is not None
        self._send("WATCHDOG=1")
        self._timer = asyncio.get_running_loop().call_later(self._interval, self._keep_alive)

    def _send(self, text: str) -> None:
        if not self._address.startswith(("/", "\0")):
            return
        # A service manager that is gone or does not read must not block the service.
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            sock.setblocking(False)
            sock.sendto(text.encode(), self._address)
