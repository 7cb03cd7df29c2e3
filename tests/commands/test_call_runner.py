"""Calls: sessions, refusals, repeated calls, and functions of a user's own modules."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from smartmob.commands.registry import background_command, command, update_client
from tests.commands.features import RecordingSink, RunningFeature, feature
from tests.waiting import until


class TestCalls:
    """Calling commands."""

    async def test_each_session_has_its_own_working_directory(self, commands: RunningFeature) -> None:
        """A client that changes its working directory does not change that of others."""
        one, two = commands.session(), commands.session()
        (commands.home / "a").mkdir()
        await commands.call("cd", "a", session=one)

        assert (await commands.call("cwd", session=one)).values == [str(commands.home / "a")]
        assert (await commands.call("cwd", session=two)).values == [str(commands.home)]
        assert (await commands.call("exec", "pwd", session=one)).data.decode() == f"{commands.home / 'a'}\n"

    async def test_refused_calls_are_acknowledged_and_finished(self, commands: RunningFeature) -> None:
        """An unknown command and bad arguments get a number and an error, so that no client waits without end."""
        for name, args in (("nothing", ()), ("cd", ()), ("cd", (1,)), ("cwd", (1,))):
            reply = await commands.call(name, *args)
            assert reply.number > 0
            assert reply.code == 1
            assert reply.error is not None

    async def test_a_call_with_a_known_key_follows_the_first_job(self, commands: RunningFeature) -> None:
        """A client that has lost its connection repeats its call, and the program runs only once."""
        replies = []
        for _ in range(2):
            reply = RecordingSink()
            arguments = ((), {"cmd": "echo $$ >> pids; echo hi"})
            await commands.service.calls.run(commands.session(), "exec", arguments, reply, key="0123456789")
            replies.append(reply)

        assert replies[0].number == replies[1].number
        assert [reply.data for reply in replies] == [b"hi\n", b"hi\n"]
        assert len((commands.home / "pids").read_text().splitlines()) == 1


@command
def plain(call: Any, text: str) -> int:
    """Send a text from a thread."""
    update_client(call, text)
    update_client(call, {"upper": text.upper()})
    return 0


@command
async def loop(call: Any, count: int) -> None:
    """Count in the event loop."""
    for number in range(count):
        await call.emit_and_drain(number)


@command
def fails(call: Any) -> int:
    """Raise an error."""
    update_client(call, "before")
    raise ZeroDivisionError("by nothing")


@background_command
def echoes(call: Any, queue: Any, prefix: str) -> int:
    """Send back every input until a message that ends the job."""
    while (message := queue.get())["type"] == 0:
        call.emit(prefix + message["value"].strip())
    return 9


@background_command
async def echoes_in_loop(call: Any, queue: Any, prefix: str) -> int:
    """Send back every input until a message that ends the job."""
    while (message := await queue.get())["type"] == 0:
        await call.emit_and_drain(prefix + message["value"].strip())
    return 9


class TestCustomCommands:
    """Functions of a user's own modules, plain and async."""

    @pytest.fixture(name="own")
    def _own(self, commands: RunningFeature) -> RunningFeature:
        """Return a feature with the commands above."""
        for function in (plain, loop, fails, echoes, echoes_in_loop):
            commands.service.registry.add(function)
        return commands

    async def test_messages_come_in_order_and_errors_reach_the_client(self, own: RunningFeature) -> None:
        """A result of None is exit code 0, and an exception is exit code 1."""
        reply = await own.call("plain", "x")
        assert (reply.values, reply.code, reply.job) == (["x", {"upper": "X"}], 0, False)
        reply = await own.call("loop", 500)
        assert (reply.values, reply.code) == (list(range(500)), 0)
        reply = await own.call("fails")
        assert (reply.values, reply.code, type(reply.error)) == (["before"], 1, ZeroDivisionError)

    @pytest.mark.parametrize("name", ["echoes", "echoes_in_loop"])
    async def test_background_commands_are_jobs(self, own: RunningFeature, name: str) -> None:
        """A background command gets input from its queue, and its output is kept."""
        reply = own.begin(name, "> ")
        await until(lambda: reply.number)
        await own.call("send_input", reply.number, "one")
        await until(lambda: reply.data == b"> one\n")
        await own.call("kill", reply.number)
        await reply.ended.wait()

        job = await own.service.jobs.get(reply.number)
        assert (reply.code, job.command, job.state) == (9, name, "exited")
        _, chunks = await own.service.output.read(reply.number, None, follow=False)
        assert b"".join([chunk async for chunk in chunks]) == b"> one\n"

    async def test_a_module_adds_its_commands(
        self, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """`--commands` names the module."""
        monkeypatch.syspath_prepend(tmp_path)
        monkeypatch.delitem(sys.modules, "lab_own_commands", raising=False)
        (tmp_path / "lab_own_commands.py").write_text(
            "from smartmob.commands.registry import command\n"
            "@command\n"
            "def twice(call, value: int):\n"
            "    'Return twice a number.'\n"
            "    call.emit(2 * value)\n"
        )
        async with feature(database_url, tmp_path, modules=("lab_own_commands",)) as commands:
            assert (await commands.call("twice", 21)).values == [42]
            assert "twice" in [described.name for described in commands.service.registry.descriptions()]
