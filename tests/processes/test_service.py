"""Processes stay in their wanted state through restarts of programs, of the service and of the database."""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import asyncpg
import psutil
import pytest

from smartmob.app import build
from smartmob.errors import InvalidInput
from smartmob.feature_settings import DatabaseSettings, ProcessesSettings
from smartmob.kernel.db.database import Database
from smartmob.processes.events import ProcessDeleted, ProcessExited, ProcessStarted
from smartmob.processes.service import signal_number
from smartmob.settings import Settings
from tests.conftest import running
from tests.kernel.proxy import Proxy, proxy_to
from tests.kernel.subprocesses.families import FAMILY, family, living
from tests.processes.archives import make_archive
from tests.processes.conftest import SLEEP, Agent, lines, to_the_end, until_line
from tests.processes.file_server import FileServer
from tests.serving import built_with_database
from tests.waiting import until


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV])
async def test_a_killed_program_is_started_again_at_once(agent: Agent, number: signal.Signals) -> None:
    """It has the same port, and the status shows the signal."""
    before = await agent.run(SLEEP)
    os.kill(before["pid"], number)

    async def again() -> dict[str, Any] | None:
        status = await agent.status("app.web.0")
        return status if status["restarts"] == 1 and status["pid"] else None

    after = await until(again)
    assert (after["exit_signal"], after["exit_status"], after["port"]) == (number, None, before["port"])
    assert after["pid"] != before["pid"]


async def test_a_program_that_exits_with_success_is_started_again(agent: Agent) -> None:
    """The rule of restarts is "always" (seed 002)."""
    await agent.create(agent.app("web: echo done; sleep 0.05\n"))
    console = await agent.attach(tail=100)
    assert await lines(console, 3) == ["done"] * 3


async def test_a_program_that_keeps_exiting_early_backs_off(agent: Agent) -> None:
    """The status has the time of the next start and the last lines of output."""
    await agent.create(agent.app("web: echo last words; exit 7\n"))

    async def waits() -> Any:
        status = await agent.status("app.web.0")
        return status["next_try_at"] is not None and status

    status = await until(waits)
    assert (status["state"], status["exit_status"], status["pid"]) == ("backoff", 7, None)
    assert status["output"][-1] == "last words"
    assert status["restarts"] <= 10


async def test_a_missing_command_backs_off(agent: Agent) -> None:
    """The status has the reason."""
    await agent.create(agent.app("web: no-such-program --now\n"))
    status = await agent.become("app.web.0", "backoff")
    assert "there is no 'no-such-program' on the PATH" in status["detail"]


async def test_descendants_of_a_dead_program_end_before_the_next_start(agent: Agent, tmp_path: Path) -> None:
    """A daemon that holds the port would prevent the start."""
    before = await agent.run(f"exec python3 family.py {tmp_path}/pids", {"family.py": FAMILY}, grace=0.2)
    pids = await family(tmp_path / "pids")
    os.kill(before["pid"], signal.SIGKILL)
    await until(lambda: not living(pids))
    await until(lambda: (tmp_path / "pids").read_text().count("\n") == 8)
    await agent.post("delete", "app.web.0")


async def test_a_grandchild_that_holds_the_output_open_does_not_hide_an_exit(agent: Agent) -> None:
    """The program is started again although the pipe stays open."""
    await agent.create(agent.app("web: setsid sleep 601 & echo started; exit 1\n"))
    assert await lines(await agent.attach(tail=100), 2) == ["started"] * 2


