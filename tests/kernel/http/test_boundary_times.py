"""Times at and beyond the ends of the calendar in requests of all features."""

from __future__ import annotations

import base64
import json
from typing import Any

from tests.hosts.samples import register
from tests.metrics.samples import metric, session

TIMES = (
    *("0001-01-01T00:00:00Z", "0001-01-01T00:00:00+14:00", "0001-01-01T00:00:00-14:00", "1970-01-01T00:00:00Z"),
    *("9999-12-31T23:59:59.999999Z", "9999-12-31T23:59:59-14:00", "9999-12-31T23:59:59+14:00", "2026-02-30T00:00:00Z"),
    *("-62135596800", "253402300799", "1e18", "-1e18", "infinity", "nan", "2026-W48-7T00:00:00Z"),
)
SPANS = ("/marks", "/hosts/rack7/samples", "/console/data/timeline")
LISTINGS = ("/runs/", "/marks", "/process-events", "/turret-runs")


def _cursor(*key: str) -> str:
    return base64.urlsafe_b64encode(json.dumps(key).encode()).decode().rstrip("=")


async def test_no_time_in_a_request_is_a_bug_of_the_service(client: Any) -> None:
    """Each time is stored or refused, and a listing that begins or ends there answers."""
    headers = {"Authorization": await register(client, "rack7")}
    wrong: list[object] = []

    async def call(method: str, path: str, **options: Any) -> None:
        async with client.request(method, path, **options) as answer:
            if answer.status >= 500:
                wrong.append((method, path, options, await answer.text()))

    for number, time in enumerate(TIMES):
        name = f"s{number}"
        await call("POST", "/marks", json={"text": "x", "at": time})
        await call("POST", "/sessions/", json=session(name, run_date=time))
        await call("POST", "/metrics/", json=metric(session_h=name, item_start_time=time))
        await call(
            "POST", f"/sessions/{name}f/metrics?offset=0", json=metric(session_h=f"{name}f", item_start_time=time)
        )
        await call("POST", "/client/rack7", json={"cpu": 1, "unix_time": time}, headers=headers)
        await call("GET", "/client/rack7/time/report", params={"start": time, "end": time}, headers=headers)
        for path in SPANS:
            for span in ({"from": time}, {"to": time}, {"from": TIMES[0], "to": time}):
                await call("GET", path, params=span)
        for key in ((time, name), (time, "00000000-0000-0000-0000-000000000000")):
            for path in LISTINGS:
                await call("GET", path, params={"before": _cursor(*key)})
                await call("GET", path, params={"after": _cursor(*key)})
    for path in (*LISTINGS, "/metrics/orphans", "/console/data/overview", f"/marks?from={TIMES[2]}&to={TIMES[6]}"):
        await call("GET", path)
    assert wrong == []
