"""The routes below /monitor and /api."""

from __future__ import annotations

from typing import Any

import pytest

from smartmob import __version__
from tests.hosts.samples import answered
from tests.waiting import until


class TestMonitor:
    """The load of the service's own machine."""

    @pytest.mark.parametrize("prefix", ["", "/api"])
    async def test_each_route_has_the_shape_of_the_seed(self, client: Any, prefix: str) -> None:
        """Below both prefixes."""

        async def get(path: str) -> dict[str, Any]:
            status, document = await answered(client.get(f"{prefix}/monitor/{path}"))
            assert status == 200
            return dict(document)

        assert 0 <= (await get("cpu/load"))["load"] <= 100
        assert list(await get("cpu/info")) == ["physical cores count", "logical cores count", "cores frequency"]
        memory = await get("memory/info?units=MB")
        assert sorted(memory) == [
            *("active", "available", "buffers", "cached", "free", "inactive", "percent", "shared", "slab", "total"),
            "used",
        ]
        assert all(isinstance(value, int) for name, value in memory.items() if name != "percent")
        assert await get("memory/total?units=MB") == {"total": memory["total"], "units": "MB"}
        storage = await get("storage/info")
        assert (list(storage), storage["units"]) == (["total", "used", "percent", "free", "units"], "GB")
        assert await get("storage/total") == {name: storage[name] for name in ("total", "used", "units")}

    async def test_units_are_powers_of_1024(self, client: Any) -> None:
        """Each is 1,024 of the one before, rounded down; others are refused."""
        totals = [
            (await answered(client.get(f"/monitor/memory/total?units={units}")))[1]["total"]
            for units in ("B", "KB", "MB", "GB", "TB")
        ]
        assert [total // 1024 for total in totals[:-1]] == totals[1:]
        for path in ("memory/info", "memory/total", "storage/info", "storage/total"):
            for units in ("PB", "gb", ""):
                status, problem = await answered(client.get(f"/monitor/{path}?units={units}"))
                assert status == 400
                assert "Bad units provided" in problem["detail"]

    async def test_name_and_start_of_the_service(self, client: Any) -> None:
        """The name, the version and the start."""
        for path in ("/api", "/api/"):
            assert await answered(client.get(path)) == (200, {"name": "system monitor", "version": __version__})
        _, document = await answered(client.get("/api/start_time"))
        assert document["type"] == "WORK_TIME"
        assert list(document["payload"]) == ["start_work", "actual_time"]

    async def test_gauges_and_the_load_file_are_written(self, client: Any, settings: Any) -> None:
        """The load is in /metrics, and each second in the file."""
        async with client.get("/metrics") as response:
            text = await response.text()
        assert "smartmob_host_cpu_percent " in text
        assert 'smartmob_writer_rows_total{writer="hosts"}' in text
        file = settings.data_dir / "server_system_load.csv"
        await until(lambda: file.exists() and len(file.read_text().splitlines()) > 1)
