"""The headquarters of a check, with a socket of ZeroMQ in place of a turret."""

from __future__ import annotations

import json

import zmq
import zmq.asyncio

from smartmob.turrets.conformance.awaited_changes import AwaitedChanges
from smartmob.turrets.conformance.frame_rules import Configured
from smartmob.turrets.conformance.private_headquarters import PrivateHeadquarters
from smartmob.turrets.conformance.rules import RuleFindings
from tests.waiting import SECONDS


async def test_it_comes_back_on_the_same_ports() -> None:
    """Messages are kept and judged, frames that are none are told, and a peer finds it again after an absence."""
    findings, changes = RuleFindings(), AwaitedChanges()
    hq = PrivateHeadquarters(Configured("nav", 1, 0.0), findings, changes)
    hq.open()
    context = zmq.asyncio.Context()
    push = context.socket(zmq.PUSH)
    try:
        ports = hq.ports
        push.connect(f"tcp://127.0.0.1:{ports[1]}")
        for frame in (b"no", json.dumps({"status": "ready"}).encode(), json.dumps({"elapsed": 1}).encode()):
            await push.send(frame)
        assert await changes.until(lambda: len(hq.messages) == 2, SECONDS)
        assert (len(hq.statuses(0)), len(hq.results(0)), len(hq.since(1))) == (1, 1, 1)
        assert all(map(findings.has_failed, ("frames", "status-fields", "result-fields")))
        await hq.close()
        hq.open()
        assert hq.ports == ports
        await push.send(json.dumps({"status": "ready"}).encode())
        assert await changes.until(lambda: len(hq.messages) == 3, SECONDS)
        assert hq.order("stop", None, "x", further=1) == b'x {"command":"stop","msg":null,"further":1}'
    finally:
        push.close(linger=0)
        context.term()
        await hq.close()