async def test_a_restarted_service_restores_its_processes(settings: Settings, files: FileServer) -> None:
    """They need no download; a stopped process stays stopped, and a deleted one or an old lease does not come back."""
    async with running(build(settings)) as client:
        agent = Agent(client, files)
        source = agent.app("web: date >> runs; wc -l < runs; exec sleep 600\n")
        for node in ("web.0", "web.1", "web.2"):
            await agent.create(source, node=node, env={"A": "1"})
            await agent.become(f"app.{node}", "running")
        await agent.post("stop", "app.web.1")
        await agent.post("delete", "app.web.2")
        await agent.create(agent.app(f"web: {SLEEP}\n", path="/leased.tar.gz"), node="web.3", lease=1)
        before = await agent.status("app.web.0")
    assert living([before["pid"]]) == []
    async with running(build(settings)) as client:
        agent = Agent(client, files)
        await agent.become("app.web.0", "running")
        console = await agent.attach(tail=10)
        assert [line.strip() for line in await lines(console, 1)] == ["2"]
        assert (await agent.status("app.web.1"))["state"] == "stopped"
        assert (await client.get("/process-status/app.web.2")).status == 404
        status = await agent.status("app.web.0")
        assert (status["env"], status["created_at"]) == (before["env"], before["created_at"])
        await until(partial(_is_gone, agent, "app.web.3"))
    assert files.asked_for("/app.tar.gz") == 1 + 2  # one request for each create, none for the restart


async def test_a_program_that_is_not_started_again_stays_ended(settings: Settings, files: FileServer) -> None:
    """Its command needs no Procfile; a new service does not run it once more, and a restart does."""
    source = files.file("/app.tar.gz", make_archive("tar.gz", {"data": "1"}))
    async with running(build(settings)) as client:
        agent = Agent(client, files)
        await agent.create(source, restart="never", command="date >> runs; wc -l < runs; exit 3")
        ended = await agent.become("app.web.0", "stopped")
        assert (ended["exit_status"], ended["restart_policy"], ended["restarts"]) == (3, "never", 0)
        assert ended["detail"].startswith("exited 3; not started again")
    async with running(build(settings)) as client:
        agent = Agent(client, files)
        status = await agent.status("app.web.0")
        assert (status["state"], status["exit_status"]) == ("stopped", None)
        console = await agent.attach(tail=10)
        await agent.post("restart", "app.web.0")
        assert [line.strip() for line in await lines(console, 1)] == ["2"]


async def test_no_restore_keeps_processes_stopped_until_the_next_start(settings: Settings, files: FileServer) -> None:
    """They stay wanted, and the next service starts them."""
    async with running(build(settings)) as client:
        await Agent(client, files).run(SLEEP)
    async with running(build(replace(settings, no_restore=True))) as client:
        assert (await Agent(client, files).status("app.web.0"))["state"] == "stopped"
    async with running(build(settings)) as client:
        await Agent(client, files).become("app.web.0", "running")


async def test_a_failed_process_is_prepared_again_by_the_next_service(settings: Settings, files: FileServer) -> None:
    """Its source may be available by then."""
    async with running(build(settings)) as client:
        agent = Agent(client, files)
        await agent.create(files.url("/later.tar.gz"))
        await until(lambda: _state(agent, "download failure"))
    async with running(build(settings)) as client:
        agent = Agent(client, files)
        agent.app(f"web: {SLEEP}\n", path="/later.tar.gz")
        await agent.become("app.web.0", "running", "download failure")
        await agent.post("restart", "app.web.0")
        await agent.become("app.web.0", "running")


async def _is_gone(agent: Agent, slug: str) -> bool:
    async with agent.client.get(f"/process-status/{slug}") as response:
        return response.status == 404


async def _state(agent: Agent, state: str) -> bool:
    return bool((await agent.status("app.web.0"))["state"] == state)


async def test_a_stopping_service_stops_all_processes_in_parallel(settings: Settings, files: FileServer) -> None:
    """Their last output is sent, and viewers get the close code 1001."""
    service = build(settings)
    async with running(service) as client:
        agent = Agent(client, files)
        source = agent.app("web: trap 'echo bye; exit' TERM; echo ready; while :; do sleep 0.01; done\n")
        for number in range(5):
            await agent.create(source, node=f"web.{number}")
        consoles = [await agent.attach(f"app.web.{n}", tail=1) for n in range(5)]
        for console in consoles:
            await until_line(console, "ready")
        await service.stop()
        for console in consoles:
            found, code = await to_the_end(console)
            assert "bye" in found
            assert code == 1001
        wanted = {"app": "app", "node": "web.9", "process_type": "web", "source_url": source}
        assert (await client.post("/create-process", json=wanted)).status == 503


