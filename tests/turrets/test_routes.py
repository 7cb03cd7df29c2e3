"""The routes of load tests: what they take, refuse and stream."""

from __future__ import annotations

import csv
import io
from typing import Any

import aiohttp
import orjson
import pytest

from tests.turrets.conftest import Recruit
from tests.turrets.runs import ask, get, post, until_over
from tests.turrets.test_project import CONFIG, package

pytestmark = pytest.mark.timeout(60)

NOBODY = "01a20788-1e4e-7206-a499-0770704355fa"


async def _refused(client: Any, data: bytes, media_type: str = "application/json") -> dict[str, Any]:
    async with client.post("/turret-runs", data=data, headers={"Content-Type": media_type}) as response:
        problem: dict[str, Any] = await response.json(content_type=None)
    assert response.status == 400, problem
    return problem


class TestAsking:
    """POST /turret-runs."""

    @pytest.mark.parametrize(
        ("body", "where"),
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

    async def test_a_package(self, lab: Any, recruit: Recruit) -> None:
        """Its configuration counts, and it can be had again as it was."""
        await recruit(lab)
        packed = package(("config.json", CONFIG.replace(b"5", b"0.5")), ("v_user.py", b"pass"))
        async with lab.post("/turret-runs", data=packed, headers={"Content-Type": "application/gzip"}) as response:
            run = await response.json()
        assert (response.status, run["run_time"], run["package"]) == (201, 0.5, True)
        async with lab.get(f"/turret-runs/{run['id']}/package") as response:
            assert await response.read() == packed
        await until_over(lab, run["id"])

    async def test_a_package_that_is_none(self, lab: Any) -> None:
        """The error tells what is wrong with it, also with a field of the configuration in it."""
        assert "no tar archive" in (await _refused(lab, b"nonsense", "application/gzip"))["detail"]
        packed = package(("config.json", b'{"run_time": "long"}'))
        assert "config.json: $.run_time" in (await _refused(lab, packed, "application/x-tar"))["detail"]

    async def test_without_a_package(self, lab: Any) -> None:
        """There is none to be had."""
        run = await ask(lab)
        await get(lab, f"/turret-runs/{run['id']}/package", 404)


class TestUnknown:
    """A run that is not there."""

    @pytest.mark.parametrize("ident", [NOBODY, "last", "x" * 500, "%F0%9F%8E%AF"])
    async def test_every_route(self, lab: Any, ident: str) -> None:
        """404, whatever is asked of it."""
        for method, end in (
            *(("GET", part) for part in ("", "/results", "/summary", "/report", "/package", "/live")),
            *(("POST", part) for part in ("/stop", "/rebuild")),
            ("DELETE", ""),
        ):
            async with lab.request(method, f"/turret-runs/{ident}{end}") as response:
                assert response.status == 404, (method, end)

    async def test_to_compare_with(self, lab: Any) -> None:
        """A report against nothing is refused."""
        run = await ask(lab)
        await get(lab, f"/turret-runs/{run['id']}/report?against={NOBODY}", 404)


class TestListing:
    """GET /turret-runs."""

    async def test_page_by_page(self, lab: Any) -> None:
        """Each run once, newest first, by the links."""
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

    @pytest.mark.parametrize("query", ["limit=0", "limit=x", "before=x", "before=WyJhIiwgImIiXQ", "limit=1001"])
    async def test_what_does_not_fit(self, lab: Any, query: str) -> None:
        """It is refused."""
        await get(lab, f"/turret-runs?{query}", 400)


class TestResults:
    """GET /turret-runs/{id}/results."""

    async def test_as_csv(self, lab: Any, recruit: Recruit) -> None:
        """A column for each timer, empty where a result has none, and texts with anything in them."""
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


class TestLive:
    """GET /turret-runs/{id}/live."""

    async def test_frames_until_the_end(self, lab: Any, recruit: Recruit) -> None:
        """Counts grow, each second has its rate, and the last frame has the last state."""
        turret = await recruit(lab)
        run = await ask(lab, run_time=60)
        async with lab.ws_connect(f"/turret-runs/{run['id']}/live") as socket:
            await turret.until_told("start")
            frames = []
            for _ in range(3):
                await turret.fire(*({"epoch": 9e12, "custom_timers": {"page": 0.1}} for _ in range(10)))
                frames.append(orjson.loads((await socket.receive(timeout=20)).data))
            while not any(frame["rate"] for frame in frames):
                frames.append(orjson.loads((await socket.receive(timeout=20)).data))
            await post(lab, f"/turret-runs/{run['id']}/stop")
            frames += [orjson.loads(message.data) async for message in socket]
        assert socket.close_code == aiohttp.WSCloseCode.OK
        assert (frames[-1]["state"], frames[-1]["transactions"]) == ("stopped", 30)
        counts = [frame["transactions"] for frame in frames]
        assert counts == sorted(counts)
        rates = [frame for frame in frames if frame["rate"]]
        assert rates[0]["timers"]["page"]["percentiles"]["50"] == pytest.approx(0.1, rel=0.001)
        assert [turret["name"] for turret in frames[-1]["turrets"]] == ["nav"]

    async def test_a_run_that_is_over(self, lab: Any) -> None:
        """One frame tells how it ended."""
        run = await ask(lab)
        await post(lab, f"/turret-runs/{run['id']}/stop")
        await until_over(lab, run["id"])
        async with lab.ws_connect(f"/turret-runs/{run['id']}/live") as socket:
            frames = [orjson.loads(message.data) async for message in socket]
        assert [frame["state"] for frame in frames] == ["stopped"]

    async def test_a_viewer_that_leaves(self, lab: Any) -> None:
        """The others see on, and those who come later as well."""
        run = await ask(lab)
        path = f"/turret-runs/{run['id']}/live"
        async with lab.ws_connect(path) as staying:
            async with lab.ws_connect(path) as leaving:
                await leaving.receive(timeout=20)
            for _ in range(2):
                assert orjson.loads((await staying.receive(timeout=20)).data)["state"] == "waiting"

    async def test_without_a_websocket(self, lab: Any) -> None:
        """The answer says what is needed."""
        run = await ask(lab)
        problem = await get(lab, f"/turret-runs/{run['id']}/live", 426)
        assert problem["type"] == "urn:smartmob:problem:upgrade-required"


class TestReport:
    """GET /turret-runs/{id}/report."""

    async def test_one_run_and_two(self, lab: Any, recruit: Recruit) -> None:
        """A page that may load nothing, with the figures of the run or of both."""
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
            assert "<td>250.0 ms</td>" in page
