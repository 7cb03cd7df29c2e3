"""Load tests from the request to the figures, with turrets on real sockets and a real database."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import orjson
import pytest

from smartmob.app import build
from smartmob.kernel.runtime import clock
from smartmob.settings import Settings
from smartmob.turrets.hq.machine_events import RunState
from smartmob.turrets.model import Counters, RunConfig
from smartmob.turrets.service.queries import CurrentRun
from tests.conftest import running
from tests.hosts.samples import register
from tests.turrets.conftest import QUICK, Recruit, restartable
from tests.turrets.messages import oct_result, slice_of
from tests.turrets.report.test_page import Page
from tests.turrets.runs import ask, get, post, results, until_over, until_state
from tests.turrets.scripted import OctTurret, OwnTurret, connected, where
from tests.waiting import SECONDS, until

pytestmark = pytest.mark.timeout(900)


async def _transactions(client: Any, run: str) -> int:
    return int((await get(client, f"/turret-runs/{run}"))["transactions"])


def _run_of_ten_seconds(seconds: float, *, stop_requested: bool = False) -> CurrentRun:
    """Return a finished run whose turrets were told to stop after some seconds."""
    noon = datetime(2026, 11, 23, 12, tzinfo=UTC)
    ceased = noon + timedelta(seconds=seconds)
    ident = "01a20788-1e4e-7206-a499-0770704355fa"
    state = RunState(ident, RunConfig(run_time=10.0), "finished", noon, noon, ceased, ceased, None, stop_requested)
    return CurrentRun(state, 0, 0, Counters(), False, "{}")


@pytest.mark.parametrize(("seconds", "late"), [(9.9, 0.0), (10.0, 0.0), (11.4, 0.0), (30.0, 30.0)])
def test_a_late_stop_is_noticed(seconds: float, late: float) -> None:
    """Orders are repeated each second, so one second is not late."""
    run = _run_of_ten_seconds(seconds)
    assert (run.late_stop_seconds(), run.firing_seconds()) == (late, 10.0)


def test_a_requested_stop_is_not_late() -> None:
    """The run fired until then."""
    run = _run_of_ten_seconds(4.0, stop_requested=True)
    assert (run.late_stop_seconds(), run.firing_seconds()) == (0.0, 4.0)


class TestOctTurret:
    """A run with a turret that speaks as those of OCT."""

    async def test_names_and_failures_are_the_same_after_rebuilding(self, lab: Any, recruit: Recruit) -> None:
        """Odd names have one form everywhere, and each timer has the errors of its transactions."""
        turret = await recruit(lab)
        run = await ask(lab)
        await turret.until_told("start")
        names = ["", "x" * 250, "All transactions", "404", "__proto__", "e\u0301", "\u00e9", "=1+1"]
        timers = {name: 0.01 * (1 + place) for place, name in enumerate(names)}
        await turret.fire(
            *({"elapsed": 0.1 * place, "custom_timers": timers, "error": "no" * (place < 3)} for place in range(5)),
            {"elapsed": 0.2, "custom_timers": {}},
        )
        await until_over(lab, run["id"])
        path = f"/turret-runs/{run['id']}"
        first = await get(lab, f"{path}/summary")
        counted = {name: (row["count"], row["errors"]) for name, row in first["timers"].items()}
        assert counted.pop("All transactions") == (6, 3)
        assert len(counted) == len(names)
        assert set(counted.values()) == {(5, 3)}
        assert "All transactions (timer)" in counted
        assert [set(row["custom_timers"]) for row in await results(lab, run["id"])] == [set(counted)] * 5 + [set()]
        for _ in range(2):
            again = await post(lab, f"{path}/rebuild")
            assert {key: again[key] for key in again if key != "machines"} == {
                key: first[key] for key in first if key != "machines"
            }

    async def test_a_run_is_stored_and_summed_up(self, lab: Any, recruit: Recruit) -> None:
        """Every result is stored, aggregated and counted, also one whose error text has the word status."""
        turret = await recruit(lab)
        run = await ask(lab, name="first", min_turrets=1, results_ts_interval=1)
        assert (run["name"], run["config"]["results_ts_interval"]) == ("first", 1)
        await turret.until_told("start")
        await turret.fire(
            *({"elapsed": 0.01 * n, "scriptrun_time": n / 1000, "custom_timers": {"page": 0.002}} for n in range(100)),
            {"error": 'the "status" was 503'},
        )
        over = await until_over(lab, run["id"])

        assert (over["state"], over["transactions"], over["errors"]) == ("finished", 101, 1)
        summary = await get(lab, f"/turret-runs/{run['id']}/summary")
        own, page = summary["timers"]["All transactions"], summary["timers"]["page"]
        assert (summary["transactions"], summary["errors"], own["count"], page["count"]) == (101, 1, 101, 100)
        assert own["percentiles"]["50"] == pytest.approx(0.05, abs=0.002)
        assert (own["min"], own["max"]) == (0.0, 0.099)
        assert page["avg"] == pytest.approx(0.002)
        assert summary["error_texts"] == [{"text": 'the "status" was 503', "count": 1, "kind": "", "code": ""}]
        assert sum(row["figures"]["count"] for row in summary["intervals"]["All transactions"]) == 101
        assert [member["status"] for member in summary["turrets"]] == ["ready"]
        stored = await results(lab, run["id"])
        assert [result["scriptrun_time"] for result in stored] == [*(n / 1000 for n in range(100)), 0.01]
        assert stored[0]["custom_timers"] == {"page": 0.002}

    async def test_orders_have_the_form_that_oct_turrets_need(self, lab: Any, recruit: Recruit) -> None:
        """Each frame begins with a blank and has a message; requests come at most once a second."""
        began = time.monotonic()
        turret = await recruit(lab)
        run = await ask(lab, transaction_context={"user": "me"})
        await until_over(lab, run["id"])
        took = time.monotonic() - began
        assert all(frame.startswith(b" {") for frame in turret.frames)
        assert all("msg" in order for order in turret.orders)
        commands = [order["command"] for order in turret.orders]
        assert commands.index("set_transaction_context") < commands.index("start") < commands.index("stop")
        # One comes at the request, and one with the last acknowledgements.
        assert commands.count("status_request") <= took + 3

    async def test_a_run_can_be_stopped_before_its_time(self, lab: Any, recruit: Recruit) -> None:
        """Results that come after the stop count, and a second stop changes nothing."""
        turret = await recruit(lab)
        run = await ask(lab, run_time=600)
        await turret.until_told("start")
        await turret.fire({}, {})
        assert (await post(lab, f"/turret-runs/{run['id']}/stop"))["state"] == "draining"
        await turret.until_told("stop")
        await turret.fire({})
        over = await until_over(lab, run["id"])
        assert (over["state"], over["reason"], over["transactions"]) == ("stopped", "stopped by request", 3)
        assert (await post(lab, f"/turret-runs/{run['id']}/stop"))["ended_at"] == over["ended_at"]

    async def test_bad_messages_are_counted_and_reported(self, lab: Any, recruit: Recruit) -> None:
        """Other messages are kept."""
        turret = await recruit(lab)
        run = await ask(lab)
        await turret.until_told("start")
        await turret.send(b"", b"nonsense", b'{"elapsed": "soon"}', oct_result(), b"\xff" * 1000)
        await until_over(lab, run["id"])
        summary = await get(lab, f"/turret-runs/{run['id']}/summary")
        assert (summary["transactions"], summary["counters"]["malformed"]) == (1, 4)
        assert "4 messages that could not be read" in orjson.dumps(summary["trust"]).decode()

    async def test_a_second_run_is_refused(self, lab: Any, recruit: Recruit) -> None:
        """The error says what to do, and the request works after the first run."""
        await recruit(lab)
        run = await ask(lab)
        async with lab.post("/turret-runs", json={"run_time": 1}) as response:
            problem = await response.json(content_type=None)
        assert (response.status, problem["type"]) == (409, "urn:smartmob:problem:conflict")
        assert f"/turret-runs/{run['id']}/stop" in problem["detail"]
        await until_over(lab, run["id"])
        second = await ask(lab)
        await until_over(lab, second["id"])
        listed = (await get(lab, "/turret-runs"))["runs"]
        assert [each["id"] for each in listed] == [second["id"], run["id"]]

    async def test_one_of_many_simultaneous_requests_begins_a_run(self, lab: Any) -> None:
        """The others are refused and leave no run."""

        async def attempt() -> int:
            async with lab.post("/turret-runs", json={"run_time": 1}) as response:
                return int(response.status)

        statuses = await asyncio.gather(*(attempt() for _ in range(8)))
        assert sorted(statuses) == [201] + [409] * 7
        assert len((await get(lab, "/turret-runs"))["runs"]) == 1


class TestOwnTurret:
    """A run with a turret that speaks as ours."""

    async def test_a_run_of_ours_ends_with_its_last_number(self, lab: Any, recruit: Recruit) -> None:
        """Repetitions count once, and a message after a gap waits for the missing one."""
        turret = await recruit(lab, OwnTurret)
        turret.health = {"cpu": 0.5, "busiest": 0.5, "cores": 2, "lag": 0.001, "memory": 50_000_000}
        run = await ask(lab, run_time=3600)
        await turret.until_told("start")
        failed = slice_of(0, [0.01] * 2, errors={"boom": 2}, failed=True)
        first = [slice_of(0, [0.01] * 8), failed, slice_of(0, [0.005] * 10, "page")]
        await turret.deliver(*first)
        await turret.repeat(1, first)
        await turret.repeat(3, [slice_of(1, [0.5])])
        await turret.deliver(slice_of(1, [0.03] * 5))
        await turret.until_acknowledged(2)
        await post(lab, f"/turret-runs/{run['id']}/stop")
        over = await until_over(lab, run["id"])
        assert (over["state"], over["transactions"], over["errors"], over["counters"]["again"]) == (
            "stopped",
            15,
            2,
            1,
        )
        summary = await get(lab, f"/turret-runs/{run['id']}/summary")
        assert summary["timers"]["page"]["count"] == 10
        # What else runs on this machine is no matter of the run.
        told = [doubt["what"] for doubt in summary["trust"]["doubts"] if "processors of" not in doubt["what"]]
        assert told[0] == "The run did not go as planned: stopped by request."
        assert [text.partition(" ")[0] for text in told[1:]] == ["13.3%", "There"]
        (member,) = summary["turrets"]
        assert (member["ours"], member["expected"], member["received"]) == (True, 2, 2)
        assert await results(lab, run["id"]) == []

    async def test_a_missing_message_makes_the_verdict_no(self, lab: Any, recruit: Recruit) -> None:
        """The run waits for the turret before."""
        turret = await recruit(lab, OwnTurret)
        run = await ask(lab)
        await turret.until_told("start")
        turret.sequence = 5
        await until_state(lab, run["id"], "draining")
        await turret.close()
        await until_over(lab, run["id"])
        summary = await get(lab, f"/turret-runs/{run['id']}/summary")
        assert summary["trust"]["verdict"] == "no"

    async def test_numbered_results_are_stored_once_with_their_turret(self, lab: Any, recruit: Recruit) -> None:
        """A run with raw results asks for them."""
        turret = await recruit(lab, OwnTurret)
        run = await ask(lab, results="raw")
        await turret.until_told("start")
        assert next(o for o in turret.orders if o["smartmob"].get("run"))["smartmob"]["run"]["results"] == "raw"
        own = {"uuid": turret.uuid, "run": run["id"], "turret_name": "nav"}
        await turret.send(*(oct_result(sequence=number, **own) for number in (1, 2, 2, 3, 1)))
        turret.sequence = 3
        await until_over(lab, run["id"])
        stored = await results(lab, run["id"])
        assert [(result["turret_name"], result["uuid"]) for result in stored] == [("nav", "own-1")] * 3


class TestMachines:
    """The load of reporting machines during a run."""

    async def test_a_saturated_machine_is_in_the_report(self, lab: Any, database_url: str, recruit: Recruit) -> None:
        """It is in the doubts, in the summary and in the report, also after its samples are deleted."""
        ident = await register(lab, "loadgen7")
        turret = await recruit(lab)
        run = await ask(lab, run_time=3600)
        await turret.until_told("start")
        await turret.fire({})
        load = {"cpu": 99.5, "unix_time": str(clock.epoch())}
        async with lab.post("/client/loadgen7", json=load, headers={"Authorization": ident}) as response:
            assert response.status == 202, await response.text()
        await post(lab, f"/turret-runs/{run['id']}/stop")
        await until_over(lab, run["id"])
        summary = await post(lab, f"/turret-runs/{run['id']}/rebuild")
        assert {"host": "loadgen7", "cpu_avg": 99.5, "cpu_max": 99.5, "fired": False} in summary["machines"]
        connection = await asyncpg.connect(database_url)
        await connection.execute("DELETE FROM host_samples")
        await connection.close()
        async with lab.get(f"/turret-runs/{run['id']}/report") as response:
            assert "The processors of loadgen7 were 100% busy on average" in await response.text()


class TestRestart:
    """The service ends in the middle of a run and is started again."""

    async def test_a_run_goes_on_after_a_restart(self, settings: Settings, recruit: Recruit) -> None:
        """Acknowledged results are there, and numbers go on."""
        fixed = restartable()
        async with running(build(replace(settings, turrets=fixed))) as first:
            turret = await recruit(first, OwnTurret)
            run = await ask(first, run_time=3600)
            await turret.until_told("start")
            await turret.deliver(slice_of(0, [0.01] * 10))
            await turret.until_acknowledged(1)
        async with running(build(replace(settings, turrets=fixed))) as second:
            assert (await get(second, f"/turret-runs/{run['id']}"))["state"] == "running"
            await turret.until_told("status_request", after=len(turret.orders))
            await turret.repeat(1, [slice_of(0, [0.01] * 10)])
            await turret.deliver(slice_of(1, [0.02] * 10))
            await turret.until_acknowledged(2)
            await post(second, f"/turret-runs/{run['id']}/stop")
            over = await until_over(second, run["id"])
            assert (over["state"], over["transactions"]) == ("stopped", 20)
            assert (await get(second, f"/turret-runs/{run['id']}/summary"))["transactions"] == 20

    async def test_a_run_that_ended_during_a_restart_has_fired_for_its_run_time(
        self, settings: Settings, database_url: str, recruit: Recruit
    ) -> None:
        """Neither the time of the restart nor a transaction that ended late makes it longer, and its rate lower."""
        fixed = restartable()
        async with running(build(replace(settings, turrets=fixed))) as first:
            turret = await recruit(first, OwnTurret)
            run = await ask(first, run_time=600)
            await turret.until_told("start")
            await turret.deliver(slice_of(0, [0.01] * 239), slice_of(1, [0.01]))
            await turret.until_acknowledged(1)
        connection = await asyncpg.connect(database_url)
        started = await connection.fetchval("SELECT started_at FROM turret_runs")
        await connection.execute("UPDATE turret_runs SET started_at = $1", started - timedelta(hours=1))
        await connection.execute("UPDATE turret_slices SET second = 600 WHERE second = 1")
        await connection.close()
        async with running(build(replace(settings, turrets=fixed))) as second:
            over = await until_over(second, run["id"])
            summary = await get(second, f"/turret-runs/{run['id']}/summary")
            async with second.get(f"/turret-runs/{run['id']}/report") as response:
                report = Page(await response.text())
            async with second.ws_connect(f"/turret-runs/{run['id']}/live") as socket:
                frame = await socket.receive_json(timeout=SECONDS)
        firing = datetime.fromisoformat(over["ceased_at"]) - datetime.fromisoformat(over["started_at"])
        assert (over["state"], firing.total_seconds(), frame["elapsed"]) == ("finished", 600.0, 600.0)
        assert (summary["transactions"], summary["duration"], summary["rate"]) == (240, 600.0, 0.4)
        assert any(text == "600 s" for text in report.texts)

    async def test_conditions_go_on_after_a_restart(self, settings: Settings, recruit: Recruit) -> None:
        """Values from before the restart count: neither part alone has enough of them to stop the run."""
        limits = [{"condition": "page:p99>10ms", "abort": True}, "errors>50%"]
        slow = [0.02] * 60
        fixed = restartable()
        async with running(build(replace(settings, turrets=fixed))) as first:
            turret = await recruit(first, OwnTurret)
            run = await ask(first, run_time=600, fail_if=limits)
            await turret.until_told("start")
            await turret.deliver(slice_of(0, slow), slice_of(0, slow, "page"))
            await turret.until_acknowledged(1)
            going = (await get(first, f"/turret-runs/{run['id']}/summary"))["conditions"]
            assert [(row["condition"], row["abort"]) for row in going] == [
                ("page:p99>10ms", True),
                ("errors>50%", False),
            ]
        async with running(build(replace(settings, turrets=fixed))) as second:
            assert (await get(second, f"/turret-runs/{run['id']}"))["state"] == "running"
            await turret.until_told("status_request", after=len(turret.orders))
            await turret.deliver(slice_of(1, slow), slice_of(1, slow, "page"))
            over = await until_over(second, run["id"])
            summary = await get(second, f"/turret-runs/{run['id']}/summary")
        assert (over["state"], over["transactions"]) == ("stopped", 120)
        assert over["reason"].startswith("aborted by the condition page:p99>10ms: page: p99 20.0 ms > 10.0 ms")
        told = [(row["state"], row["aborted"], row["samples"]) for row in summary["conditions"]]
        assert told == [("failed", True, 120), ("passed", False, 120)]

    async def test_lost_slices_are_made_again_at_the_start(
        self, settings: Settings, database_url: str, recruit: Recruit
    ) -> None:
        """After a kill the single results are stored, and their slices may not be."""
        async with running(build(replace(settings, turrets=QUICK))) as first:
            turret = await recruit(first)
            run = await ask(first, run_time=3600)
            await turret.until_told("start")
            await turret.fire(*({"scriptrun_time": 0.02, "custom_timers": {"page": 0.01}} for _ in range(50)))
            await until(lambda: _stored(database_url, 50))
        connection = await asyncpg.connect(database_url)
        await connection.execute("DELETE FROM turret_slices")
        await connection.execute("UPDATE turret_batches SET folded = 0")
        await connection.close()
        async with running(build(replace(settings, turrets=QUICK))) as second:
            await post(second, f"/turret-runs/{run['id']}/stop")
            over = await until_over(second, run["id"])
            summary = await get(second, f"/turret-runs/{run['id']}/summary")
            assert (over["transactions"], summary["transactions"]) == (50, 50)
            assert summary["timers"]["page"]["count"] == 50

    async def test_a_waiting_run_begins_after_a_restart(self, settings: Settings, recruit: Recruit) -> None:
        """It is finished by the next service."""
        async with running(build(replace(settings, turrets=QUICK))) as first:
            run = await ask(first)
        async with running(build(replace(settings, turrets=QUICK))) as second:
            await recruit(second)
            assert (await until_over(second, run["id"]))["state"] == "finished"


async def _stored(database_url: str, rows: int) -> bool:
    connection = await asyncpg.connect(database_url)
    try:
        return int(await connection.fetchval("SELECT count(*) FROM turret_results")) == rows
    finally:
        await connection.close()


class TestKeeping:
    """Storing, rebuilding and removing runs."""

    async def test_the_rate_of_a_run_that_was_stopped_late(self, lab: Any, database_url: str, recruit: Recruit) -> None:
        """It is that of the time it fired; and a summary of an earlier version is computed again."""
        run = await _short_run(lab, recruit)
        before = await get(lab, f"/turret-runs/{run}/summary")
        assert (before["duration"], before["version"]) == (0.5, 2)
        connection = await asyncpg.connect(database_url)
        # The summary is answered before it is stored.
        await until(lambda: connection.fetchval("SELECT summary IS NOT NULL FROM turret_runs"))
        started = await connection.fetchval("SELECT started_at FROM turret_runs")
        await connection.execute("UPDATE turret_runs SET ceased_at = $1", started + timedelta(seconds=30))
        await connection.execute("UPDATE turret_slices SET second = 20")
        changed = await connection.execute(
            "UPDATE turret_runs SET summary = jsonb_set(summary::jsonb, '{version}', '1')"
        )
        assert changed == "UPDATE 1"
        await connection.close()
        after = await get(lab, f"/turret-runs/{run}/summary")
        assert after["duration"] == 21.0
        assert after["rate"] == pytest.approx(before["transactions"] / 21)

    async def test_a_rebuilt_summary_is_the_same(self, lab: Any, database_url: str, recruit: Recruit) -> None:
        """Slices and summary are made from the stored results."""
        run = await _short_run(lab, recruit)
        before = await get(lab, f"/turret-runs/{run}/summary")
        connection = await asyncpg.connect(database_url)
        await connection.execute("DELETE FROM turret_slices")
        await connection.close()
        after = await post(lab, f"/turret-runs/{run}/rebuild")
        assert (after["timers"], after["intervals"]) == (before["timers"], before["intervals"])
        assert await get(lab, f"/turret-runs/{run}/summary") == after

    async def test_a_removed_run_leaves_no_rows(self, lab: Any, database_url: str, recruit: Recruit) -> None:
        """All tables are empty afterwards."""
        run = await _short_run(lab, recruit)
        async with lab.delete(f"/turret-runs/{run}") as response:
            assert response.status == 204
        await get(lab, f"/turret-runs/{run}", 404)
        connection = await asyncpg.connect(database_url)
        for table in ("runs", "members", "progress", "batches", "results", "slices", "health"):
            assert await connection.fetchval(f"SELECT count(*) FROM turret_{table}") == 0, table
        await connection.close()

    async def test_an_active_run_cannot_be_removed_or_rebuilt(self, lab: Any) -> None:
        """Both requests are refused."""
        run = (await ask(lab))["id"]
        for method, path in (("DELETE", f"/turret-runs/{run}"), ("POST", f"/turret-runs/{run}/rebuild")):
            async with lab.request(method, path) as response:
                assert response.status == 409

    async def test_runs_older_than_keep_days_are_removed(
        self, settings: Settings, database_url: str, recruit: Recruit
    ) -> None:
        """Their partitions are dropped; newer runs stay."""
        day = datetime.now(UTC) - timedelta(days=3)
        async with running(build(replace(settings, turrets=QUICK))) as client:
            old, young = await _short_run(client, recruit), await _short_run(client, recruit)
        connection = await asyncpg.connect(database_url)
        await connection.execute("UPDATE turret_runs SET created_at = now() - interval '2 days' WHERE run_id = $1", old)
        await connection.execute(
            f"CREATE TABLE turret_slices_{day:%Y%m%d} PARTITION OF turret_slices "
            f"FOR VALUES FROM ('{day:%Y-%m-%d} 00:00+00') TO ('{day:%Y-%m-%d} 24:00+00')"
        )
        async with running(build(replace(settings, turrets=replace(QUICK, keep_days=1.0)))) as client:

            async def gone() -> bool:
                async with client.get(f"/turret-runs/{old}") as response:
                    return bool(response.status == 404)

            await until(gone)
            assert (await get(client, f"/turret-runs/{young}/summary"))["transactions"] == 1
            name = f"turret_slices_{day:%Y%m%d}"
            await until(lambda: _is_missing(connection, name))
        await connection.close()

    async def test_a_service_that_is_no_headquarters_refuses_runs(self, client: Any) -> None:
        """The error says how to start one, and stored runs are still listed."""
        async with client.post("/turret-runs", json={"run_time": 1}) as response:
            problem = await response.json(content_type=None)
        assert (response.status, "--hq" in problem["detail"]) == (409, True)
        assert await get(client, "/turret-runs") == {"runs": []}
        assert await get(client, "/turrets") == {"headquarters": None, "turrets": []}


async def _is_missing(connection: Any, table: str) -> bool:
    return await connection.fetchval("SELECT to_regclass($1)", table) is None


async def _short_run(client: Any, recruit: Recruit) -> str:
    """Return the id of a run that is over and has one result."""
    async with connected(OctTurret(*await where(client), uuid=f"s{id(client)}")) as turret:
        run = await ask(client, run_time=0.5)
        await turret.until_told("start")
        await turret.fire({"custom_timers": {"page": 0.25}, "error": "boom"})
        await until_over(client, run["id"])
    return str(run["id"])
