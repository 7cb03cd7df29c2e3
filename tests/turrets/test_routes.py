"""The routes of load tests: what they take, refuse and stream."""

from __future__ import annotations

import csv
import io
import math
import time
from datetime import datetime
from typing import Any

import aiohttp
import orjson
import pytest

from tests.each import each
from tests.turrets.conftest import Recruit
from tests.turrets.messages import oct_result
from tests.turrets.runs import ask, get, post, until_over
from tests.turrets.scripted import OwnTurret
from tests.turrets.test_project_archive import CONFIG, package
from tests.waiting import SECONDS, until

pytestmark = pytest.mark.timeout(900)

UNKNOWN_RUN = "01a20788-1e4e-7206-a499-0770704355fa"


async def _refused(client: Any, data: bytes, media_type: str = "application/json") -> dict[str, Any]:
    async with client.post("/turret-runs", data=data, headers={"Content-Type": media_type}) as response:
        problem: dict[str, Any] = await response.json(content_type=None)
    assert response.status == 400, problem
    return problem


class TestAsking:
    """POST /turret-runs."""

    @each(
        "body, where",
        [
            (b"{", "$"),
            (b"[]", "$"),
            (b"{}", "$.run_time"),
            (b'{"run_time": -1}', "$.run_time"),
            (b'{"run_time": 1, "min_turrets": "many"}', "$.min_turrets"),
            (b'{"run_time": 1, "name": "a\\u0000b"}', "$.name"),
            (b'{"run_time": 1, "turrets": [{"name": ""}]}', "$.turrets[0].name"),
        ],
    )
    async def test_what_does_not_fit(self, lab: Any, body: bytes, where: str) -> None:
        """It is refused with the path of the field, and there is no run."""
        problem = await _refused(lab, body)
        assert problem["errors"][0]["where"] == where
        assert await get(lab, "/turret-runs") == {"runs": []}

    async def test_a_package_begins_a_run_and_can_be_fetched(self, lab: Any, recruit: Recruit) -> None:
        """Its configuration counts, and it is returned unchanged."""
        await recruit(lab)
        packed = package(("config.json", CONFIG.replace(b"5", b"0.5")), ("v_user.py", b"pass"))
        async with lab.post("/turret-runs", data=packed, headers={"Content-Type": "application/gzip"}) as response:
            run = await response.json()
        assert (response.status, run["run_time"], run["package"]) == (201, 0.5, True)
        async with lab.get(f"/turret-runs/{run['id']}/package") as response:
            assert await response.read() == packed
        await until_over(lab, run["id"])

    async def test_a_wrong_package_is_refused(self, lab: Any) -> None:
        """The error names the problem, or the wrong field of the configuration."""
        assert "not a readable tar archive" in (await _refused(lab, b"nonsense", "application/gzip"))["detail"]
        packed = package(("config.json", b'{"run_time": "long"}'))
        assert "config.json: $.run_time" in (await _refused(lab, packed, "application/x-tar"))["detail"]

    async def test_a_run_without_a_package_has_none(self, lab: Any) -> None:
        """The answer is 404."""
        run = await ask(lab)
        await get(lab, f"/turret-runs/{run['id']}/package", 404)


class TestUnknown:
    """A run that does not exist."""

    @each("ident", [UNKNOWN_RUN, "last", "x" * 500, "%F0%9F%8E%AF"])
    async def test_an_unknown_run_is_not_found_on_any_route(self, lab: Any, ident: str) -> None:
        """The answer is always 404."""
        for method, end in (
            *(("GET", part) for part in ("", "/results", "/summary", "/report", "/package", "/live")),
            *(("POST", part) for part in ("/stop", "/rebuild")),
            ("DELETE", ""),
        ):
            async with lab.request(method, f"/turret-runs/{ident}{end}") as response:
                assert response.status == 404, (method, end)

    async def test_a_report_against_an_unknown_run_is_not_found(self, lab: Any) -> None:
        """The answer is 404."""
        run = await ask(lab)
        await get(lab, f"/turret-runs/{run['id']}/report?against={UNKNOWN_RUN}", 404)


class TestListing:
    """GET /turret-runs."""

    async def test_pages_list_each_run_once(self, lab: Any) -> None:
        """The newest run is first, and the links lead on."""
        made = []
        for _ in range(5):
            made.append((await ask(lab))["id"])
            await post(lab, f"/turret-runs/{made[-1]}/stop")
            await until_over(lab, made[-1])
        found, path = [], "/turret-runs?limit=2"
        while path:
            page = await get(lab, path)
            found += [run["id"] for run in page["runs"]]
            path = page.get("next_url")
        assert found == made[::-1]

    @each("query", ["limit=0", "limit=x", "before=x", "before=WyJhIiwgImIiXQ", "limit=1001"])
    async def test_what_does_not_fit(self, lab: Any, query: str) -> None:
        """It is refused."""
        await get(lab, f"/turret-runs?{query}", 400)


