"""What can be done to jobs, in the words of the stock server."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from smartmob.commands.events import CloseRequested
from tests.commands.features import RunningFeature
from tests.waiting import until


class TestJobs:
    """What can be done to jobs."""

    @pytest.mark.parametrize(
        "words",
        [("send_input", 99, "x"), ("end_input", 99), ("kill", 99), ("signal", 99), ("resize", 99, 1, 1)],
    )
    async def test_unknown_jobs(self, commands: RunningFeature, words: Any) -> None:
        """They are reply in the words of the stock server, with -1."""
        reply = await commands.call(*words)
        assert (reply.values, reply.code) == (["Job does not exist or has already completed..."], -1)

    async def test_is_alive(self, commands: RunningFeature) -> None:
        """True while it runs, False before and after."""
        reply = commands.begin("exec", ["cat"])
        await until(lambda: reply.number)
        assert (await commands.call("is_alive", reply.number)).values == [True]
        assert (await commands.call("kill", reply.number)).code is None
        await reply.ended.wait()
        assert (await commands.call("is_alive", reply.number)).values == [False]
        assert (await commands.call("is_alive", -5)).values == [False]
        assert (await commands.call("jobs")).values == ["No jobs running."]

    @pytest.mark.parametrize("number", [10, "USR1", "sigusr1", "SIGUSR1"])
    async def test_signals(self, commands: RunningFeature, number: Any) -> None:
        """By number or by name."""
        text = "import signal; signal.signal(10, lambda *_: print('got')); print('up'); signal.pause()"
        reply = commands.begin("exec", [sys.executable, "-u", "-c", text])
        await until(lambda: reply.data == b"up\n")
        assert (await commands.call("signal", reply.number, number)).values == [f"Sent SIGUSR1 to job {reply.number}"]
        await reply.ended.wait()
        assert reply.data == b"up\ngot\n"

    async def test_no_signal(self, commands: RunningFeature) -> None:
        """A signal that does not exist is refused."""
        reply = commands.begin("exec", ["cat"])
        await until(lambda: reply.number)
        for number in (0, 999, "NOTHING"):
            assert "no signal" in str((await commands.call("signal", reply.number, number)).error)

    async def test_attaching(self, commands: RunningFeature) -> None:
        """An ended job gives its output and its exit code."""
        reply = await commands.call("exec", "echo hi; exit 4")
        later = await commands.call("attach", reply.number, 1)
        assert (later.data, later.code) == (b"i\n", 4)

    async def test_closing(self, commands: RunningFeature) -> None:
        """Jobs are ended and named, and whoever runs the service is reply that a client wants it to stop."""
        asked: list[Any] = []
        commands.bus.subscribe(CloseRequested, asked.append)
        job = commands.begin("exec", ["sleep", "600"])
        await until(lambda: job.number)
        reply = await commands.call("close_server")
        await job.ended.wait()

        assert reply.values == [f"Killing job {job.number}", "Closing Server"]
        assert asked == [CloseRequested("test")]
        assert job.code == -15
