"""Every route asks for a role, and a token without it changes nothing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import asyncpg

from smartmob.app import build
from smartmob.kernel.auth.model import CONTROL, INGEST, READ
from smartmob.kernel.http.openapi import documented_path
from smartmob.settings import Settings
from tests.contracts.test_routes import ROUTES, address

OWN = {"Authorization": "Bearer own-secret"}
SOCKET = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
}

READABLE = """
/metrics /openapi.json /docs /contexts/ /contexts /sessions/ /sessions /metrics/ /sessions/{h} /contexts/{h}
/contexts/count /contexts/{context_h}/metrics /contexts/{context_h}/metrics/count /sessions/count
/sessions/{session_h}/metrics /sessions/{session_h}/metrics/count /filters/scm/{ref}/metrics
/filters/scm/{ref}/metrics/count /filters/scm/{ref}/sessions /metrics/count /items/{item}/metrics
/items/{item}/metrics/count /items/like/{item}/metrics /items/like/{item}/metrics/count
/variants/{variant}/metrics /variants/{variant}/metrics/count /variants/like/{variant}/metrics
/variants/like/{variant}/metrics/count /filters/scope/{kind}/metrics /filters/scope/{kind}/metrics/count
/components/ /components /components/{prefix} /components/count /components/metrics /components/metrics/count
/components/{component}/metrics /components/{component}/metrics/count /components/items/{item}/metrics
/components/items/{item}/metrics/count /components/{component}/items/{item}/metrics
/components/{component}/items/{item}/metrics/count /components/variants/{variant}/metrics
/components/variants/{variant}/metrics/count /components/{component}/variants/{variant}/metrics
/components/{component}/variants/{variant}/metrics/count /items/{item}/history /metrics/orphans /pipelines/
/pipelines /pipelines/{pipeline}/builds /pipelines/{pipeline}/builds/{build}/sessions
/components/{component}/pipelines /components/{component}/pipelines/{pipeline}/builds
/components/{component}/pipelines/{pipeline}/builds/{build}/sessions /resources/{resource}/head/metrics
/resources/{resource}/head/{n}/metrics /resources/{resource}/tail/metrics
/resources/{resource}/tail/{n}/metrics /resources/{resource}/components/{component}/head/metrics
/resources/{resource}/components/{component}/head/{n}/metrics
/resources/{resource}/components/{component}/tail/metrics
/resources/{resource}/components/{component}/tail/{n}/metrics
/resources/{resource}/pipelines/{pipeline}/head/metrics
/resources/{resource}/pipelines/{pipeline}/head/{n}/metrics
/resources/{resource}/pipelines/{pipeline}/tail/metrics
/resources/{resource}/pipelines/{pipeline}/tail/{n}/metrics
/resources/{resource}/pipelines/{pipeline}/builds/{build}/head/metrics
/resources/{resource}/pipelines/{pipeline}/builds/{build}/head/{n}/metrics
/resources/{resource}/pipelines/{pipeline}/builds/{build}/tail/metrics
/resources/{resource}/pipelines/{pipeline}/builds/{build}/tail/{n}/metrics /runs/ /runs /runs/{id}
/runs/{id}/metrics /compare /runs/{id}/verdict /items/{id}/series /trends /monitor/cpu/load /monitor/cpu/info
/monitor/memory/info /monitor/memory/total /monitor/storage/info /monitor/storage/total /api/monitor/cpu/load
/api/monitor/cpu/info /api/monitor/memory/info /api/monitor/memory/total /api/monitor/storage/info
/api/monitor/storage/total /api/ /api /api/start_time /hosts/ /hosts /hosts/{name} /hosts/{name}/samples /
/list-processes /process-status/{slug} /attach-console/{slug} /process-events /commands /jobs /jobs/{id}
/jobs/{id}/output /turret-runs /turret-runs/{id} /turret-runs/{id}/results /turret-runs/{id}/summary
/turret-runs/{id}/comparison /capacity-searches /capacity-searches/{id} /capacity-searches/{id}/report
/capacity-searches/{id}/chart
/turret-runs/{id}/course /turret-runs/{id}/timers /turret-runs/{id}/errors /turret-runs/{id}/report
/turret-runs/{id}/live /turrets /marks /marks/{id} /reservations /console
/experiments /experiments/{id} /experiments/{id}/report /experiments/{id}/tests /experiments/{id}/pairs
/console/experiments /console/experiments/{id}
/console/ /console/timeline /console/tests /console/tests/items /console/processes /console/commands
/console/load /console/load-comparison
/console/hosts /console/tests/runs/{id} /console/processes/{slug} /console/commands/{id}
/console/load/{id} /console/hosts/{name} /console/data/overview /console/data/timeline /console/live
/console/search /console/data/search /console/{page}
/console/data/tests /console/data/processes /console/data/load/{id} /console/data/node-jobs
/console/hosts/{name}/processes/{slug} /console/hosts/{name}/jobs/{id}
/nodes/{name}/process-events /nodes/{name}/jobs /machines
/console/peers /api/v1/alerts /api/v1/alerts/history /console/alerts /api/v1/alerts/rules /api/v1/alerts/receivers
/api/v1/alerts/silences /api/v1/alerts/notifications /api/v1/processes /nodes /nodes/{name}
/nodes/{name}/service/{rest}
"""
"""Every address that the role `read` may ask with GET; a new one belongs here if it shows no secret and no file."""


def _guarded(settings: Settings) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Yield method, address and operation of what the router knows and asks a token for."""
    told = {}
    for path, item in build(settings).document["paths"].items():
        for method, operation in item.items():
            for server in operation.get("servers", [{"url": ""}]):
                told[method.upper(), server["url"].rstrip("/") + path] = operation
    for method, path in ROUTES:
        _, has_extra_prefix, rest = path.partition("_extra_prefix")
        plain = documented_path("/" + rest.partition("}")[2] if has_extra_prefix else path)
        operation = told[method, plain]
        # A public route is public at its own address only.
        if operation.get("security") != [{}] or "_extra_prefix" in path:
            for verb in ("GET", "HEAD") if method == "GET" else (method,):
                yield verb, address(path, "x"), operation