@asynccontextmanager
async def _run_apart(
    settings: Settings, files: FileServer, database_url: str
) -> AsyncIterator[tuple[Agent, Proxy, Database]]:
    """Run a service whose database can be cut off."""
    async with proxy_to(database_url) as proxy:
        away = replace(settings, database=DatabaseSettings(url=proxy.url, patience=60.0))
        service, database = built_with_database(away)
        async with running(service) as client:
            yield Agent(client, files), proxy, database


async def test_without_a_database_nothing_is_created_or_deleted(
    settings: Settings, files: FileServer, database_url: str
) -> None:
    """The answer is 503, and the state before it stays: nothing unstored runs, and an undeleted process continues."""
    async with _run_apart(settings, files, database_url) as (agent, proxy, database):
        before = await agent.run(SLEEP)
        proxy.cut()
        database.patience = 1.0
        wanted = {"app": "app", "node": "web.1", "process_type": "web", "source_url": files.url("/app.tar.gz")}
        async with agent.client.post("/create-process", json=wanted) as response:
            assert response.status == 503
            assert "Retry-After" in response.headers
        assert (await agent.client.get("/process-status/app.web.1")).status == 404
        await agent.post("delete", "app.web.0", status=503)
        assert (await agent.status("app.web.0"))["pid"] == before["pid"]
        # Programs are restarted without the database, and the events are stored later.
        os.kill(before["pid"], signal.SIGKILL)
        await until(lambda: _restarted(agent))
        proxy.up, database.patience = True, 60.0
        await until(lambda: _event(agent, "restarted"))
        await agent.post("delete", "app.web.0")


async def test_a_stop_that_was_refused_can_be_repeated(
    settings: Settings, files: FileServer, database_url: str
) -> None:
    """It is stored then: a restarted service does not start the process."""
    async with _run_apart(settings, files, database_url) as (agent, proxy, database):
        await agent.run(SLEEP)
        proxy.cut()
        database.patience = 1.0
        await agent.post("stop", "app.web.0", status=503)
        assert (await agent.status("app.web.0"))["state"] == "running"
        proxy.up, database.patience = True, 60.0
        await until(lambda: _stopped(agent))
    async with running(build(settings)) as client:
        assert (await Agent(client, files).status("app.web.0"))["state"] == "stopped"


async def _stopped(agent: Agent) -> bool:
    async with agent.client.post("/stop-process/app.web.0") as response:
        assert response.status in (200, 503)
        return response.status == 200


async def _restarted(agent: Agent) -> bool:
    return bool((await agent.status("app.web.0"))["restarts"])


async def _event(agent: Agent, kind: str) -> bool:
    async with agent.client.get("/process-events") as response:
        return response.status == 200 and kind in [event["kind"] for event in (await response.json())["events"]]


async def test_the_status_shows_the_resource_use_of_the_process_tree(
    with_settings: Callable[..., Any], files: FileServer
) -> None:
    """It shows none when the process does not run."""
    agent = Agent(await with_settings(processes=ProcessesSettings(sample_seconds=0.1)), files)
    await agent.run("sleep 600 & sleep 600 & wait")

    async def sampled() -> bool:
        status = await agent.status("app.web.0")
        return status["processes"] == 3 and status["memory"] > 100_000 and status["cpu_percent"] is not None

    await until(sampled)
    stopped = await agent.post("stop", "app.web.0")
    assert (stopped["processes"], stopped["memory"], stopped["cpu_percent"]) == (None, None, None)


