"""Whether the service lives, and whether it can do its work now."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

import structlog

from smartmob.errors import SmartmobError, Unavailable
from smartmob.kernel.db.database import Database
from smartmob.kernel.runtime.datadir import DataDirectory
from smartmob.kernel.runtime.tasks import TaskRegistry

log = structlog.get_logger()

Check = Callable[[], Awaitable[None]]

LEAST_FREE_BYTES = 64 * 1024 * 1024


class Readiness:
    """The checks that must pass before the service is given work. A check raises a SmartmobError that says why not."""

    def __init__(self) -> None:
        self._checks: dict[str, Check] = {}
        self.stopping = False

    def add(self, name: str, check: Check) -> None:
        """Ask `check` under the name `name`."""
        self._checks[name] = check

    async def ask(self) -> Mapping[str, str]:
        """Return what each check says: `ok`, or why it fails."""
        said = {"service": "stopping" if self.stopping else "ok"}
        for name, check in self._checks.items():
            try:
                await check()
            except SmartmobError as error:
                said[name] = str(error)
            except Exception as error:
                log.error("ready.failed", check=name, exc_info=error)
                said[name] = "the check failed; the log tells why"
            else:
                said[name] = "ok"
        return said


def disk_check(folder: DataDirectory) -> Check:
    """Return the check that there is room left in the data directory."""

    async def check() -> None:
        try:
            free = folder.free_bytes()
        except OSError as error:
            raise Unavailable(f"{folder.path} cannot be looked at: {error.strerror}") from None
        if free < LEAST_FREE_BYTES:
            raise Unavailable(f"only {free // 1024**2} MiB are free in {folder.path}")

    return check


def tasks_check(tasks: TaskRegistry) -> Check:
    """Return the check that every supervised task is alive."""

    async def check() -> None:
        dead = tasks.dead()
        if dead:
            told = ", ".join(f"{name} ({why})" for name, why in sorted(dead.items()))
            raise Unavailable(f"died and is started again: {told}; the log tells why")

    return check


def database_check(database: Database) -> Check:
    """Return the check that the database answers."""
    return database.ping
