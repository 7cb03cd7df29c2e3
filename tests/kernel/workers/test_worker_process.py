"""A worker as its owner sees it."""

from __future__ import annotations

import asyncio
import socket

from smartmob.kernel.workers import worker_messages as messages
from smartmob.kernel.workers.worker_messages import Ping, WorkerMetrics
from smartmob.kernel.workers.worker_process import WorkerProcess


async def test_an_answer_counts_for_all_questions_before_it() -> None:
    """Its metrics are kept, and the end of the worker answers what is left."""
    worker = WorkerProcess(1, 0.0)
    ours, theirs = socket.socketpair()
    streams, their_streams = socket.socketpair()
    with theirs, their_streams:
        await worker.connect(ours, streams, socket.socket.close)
        first, second = worker.ping(), worker.ping()
        reader, writer = await asyncio.open_connection(sock=theirs)
        assert messages.TO_WORKER.decode(await reader.readline()) == Ping(1)
        assert messages.TO_WORKER.decode(await reader.readline()) == Ping(2)
        metrics = WorkerMetrics({"requests": []}, {})
        worker.answered(2, metrics)
        assert first.done()
        assert second.done()
        assert worker.metrics == metrics

        third = worker.ping()
        worker.check_answered({third})
        assert not worker.responsive
        worker.close()
        assert third.done()
        assert worker.ended.done()
        writer.close()


async def test_the_end_of_a_worker_is_told_in_words() -> None:
    """The exit code, or the name of the signal."""
    for status, text in ((3, "exit code 3"), (-9, "SIGKILL"), (-64, "SIGRTMAX"), (-99, "signal 99")):
        worker = WorkerProcess(1, 0.0)
        assert worker.status_text() == "unknown"
        worker.set_status(status)
        assert worker.status_text() == text
