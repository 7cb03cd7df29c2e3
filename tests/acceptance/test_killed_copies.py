"""`smartmob cp` and the service, each killed (SIGKILL) at a random byte of a copy, in both directions."""

from __future__ import annotations

import asyncio
import os
import random
import re
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.commands import QUICK_PROGRAMS, environment, kill_postgres, serving
from tests.client.servers import Wire, wire_to
from tests.client.test_copying import described, differences, grow
from tests.waiting import until

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(900)]

PART = re.compile(rb"(.*/)?\.[0-9a-f]{24}\.smartmob-part")
LARGE = 3_000_000


def make_tree(folder: Path) -> dict[bytes, Any]:
    """Fill a folder with kinds and names of all sorts and a large file, and return what it has."""
    folder.mkdir(parents=True)
    grow(os.fsencode(folder), random.Random(1), depth=1)
    (folder / "large").write_bytes(os.urandom(LARGE))
    (folder / "replaced").write_bytes(os.urandom(LARGE // 3))
    return owned(folder)


def owned(folder: Path) -> dict[bytes, Any]:
    """Return what a tree has, with the part of modes that each umask here keeps."""
    return {path: (kind, mode & 0o700, *rest) for path, (kind, mode, *rest) in described(os.fsencode(folder)).items()}


def check_killed(target: Path, wanted: dict[bytes, Any], before: bytes) -> None:
    """Check that each file is whole, the old or the new one, and that only documented temporary files are there."""
    for path, (kind, _, _, content) in described(os.fsencode(target)).items():
        if not PART.fullmatch(path):
            assert kind == wanted[path][0], path
            assert content == wanted[path][3] or (path, content) == (b"replaced", before), path


def words(way: str, url: str, source: Path, target: Path) -> list[str]:
    """Return the arguments of a copy to or from the service."""
    here = [f"{source}/.", f":{target}"] if way == "send" else [f":{source}/.", f"{target}"]
    return ["cp", "--server", url, *here]


async def copying(arguments: list[str], pid_file: Path | None = None) -> asyncio.subprocess.Process:
    """Start `smartmob cp`."""
    further = {} if pid_file is None else {"FORKED_PID": str(pid_file)}
    return await asyncio.create_subprocess_exec(
        QUICK_PROGRAMS / "smartmob",
        *arguments,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=environment(**further),
    )


async def finish(arguments: list[str]) -> None:
    """Repeat a copy, which must succeed."""
    process = await copying(arguments)
    output, errors = await process.communicate()
    assert (output, errors.startswith(b"Copied "), process.returncode) == (b"", True, 0), errors


def parts(target: Path) -> list[Path]:
    """Return the temporary files of a copy."""
    return sorted(target.rglob("*.smartmob-part"))


@asynccontextmanager
async def prepared(folder: Path, way: str, seed: int) -> AsyncIterator[tuple[Path, bytes]]:
    """Return the folder to copy to, which has an older file, and what this file holds."""
    target, before = folder / f"{way}{seed}", os.urandom(1000)
    target.mkdir()
    (target / "replaced").write_bytes(before)
    yield target, before


async def test_a_client_that_is_killed_leaves_whole_files(reachable_path: Path) -> None:
    """A repeated copy makes the tree the same as `rsync -a --checksum` does, and leaves no temporary file."""
    source = reachable_path / "source"
    wanted = make_tree(source)
    pid_file = reachable_path / "client.pid"
    async with serving(reachable_path / "data") as service, wire_to(int(service.url.rpartition(":")[2])) as wire:
        for way in ("send", "fetch"):
            for seed in (random.randrange(2**32) for _ in range(3)):
                async with prepared(reachable_path, way, seed) as (target, before):
                    pid_file.unlink(missing_ok=True)
                    wire.at_budget = lambda: os.kill(int(pid_file.read_text()), signal.SIGKILL)
                    wire.budget = random.Random(seed).randrange(8_000, LARGE)
                    process = await copying(arguments := words(way, wire.url, source, target), pid_file)
                    await process.communicate()
                    assert (wire.budget, process.returncode != 0) == (None, True), seed
                    check_killed(target, wanted, before)
                    await until(lambda: not wire_is_used(wire))
                    await finish(arguments)
                    assert owned(target) == wanted, (seed, parts(target))
                    assert differences(source, target, "--no-perms") == b"", seed


def wire_is_used(wire: Wire) -> bool:
    """Return whether connections pass through a wire."""
    return bool(wire._writers)


async def test_a_service_that_is_killed_leaves_whole_files(reachable_path: Path) -> None:
    """The client continues with the next service or tells in one line that it has ended; a repeat finishes then."""
    source, data = reachable_path / "source", reachable_path / "data"
    wanted = make_tree(source)
    async with wire_to(1) as wire:
        arguments: list[str] = []
        process: asyncio.subprocess.Process | None = None
        target, before, seed = reachable_path, b"", 0
        for way in ("send", "fetch", ""):
            async with serving(data) as service:
                wire.lead_to(int(service.url.rpartition(":")[2]))
                if process is not None:
                    _, errors = await process.communicate()
                    assert (process.returncode, len(errors.splitlines())) in ((0, 1), (3, 1)), errors
                    check_killed(target, wanted, before)
                    await finish(arguments)
                    assert owned(target) == wanted, (seed, parts(target))
                    assert differences(source, target, "--no-perms") == b"", seed
                if way:
                    seed = random.randrange(2**32)
                    async with prepared(reachable_path, way, seed) as (target, before):
                        killed = asyncio.Event()
                        wire.at_budget = killed.set
                        wire.budget = random.Random(seed).randrange(8_000, LARGE)
                        process = await copying(arguments := words(way, wire.url, source, target))
                        await killed.wait()
                        service.send_signal(signal.SIGKILL)
                        await service.wait()
                        wire.cut()
                        check_killed(target, wanted, before)
            kill_postgres(data)
