"""Readiness, liveness and dependencies of real programs on a running service."""

from __future__ import annotations

from typing import Any

from smartmob.app import build
from smartmob.settings import Settings
from tests.conftest import running
from tests.processes.conftest import SLEEP, Agent
from tests.processes.file_server import FileServer
from tests.waiting import until

PROCFILE = f"""\
migrate: test ! -e broken && echo migrated
web: echo serving; {SLEEP}
worker: echo working; {SLEEP}
wrong: {SLEEP}
"""
OPTIONS = """\
[processes.migrate]
restart = "on-failure"

[processes.web]
depends_on.migrate = "completed"

[processes.web.readiness]
command = "test -e open"
interval = 0.1
timeout = 600
failure_threshold = 1

[processes.worker]
depends_on.web = "ready"

[processes.wrong]
readiness.http = "health"
"""


async def _state(agent: Agent, slug: str, **fields: Any) -> dict[str, Any]:
    """Wait until the status has these fields, and return it."""

    async def there() -> dict[str, Any] | None:
        status = await agent.status(slug)
        return status if fields.items() <= status.items() else None

    found: dict[str, Any] = await until(there)
    return found


async def test_a_program_waits_until_the_others_are_ready(settings: Settings, files: FileServer) -> None:
    """So it does after a restart of the service, which does not repeat what has completed."""
    async with running(build(settings)) as client:
        agent = Agent(client, files)
        source = agent.app(PROCFILE, {"smartmob.toml": OPTIONS})
        for name in ("worker", "web"):
            await agent.create(source, name)
        waiting = await _state(agent, "app.web.0", detail="waits for migrate, which does not exist")
        assert (waiting["ready"], waiting["depends_on"]) == (False, {"migrate": "completed"})
        await agent.create(source, "migrate")
        unready = await until(lambda: _failing(agent))
        assert unready["readiness"]["detail"] == "its command exited 1"
        waiting = await _state(agent, "app.worker.0", state="waiting")
        assert waiting["detail"] == "waits for app.web.0 to be ready (running, not ready)"
        folder = next((settings.data_dir / "processes" / "copies").glob("app.web.0@*"))
        (folder / "open").touch()
        await agent.become("app.worker.0", "running")
        ready = await _state(agent, "app.web.0", ready=True)
        assert ready["readiness"] == unready["readiness"] | {"state": "passing", "failures": 0, "detail": None}
        async with client.get("/metrics") as response:
            assert 'smartmob_process_ready{slug="app.web.0"} 1.0' in await response.text()
        (folder / "open").unlink()
        await _state(agent, "app.web.0", ready=False)
        assert (await agent.status("app.worker.0"))["state"] == "running"
        kinds = ["created", "waiting", "started", "not ready", "ready", "not ready"]
        await until(lambda: _has_events(agent, "app.web.0", kinds))
        (folder / "open").touch()
    async with running(build(settings)) as client:
        agent = Agent(client, files)
        await agent.become("app.worker.0", "running")
        assert (await agent.status("app.migrate.0"))["state"] == "stopped"


async def _has_events(agent: Agent, slug: str, kinds: list[str]) -> bool:
    """Return whether these are the events, which are stored a moment after their state is shown."""
    return [event["kind"] for event in await agent.events(slug)] == kinds


async def _has_event(agent: Agent, slug: str, kind: str) -> bool:
    return kind in [event["kind"] for event in await agent.events(slug)]


async def _failing(agent: Agent) -> dict[str, Any] | None:
    status = await agent.status("app.web.0")
    return status if status["readiness"]["state"] == "failing" else None


