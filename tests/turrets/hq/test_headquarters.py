"""The headquarters under load and with a database that goes away: nothing is lost, and it does not grow."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest
import zmq
import zmq.asyncio

from smartmob.app import build
from smartmob.feature_settings import DatabaseSettings
from smartmob.kernel.db.writer import GroupCommitWriter
from smartmob.kernel.runtime import clock
from smartmob.kernel.runtime.events import EventBus
from smartmob.kernel.runtime.tasks import TaskRegistry
from smartmob.kernel.services.service_registry import ServiceRegistry
from smartmob.settings import Settings
from smartmob.turrets.hq import headquarters
from smartmob.turrets.hq.headquarters import Headquarters
from smartmob.turrets.hq.machine_events import RunRequested, RunState
from smartmob.turrets.hq.run_recorder import RunRecorder
from smartmob.turrets.model import RunConfig
from smartmob.turrets.protocol import Result
from tests.conftest import running
from tests.kernel.proxy import proxy_to
from tests.serving import built_with_database
from tests.turrets.conftest import QUICK, Recruit
from tests.turrets.messages import oct_result, slice_of
from tests.turrets.runs import ask, get, post, until_over, until_state
from tests.turrets.scripted import OctTurret, OwnTurret, connected, where
from tests.turrets.stored import Store
from tests.waiting import until

pytestmark = pytest.mark.timeout(900)

FLOOD = 30_000


async def test_a_flood_is_stored_completely_and_in_order(
    lab: Any, recruit: Recruit, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More results than may wait at a time come faster than they can be stored, and are all stored, each once."""
    monkeypatch.setattr(headquarters, "PAUSE_ROWS", 20_000)
    monkeypatch.setattr(headquarters, "RESUME_ROWS", 10_000)
    turret = await recruit(lab)
    run = await ask(lab, run_time=3600)
    await turret.until_told("start")
    context = zmq.asyncio.Context()
    pusher = context.socket(zmq.PUSH)
    pusher.connect(f"tcp://127.0.0.1:{(await where(lab))[2]}")
    for number in range(FLOOD):
        await pusher.send(oct_result(scriptrun_time=number / 1e6, elapsed=0.1))

    async def all_there() -> bool:
        return bool((await get(lab, f"/turret-runs/{run['id']}"))["transactions"] == FLOOD)

    await until(all_there)
    async with lab.post(f"/turret-runs/{run['id']}/stop"):
        pass
    await until_over(lab, run["id"])
    context.destroy(linger=0)
    connection = await asyncpg.connect(database_url)
    row = await connection.fetchrow(
        "SELECT count(*) AS count, count(DISTINCT scriptrun_time) AS distinct FROM turret_results"
    )
    assert tuple(row) == (FLOOD, FLOOD)
    in_order = await connection.fetchval(
        "SELECT bool_and(ok) FROM (SELECT scriptrun_time > lag(scriptrun_time) OVER (ORDER BY batch, seq) AS ok "
        "FROM turret_results) AS placed"
    )
    assert in_order
    await connection.close()
    assert (await get(lab, f"/turret-runs/{run['id']}/summary"))["transactions"] == FLOOD


