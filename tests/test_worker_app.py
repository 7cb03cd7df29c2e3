"""The routes that a worker answers itself: each is the one that the service without workers would have chosen."""

from __future__ import annotations

import socket
from pathlib import Path

from aiohttp import web
from aiohttp.test_utils import make_mocked_request

from smartmob.app import build
from smartmob.kernel.workers.owner_link import OwnerLink
from smartmob.kernel.workers.worker_messages import WorkerWelcome
from smartmob.settings import Settings
from smartmob.worker_app import build_worker
from tests.contracts.test_routes import ROUTES, address

WELCOME = WorkerWelcome("postgresql://nowhere/none", "rack7", "secret", b"k" * 32)


async def test_a_worker_answers_only_what_the_service_would_answer_there() -> None:
    """For each address both routers agree, so no request of another feature is taken for one of a worker."""
    settings = Settings(data_dir=Path("nowhere"), workers=2)
    messages, streams = socket.socketpair()
    with messages:
        link = OwnerLink(messages, streams)
        worker = build_worker(settings, WELCOME, link, lambda _: None)
        whole, here = build(settings), 0
        for method, path in ROUTES:
            request = make_mocked_request(method, address(path, "x"))
            route = worker.gate.routes.get((await worker.app.router.resolve(request)).route)
            if route is None or not route.in_workers:
                continue
            expected = whole.gate.routes[(await whole.app.router.resolve(request)).route]
            assert (route.name, route.path) == (expected.name, expected.path), (method, path)
            here += 1
        await link.close()
    assert here > 100


def test_what_changes_more_than_the_database_is_left_to_the_owner() -> None:
    """Programs, jobs, load tests, nodes, tokens, pages and cached verdicts are there once."""
    service = build(Settings(data_dir=Path("nowhere")))
    answered = {(route.method, route.path) for route in service.gate.routes.values() if route.in_workers}
    posted = {path.rstrip("/") for method, path in answered if method == "POST"}
    assert posted == {
        "/contexts", "/sessions", "/metrics", "/sessions/{h}/metrics", "/client", "/client/{username}",
        "/client/{username}/time", "/client/{username}/time/report",
    }  # fmt: skip
    assert {method for method, _ in answered} == {"GET", "POST"}
    apart = ("/monitor", "/api/", "/compare", "/trends", "/items/{id}", "/runs/{id}/verdict", "/console", "/nodes")
    assert not [path for _, path in answered if path.startswith(apart)]
    assert isinstance(service.app, web.Application)