class TestResults:
    """GET /turret-runs/{id}/results."""

    async def test_results_as_csv_have_a_column_for_each_timer(self, lab: Any, recruit: Recruit) -> None:
        """It is empty if a result lacks the timer, and texts may contain anything."""
        turret = await recruit(lab)
        run = await ask(lab)
        await turret.until_told("start")
        await turret.fire({"custom_timers": {"b": 0.5}, "error": 'a "quote",\nand a line'}, {"custom_timers": {"a": 1}})
        await until_over(lab, run["id"])
        async with lab.get(f"/turret-runs/{run['id']}/results", headers={"Accept": "text/csv"}) as response:
            rows = list(csv.DictReader(io.StringIO(await response.text())))
        assert [(row["a"], row["b"], row["error"]) for row in rows] == [
            ("", "0.5", 'a "quote",\nand a line'),
            ("1.0", "", ""),
        ]

    async def test_results_have_the_kind_and_code_of_their_errors(self, lab: Any, recruit: Recruit) -> None:
        """They are columns of CSV, and `details` in JSON lines, as turrets sent them; those of OCT send only a text.

        The clock of the turret is wrong; the table and the lines have the times of the results, and the run says it.
        """
        turret = await recruit(lab, OwnTurret)
        run = await ask(lab, results="raw")
        await turret.until_told("start")
        errors: list[dict[str, Any]] = [
            {
                "error": "status 503",
                "details": {"kind": "HTTPError", "code": "503", "timers": {"page": {"error": "no"}}},
            },
            {"error": "setup", "details": {"kind": "ValueError", "untimed": True}},
            {},
        ]
        for number, error in enumerate(errors, 1):
            numbered = {"uuid": turret.uuid, "run": turret.run, "sequence": number}
            await turret.send(oct_result(**error, **numbered, custom_timers={"page": 0.5}))
        turret.sequence = len(errors)
        await turret.until_acknowledged(len(errors))
        await post(lab, f"/turret-runs/{run['id']}/stop")
        over = await until_over(lab, run["id"])
        path = f"/turret-runs/{run['id']}/results"
        async with lab.get(path, headers={"Accept": "text/csv"}) as response:
            rows = list(csv.reader(io.StringIO(await response.text())))
        assert rows[0] == [
            *("elapsed", "epoch", "turret_name", "scriptrun_time", "error"),
            *("kind", "code", "untimed", "failed_timers", "page"),
        ]
        second = math.floor(datetime.fromisoformat(over["started_at"]).timestamp() + 0.5)
        assert [float(row[1]) for row in rows[1:]] == [second] * 3
        assert abs(over["counters"]["clock_offset"]) > 3600
        assert [row[4:] for row in rows[1:]] == [
            ["status 503", "HTTPError", "503", "", '{"page":{"error":"no"}}', "0.5"],
            ["setup", "ValueError", "", "True", "", "0.5"],
            ["", "", "", "", "", "0.5"],
        ]
        async with lab.get(path) as response:
            lines = [orjson.loads(line) for line in (await response.text()).splitlines()]
        assert [line.get("details") for line in lines] == [error.get("details") for error in errors]
        assert [line["epoch"] for line in lines] == [second] * 3


class TestLive:
    """GET /turret-runs/{id}/live."""

    async def test_frames_come_until_the_end_of_the_run(self, lab: Any, recruit: Recruit) -> None:
        """Counts grow, each second has its rate, and the last frame has the last state."""
        turret = await recruit(lab)
        run = await ask(lab, run_time=3600)
        async with lab.ws_connect(f"/turret-runs/{run['id']}/live") as socket:
            await turret.until_told("start")
            frames: list[dict[str, Any]] = []
            fired = 0
            # A frame that is late can skip a second, so the turret fires in each one until a frame has a rate.
            while len(frames) < 3 or not any(frame["rate"] for frame in frames):
                epoch = 9e12 + time.monotonic()
                await turret.fire(*({"epoch": epoch, "custom_timers": {"page": 0.1}} for _ in range(10)))
                fired += 10
                frames.append(orjson.loads((await socket.receive(timeout=SECONDS)).data))
            await post(lab, f"/turret-runs/{run['id']}/stop")
            frames += [orjson.loads(message.data) async for message in socket]
        assert socket.close_code == aiohttp.WSCloseCode.OK
        assert (frames[-1]["state"], frames[-1]["transactions"]) == ("stopped", fired)
        counts = [frame["transactions"] for frame in frames]
        assert counts == sorted(counts)
        rates = [frame for frame in frames if frame["rate"]]
        assert rates[0]["timers"]["page"]["percentiles"]["50"] == pytest.approx(0.1, rel=0.001)
        assert [turret["name"] for turret in frames[-1]["turrets"]] == ["nav"]

    async def test_an_ended_run_sends_one_frame(self, lab: Any) -> None:
        """It has the last state."""
        run = await ask(lab)
        await post(lab, f"/turret-runs/{run['id']}/stop")
        await until_over(lab, run["id"])
        async with lab.ws_connect(f"/turret-runs/{run['id']}/live") as socket:
            frames = [orjson.loads(message.data) async for message in socket]
        assert [frame["state"] for frame in frames] == ["stopped"]

    async def test_a_viewer_that_leaves_does_not_disturb_others(self, lab: Any) -> None:
        """They get further frames."""
        run = await ask(lab)
        path = f"/turret-runs/{run['id']}/live"
        async with lab.ws_connect(path) as staying:
            async with lab.ws_connect(path) as leaving:
                await leaving.receive(timeout=SECONDS)
            for _ in range(2):
                assert orjson.loads((await staying.receive(timeout=SECONDS)).data)["state"] == "waiting"

    async def test_a_plain_request_to_live_is_refused(self, lab: Any) -> None:
        """The answer is 426."""
        run = await ask(lab)
        problem = await get(lab, f"/turret-runs/{run['id']}/live", 426)
        assert problem["type"] == "urn:smartmob:problem:upgrade-required"


