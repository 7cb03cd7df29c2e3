"""Reading the output of jobs, while they run and afterwards."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from smartmob.commands.model import STDERR, STDOUT
from smartmob.errors import Conflict, NotFound
from tests.commands.features import RecordingSink, RunningFeature, feature, read_output
from tests.waiting import until

MIB = 1024 * 1024


async def _follow(commands: RunningFeature, job: int, offset: int = 0) -> RecordingSink:
    reply = RecordingSink()
    reply.outcome = await commands.service.output.follow(job, offset, reply)
    return reply


async def test_output_is_read_from_any_offset(commands: RunningFeature) -> None:
    """An offset beyond the end gives no bytes."""
    reply = await commands.call("exec", "echo one; echo two")

    assert await read_output(commands, reply.number) == (0, b"one\ntwo\n")
    assert await read_output(commands, reply.number, 4) == (4, b"two\n")
    assert await read_output(commands, reply.number, 100) == (8, b"")


async def test_a_reader_that_follows_gets_the_output_until_the_end(commands: RunningFeature) -> None:
    """A reader that does not follow gets the output that there is."""
    reply = commands.begin("exec", "echo one; read x; echo two")
    await until(lambda: reply.data == b"one\n")
    first, chunks = await commands.service.output.read(reply.number, 0, follow=True)
    assert (first, await anext(aiter(chunks))) == (0, b"one\n")
    assert await read_output(commands, reply.number) == (0, b"one\n")
    await commands.call("send_input", reply.number, "x")
    assert b"".join([chunk async for chunk in chunks]) == b"two\n"


async def test_the_output_of_an_unknown_job_is_not_found(commands: RunningFeature) -> None:
    """Reading and following both raise NotFound."""
    with pytest.raises(NotFound):
        await commands.service.output.read(99, None, follow=False)
    with pytest.raises(NotFound):
        await commands.service.output.follow(99, 0, RecordingSink())


async def test_several_readers_follow_one_job(commands: RunningFeature) -> None:
    """Each gets everything from its own offset on: the first byte, the middle, and after the job has ended."""
    first = commands.begin("exec", "echo one; read x; echo two")
    await until(lambda: first.data == b"one\n")
    second = asyncio.create_task(_follow(commands, first.number))
    third = asyncio.create_task(_follow(commands, first.number, 2))
    await commands.call("send_input", first.number, "go")
    replies = [await second, await third, await _follow(commands, first.number, 4)]

    assert [reply.data for reply in replies] == [b"one\ntwo\n", b"e\ntwo\n", b"two\n"]
    assert [reply.offsets[0] for reply in replies] == [0, 2, 4]
    assert {reply.code for reply in replies} == {0}


async def test_a_job_goes_on_without_its_client(commands: RunningFeature) -> None:
    """Its output is there for a client that comes later."""
    reply = commands.begin("exec", "echo one; read x; echo two; exit 5")
    await until(lambda: reply.data == b"one\n")
    assert reply.task is not None
    reply.task.cancel()
    await commands.call("send_input", reply.number, "go")
    later = await _follow(commands, reply.number)

    assert (later.data, later.code) == (b"one\ntwo\n", 5)


async def test_a_slow_reader_without_hold_gets_a_gap(database_url: str, tmp_path: Path) -> None:
    """It is told which bytes are no longer kept, and the job does not wait for it."""
    async with feature(database_url, tmp_path, job_output=2 * MIB) as commands:
        reply = commands.begin("exec", "read x; head -c 12582912 /dev/zero")
        await until(lambda: reply.number)
        watcher = RecordingSink()
        watcher.open.clear()
        watching = asyncio.create_task(commands.service.output.follow(reply.number, 0, watcher))
        await commands.call("send_input", reply.number, "go")
        await reply.ended.wait()
        watcher.open.set()
        await watching

        assert len(reply.data) == 12 * MIB
        ((first, last),) = watcher.gaps
        assert last - first + len(watcher.data) == 12 * MIB


async def test_one_stream_is_read_where_both_are_told_apart(commands: RunningFeature) -> None:
    """Live and afterwards; a job with one stream for both is refused with the reason."""
    reply = commands.begin("exec", "echo one; read x; echo two >&2; echo three", apart=True)
    await until(lambda: reply.data == b"one\n")
    live = {}
    for stream in (STDOUT, STDERR):
        _, chunks = await commands.service.output.read(reply.number, 0, follow=True, stream=stream)
        live[stream] = chunks
    await commands.call("send_input", reply.number, "x")
    await reply.ended.wait()
    assert {stream: b"".join([chunk async for chunk in chunks]) for stream, chunks in live.items()} == {
        STDOUT: b"one\nthree\n", STDERR: b"two\n",
    }  # fmt: skip
    assert reply.streams == {STDOUT: b"one\nthree\n", STDERR: b"two\n"}
    later = await commands.call("attach", reply.number, 0, apart=True)
    assert later.streams == reply.streams
    assert (await commands.call("attach", reply.number)).streams[STDERR] == b""
    joined = await commands.call("exec", "echo one >&2")
    with pytest.raises(Conflict, match="as one stream"):
        await commands.service.output.read(joined.number, 0, follow=False, stream=STDERR)