async def test_a_process_above_its_memory_limit_is_ended_and_told(
    with_settings: Callable[..., Any], files: FileServer
) -> None:
    """Without a control group a sample ends it; its status, its output and its events say why, and with which limit."""
    limited = ProcessesSettings(sample_seconds=0.1, cgroup="off", tasks_limit=500)
    agent = Agent(await with_settings(processes=limited), files)
    command = 'python3 -c "import time; x = bytearray(200_000_000); time.sleep(600)"'
    created = await agent.create(
        agent.app(f"web: {command}\n"), restart="never", limits={"memory": 64 << 20, "cpu": 0.5}
    )
    assert "limits" not in created
    status = await agent.become("app.web.0", "stopped")
    assert "of memory, and its limit is 64 MiB" in status["detail"]
    assert (status["exit_signal"], status["limits"]) == (9, {"memory": 64 << 20, "cpu": 0.5, "tasks": 500})
    assert status["limits_enforced"] == {"memory": "sampling", "cpu": "none", "tasks": "sampling"}

    async def is_told() -> bool:
        said = [event["detail"].get("text", "") for event in await agent.events("app.web.0")]
        return any("cpu NOT limited (control groups are switched off)" in text for text in said)

    await until(is_told)
    for wrong in ({"memory": "1G"}, {"memory": 1000}, {"cpu": 0}, {"disk": 1}):
        wanted = {"app": "a", "node": "b", "process_type": "web", "source_url": "http://host/a", "limits": wrong}
        async with agent.client.post("/create-process", json=wanted) as answer:
            assert answer.status in (400, 422)
            assert "limits" in (await answer.text())


async def test_starts_exits_and_deletes_are_published_on_the_bus(settings: Settings, files: FileServer) -> None:
    """Other features can subscribe to them."""
    service = build(settings)
    published: list[Any] = []
    for kind in (ProcessStarted, ProcessExited, ProcessDeleted):
        service.bus.subscribe(kind, published.append)
    async with running(service) as client:
        agent = Agent(client, files)
        status = await agent.run(SLEEP)
        await agent.post("delete", "app.web.0")
    assert [type(event) for event in published] == [ProcessStarted, ProcessExited, ProcessDeleted]
    assert (published[0].slug, published[0].pid, published[1].status) == ("app.web.0", status["pid"], -signal.SIGTERM)


async def test_old_events_and_unused_working_copies_are_removed(
    settings: Settings, files: FileServer, tmp_path: Path
) -> None:
    """Events expire after their days, and a working copy is removed with its process."""
    copies = tmp_path / "data" / "processes" / "copies"
    async with running(build(settings)) as client:
        agent = Agent(client, files)
        await agent.run(SLEEP)
        assert len(list(copies.iterdir())) == 1
        await agent.post("delete", "app.web.0")
        assert list(copies.iterdir()) == []
        await until(lambda: _event(agent, "deleted"))
    short_retention = replace(settings, processes=ProcessesSettings(keep_events_days=0.01))
    connection = await asyncpg.connect(settings.database.url)
    await connection.execute("UPDATE process_events SET at = at - interval '1 day'")
    await connection.close()
    async with running(build(short_retention)) as client:
        agent = Agent(client, files)

        async def none() -> bool:
            return await agent.events() == []

        await until(none)


async def test_a_process_whose_subreaper_was_killed_is_started_again(agent: Agent) -> None:
    """Its tree is killed first."""
    before = await agent.run(SLEEP)
    subreaper = psutil.Process(before["pid"]).parent()
    assert subreaper is not None
    subreaper.kill()

    async def again() -> dict[str, Any] | None:
        status = await agent.status("app.web.0")
        return status if status["pid"] not in (None, before["pid"]) else None

    await until(again)
    assert living([before["pid"]]) == []


def test_signals_are_parsed_by_name_and_number() -> None:
    """SIG and upper case are optional."""
    assert {signal_number(name) for name in ("TERM", "SIGTERM", "term", "sigterm", 15, "15")} == {15}
    for name in ("", "X", "0", -5, 65, "SIG", "_DFL"):
        with pytest.raises(InvalidInput, match="there is no signal"):
            signal_number(name)
