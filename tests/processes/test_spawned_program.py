"""Spawning a program whose output is read, with real children."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from smartmob.kernel.runtime.tasks import TaskRegistry
from smartmob.kernel.subprocesses.spawner import Spawner, SpawnFailed
from smartmob.processes.spawned_program import spawn
from tests.kernel.subprocesses.files import no_more_files
from tests.open_files import OpenFiles
from tests.waiting import until


@pytest.fixture(name="spawner")
async def _spawner() -> AsyncIterator[Spawner]:
    tasks = TaskRegistry()
    spawner = Spawner(tasks)
    yield spawner
    await spawner.close()
    await tasks.close()


async def test_output_written_before_the_exit_is_complete_when_the_program_is_closed(
    spawner: Spawner, tmp_path: Path
) -> None:
    """Standard output and standard error arrive in the order in which they were written."""
    output = bytearray()
    argv = ["/bin/sh", "-c", "pwd; echo $NAME >&2; printf end"]
    program = await spawn(spawner, argv, tmp_path, {"NAME": "value"}, output.extend)
    await program.child.gone()
    program.close()
    assert output.decode() == f"{tmp_path}\nvalue\nend"


async def test_standard_error_is_passed_on_apart(spawner: Spawner, tmp_path: Path) -> None:
    """Each stream arrives whole; a grandchild that keeps both open does not keep the program from being closed."""
    output, errors = bytearray(), bytearray()
    script = "echo to >&2; printf out; test -p /dev/stderr && echo pipe > /dev/stderr; sleep 600 & exit 3"
    program = await spawn(spawner, ["/bin/sh", "-c", script], tmp_path, {}, output.extend, errors.extend)
    assert (await program.child.exited()).status == 3
    program.read_rest()
    assert (output, errors) == (b"out", b"to\npipe\n")
    program.child.kill()
    await program.child.gone()
    program.close()
    assert not spawner.pipe_reader.busy


async def test_output_written_before_an_event_is_read_on_request(spawner: Spawner, tmp_path: Path) -> None:
    """After the exit, `read_rest` passes on everything that the program wrote."""
    output = bytearray()
    program = await spawn(spawner, ["/bin/echo", "text"], tmp_path, {}, output.extend)
    await program.child.exited()
    program.read_rest()
    assert output == b"text\n"
    await program.child.gone()
    program.close()


async def test_a_program_gets_no_input(spawner: Spawner, tmp_path: Path) -> None:
    """A program that reads its standard input sees its end at once."""
    output = bytearray()
    program = await spawn(spawner, ["/bin/sh", "-c", "cat; echo read"], tmp_path, {}, output.extend)
    await program.child.gone()
    program.close()
    assert output == b"read\n"


async def test_a_failed_spawn_leaves_no_file_open(spawner: Spawner, tmp_path: Path) -> None:
    """Neither a missing program nor a lack of descriptors leaks one."""
    program = await spawn(spawner, ["/bin/true"], tmp_path, {}, lambda _: None)
    await program.child.gone()
    program.close()
    files = OpenFiles()
    with pytest.raises(SpawnFailed):
        await spawn(spawner, ["/no/such/program"], tmp_path, {}, lambda _: None, lambda _: None)
    with pytest.raises(OSError, match="Too many open files"), no_more_files():
        await spawn(spawner, ["/bin/true"], tmp_path, {}, lambda _: None, lambda _: None)
    await until(lambda: not files.more())
