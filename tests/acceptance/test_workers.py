"""`smartmob serve --workers 2`: real processes, connections to each of them, and SIGKILL of one under load."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path
from typing import Any

import aiohttp
import psutil
import pytest

from tests.acceptance.commands import RunningCommand, run, serving
from tests.metrics.samples import context, metric, session
from tests.waiting import until

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(900)]

TOKEN = "owner-secret"
OWN = {"Authorization": f"Bearer {TOKEN}"}


async def _ask(url: str, path: str, document: Any = None, method: str = "", token: str = TOKEN) -> tuple[int, Any]:
    """Send a request on a connection of its own, so that any worker may get it; return the status and the answer."""
    method = method or ("GET" if document is None else "POST")
    headers = {"Authorization": f"Bearer {token}"}
    async with (
        aiohttp.ClientSession() as client,
        client.request(method, f"{url}{path}", json=document, headers=headers) as answer,
    ):
        is_text = answer.content_type == "text/plain"
        return answer.status, await answer.text() if is_text else await answer.json(content_type=None)


async def _have_each_worker_answer(service: RunningCommand) -> None:
    """Send requests until the log shows an answer of each worker."""

    async def answered() -> bool:
        assert (await _ask(service.url, "/sessions/count"))[0] == 200
        return {event.get("worker") for event in service.events if event["event"] == "http.access"} >= {1, 2}

    await until(answered)


async def _check_same_answers(url: str) -> None:
    """Store and read on one connection for each request: an answer never depends on the process that gives it."""
    assert (await _ask(url, "/contexts/", context()))[0] == 201
    for number in range(6):
        name = f"{number:032x}"
        assert (await _ask(url, "/sessions/", session(name, scm_ref=f"{number:040x}")))[0] == 201
        for stored in (1, 2):
            document = metric(session_h=name, context_h=name, item_variant=f"test_sum[{stored}]")
            assert (await _ask(url, "/metrics/", document))[0] == 201
            assert await _ask(url, f"/sessions/{name}/metrics/count") == (200, {"count": stored})
            # The owner caches verdicts until something is stored, which the worker has to tell it.
            status, verdict = await _ask(url, f"/runs/{name}/verdict")
            assert (status, sum(verdict["counts"].values())) == (200, stored)
    assert (await _ask(url, f"/sessions/{0:032x}", method="DELETE"))[0] == 200
    assert (await _ask(url, "/metrics/", metric(session_h="0" * 32)))[0] == 201
    assert await _ask(url, f"/sessions/{0:032x}/metrics/count") == (200, {"count": 1})


async def _check_same_rights(url: str) -> None:
    """A token counts everywhere as soon as it was made, and nowhere when it was revoked."""
    status, made = await _ask(url, "/tokens", {"name": "suite", "role": "ingest"})
    assert status == 201, made
    for _ in range(6):
        assert (await _ask(url, "/metrics/", metric(), token=made["token"]))[0] == 201
        assert (await _ask(url, "/runs/", token=made["token"]))[0] == 403
    assert (await _ask(url, "/tokens/suite", method="DELETE"))[0] in (200, 204)
    assert {(await _ask(url, "/metrics/", metric(), token=made["token"]))[0] for _ in range(6)} == {401}

    async def audited() -> bool:
        events = (await _ask(url, "/api/v1/audit"))[1]["events"]
        return [event["target"] for event in events if event["who"] == "(refused)"] == ["/metrics/ by header"]

    await until(audited)


async def _check_same_machines(url: str) -> None:
    """A machine that one worker has registered reports to all, and to none after it was removed."""
    status, made = await _ask(url, "/client/", {"username": "rack7", "password": "secret"})
    assert status == 200, made
    sample = {"cpu": "1", "memory": "2", "storage": "3", "unix_time": 1_795_000_000}

    async def report() -> int:
        headers = {"Authorization": made["client_id"]}
        async with (
            aiohttp.ClientSession() as client,
            client.post(f"{url}/client/rack7", json=sample, headers=headers) as answer,
        ):
            return answer.status

    assert {await report() for _ in range(6)} == {202}
    assert (await _ask(url, "/hosts/rack7", method="DELETE"))[0] == 200
    assert {await report() for _ in range(6)} == {401}


_POSTS_OF_A_CONNECTION = 20


async def _post_until(url: str, number: int, ended: asyncio.Event) -> int:
    """Post measures on one connection after the other; return how many were acknowledged."""
    acknowledged = 0
    while not ended.is_set():
        try:
            async with aiohttp.ClientSession(headers=OWN) as client:
                # A worker that starts later gets new connections only.
                for _ in range(_POSTS_OF_A_CONNECTION):
                    document = metric(session_h="f" * 32, item_variant=f"test_sum[{number}]")
                    async with client.post(f"{url}/metrics/", json=document) as answer:
                        acknowledged += answer.status == 201
        except aiohttp.ClientError:
            await asyncio.sleep(0)
    return acknowledged


async def _check_killed_worker(service: RunningCommand) -> None:
    """Acknowledged measures are stored, and the successor answers."""
    ended = asyncio.Event()
    seen = len(service.events)
    async with asyncio.TaskGroup() as group:
        posters = [group.create_task(_post_until(service.url, number, ended)) for number in range(16)]
        await service.event("http.access", seen, worker=2, method="POST", outcome=201)
        killed = len(service.events)
        os.kill(_workers(service)[1].pid, signal.SIGKILL)
        await service.event("worker.started", killed, worker=2)
        # Warnings are on the standard error stream.
        assert b'"event":"worker.ended","worker":2,"status":"SIGKILL"' in service.errors
        await service.event("http.access", len(service.events), worker=2, method="POST", outcome=201)
        ended.set()
    acknowledged = sum(poster.result() for poster in posters)
    status, stored = await _ask(service.url, f"/sessions/{'f' * 32}/metrics/count")
    assert status == 200
    # A connection that was cut may have had one request that was stored and not answered.
    assert acknowledged <= stored["count"] <= acknowledged + len(posters)


def _runs(process: psutil.Process) -> bool:
    """Return whether a process runs; a zombie has ended, and waits for its parent to notice that."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _workers(service: RunningCommand) -> list[psutil.Process]:
    """Return the processes of the workers in the order of their numbers."""
    found = psutil.Process(service.pid).children(recursive=True)
    return sorted((each for each in found if each.name().startswith("smartmob-work")), key=psutil.Process.name)


