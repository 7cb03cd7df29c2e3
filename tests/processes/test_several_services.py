"""Several services on one database: each has processes and a machine of its own."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import msgspec
import structlog

from smartmob.app import build
from smartmob.kernel.db.database import Database
from smartmob.kernel.runtime import ids
from smartmob.kernel.services.service_registry import ServiceRegistry
from smartmob.processes.model import ProcessEvent
from smartmob.processes.store import DeleteProcess, ProcessStore, StoredEvent, UpdateProcess
from smartmob.settings import Settings
from tests.conftest import running
from tests.processes.conftest import SLEEP, Agent
from tests.processes.file_server import FileServer
from tests.processes.test_store import NOW, WEB, Commits


async def test_each_service_has_processes_of_its_own(database: Database) -> None:
    """The same name, changes, deletions and old events of one service do not touch those of the other."""
    first, second = Commits(database, "a"), Commits(database, "b")
    event = StoredEvent(ids.uuid7(), ProcessEvent(slug=WEB.slug, at=NOW, kind="created"))
    await first([WEB, event])
    assert await second.store.definitions() == []
    await second([WEB, event, UpdateProcess(WEB.slug, NOW, wanted=False)])
    assert await first.store.definitions() == [WEB]
    assert await second.store.count_others() == {"a": 1}
    assert await first.store.count_others() == {}
    await second.store.expire(NOW + timedelta(days=1))
    await second([DeleteProcess(WEB.slug)])
    assert await second.store.events(None, None, None, None, 9) == []
    assert await first.store.events(None, None, None, None, 9) == [event]
    assert await first.store.definitions() == [WEB]


async def test_processes_of_an_earlier_version_belong_to_the_first_service(database: Database) -> None:
    """Its rows have no service; the second service finds none."""
    earlier, first, second = Commits(database, ""), Commits(database, "a"), Commits(database, "b")
    event = StoredEvent(ids.uuid7(), ProcessEvent(slug=WEB.slug, at=NOW, kind="created"))
    await earlier([WEB, event])
    await first.store.adopt()
    await second.store.adopt()
    assert await first.store.definitions() == [WEB]
    assert await first.store.events(None, None, None, None, 9) == [event]
    assert await second.store.definitions() == []


async def test_a_service_that_is_alone_takes_over_all_processes(database: Database) -> None:
    """Its database was restored from a backup of another service; a name that it uses itself stays its own."""
    other, own = Commits(database, "other"), Commits(database, "own")
    event = StoredEvent(ids.uuid7(), ProcessEvent(slug=WEB.slug, at=NOW, kind="created"))
    api, mine = msgspec.structs.replace(WEB, slug="app.api.0"), msgspec.structs.replace(WEB, command="mine")
    await other([WEB, api, event])
    await own([mine, event])
    store = ProcessStore(database, ServiceRegistry(database, Settings(service_name="own"), alone=True))
    await store.adopt()
    assert await store.definitions() == [api, mine]
    assert await store.events(None, None, None, None, 9) == [event]


async def test_a_service_restores_only_its_own_programs(settings: Settings, files: FileServer, tmp_path: Path) -> None:
    """Another one lists none of them, may use their names, and says at its start that their service does not run."""
    second = replace(settings, data_dir=tmp_path / "second")
    async with running(build(settings)) as client:
        agent = Agent(client, files)
        await agent.run(SLEEP)
        async with running(build(second)) as other:
            assert await (await other.get("/list-processes")).json() == {"processes": []}
            assert await (await other.get("/api/v1/processes")).json()
            own = [host for host in (await (await other.get("/hosts/")).json())["hosts"] if host["own"]]
            assert len(own) == 1
            await Agent(other, files).run("exec sleep 601")
        assert (await agent.status("app.web.0"))["state"] == "running"
    database = Database(settings.database, None)
    await database.open()
    await database.fetch("UPDATE services SET seen_at = seen_at - interval '61 seconds'")
    await database.close()
    with structlog.testing.capture_logs() as logs:
        async with running(build(second)) as other:
            assert (await Agent(other, files).become("app.web.0", "running"))["slug"] == "app.web.0"
    [told] = [entry for entry in logs if entry["event"] == "process.not_restored"]
    assert told["processes"] == 1
    async with running(build(settings)) as client:
        await Agent(client, files).become("app.web.0", "running")
