"""The services that use one database: the identity of this one, and the rows of all of them."""

from __future__ import annotations

import asyncio
import socket
import uuid
from collections.abc import AsyncIterator
from datetime import datetime
from pathlib import Path

import msgspec

import smartmob
from smartmob.errors import Unavailable
from smartmob.kernel.db import queries
from smartmob.kernel.db.database import Database
from smartmob.kernel.observability.event_logger import get_logger
from smartmob.kernel.runtime import clock
from smartmob.kernel.runtime.datadir import DirectoryId
from smartmob.kernel.runtime.tasks import TaskRegistry
from smartmob.settings import Settings

log = get_logger()

PACKAGE = "smartmob.kernel.services"

_TOUCH_SECONDS = 5.0
"""The interval at which a service renews its row."""
LEASE_SECONDS = 4 * _TOUCH_SECONDS
"""The age of a row, by the database's clock, after which its service counts as stopped: four missed renewals."""

_SHOWN_SECONDS = 86_400.0
"""The time for which the pages show a service that has stopped, with its last activity."""


class OtherService(msgspec.Struct, frozen=True):
    """Another service on the database. `runs` is whether it has renewed its row lately."""

    id: str
    machine: str
    boot: str
    version: str
    address: str | None
    started_at: datetime
    seen_at: datetime
    runs: bool


class ServiceRegistry:
    """Registers this service in the database. Rows that belong to one service have its `id` as part of their key.

    `id` is the setting `service_name`, or else the id in the data directory; it is the same after each restart, and
    empty until `start`. A service is `alone` if the database lies in its data directory, because no other service can
    use that at the same time.
    """

    def __init__(self, database: Database, settings: Settings, *, alone: bool = False) -> None:
        self.alone = alone
        self.id = settings.service_name or ""
        self.boot = _boot_id()
        self.address = settings.service_url
        self._file = settings.data_dir / "service-id"
        self._database = database
        self._sql = queries.load(PACKAGE)

    async def start(self) -> None:
        """Read the id of the data directory, which must be locked, and write the row of this service."""
        self.id = self.id or str(DirectoryId(self._file).value)
        values = (self.id, socket.gethostname(), self.boot, smartmob.__version__, self.address, clock.now())
        await self._database.fetch(self._sql["register"], *values)
        await self._touch()

    async def run(self, tasks: TaskRegistry) -> AsyncIterator[None]:
        """Register this service, yield, and then mark its row as ended, so that the others see this at once."""
        await self.start()
        renewal = tasks.supervise("service-renewal", self.run_renewal)
        yield
        renewal.cancel()
        try:
            await self._database.execute_at_once(self._sql["leave"], self.id, LEASE_SECONDS)
        except Unavailable as error:
            log.warning("service.not_renewed", reason=str(error))

    async def run_renewal(self) -> None:
        """Background task: renew the row of this service."""
        while True:
            await asyncio.sleep(_TOUCH_SECONDS)
            try:
                await self._touch()
            except Unavailable as error:
                log.warning("service.not_renewed", reason=str(error))

    async def _touch(self) -> None:
        """Renew the row. The time is that of the database, since the clocks of two services may differ by hours."""
        await self._database.fetch(self._sql["touch"], self.id)

    async def others(self) -> list[OtherService]:
        """Return the other services that have ever used the database, oldest first."""
        rows = await self._database.fetch(self._sql["select_others"], self.id, LEASE_SECONDS)
        return [OtherService(**dict(row)) for row in rows]

    async def set_activity(self, activity: str, output_folder: str) -> None:
        """Write the activity of this service, as JSON, and the id of the folder that has the output of its jobs."""
        await self._database.fetch(self._sql["set_activity"], self.id, activity, output_folder)

    async def activities(self) -> dict[str, str]:
        """Return the last written activity of each other service that was seen in the last day, by service id."""
        if self.alone:
            return {}
        rows = await self._database.fetch(self._sql["select_activities"], self.id, _SHOWN_SECONDS)
        return {row["id"]: row["activity"] for row in rows}

    async def keeping(self, output_folder: str) -> str | None:
        """Return the id of the other running service whose jobs have their output in the folder of this id, or None."""
        rows = await self._database.fetch(self._sql["select_keeping"], self.id, output_folder, LEASE_SECONDS)
        return rows[0]["id"] if rows else None


def _boot_id() -> str:
    """Return the boot id of the kernel, or the id of the machine's network hardware where the system has none."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return f"{uuid.getnode():x}"
