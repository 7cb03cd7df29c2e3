"""The routes of the room `metrics`, asked over HTTP with a real database behind them."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from tests.metrics.samples import context, metric, session

NDJSON = {"Content-Type": "application/x-ndjson"}


async def _store(client: Any, *, contexts: Any = (), sessions: Any = (), metrics: Any = ()) -> None:
    for path, documents in (("/contexts/", contexts), ("/sessions/", sessions), ("/metrics/", metrics)):
        for document in documents:
            async with client.post(path, json=document) as response:
                assert response.status == 201, await response.text()


async def _get(client: Any, path: str, **options: Any) -> Any:
    async with client.get(path, **options) as response:
        assert response.status == 200, await response.text()
        return await response.json(content_type=None)


class TestTaking:
    """What the plugin sends."""

    async def test_the_five_steps_of_the_plugin(self, client: Any) -> None:
        """The sequence of the seed gives the codes that the plugin expects, with the fields that it reads."""
        assert (await client.get(f"/contexts/{'c' * 32}")).status == 204
        created = await client.post("/contexts/", json=context())
        assert (created.status, (await created.json())["h"]) == (201, "c" * 32)
        assert (await client.get(f"/sessions/{'5' * 32}")).status == 204
        assert (await client.post("/sessions/", json=session())).status == 201
        assert (await client.post("/metrics/", json=metric())).status == 201

        found = await _get(client, f"/contexts/{'c' * 32}")

        assert found["contexts"][0]["h"] == "c" * 32
        assert found["total_page"] == 1

    async def test_a_context_comes_back_with_both_names_of_its_hash(self, client: Any) -> None:
        """One client reads `h` and another `context_h`."""
        await _store(client, contexts=[context()])

        found = (await _get(client, "/api/v1/contexts/"))["contexts"]

        assert found == [context() | {"context_h": "c" * 32}]

    async def test_the_seeds_spelling_of_the_memory_is_taken(self, client: Any) -> None:
        """The seed says `ram_tota`, the plugin `ram_total`."""
        document = context(ram_tota=4711)
        del document["ram_total"]

        async with client.post("/contexts/", json=document) as response:
            assert (response.status, (await response.json())["ram_total"]) == (201, 4711)

    async def test_a_context_may_lack_its_vendor(self, client: Any) -> None:
        """The plugin finds none on some machines."""
        document = context()
        del document["cpu_vendor"]

        async with client.post("/contexts", json=document) as response:
            assert (response.status, (await response.json())["cpu_vendor"]) == (201, "")
