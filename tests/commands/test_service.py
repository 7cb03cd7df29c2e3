"""The feature's use cases: sessions, numbers, repeated calls, custom commands, restarts and retention."""

from __future__ import annotations

import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from smartmob.commands.registry import background_command, command, update_client
from smartmob.errors import NotFound
from smartmob.kernel.runtime import clock
from tests.commands.features import RunningFeature, Told, feature
from tests.waiting import until


async def _output(
    commands: RunningFeature, job: int, offset: int | None = None, *, follow: bool = False
) -> tuple[int, bytes]:
    first, chunks = await commands.service.output(job, offset, follow=follow)
    return first, b"".join([chunk async for chunk in chunks])


class TestCalls:
    """Calling commands."""

    async def test_each_session_has_its_folder(self, commands: RunningFeature) -> None:
        """What one client does to its working directory moves nobody else."""
        one, two = commands.session(), commands.session()
        (commands.home / "a").mkdir()
        await commands.call("cd", "a", session=one)

        assert (await commands.call("cwd", session=one)).said == [str(commands.home / "a")]
        assert (await commands.call("cwd", session=two)).said == [str(commands.home)]
        assert (await commands.call("exec", "pwd", session=one)).data.decode() == f"{commands.home / 'a'}\n"

    async def test_refusals_have_a_number(self, commands: RunningFeature) -> None:
        """An unknown command and bad arguments are acknowledged and ended like any other, so nobody hangs."""
        for name, args in (("nothing", ()), ("cd", ()), ("cd", (1,)), ("cwd", (1,))):
            told = await commands.call(name, *args)
            assert told.number > 0
            assert told.code == 1
            assert told.error is not None

    async def test_numbers_across_restarts(self, database_url: str, tmp_path: Path) -> None:
        """No number is used again after a restart."""
        seen = []
        for _ in range(3):
            async with feature(database_url, tmp_path) as commands:
                seen += [(await commands.call("cwd")).number for _ in range(2)]
        assert len(set(seen)) == 6

    async def test_a_call_with_a_key(self, commands: RunningFeature) -> None:
        """A client that lost its connection asks again, and gets the job that it had started."""
        tolds = []
        for _ in range(2):
            told = Told()
            arguments = ((), {"cmd": "echo $$ >> pids; echo hi"})
            await commands.service.call(commands.session(), "exec", arguments, told, key="0123456789")
            tolds.append(told)

        assert tolds[0].number == tolds[1].number
        assert [told.data for told in tolds] == [b"hi\n", b"hi\n"]
        assert len((commands.home / "pids").read_text().splitlines()) == 1


class TestOutput:
    """What is kept."""

    async def test_from_an_offset(self, commands: RunningFeature) -> None:
        """The output is there from any byte on, during and after the job."""
        told = await commands.call("exec", "echo one; echo two")

        assert await _output(commands, told.number) == (0, b"one\ntwo\n")
        assert await _output(commands, told.number, 4) == (4, b"two\n")
        assert await _output(commands, told.number, 100) == (8, b"")

    async def test_following(self, commands: RunningFeature) -> None:
        """Whoever follows gets what comes until the end; whoever does not gets what is there."""
        told = commands.begin("exec", "echo one; read x; echo two")
        await until(lambda: told.data == b"one\n")
        first, chunks = await commands.service.output(told.number, 0, follow=True)
        assert (first, await anext(aiter(chunks))) == (0, b"one\n")
        assert await _output(commands, told.number) == (0, b"one\n")
        await commands.call("send_input", told.number, "x")
        assert b"".join([chunk async for chunk in chunks]) == b"two\n"

    async def test_a_job_that_never_was(self, commands: RunningFeature) -> None:
        """It is not found."""
        with pytest.raises(NotFound):
            await commands.service.output(99, None, follow=False)
        told = Told()
        with pytest.raises(NotFound):
            await commands.service.follow(99, 0, told)

    async def test_lists(self, commands: RunningFeature) -> None:
        """Running and ended jobs are listed together, newest first."""
        ended = await commands.call("exec", "exit 1")
        running = commands.begin("exec", ["cat"])
        await until(lambda: running.number)
        await commands.call("is_alive", running.number)
        jobs = await commands.service.jobs(2**62, None, 10)

        assert [(job.id, job.state) for job in jobs] == [(running.number, "running"), (ended.number, "exited")]
        assert (await commands.call("jobs")).said == [f"Running {running.number}: cat\n"]

    async def test_a_restart(self, database_url: str, tmp_path: Path) -> None:
        """Yesterday's job is there with all its output."""
        async with feature(database_url, tmp_path) as commands:
            told = await commands.call("exec", "seq 100000; exit 4")
        async with feature(database_url, tmp_path) as again:
            job = await again.service.job(told.number)
            assert (job.state, job.exit_code, job.kept_from) == ("exited", 4, 0)
            assert (await _output(again, told.number))[1] == told.data
            later = Told()
            outcome = await again.service.follow(told.number, 10, later)
            assert (later.data, outcome.exit_code) == (told.data[10:], 4)

    async def test_a_service_that_died(self, database_url: str, tmp_path: Path) -> None:
        """A job that ran is told as lost afterwards, with what it had written."""
        async with feature(database_url, tmp_path) as commands:
            told = await commands.call("exec", "echo one")
            # The record as a service leaves it that is killed at this moment.
            record = await commands.service.job(told.number)
            died = msgspec.structs.replace(record, state="running", ended_at=None, exit_code=None, output_bytes=0)
            await commands.service._records.put((died,))
        async with feature(database_url, tmp_path) as again:
            job = await again.service.job(told.number)
            assert (job.state, job.exit_code, job.output_bytes) == ("lost", None, 4)
            assert await _output(again, told.number) == (0, b"one\n")
            later = Told()
            outcome = await again.service.follow(told.number, 0, later)
            assert (later.data, outcome.exit_code, outcome.state) == (b"one\n", None, "lost")

    async def test_retention(self, commands: RunningFeature) -> None:
        """After its days a job is removed with its output, and not before."""
        told = await commands.call("exec", "echo old")
        ended = (await commands.service.job(told.number)).ended_at
        assert ended is not None
        days = timedelta(days=commands.service.settings.keep_days)

        assert await commands.service.maintain(ended + days - timedelta(seconds=1)) == 0
        assert await _output(commands, told.number) == (0, b"old\n")
        assert await commands.service.maintain(ended + days + timedelta(seconds=1)) == 1
        with pytest.raises(NotFound):
            await commands.service.job(told.number)

    async def test_output_that_had_to_go(self, database_url: str, tmp_path: Path) -> None:
        """The record of a job whose output made room for others stays and says that nothing is kept."""
        async with feature(database_url, tmp_path, total_output=100_000, job_output=80_000) as commands:
            first = await commands.call("exec", "head -c 60000 /dev/zero")
            await commands.call("exec", "head -c 60000 /dev/zero")
            await commands.service.maintain(clock.now())

            job = await commands.service.job(first.number)
            assert (job.output_bytes, job.kept_from) == (60_000, 60_000)
            assert await _output(commands, first.number) == (60_000, b"")
            later = Told()
            await commands.service.follow(first.number, 0, later)
            assert later.gaps == [(0, 60_000)]


