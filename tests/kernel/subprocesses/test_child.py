"""Children: how they end, and how they get signals."""

from __future__ import annotations

import signal
from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest

from smartmob.kernel.subprocesses.child import SpawnFailed, Spec
from smartmob.kernel.subprocesses.subreaper import LONGEST_SPEC_BYTES
from tests.kernel.subprocesses.families import living
from tests.kernel.subprocesses.runs import Run
from tests.waiting import until


async def test_the_exit_has_the_status_and_the_use_of_resources(run: Run) -> None:
    """After the exit status is known, `gone` returns, too."""
    child = await run("sh", "-c", "echo $WORD from $PWD; exit 3", WORD="greetings")
    ended = await child.exited()
    await child.gone()
    assert ended.status == 3
    assert ended.max_memory > 0
    assert run.written() == f"greetings from {run.folder}\n"
    assert not child.alive


async def test_a_signal_that_ended_a_program_is_a_negative_status(run: Run) -> None:
    """The status is the negative number of the signal."""
    child = await run("sh", "-c", "kill -KILL $$")
    assert (await child.exited()).status == -signal.SIGKILL


async def test_an_argument_with_a_nul_character_is_refused(run: Run) -> None:
    """The system cannot pass such an argument."""
    with pytest.raises(SpawnFailed, match="NUL"):
        await run("echo", "a\0b")


SPEC = Spec(["sh", "", "a=ü"], {"A": "", "B": "x=\udcff"}, Path("/tmp"), 0, 1, 2)


def test_a_specification_is_encoded_field_by_field() -> None:
    """Each field ends with NUL, empty ones too; bytes that are no UTF-8 are those of the file name or variable."""
    fields = [b"/tmp", b"", b"", b"", b"3", b"sh", b"", "a=ü".encode(), b"A=", b"B=x=\xff"]
    data = b"".join(field + b"\0" for field in fields)
    assert SPEC.encode() == len(data).to_bytes(4, "big") + data
    bare = msgspec.structs.replace(SPEC, argv=["sh"], env={}).encode()
    assert bare[4:] == b"/tmp\0\0\0\0" + b"1\0sh\0"


@pytest.mark.parametrize(
    ("argv", "env", "folder", "message"),
    [
        ([], {}, "/", "no program"),
        ([""], {}, "/", "no program"),
        (["sh", "\0"], {}, "/", "NUL"),
        (["sh"], {"A": "\0"}, "/", "NUL"),
        (["sh"], {"\0": "1"}, "/", "NUL"),
        (["sh"], {}, "/\0", "NUL"),
        (["sh"], {"A": "1", "": "2"}, "/", "name of an environment variable"),
        (["sh"], {"A": "1", "B=": "2"}, "/", "name of an environment variable"),
        (["sh", "\ud800"], {}, "/", "half a character"),
        (["sh"], {"A": "\ud800"}, "/", "half a character"),
        (["sh", "a" * LONGEST_SPEC_BYTES], {}, "/", "too long"),
    ],
)
def test_a_specification_that_the_system_cannot_pass_is_refused(
    argv: Sequence[str], env: dict[str, str], folder: str, message: str
) -> None:
    """The error says what is wrong with it."""
    with pytest.raises(SpawnFailed, match=message):
        Spec(argv, env, Path(folder), 0, 1, 2).encode()


async def test_a_signal_reaches_the_whole_process_group(run: Run) -> None:
    """Processes that the program has started get it, too."""
    inner = "trap 'echo inner; exit' TERM; sleep 60 & echo ready; wait"
    child = await run("sh", "-c", f"({inner}) & trap 'wait; exit 5' TERM; echo ready; wait")
    await until(lambda: run.written() == "ready\nready\n")
    child.signal(signal.SIGTERM)
    assert (await child.exited()).status == 5
    assert run.written() == "ready\nready\ninner\n"


async def test_stop_kills_a_program_that_ignores_the_signal(run: Run) -> None:
    """After the grace it is killed; a program that handles the signal ends by itself."""
    stubborn = await run("sh", "-c", "trap '' TERM; echo ready; while :; do sleep 60; done")
    await until(lambda: run.written() == "ready\n")
    assert (await stubborn.stop(signal.SIGTERM, grace=0.05)).status == -signal.SIGKILL
    obedient = await run("sh", "-c", "trap 'exit 7' TERM; echo ready; while :; do sleep 0.01; done")
    await until(lambda: run.written() == "ready\nready\n")
    assert (await obedient.stop(signal.SIGTERM, grace=60)).status == 7


async def test_a_daemon_that_outlives_its_program_is_killed_with_the_child(run: Run) -> None:
    """The child is not gone before the daemon has ended."""
    child = await run("sh", "-c", f"setsid sleep 60 & echo $! > {run.folder}/pid")
    await child.exited()
    pid = int((run.folder / "pid").read_text())
    assert living([pid]) == [pid]
    child.kill()
    await child.gone()
    assert living([pid]) == []


async def test_orders_to_a_child_that_is_gone_do_nothing(run: Run) -> None:
    """A signal, a kill and a stop may come too late."""
    child = await run("true")
    await child.gone()
    child.signal(signal.SIGTERM)
    child.kill()
    assert (await child.stop(signal.SIGTERM, 1)).status == 0
