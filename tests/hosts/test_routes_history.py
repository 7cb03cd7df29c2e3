"""The routes below /hosts: list, samples and removal of machines."""

from __future__ import annotations

import csv
import io
from typing import Any

import orjson

from smartmob.kernel.runtime import clock
from tests.hosts.samples import CLIENT_ID, answered, register, report, sample, talking

AUTH = {"Authorization": CLIENT_ID}
UNAUTHORIZED = (401, {"error": "authorization error"})


class TestHistory:
    """GET /hosts/ and the routes below it."""

    async def _fill(self, client: Any, seconds: int = 100) -> int:
        await register(client)
        now = int(clock.epoch()) - 2 * seconds
        samples = [sample(now + second, cpu_load=second, id=second) for second in range(seconds)]
        async with talking(client) as talk:
            await talk.ask({"type": "BACKFILL", "samples": samples, "client_id": CLIENT_ID})
        return now

    async def test_machines_are_listed_in_pages(self, client: Any) -> None:
        """All machines are listed in the order of their names, the service's own among them, page by page."""
        names = [f"rack{number}" for number in range(5)]
        for name in names:
            await register(client, name)
        _, everything = await answered(client.get("/hosts/"))
        assert sorted(host["name"] for host in everything["hosts"] if not host["own"]) == names
        assert len([host for host in everything["hosts"] if host["own"]]) == 1
        found, path = [], "/hosts?limit=2"
        while path is not None:
            _, page = await answered(client.get(path))
            found += [host["name"] for host in page["hosts"]]
            path = page.get("next_url")
        assert found == [host["name"] for host in everything["hosts"]]

    async def test_few_samples_are_returned_as_they_are(self, client: Any) -> None:
        """Without buckets, as points of the width 0."""
        now = await self._fill(client)
        _, history = await answered(client.get(f"/hosts/wood/samples?from={now + 10}&to={now + 20}"))
        assert (history["host"], history["width"], len(history["points"])) == ("wood", 0, 10)
        assert history["points"][0]["cpu"] == {"min": 10, "avg": 10, "max": 10}
        assert history["points"][0]["load"] is None

    async def test_many_samples_are_returned_in_buckets(self, client: Any) -> None:
        """At most the requested number of points, with each sample counted once."""
        now = await self._fill(client)
        for points in (1, 7, 20, 99):
            path = f"/hosts/wood/samples?from={now}&to={now + 100}&points={points}"
            _, history = await answered(client.get(path))
            assert 1 <= len(history["points"]) <= points or points == 1
            assert sum(point["samples"] for point in history["points"]) == 100
            assert history["width"] == history["points"][0]["width"] > 0
            assert min(point["cpu"]["min"] for point in history["points"]) == 0
            assert max(point["cpu"]["max"] for point in history["points"]) == 99

    async def test_samples_as_ndjson_and_csv(self, client: Any) -> None:
        """By the Accept header: all samples, or points where a number is requested."""
        now = await self._fill(client)
        path = f"/hosts/wood/samples?from={now}&to={now + 100}"
        async with client.get(path, headers={"Accept": "application/x-ndjson"}) as response:
            lines = [orjson.loads(line) for line in (await response.read()).splitlines()]
        assert [line["cpu"]["avg"] for line in lines] == list(range(100))
        async with client.get(f"{path}&points=5", headers={"Accept": "text/csv"}) as response:
            assert response.content_type == "text/csv"
            rows = list(csv.DictReader(io.StringIO(await response.text())))
        assert len(rows) <= 5
        assert sum(int(row["samples"]) for row in rows) == 100
        assert rows[0]["load_avg"] == ""

    async def test_an_invalid_argument_is_400_with_its_name(self, client: Any) -> None:
        """The answer is 400 and names the argument."""
        await register(client)
        for query in (
            *("from=x", "to=2026-01-01T00:00:00", "from=5&to=5", "from=6&to=5", "points=0", "points=x"),
            "points=1000000",
        ):
            status, problem = await answered(client.get(f"/hosts/wood/samples?{query}"))
            assert status == 400
            assert problem["errors"][0]["where"] in query

    async def test_an_unknown_machine_is_404(self, client: Any) -> None:
        """Every route answers 404 for an unknown name."""
        for method, path in (("GET", "/hosts/x"), ("GET", "/hosts/x/samples"), ("DELETE", "/hosts/x")):
            assert (await answered(client.request(method, path)))[0] == 404
        assert (await answered(client.get("/hosts/?after=zzz")))[0] == 400

    async def test_a_removed_machine_loses_its_samples_and_access(self, client: Any) -> None:
        """The samples are deleted, and the client id is not accepted any more."""
        await self._fill(client)
        assert await answered(client.delete("/hosts/wood")) == (200, {"host": "wood"})
        assert await answered(client.post("/client/wood", data=sample(), headers=AUTH)) == UNAUTHORIZED
        await register(client)
        assert await report(client) == []
