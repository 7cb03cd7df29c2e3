"""The pipe between a turret and its worker processes."""

from __future__ import annotations

import socket

from smartmob.turrets.turret import worker_pipe
from smartmob.turrets.turret.user_pool import FiringPlan


async def test_messages_arrive_in_order_until_the_end() -> None:
    """The end of one side is seen by the other."""
    ours, theirs = socket.socketpair()
    one, other = await worker_pipe.WorkerPipe.of(ours), await worker_pipe.WorkerPipe.of(theirs)
    sent = [
        worker_pipe.StopMessage(at_once=True),
        worker_pipe.Loaded("x" * 100_000),
        worker_pipe.FireMessage(FiringPlan(start=1.0, end=2.0, raw=True, context={"a": [1]})),
    ]
    for message in sent:
        one.send(message)
    await one.drained()
    assert [await other.receive() for _ in sent] == sent
    await one.close()
    assert await other.receive() is None
    await other.close()