async def _refused(client: Any, method: str, path: str, headers: dict[str, str]) -> int:
    url = f"http://127.0.0.1:{client.server.port}{path}"
    async with client.session.request(method, url, headers=headers, allow_redirects=False) as response:
        if response.status >= 400:
            assert response.content_type == "application/problem+json", (method, path)
        return int(response.status)


async def _rows(url: str) -> dict[str, int]:
    """Return how many rows each table has, but for notes on its own machine and on refused requests."""
    connection = await asyncpg.connect(url)
    try:
        # Partitions are made ahead of time whoever asks; what is in them counts as their table's.
        names = await connection.fetch(
            "SELECT relname FROM pg_class WHERE relkind IN ('r', 'p') AND NOT relispartition "
            "AND relnamespace = 'public'::regnamespace"
        )
        kept = sorted(row[0] for row in names if not row[0].startswith(("host", "audit_events")))
        return {name: await connection.fetchval(f'SELECT count(*) FROM "{name}"') for name in kept}
    finally:
        await connection.close()


async def test_each_route_lets_in_only_its_roles(with_settings: Any, settings: Settings) -> None:
    """By each method and address that the router knows, odd ones too, with each token and none; nothing happens."""
    client = await with_settings(token="own-secret")
    headers = {}
    for role in (READ, INGEST):
        async with client.post("/tokens", json={"name": role, "role": role}, headers=OWN) as response:
            headers[role] = {"Authorization": f"Bearer {(await response.json())['token']}"}
    before = await _rows(str(settings.database.url))
    assert before["access_tokens"] == 2
    checked = 0
    for method, path, operation in _guarded(settings):
        allowed = operation["x-roles"]
        assert CONTROL in allowed
        assert await _refused(client, method, path, {}) == 401, (method, path)
        for role, shown in headers.items():
            if role not in allowed:
                assert await _refused(client, method, path, shown) == 403, (role, method, path)
                checked += 1
            if method == "GET" and role not in operation.get("x-socket-roles", allowed):
                assert await _refused(client, method, path, shown | SOCKET) == 403, (role, method, path)
                checked += 1
        # The service of a node checks the role itself, see tests/nodes/test_proxy.py.
        assert method in ("GET", "HEAD") or READ not in allowed or "/service/" in path
    assert checked > 200
    assert await _rows(str(settings.database.url)) == before


def test_what_may_be_read_is_written_down() -> None:
    """The role `read` gets what this list names and nothing else: no archive, package, token, file or backup."""
    readable = set(READABLE.split())
    paths = build(Settings(data_dir=Path("nowhere"))).document["paths"]
    asked = {path: item["get"] for path, item in paths.items() if "get" in item}
    guarded = {path: operation for path, operation in asked.items() if operation.get("security") != [{}]}
    assert {path for path, operation in guarded.items() if READ in operation["x-roles"]} == readable
    assert guarded.keys() - readable == {"/audit", "/archives/{digest}", "/tokens", "/turret-runs/{id}/package"}