async def test_reading_pauses_while_too_many_rows_wait(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """As long as no batch is committed, the received rows are bounded; afterwards every result is stored, once."""
    monkeypatch.setattr(headquarters, "PAUSE_ROWS", 2_000)
    monkeypatch.setattr(headquarters, "RESUME_ROWS", 1_000)
    count, run, tasks = 10_000, RunState(str(uuid4()), RunConfig(run_time=600), "waiting", clock.now()), TaskRegistry()
    # It commits nothing until it is started.
    writer = GroupCommitWriter("turrets", store.database, store.writer.commit)
    hq = Headquarters(
        "here",
        ServiceRegistry(store.database, Settings(service_name="here")),
        QUICK,
        writer,
        RunRecorder(store.reader, store.writer),
        EventBus(),
        insecure=False,
    )
    await hq.open(tasks)
    await store.writer.insert_run("here", run, b'{"run_time": 600}', None)
    orders, results, _ = hq.ports
    async with connected(OctTurret("127.0.0.1", orders, results)) as turret:
        hq.begin(RunRequested(run.id, run.config, run.created_at))
        await turret.until_told("start")
        async with asyncio.TaskGroup() as group:
            group.create_task(turret.fire(*({"elapsed": 0.1} for _ in range(count))))
            await until(lambda: hq.paused or _received(hq) == count)
            assert hq.paused
            assert 2_000 <= _received(hq) < count
            await writer.start(tasks)
        await until(lambda: _received(hq) == count and hq.pending == 0)
    await hq.close()
    await writer.close()
    await tasks.close()
    assert (await store.reader.totals(UUID(run.id))).results == count


def _received(hq: Headquarters) -> int:
    snapshot = hq.snapshot()
    return 0 if snapshot is None else snapshot.totals.transactions


async def test_no_result_is_lost_while_the_database_is_away(
    settings: Settings, database_url: str, recruit: Recruit
) -> None:
    """Only stored messages are acknowledged; those that came in the meantime are stored afterwards."""
    async with proxy_to(database_url) as proxy:
        away = replace(
            settings, turrets=replace(QUICK, drain=60.0), database=DatabaseSettings(url=proxy.url, patience=60.0)
        )
        service, database = built_with_database(away)
        async with running(service) as client:
            own, oct_turret = await recruit(client, OwnTurret), await recruit(client, OctTurret)
            run = await ask(client, run_time=3.0, min_turrets=2)
            await own.until_told("start")
            await own.deliver(slice_of(0, [0.01] * 10))
            await own.until_acknowledged(1)
            proxy.cut()
            database.patience = 0.3
            for number in range(5):
                await own.deliver(slice_of(number, [0.01] * 10))
            await oct_turret.fire(*({"elapsed": 0.1} for _ in range(100)))
            await own.until_told("stop")
            assert own.acknowledged == 1
            proxy.up, database.patience = True, 60.0
            over = await until_over(client, run["id"])
            assert (over["state"], over["transactions"]) == ("finished", 160)
            assert (await get(client, f"/turret-runs/{run['id']}/summary"))["transactions"] == 160


async def test_results_are_republished_to_subscribers(lab: Any, recruit: Recruit) -> None:
    """Single results are sent on under the id of the run, unchanged."""
    turret = await recruit(lab)
    ports = (await get(lab, "/turrets"))["headquarters"]
    context = zmq.asyncio.Context()
    subscriber = context.socket(zmq.SUB)
    subscriber.subscribe("")
    subscriber.connect(f"tcp://127.0.0.1:{ports['external_port']}")
    run = await ask(lab, run_time=3600)
    await turret.until_told("start")
    frame = oct_result(error="a status")
    while not await subscriber.poll(50):
        await turret.send(frame)
    assert await subscriber.recv_multipart() == [run["id"].encode(), frame]
    context.destroy(linger=0)


async def test_a_killed_turret_is_lost_and_its_successor_started(lab: Any, recruit: Recruit) -> None:
    """The results of both count."""
    run = await ask(lab, run_time=3600)
    async with connected(OctTurret(*await where(lab), uuid="first")) as first:
        await first.until_told("start")
        await first.fire({})

        async def counted() -> bool:
            return bool((await get(lab, f"/turret-runs/{run['id']}"))["transactions"])

        await until(counted)  # a message that is still under way is lost with its sender
    second = await recruit(lab, uuid="second")
    await second.answer({"command": "hello"})
    await second.until_told("start")
    await second.fire({}, {})

    async def told() -> bool:
        members = (await get(lab, f"/turret-runs/{run['id']}"))["turrets"]
        return {member["uuid"]: member["alive"] for member in members} == {"first": False, "second": True}

    await until(told)
    await post(lab, f"/turret-runs/{run['id']}/stop")
    over = await until_over(lab, run["id"])
    assert (over["state"], over["transactions"]) == ("stopped", 3)
    summary = await get(lab, f"/turret-runs/{run['id']}/summary")
    assert summary["trust"]["verdict"] == "no"
    assert any("was lost from" in doubt["what"] for doubt in summary["trust"]["doubts"])


async def test_a_refused_row_is_dropped_and_reported(lab: Any, recruit: Recruit, database_url: str) -> None:
    """The next results are stored."""
    turret = await recruit(lab)
    run = await ask(lab, run_time=3600)
    await turret.until_told("start")
    connection = await asyncpg.connect(database_url)
    await connection.execute("ALTER TABLE turret_results ADD CONSTRAINT odd CHECK (elapsed <> 0.25)")
    await turret.fire({"elapsed": 0.25})

    async def dropped() -> bool:
        return bool((await get(lab, f"/turret-runs/{run['id']}"))["counters"]["dropped"])

    await until(dropped)
    await turret.fire({"elapsed": 0.5})
    await post(lab, f"/turret-runs/{run['id']}/stop")
    await until_over(lab, run["id"])
    assert await connection.fetchval("SELECT count(*) FROM turret_results") == 1
    await connection.close()
    trust = (await get(lab, f"/turret-runs/{run['id']}/summary"))["trust"]
    assert any("could not be stored" in doubt["what"] for doubt in trust["doubts"])


async def test_texts_that_are_hard_to_store(lab: Any, recruit: Recruit) -> None:
    """NUL characters, half characters of UTF-16, names of any kind: each result is stored or malformed."""
    turret = await recruit(lab)
    run = await ask(lab)
    await turret.until_told("start")
    await turret.send(
        oct_result(error="a\0b", custom_timers={"c\0d": 0.1, "": 0.2, "'\"<script>": 0.3}),
        b'{"elapsed": 1, "epoch": 1, "scriptrun_time": 1, "error": "\\ud800", "custom_timers": null}',
        oct_result(error=None, turret_name="n\0"),
    )
    over = await until_over(lab, run["id"])
    assert over["transactions"] + over["counters"]["malformed"] == 3
    summary = await get(lab, f"/turret-runs/{run['id']}/summary")
    assert {"c\ufffdd", "(unnamed)", "'\"<script>"} <= set(summary["timers"])


async def test_received_results_are_stored_at_the_stop(settings: Settings, recruit: Recruit) -> None:
    """The next service has all of them."""
    async with running(build(replace(settings, turrets=QUICK))) as client:
        turret = await recruit(client)
        run = await ask(client, run_time=3600)
        await turret.until_told("start")
        await turret.fire(*({} for _ in range(10)))

        async def taken() -> bool:
            return bool((await get(client, f"/turret-runs/{run['id']}"))["transactions"] == 10)

        await until(taken)
    async with running(build(replace(settings, turrets=QUICK))) as client:
        assert (await get(client, f"/turret-runs/{run['id']}/summary"))["timers"]["All transactions"]["count"] == 10


async def test_a_restart_during_a_run_is_reported(settings: Settings, recruit: Recruit) -> None:
    """Results of a turret of OCT may be missing after each restart, and the verdict says so."""
    async with running(build(replace(settings, turrets=QUICK))) as client:
        turret = await recruit(client)
        run = await ask(client, run_time=3600)
        await turret.until_told("start")
        await until_state(client, run["id"], "running")
    for restarts in (1, 2):
        async with running(build(replace(settings, turrets=QUICK))) as client:
            summary = await get(client, f"/turret-runs/{run['id']}/summary")
            assert summary["counters"]["restarts"] == restarts
            assert any(f"was restarted {restarts} time" in doubt["what"] for doubt in summary["trust"]["doubts"])


def test_bounds_fit_together() -> None:
    """Reading begins again before all waiting rows are stored, and results are not tracked by the garbage collector."""
    assert headquarters.RESUME_ROWS < headquarters.PAUSE_ROWS
    assert Result.__struct_config__.gc is False
