"""Test data: sessions of a suite, sent in the form of the plugin."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from tests.metrics.samples import context, metric, session

BASE = datetime(2026, 11, 1, 12, tzinfo=UTC)
TESTS = tuple(f"test_{number}" for number in range(8))


async def send(
    client: Any,
    name: str,
    hour: float,
    times: Mapping[str, float] | None = None,
    *,
    start: datetime = BASE,
    context_h: str = "c" * 32,
    tags: Mapping[str, str] | None = None,
    tests: Sequence[str] = TESTS,
    **changes: Any,
) -> None:
    """Store a session that began `hour` hours after `start`: 8 tests of 100 ms, except those in `times` (seconds).

    A test is written as `item` or `path::item`.
    """
    begun = start + timedelta(hours=hour)
    measures = changes.pop("measures", {})
    sent = session(
        name, run_date=begun.isoformat(), description=dict(tags or {}), **{"scm_ref": f"of-{name}", **changes}
    )
    taken = dict.fromkeys(tests, 0.1) | dict(times or {})
    # Real measures always vary; without any noise a tiny difference would be a change.
    rows = [
        metric(
            **{"session_h": name, "context_h": context_h, "kind": "function", **_named(item)},
            **{"item_start_time": begun.isoformat(), "total_time": value * (1.0 + 0.01 * ((round(hour) + n) % 3))},
            **{"user_time": 0.0, "kernel_time": 0.0, "cpu_usage": 0.5, "mem_usage": 1.0, **measures},
        )
        for n, (item, value) in enumerate(taken.items())
    ]
    for path, document in (("/sessions/", sent), ("/metrics/", rows)):
        async with client.post(path, json=document) as response:
            assert response.status == 201, await response.text()


def _named(test: str) -> dict[str, str]:
    path, separator, item = test.rpartition("::")
    names = {"item": item.partition("[")[0], "item_variant": item}
    return names | ({"item_path": path, "item_fs_loc": f"{path}.py"} if separator else {})


async def describe(client: Any, h: str = "c" * 32, **changes: Any) -> None:
    """Store a context."""
    async with client.post("/contexts/", json=context(h, **changes)) as response:
        assert response.status == 201


async def get(client: Any, path: str, status: int = 200, **query: str) -> Any:
    """Return the answer of the service as JSON."""
    async with client.get(path, params=query) as response:
        assert response.status == status, await response.text()
        return await response.json(content_type=None)


async def compare(client: Any, base: str, head: str, **query: str) -> Any:
    """Return a comparison."""
    return await get(client, "/api/v1/compare", base=base, head=head, **query)


def verdict_on(found: Mapping[str, Any], item: str) -> str:
    """Return the verdict on a test; verdicts on runs leave out the tests that are noise."""
    return next((row["verdict"] for row in found["items"] if row["item"] == item), "noise")
