"""The use cases of the feature: registration, samples, events on the bus, and maintenance."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
import structlog

from smartmob.app import build
from smartmob.errors import Conflict, InvalidInput, NotAuthenticated, NotFound
from smartmob.hosts import client_ids
from smartmob.hosts.events import HostRegistered, HostSampled, SamplesStored
from smartmob.hosts.service import HostsService, UnsupportableName
from smartmob.kernel.db.database import Database
from smartmob.kernel.runtime import clock
from smartmob.kernel.runtime.events import EventBus
from smartmob.kernel.runtime.tasks import TaskRegistry
from smartmob.settings import Settings
from tests.conftest import running
from tests.hosts.samples import register, sample, snapshot
from tests.waiting import until


async def test_a_name_is_registered_once(feature: Callable[..., HostsService]) -> None:
    """The same password gives the same client id again; another password and closed registration are refused."""
    service = feature()
    client_id, is_new = await service.register("a", "x", may_register=True)
    assert is_new
    assert await service.register("a", "x", may_register=False) == (client_id, False)
    with pytest.raises(NotAuthenticated):
        await service.register("a", "y", may_register=True)
    with pytest.raises(NotAuthenticated):
        await service.register("b", "x", may_register=False)
    with pytest.raises(UnsupportableName):
        await service.register("1", "x", may_register=True)


async def test_one_of_concurrent_registrations_is_new(feature: Callable[..., HostsService]) -> None:
    """Of many requests that register a name at once one is new; those with another password are refused."""
    service = feature()
    same = await asyncio.gather(*(service.register("a", "x", may_register=True) for _ in range(4)))
    assert sum(is_new for _, is_new in same) == 1
    other = await asyncio.gather(
        *(service.register("b", password, may_register=True) for password in "xyz"), return_exceptions=True
    )
    assert [type(outcome) for outcome in other if isinstance(outcome, Exception)] == [NotAuthenticated] * 2


async def test_the_own_machine_has_a_name_without_password(
    feature: Callable[..., HostsService], database: Database
) -> None:
    """No client can authenticate with it; where a client has the name already, another one is used."""
    service = feature(name="rack7")
    await service.start()
    await feature(name="rack7").start()
    assert service.own_name == "rack7"
    assert (await service.queries.host("rack7")).own
    with pytest.raises(NotAuthenticated):
        await service.register("rack7", "x", may_register=True)
    with pytest.raises(NotFound):
        await service.remove("rack7")

    await service.register("rack8", "x", may_register=True)
    second = feature(name="rack8")
    await second.start()
    assert second.own_name == "rack8-service"
    await service.register("rack9", "x", may_register=True)
    await service.register("rack9-service", "x", may_register=True)
    with pytest.raises(InvalidInput, match="--hosts-name"):
        await feature(name="rack9").start()


async def test_a_removed_machine_is_not_verified_and_its_name_is_free(feature: Callable[..., HostsService]) -> None:
    """Its password is not accepted any more, and its name can be registered again."""
    service = feature()
    client_id, _ = await service.register("a", "x", may_register=True)
    await service.remove("a")
    assert service.known(client_id) is None
    with pytest.raises(NotAuthenticated):
        await service.authenticate(client_id, "a")
    assert (await service.register("a", "y", may_register=True))[1]


async def test_own_samples_wait_for_the_database(feature: Callable[..., HostsService], database: Database) -> None:
    """Snapshots that are read while the database is away are all stored, once."""
    bus = EventBus()
    heard: list[HostSampled] = []
    bus.subscribe(HostSampled, heard.append)
    service, tasks = feature(bus, name="rack7"), TaskRegistry()
    await service.start()
    now = clock.epoch()
    for second in range(3):
        service.queue_own(snapshot(at=now + second))
    tasks.start("own", service.run_own_storage())
    service.queue_own(snapshot(at=now + 3))

    async def stored() -> bool:
        return bool(await database.fetchval("SELECT count(*) FROM host_samples") == 4)

    await until(stored)
    await until(lambda: [event.host for event in heard] == ["rack7"] * 4)
    await tasks.close()


async def test_an_own_sample_that_is_refused_is_logged(
    feature: Callable[..., HostsService], database: Database
) -> None:
    """It is logged as an error, and the next ones are stored."""
    service, tasks = feature(name="rack7"), TaskRegistry()
    await service.start()
    await database.run(lambda connection: connection.execute("ALTER TABLE host_samples ADD CHECK (cpu < 50)"))
    with structlog.testing.capture_logs() as logs:
        tasks.start("own", service.run_own_storage())
        service.queue_own(snapshot(at=clock.epoch(), cpu=77.0))
        await until(lambda: logs)
    assert logs[0]["event"] == "hosts.own_samples_failed"
    service.queue_own(snapshot(at=clock.epoch(), cpu=7.0))

    async def stored() -> bool:
        return bool(await database.fetchval("SELECT count(*) FROM host_samples") == 1)

    await until(stored)
    await tasks.close()


async def test_events_are_published_on_the_bus(settings: Settings) -> None:
    """Registrations, stored samples and snapshots of the own machine are published."""
    service = build(settings)
    heard: list[object] = []
    for kind in (HostRegistered, SamplesStored, HostSampled):
        service.bus.subscribe(kind, heard.append)
    async with running(service) as client:
        ident = await register(client)
        await client.post("/client/wood", json=sample(), headers={"Authorization": ident})
        await until(lambda: any(isinstance(event, HostSampled) for event in heard) and SamplesStored(1) in heard)
    assert HostRegistered("wood") in heard


async def test_a_node_gets_a_machine_of_its_own(feature: Callable[..., HostsService]) -> None:
    """With a new key it keeps it; one that reports by itself is not taken over, and neither is the service's own."""
    service = feature(name="own")
    await service.start()
    await service.register("taken", "theirs", may_register=True)
    hashes = service.hashes
    assert await service.admit_node("rack7", "first") == "rack7"
    assert await service.admit_node("rack7", "first") == "rack7"
    first = client_ids.client_id("rack7", "first")
    assert await service.verify(first) == "rack7"
    assert service.hashes == hashes, "a fleet that connects would wait for slow hashes"
    assert await service.admit_node("rack7", "second") == "rack7"
    assert await service.verify(first) is None
    assert await service.admit_node("taken", "x") == "taken-node"
    assert await service.verify(client_ids.client_id("taken", "theirs")) == "taken"
    assert await service.admit_node("own", "x") == "own-node"
    assert await service.admit_node("7rack", "x") == "node-7rack"
    await service.register("taken-node", "x", may_register=True)
    await service.register("both", "x", may_register=True)
    await service.register("both-node", "x", may_register=True)
    with pytest.raises(Conflict):
        await service.admit_node("both", "y")
