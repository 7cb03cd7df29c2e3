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
        """They are told in the words of the stock server, with -1."""
        told = await commands.call(*words)
        assert (told.said, told.code) == (["Job does not exist or has already completed..."], -1)

    async def test_is_alive(self, commands: RunningFeature) -> None:
        """True while it runs, False before and after."""
        told = commands.begin("exec", ["cat"])
        await until(lambda: told.number)
        assert (await commands.call("is_alive", told.number)).said == [True]
        assert (await commands.call("kill", told.number)).code is None
        await told.ended.wait()
        assert (await commands.call("is_alive", told.number)).said == [False]
        assert (await commands.call("is_alive", -5)).said == [False]
        assert (await commands.call("jobs")).said == ["No jobs running."]

    @pytest.mark.parametrize("number", [10, "USR1", "sigusr1", "SIGUSR1"])
    async def test_signals(self, commands: RunningFeature, number: Any) -> None:
        """By number or by name."""
        text = "import signal; signal.signal(10, lambda *_: print('got')); print('up'); signal.pause()"
        told = commands.begin("exec", [sys.executable, "-u", "-c", text])
        await until(lambda: told.data == b"up\n")
        assert (await commands.call("signal", told.number, number)).said == [f"Sent SIGUSR1 to job {told.number}"]
        await told.ended.wait()
        assert told.data == b"up\ngot\n"

    async def test_no_signal(self, commands: RunningFeature) -> None:
        """A signal that does not exist is refused."""
        told = commands.begin("exec", ["cat"])
        await until(lambda: told.number)
        for number in (0, 999, "NOTHING"):
            assert "no signal" in str((await commands.call("signal", told.number, number)).error)

    async def test_attaching(self, commands: RunningFeature) -> None:
        """An ended job gives its output and its exit code."""
        told = await commands.call("exec", "echo hi; exit 4")
        later = await commands.call("attach", told.number, 1)
        assert (later.data, later.code) == (b"i\n", 4)

    async def test_closing(self, commands: RunningFeature) -> None:
        """Jobs are ended and named, and whoever runs the service is told that a client wants it to stop."""
        asked: list[Any] = []
        commands.bus.subscribe(CloseRequested, asked.append)
        job = commands.begin("exec", ["sleep", "600"])
        await until(lambda: job.number)
        told = await commands.call("close_server")
        await job.ended.wait()

        assert told.said == [f"Killing job {job.number}", "Closing Server"]
        assert asked == [CloseRequested("test")]
        assert job.code == -15
