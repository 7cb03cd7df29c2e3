"""Commands that control jobs, with the messages of conplyent's server."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from smartmob.commands.events import CloseRequested
from tests.commands.features import RunningFeature
from tests.waiting import until


class TestJobs:
    """Controlling jobs."""

    @pytest.mark.parametrize(
        "words",
        [("send_input", 99, "x"), ("end_input", 99), ("kill", 99), ("signal", 99), ("resize", 99, 1, 1)],
    )
    async def test_commands_on_unknown_jobs_return_a_bad_parameter(self, commands: RunningFeature, words: Any) -> None:
        """The text is that of conplyent's server."""
        reply = await commands.call(*words)
        assert (reply.values, reply.code) == (["Job does not exist or has already completed..."], -1)

    async def test_is_alive_is_true_while_the_job_runs(self, commands: RunningFeature) -> None:
        """It is false afterwards, and for numbers that no job has."""
        reply = commands.begin("exec", ["cat"])
        await until(lambda: reply.number)
        assert (await commands.call("is_alive", reply.number)).values == [True]
        assert (await commands.call("kill", reply.number)).code is None
        await reply.ended.wait()
        assert (await commands.call("is_alive", reply.number)).values == [False]
        assert (await commands.call("is_alive", -5)).values == [False]
        assert (await commands.call("jobs")).values == ["No jobs running."]

    @pytest.mark.parametrize("number", [10, "USR1", "sigusr1", "SIGUSR1"])
    async def test_a_signal_is_given_by_number_or_name(self, commands: RunningFeature, number: Any) -> None:
        """The job's program gets it."""
        text = "import signal; signal.signal(10, lambda *_: print('got')); print('up'); signal.pause()"
        reply = commands.begin("exec", [sys.executable, "-u", "-c", text])
        await until(lambda: reply.data == b"up\n")
        assert (await commands.call("signal", reply.number, number)).values == [f"Sent SIGUSR1 to job {reply.number}"]
        await reply.ended.wait()
        assert reply.data == b"up\ngot\n"

    async def test_a_signal_that_does_not_exist_is_refused(self, commands: RunningFeature) -> None:
        """Numbers and names are checked."""
        reply = commands.begin("exec", ["cat"])
        await until(lambda: reply.number)
        for number in (0, 999, "NOTHING"):
            assert "not a signal" in str((await commands.call("signal", reply.number, number)).error)

    async def test_attach_sends_the_output_of_an_ended_job(self, commands: RunningFeature) -> None:
        """Its exit code is that of the job."""
        reply = await commands.call("exec", "echo hi; exit 4")
        later = await commands.call("attach", reply.number, 1)
        assert (later.data, later.code) == (b"i\n", 4)

    async def test_close_server_ends_the_jobs_and_asks_for_the_end_of_the_service(
        self, commands: RunningFeature
    ) -> None:
        """Each job is named."""
        asked: list[Any] = []
        commands.bus.subscribe(CloseRequested, asked.append)
        job = commands.begin("exec", ["sleep", "600"])
        await until(lambda: job.number)
        reply = await commands.call("close_server")
        await job.ended.wait()

        assert reply.values == [f"Killing job {job.number}", "Closing Server"]
        assert asked == [CloseRequested("test")]
        assert job.code == -15
