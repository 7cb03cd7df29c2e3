"""The floor of free space: jobs and files of clients leave it free, and the service goes on."""

from __future__ import annotations

from pathlib import Path

import pytest

from smartmob.kernel.runtime import disk
from smartmob.kernel.runtime.disk import DiskLow, free_bytes
from tests.commands.features import feature
from tests.waiting import until

MIB = 1024 * 1024


async def test_a_job_is_stopped_at_the_floor_of_free_space(database_url: str, tmp_path: Path) -> None:
    """Its output and its record say why, and records can still be written."""
    least = free_bytes(tmp_path) - 50 * MIB
    async with feature(database_url, tmp_path, least_free=least, job_output=1024 * MIB) as commands:
        reply = await commands.call("exec", "yes | head -c 1000000000; sleep 600")

        assert isinstance(reply.error, DiskLow)
        assert b"[smartmob] the job was stopped, its output ends here" in reply.data[-300:]
        # Others write on the same disk meanwhile; what matters is that the floor and not a limit has stopped it.
        assert len(reply.data) < 900 * MIB
        record = await commands.service.jobs.get(reply.number)
        assert (record.state, "are free" in (record.error or "")) == ("failed", True)


async def test_nothing_is_written_below_the_floor_of_free_space(database_url: str, tmp_path: Path) -> None:
    """A program without output runs, one with output is stopped, and files are refused."""
    least = free_bytes(tmp_path) * 2
    async with feature(database_url, tmp_path, least_free=least) as commands:
        assert (await commands.call("exec", ["true"])).code == 0
        reply = commands.begin("exec", "echo hello; sleep 600")
        await until(reply.ended.is_set)
        assert isinstance(reply.error, DiskLow)

        assert isinstance((await commands.call("wrfile", "small", b"x")).error, DiskLow)
        assert isinstance((await commands.call("put", "large", 10)).error, DiskLow)
        assert list(commands.home.iterdir()) == []
        assert (await commands.call("jobs")).values == ["No jobs running."]


async def test_a_transfer_is_stopped_at_the_floor_of_free_space(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The received part of the file is removed."""
    # Other tests write and remove more than this one would, so the disk is not asked.
    free = [100 * MIB]
    monkeypatch.setattr(disk, "free_bytes", lambda _: free[0])
    async with feature(database_url, tmp_path, least_free=50 * MIB) as commands:
        reply = commands.begin("put", "large", 30 * MIB)
        await reply.inputs.put(bytes(4 * MIB))
        await until(lambda: bool(list(commands.home.glob("large.*"))))
        free[0] = 49 * MIB
        await reply.inputs.put(bytes(4 * MIB))
        await reply.inputs.put(bytes(22 * MIB))
        await until(reply.ended.is_set)

        assert isinstance(reply.error, DiskLow)
        assert list(commands.home.iterdir()) == []
