"""The watchdog of the embedded PostgreSQL: a shell that stops the server when the service is gone, even by SIGKILL.

It reads a pipe whose other end only the service has open. It holds a lock as long as it runs; the next service waits
for this lock before it looks for a running server.

| Message on the pipe | Meaning |
|---|---|
| `starting`, one line | the server is being started: at the end of file, wait up to 5 s for its process id |
| `running`, one line | the server runs |
| end of file | the service is gone: fast shutdown (SIGINT, keeps all commits), after a while SIGQUIT, then end |
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import subprocess
from contextlib import suppress
from pathlib import Path

from smartmob.errors import DatabaseError
from smartmob.kernel.embedded.account import DatabaseUser

LOCK = "watchdog.lock"
_WAIT_SECONDS = 60.0  # for the watchdog of an earlier service
_RETRY_SECONDS = 0.05  # between two attempts to get the lock
_QUIT_SECONDS = 20.0  # between SIGINT and SIGQUIT

# The server is recognised by its process id and its working directory, which is the cluster: the id may belong to
# another program meanwhile. The loops count tenths of a second.
_SCRIPT = """
trap '' HUP INT TERM
state=running
while read -r word; do state=$word; done
found() { read -r pid < postmaster.pid && [ "/proc/$pid/cwd" -ef . ]; }
n=0
until found; do
    [ "$state" = starting ] && [ "$n" -lt 50 ] || exit 0
    n=$((n + 1))
    sleep 0.1
done
kill -INT "$pid"
n=0
while found && [ "$n" -lt 300 ]; do
    n=$((n + 1))
    [ "$n" -eq "$1" ] && kill -QUIT "$pid"
    sleep 0.1
done
"""


class PostgresWatchdog:
    """The watchdog of the cluster in the folder `home`. It runs as the user of the server."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """Return the process id, or None before the start."""
        return None if self._process is None else self._process.pid

    async def wait_for_earlier(self) -> None:
        """Wait until the watchdog of an earlier service has stopped the server; raises DatabaseError after a minute."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + _WAIT_SECONDS
        while (lock := self._lock()) is None:
            if loop.time() > deadline:
                raise DatabaseError(
                    f"the database in {self._home} is still being shut down after an earlier service; start again later"
                )
            await asyncio.sleep(_RETRY_SECONDS)
        os.close(lock)

    def start(self, account: DatabaseUser, *, quit_after: float = _QUIT_SECONDS) -> None:
        """Start the watchdog unless it runs. The server gets `quit_after` seconds for its shutdown, then SIGQUIT.

        Raises DatabaseError.
        """
        if self._process is not None and self._process.poll() is None:
            return
        self.release()
        lock = self._lock()
        if lock is None:
            raise DatabaseError(f"another watchdog already monitors the database in {self._home}")
        try:
            self._process = subprocess.Popen(
                ["/bin/sh", "-c", _SCRIPT, "watchdog", str(int(quit_after * 10))],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                bufsize=0,
                pass_fds=[lock],
                cwd=self._home / "cluster",
                env={"PATH": "/usr/bin:/bin", "LC_ALL": "C"},
                start_new_session=True,
                **account.popen_options(),
            )
        except OSError as error:
            raise DatabaseError(f"the watchdog of the embedded PostgreSQL cannot be started: {error}") from None
        finally:
            os.close(lock)

    def send_state(self, state: str) -> None:
        """Send the state of the server, `starting` or `running`."""
        if self._process is not None and self._process.stdin is not None:
            with suppress(BrokenPipeError):
                self._process.stdin.write(f"{state}\n".encode())

    def release(self, seconds: float = 0.0) -> None:
        """Close the pipe, and wait at most `seconds` for the watchdog, which stops a server that still runs."""
        if self._process is not None:
            assert self._process.stdin is not None
            self._process.stdin.close()
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(seconds)

    def kill(self) -> None:
        """Kill the watchdog, and leave the server running."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self.release()

    def _lock(self) -> int | None:
        """Take the lock and return its descriptor, or None when a watchdog has it."""
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        descriptor = os.open(self._home / LOCK, flags, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return None
        return descriptor
