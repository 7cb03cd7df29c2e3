"""The services that use one database."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from smartmob.kernel.db.database import Database
from smartmob.kernel.runtime import clock
from smartmob.kernel.runtime.tasks import TaskRegistry
from smartmob.kernel.services.service_registry import LEASE_SECONDS, ServiceRegistry
from smartmob.settings import Settings


async def test_a_service_keeps_its_id(database: Database, tmp_path: Path) -> None:
    """Without a name it is that of the data directory, also after a restart; another directory has another one."""
    ids_found = []
    for folder, name in ((tmp_path / "a", None), (tmp_path / "a", None), (tmp_path / "b", None), (tmp_path, "rack7")):
        services = ServiceRegistry(database, Settings(data_dir=folder, service_name=name))
        await services.start()
        ids_found.append(services.id)
    first, again, second, named = ids_found
    assert first == again != second
    assert named == "rack7"
    others = {other.id: other.runs for other in await services.others()}
    assert others == {first: True, second: True}


async def test_a_service_that_has_not_renewed_its_row_does_not_run(database: Database, tmp_path: Path) -> None:
    """The database's clock counts, not those of the services, and a service that ends in order is missed at once."""
    gone = ServiceRegistry(database, Settings(data_dir=tmp_path, service_name="gone"))
    here = ServiceRegistry(database, Settings(data_dir=tmp_path, service_name="here"))

    async def runs() -> bool:
        [other] = await here.others()
        return other.runs

    tasks = TaskRegistry()
    running = gone.run(tasks)
    await anext(running)
    with pytest.MonkeyPatch.context() as patch:
        later = clock.now() + timedelta(hours=3)
        patch.setattr(clock, "now", lambda: later)
        assert await runs()
    await database.fetch("UPDATE services SET seen_at = now() - make_interval(secs => $1)", LEASE_SECONDS - 5)
    assert await runs()
    await database.fetch("UPDATE services SET seen_at = now() - make_interval(secs => $1)", LEASE_SECONDS)
    assert not await runs()
    await gone.start()
    assert await runs()
    assert await anext(running, None) is None
    assert not await runs()
    await tasks.close()
