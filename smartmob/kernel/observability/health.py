"""The readiness of the service: the checks that must pass before it gets work."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Protocol

from smartmob.errors import SmartmobError, Unavailable
from smartmob.kernel.observability.event_logger import get_logger
from smartmob.kernel.runtime.datadir import DataDirectory
from smartmob.kernel.runtime.tasks import TaskRegistry

log = get_logger()

Check = Callable[[], Awaitable[str | None]]
"""Returns None, or a note about what does not work although the service is ready; raises a SmartmobError."""

MIN_FREE_BYTES = 64 * 1024 * 1024
"""Free space in the data directory below which the service is not ready."""


OK = "ok"


def passes(result: str) -> bool:
    """Return whether the result of a check says that it passed."""
    return result.split(";", 1)[0] == OK


class Readiness:
    """The readiness checks, by name. A check raises a SmartmobError with the reason when it fails."""

    def __init__(self) -> None:
        self._checks: dict[str, Check] = {}
        self._quiet: set[str] = set()
        self.stopping = False

    def add(self, name: str, check: Check, *, quiet: bool = False) -> None:
        """Add a check; the result of a `quiet` one is listed only when it fails or has a note."""
        self._checks[name] = check
        if quiet:
            self._quiet.add(name)

    async def run_checks(self) -> Mapping[str, str]:
        """Run all checks; return for each `ok`, `ok; ` with a note, or the reason why it fails."""
        results = {"service": "stopping" if self.stopping else OK}
        for name, check in self._checks.items():
            try:
                note = await check()
            except SmartmobError as error:
                results[name] = str(error)
            except Exception as error:
                log.error("ready.failed", check=name, exc_info=error)
                results[name] = "the check failed; see the log"
            else:
                if note is not None:
                    results[name] = f"{OK}; {note}"
                elif name not in self._quiet:
                    results[name] = OK
        return results


def disk_check(folder: DataDirectory) -> Check:
    """Return the check that the data directory has free space."""

    async def check() -> None:
        try:
            free = folder.free_bytes()
        except OSError as error:
            raise Unavailable(f"{folder.path} cannot be read: {error.strerror}") from None
        if free < MIN_FREE_BYTES:
            raise Unavailable(f"only {free // 1024**2} MiB are free in {folder.path}")

    return check


def tasks_check(tasks: TaskRegistry) -> Check:
    """Return the check that every supervised task is running."""

    async def check() -> None:
        dead = tasks.dead()
        if dead:
            reasons = ", ".join(f"{name} ({why})" for name, why in sorted(dead.items()))
            raise Unavailable(f"ended with an error and is being restarted: {reasons}; see the log")

    return check


class _Pinged(Protocol):
    async def ping(self, seconds: float = 1.0) -> None:
        """Check that the server answers."""


def database_check(database: _Pinged) -> Check:
    """Return the check that the database answers a query."""
    return database.ping
