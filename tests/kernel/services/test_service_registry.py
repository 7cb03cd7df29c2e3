"""The services that use one database."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from smartmob.kernel.db.database import Database
from smartmob.kernel.runtime import clock
from smartmob.kernel.services.service_registry import ServiceRegistry
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


async def test_a_service_that_has_not_been_seen_does_not_run(database: Database, tmp_path: Path) -> None:
    """It has missed six renewals of its row."""
    await ServiceRegistry(database, Settings(data_dir=tmp_path, service_name="gone")).start()
    await database.fetch("UPDATE services SET seen_at = $1", clock.now() - timedelta(seconds=61))
    [gone] = await ServiceRegistry(database, Settings(data_dir=tmp_path, service_name="here")).others()
    assert not gone.runs