async def test_a_dependency_that_fails_for_good_stops_those_that_wait(agent: Agent) -> None:
    """Each says why; a restart tries again, and a fault of one process type refuses that one only."""
    source = agent.app(PROCFILE, {"smartmob.toml": OPTIONS, "broken": ""})
    for name in ("worker", "web", "wrong"):
        await agent.create(source, name)
    assert (await _state(agent, "app.wrong.0", state="no procfile"))["detail"] == (
        "smartmob.toml: [processes.wrong]: readiness: http 'health': expected a path such as /health, or an http:// or "
        "https:// address"
    )
    await agent.create(source, "migrate", restart="never")
    failed = await _state(agent, "app.web.0", state="dependency failure")
    assert failed["detail"].startswith("app.migrate.0 did not succeed: exited 1; not started again")
    failed = await _state(agent, "app.worker.0", state="dependency failure")
    assert failed["detail"] == "app.web.0 cannot be started: dependency failure"
    await agent.post("delete", "app.migrate.0")
    await agent.post("restart", "app.web.0")
    await _state(agent, "app.web.0", detail="waits for migrate, which does not exist")
    await agent.post("stop", "app.web.0")
    await agent.create(source, "migrate", command="echo done")
    await agent.post("restart", "app.web.0")
    await agent.become("app.web.0", "running")


async def test_a_program_whose_liveness_check_fails_is_ended_and_started_again(agent: Agent) -> None:
    """Its restart policy decides; a check that has never passed leads to pauses, and a stop ends the checks."""
    source = agent.app(f"web: trap 'exit 0' TERM; touch live; while :; do sleep 0.01; done\nsilent: {SLEEP}\n")
    alive = {"command": "test -e live", "interval": 0.1, "timeout": 600, "failure_threshold": 1, "initial_delay": 0.3}
    await agent.create(source, liveness=alive, restart="on-failure")

    async def passes() -> bool:
        return bool((await agent.status("app.web.0"))["liveness"]["state"] == "passing")

    await until(passes)  # now the program has its trap
    await agent.post("signal", "app.web.0", {"signal": "TERM"})
    ended = await _state(agent, "app.web.0", state="stopped")
    assert (ended["exit_status"], ended["liveness"]["state"]) == (0, None)
    await agent.create(source, "silent", liveness=alive | {"command": "exit 4"})
    status = await _state(agent, "app.silent.0", state="backoff")
    assert status["detail"] == "its liveness check fails: its command exited 4"
    assert status["exit_signal"] == 15
    await until(lambda: _has_event(agent, "app.silent.0", "unhealthy"))
    once = {"liveness": alive | {"command": "exit 4"}, "restart": "never", "node": "silent.1"}
    await agent.create(source, "silent", **once)
    ended = await _state(agent, "app.silent.1", state="stopped")
    assert ended["detail"] == (
        "its liveness check fails: its command exited 4; not started again, because its restart policy is 'never'"
    )


async def test_what_a_request_asks_for_is_checked_at_once(agent: Agent) -> None:
    """Unknown names, cycles, and checks that are none, each with the field and a hint."""
    source = agent.app(PROCFILE, {"smartmob.toml": OPTIONS})
    await agent.create(source, "migrate", restart="never")
    for name, field, hint in (
        ({"depends_on": {"migrat": "completed"}}, "$.depends_on", "did you mean 'migrate'?"),
        ({"depends_on": {"migrate": "done"}}, "$.depends_on", "done"),
        ({"depends_on": {"worker": "ready"}}, "$.depends_on", "it depends on itself"),
        ({"readiness": {"http": "/", "tcp": 1}}, "$.readiness", "exactly one of http, tcp and command"),
        ({"liveness": {"tcp": "db"}}, "$.liveness", "expected a port"),
        ({"liveness": {"tcp": 1, "periods": 1}}, "$.liveness", "periods"),
    ):
        wanted = {"app": "app", "node": "worker.0", "process_type": "worker", "source_url": source} | name
        async with agent.client.post("/create-process", json=wanted) as response:
            told = await response.text()
            assert response.status in (400, 422), told
            assert field in told, told
            assert hint in told, told
    await agent.create(source, "worker", depends_on={"migrate.0": "completed"})
    assert (await agent.become("app.worker.0", "running"))["depends_on"] == {"migrate.0": "completed"}
    await agent.post("delete", "app.migrate.0")
    wanted = {"app": "app", "node": "migrate.0", "process_type": "migrate", "source_url": source}
    async with agent.client.post("/create-process", json=wanted | {"depends_on": {"worker": "started"}}) as response:
        assert "app.migrate.0 -> app.worker.0 -> app.migrate.0" in await response.text()
        assert response.status in (400, 422)