class TestReport:
    """GET /turret-runs/{id}/report."""

    async def test_the_report_shows_one_run_or_two(self, lab: Any, recruit: Recruit) -> None:
        """The page may load nothing."""
        turret = await recruit(lab)
        ids = []
        for name in ("one", "two"):
            heard = len(turret.orders)
            run = await ask(lab, name=name, run_time=0.5)
            await turret.until_told("start", after=heard)
            await turret.fire({"scriptrun_time": 0.25})
            await until_over(lab, run["id"])
            ids.append(run["id"])
        for query, titles in (("", ("one",)), (f"?against={ids[1]}", ("A: one", "B: two"))):
            async with lab.get(f"/turret-runs/{ids[0]}/report{query}") as response:
                page = await response.text()
            assert response.content_type == "text/html"
            assert "default-src 'none'" in response.headers["Content-Security-Policy"]
            assert all(f"{title}</h" in page for title in titles)
            assert ">250.0 ms</td>" in page


class TestWarmUp:
    """The seconds after the start that the statistics leave out."""

    async def test_it_is_given_with_the_run_or_with_a_question(self, lab: Any, recruit: Recruit) -> None:
        """The statistics, the report and the tables leave it out; the counts of the run itself have all results.

        A run that goes on has no verdict yet, and one without a name is shown under the time of its creation.
        """
        turret = await recruit(lab)
        async with lab.post("/turret-runs?warm_up=1", json={"run_time": 30}) as response:
            run = await response.json()
        assert (response.status, run["config"]["warm_up"], run["name"][:12]) == (201, 1.0, "Load test 20")
        await turret.until_told("start")
        going = await get(lab, f"/turret-runs/{run['id']}/summary")
        assert (going["trust"]["verdict"], going["trust"]["doubts"][1:]) == ("not yet", [])
        async with lab.get(f"/turret-runs/{run['id']}/report") as response:
            assert "Not known yet: the run has not ended" in await response.text()

        async def fires_for_two_seconds() -> bool:
            return bool((await get(lab, f"/turret-runs/{run['id']}/summary"))["duration"] > 2.5)

        await until(fires_for_two_seconds)
        started = datetime.fromisoformat(going["started_at"]).timestamp()
        for second, error in ((0.2, "cold"), (0.4, "cold"), (1.2, ""), (2.2, "=boom")):
            told = {"elapsed": second, "epoch": started + second, "scriptrun_time": 0.5, "error": error}
            await turret.fire(told)
        await post(lab, f"/turret-runs/{run['id']}/stop")
        over = await until_over(lab, run["id"])
        assert (over["transactions"], over["errors"]) == (4, 3)
        for path, count in (("summary", 2), ("summary?warm_up=2", 1), ("summary?warm_up=0", 4)):
            assert (await get(lab, f"/turret-runs/{run['id']}/{path}"))["transactions"] == count, path
        for path, rows in (
            ("timers", [["All transactions", "2", "1", "1"]]),
            ("errors", [["1", "'=boom", "All transactions", "", ""]]),
            ("errors?warm_up=0", [["2", "cold"], ["1", "'=boom"]]),
        ):
            async with lab.get(f"/turret-runs/{run['id']}/{path}") as response:
                assert response.content_type == "text/csv"
                head, *found = csv.reader(io.StringIO(await response.text()))
            assert [row[: len(rows[0])] for row in found] == rows, path
            if path == "timers":
                own = dict(zip(head, found[0], strict=True))
                assert (own["max"], own["samples"], own["failed_count"], own["failed_max"]) == ("0.5", "1", "1", "0.5")

    @each("value", ["-1", "x", "nan", "1e9", "1", "0.5"])
    async def test_a_wrong_one_is_refused(self, lab: Any, value: str) -> None:
        """Nothing is begun."""
        async with lab.post(f"/turret-runs?warm_up={value}", json={"run_time": 1}) as response:
            assert response.status in (400, 422)
        assert await get(lab, "/turret-runs") == {"runs": []}