@command
def plain(call: Any, text: str) -> int:
    """Say a text from a thread."""
    update_client(call, text)
    update_client(call, {"upper": text.upper()})
    return 0


@command
async def loop(call: Any, count: int) -> None:
    """Count in the loop."""
    for number in range(count):
        await call.tell(number)


@command
def fails(call: Any) -> int:
    """Raise an error."""
    update_client(call, "before")
    raise ZeroDivisionError("by nothing")


@background_command
def echoes(call: Any, queue: Any, prefix: str) -> int:
    """Say what comes until it is told to stop."""
    while (order := queue.get())["type"] == 0:
        call.say(prefix + order["value"].strip())
    return 9


@background_command
async def echoes_in_loop(call: Any, queue: Any, prefix: str) -> int:
    """Say what comes until it is told to stop."""
    while (order := await queue.get())["type"] == 0:
        await call.tell(prefix + order["value"].strip())
    return 9


class TestCustomCommands:
    """Functions of one's own, plain and async."""

    @pytest.fixture(name="own")
    def _own(self, commands: RunningFeature) -> RunningFeature:
        """Return a feature with the commands above."""
        for function in (plain, loop, fails, echoes, echoes_in_loop):
            commands.service.registry.add(function)
        return commands

    async def test_quick_ones(self, own: RunningFeature) -> None:
        """What they say comes in order, None is 0, and an error is the client's to see."""
        told = await own.call("plain", "x")
        assert (told.said, told.code, told.job) == (["x", {"upper": "X"}], 0, False)
        told = await own.call("loop", 500)
        assert (told.said, told.code) == (list(range(500)), 0)
        told = await own.call("fails")
        assert (told.said, told.code, type(told.error)) == (["before"], 1, ZeroDivisionError)

    async def test_a_slow_client(self, own: RunningFeature) -> None:
        """A command waits for a client that has no room."""
        told = own.begin("loop", 500)
        told.open.clear()
        await until(lambda: told.said)
        assert len(told.said) == 1
        told.open.set()
        await told.ended.wait()
        assert len(told.said) == 500

    @pytest.mark.parametrize("name", ["echoes", "echoes_in_loop"])
    async def test_background_ones(self, own: RunningFeature, name: str) -> None:
        """They are jobs: told things by a queue, kept, and followed by whoever comes."""
        told = own.begin(name, "> ")
        await until(lambda: told.number)
        await own.call("send_input", told.number, "one")
        await until(lambda: told.data == b"> one\n")
        await own.call("kill", told.number)
        await told.ended.wait()

        job = await own.service.job(told.number)
        assert (told.code, job.command, job.state) == (9, name, "exited")
        assert await _output(own, told.number) == (0, b"> one\n")

    async def test_a_module(self, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """`--commands` brings a module's commands into the service."""
        monkeypatch.syspath_prepend(tmp_path)
        monkeypatch.delitem(sys.modules, "lab_own_commands", raising=False)
        (tmp_path / "lab_own_commands.py").write_text(
            "from smartmob.commands.registry import command\n"
            "@command\n"
            "def twice(call, value: int):\n"
            "    'Say twice a number.'\n"
            "    call.say(2 * value)\n"
        )
        async with feature(database_url, tmp_path, modules=("lab_own_commands",)) as commands:
            assert (await commands.call("twice", 21)).said == [42]
            assert "twice" in [described.name for described in commands.service.describe()]