async def test_requests_are_answered_alike_wherever_they_land(reachable_path: Path) -> None:
    """Two workers share a port: data, rights, figures and live news are those of one service, also after SIGKILL."""
    token = reachable_path / "token"
    token.write_text(TOKEN)
    async with serving(reachable_path / "data", "--workers", "2", "--token-file", token) as service:
        await service.event("worker.started", worker=1)
        await service.event("worker.started", worker=2)
        await _have_each_worker_answer(service)
        await _check_same_answers(service.url)
        await _check_same_rights(service.url)
        await _check_same_machines(service.url)
        await _check_killed_worker(service)

        status, metrics = await _ask(service.url, "/metrics")
        assert status == 200
        rows = next(line for line in metrics.splitlines() if line.startswith('smartmob_writer_rows_total{writer="met'))
        assert float(rows.split()[-1]) > 0
        async with (
            aiohttp.ClientSession(headers=OWN) as client,
            client.ws_connect(f"{service.url}/console/live") as live,
        ):
            first = await live.receive_json()
            assert (await _ask(service.url, "/sessions/", session("e" * 32)))[0] == 201
            while (await live.receive_json())["news"] == first["news"]:
                pass
        # Sockets that share a port would divide its connections with another service without a word.
        port = service.url.rpartition(":")[2]
        code, _, errors = await run("serve", "--workers", "2", "--port", port, "--data-dir", reachable_path / "other")
        assert (code, f"port {port}: Address already in use" in errors) == (1, True), errors
        left = [
            process for process in psutil.Process(service.pid).children(recursive=True)
            if process.name().startswith("smartmob")
        ]  # fmt: skip
        assert await service.stop() == 0
        assert list(filter(_runs, left)) == []
