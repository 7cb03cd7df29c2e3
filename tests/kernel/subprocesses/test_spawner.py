"""Starting children, and that no process of theirs is left, whatever is killed."""

from __future__ import annotations

import asyncio
import os
import resource
import signal
from collections import Counter
from pathlib import Path

import psutil
import pytest

from smartmob.errors import Unavailable
from smartmob.kernel.runtime.tasks import TaskRegistry
from smartmob.kernel.subprocesses.child import Child, Exit, SpawnFailed, Spec
from smartmob.kernel.subprocesses.spawner import CHILDREN_PER_SUBREAPER, Spawner
from tests.kernel.subprocesses.families import FAMILY, family, living
from tests.kernel.subprocesses.files import limited_to, no_more_files
from tests.kernel.subprocesses.runs import Run
from tests.waiting import until


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (("no-such-program",), "cannot start the program: there is no 'no-such-program' on the PATH"),
        (("/dev/null",), "cannot start /dev/null: it is not executable"),
        (("",), "there is no program to start"),
    ],
)
async def test_a_failed_start_has_the_reason_of_the_system(run: Run, argv: tuple[str, ...], message: str) -> None:
    """The message of SpawnFailed names the program and the reason."""
    with pytest.raises(SpawnFailed, match=message):
        await run(*argv)


async def test_a_missing_folder_is_named_as_the_cause(run: Run, tmp_path: Path) -> None:
    """The message says that the folder is the cause, and not the program."""
    with pytest.raises(SpawnFailed, match=r"cannot start the program: its folder .* does not exist"):
        await run("true", cwd=tmp_path / "missing")


async def test_a_script_without_an_interpreter_line_is_run_by_the_shell(run: Run, tmp_path: Path) -> None:
    """Shells do the same."""
    script = tmp_path / "script"
    script.write_text("echo by the shell\n")
    script.chmod(0o755)
    await (await run(str(script))).gone()
    assert run.written() == "by the shell\n"


async def test_arguments_and_environment_arrive_unchanged(run: Run) -> None:
    """Empty texts, blanks, line ends, more than a socket holds, and bytes that are not UTF-8 arrive as they are."""
    large, odd = "x" * 100_000, os.fsdecode(b"\xff\xfe")
    code = "import os, sys; print([len(a) for a in sys.argv[1:]], os.environb[b'ODD'], repr(os.environ['EMPTY']))"
    child = await run("python3", "-c", code, "", "a b\n", large, large, large, ODD=odd, EMPTY="")
    await child.gone()
    assert run.written() == "[0, 4, 100000, 100000, 100000] b'\\xff\\xfe' ''\n"


async def test_a_program_starts_in_a_clean_state(run: Run) -> None:
    """It has no blocked or ignored signals, no descriptors of the service, and leads a session of its own."""
    await (await run("cat", "/proc/self/status")).gone()
    status = dict(line.split(":\t", 1) for line in run.written().splitlines())
    assert int(status["SigBlk"], 16) == 0
    # The C library keeps two signals for itself, and posix_spawn(3) leaves them ignored.
    assert int(status["SigIgn"], 16) & ~(1 << 31 | 1 << 32) == 0
    assert status["NSsid"] == status["NSpid"] == status["NSpgid"]
    run.output.unlink()
    await (await run("sh", "-c", "ls /proc/$$/fd")).gone()
    assert run.written().split() == ["0", "1", "2"]


async def test_a_program_gets_the_limit_of_open_files_from_the_start_of_the_service(tmp_path: Path, null: int) -> None:
    """This holds after the service has raised its own limit."""
    tasks, hard = TaskRegistry(), resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    with limited_to(500):
        spawner = Spawner(tasks)
    run = Run(spawner, tmp_path, null)
    await (await run("sh", "-c", "ulimit -Sn; ulimit -Hn")).gone()
    assert run.written().split() == ["500", "unlimited" if hard == resource.RLIM_INFINITY else str(hard)]
    await spawner.close()
    await tasks.close()


async def test_too_many_open_files_fail_one_start_only(run: Run) -> None:
    """The error says so, and programs start again when fewer files are open."""
    with run.output.open("ab"), no_more_files(), pytest.raises(SpawnFailed, match="Too many open files"):
        await run.spawner.spawn(Spec(("true",), {}, run.folder, 0, 0, 0))
    assert (await (await run("true")).exited()).status == 0


@pytest.mark.parametrize("but", range(2, 8, 2))
async def test_too_many_open_files_fail_the_start_of_a_subreaper_only_once(tmp_path: Path, null: int, but: int) -> None:
    """The limit may be reached by any socket of the watchdog or the subreaper; the next start succeeds."""
    tasks = TaskRegistry()
    spawner = Spawner(tasks)
    with no_more_files(but), pytest.raises(SpawnFailed, match="Too many open files"):
        await spawner.spawn(Spec(("true",), {}, tmp_path, null, null, null))
    assert (await (await Run(spawner, tmp_path, null)("true")).exited()).status == 0
    await spawner.close()
    await tasks.close()


async def test_a_killed_tree_leaves_no_process(run: Run) -> None:
    """A process in a session of its own and a daemon are killed, too, even when they ignore signals."""
    child = await run("python3", "-c", FAMILY, str(run.folder / "pids"))
    pids = await family(run.folder / "pids")
    child.kill()
    await child.gone()
    assert living(pids) == []


async def test_a_program_that_forks_endlessly_is_killed(run: Run) -> None:
    """It neither escapes nor delays other children."""
    code = "import os, sys\nprint(os.getpid(), flush=True)\nwhile True:\n    if os.fork(): os._exit(0)\n"
    child = await run("python3", "-c", code)
    await until(lambda: run.written() != "")
    assert (await (await run("false")).exited()).status == 1
    child.kill()
    await child.gone()
    assert [p.pid for p in psutil.process_iter() if code in "".join(_argv(p))] == []


def _argv(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []


async def test_a_killed_subreaper_leaves_no_process(run: Run) -> None:
    """The watchdog kills its children, whose exit status is unknown."""
    child = await run("python3", "-c", FAMILY, str(run.folder / "pids"))
    pids = await family(run.folder / "pids")
    subreaper = psutil.Process(child.pid).parent()
    assert subreaper is not None
    subreaper.kill()
    assert await child.exited() == Exit(None)
    await child.gone()
    assert living(pids) == []


async def test_a_killed_subreaper_ends_all_its_children(run: Run) -> None:
    """Each child is reported as gone, and the next program gets another subreaper."""
    children = [await run("sleep", "63") for _ in range(3)]
    subreaper = psutil.Process(children[0].pid).parent()
    assert subreaper is not None
    subreaper.kill()
    assert await asyncio.gather(*(child.exited() for child in children)) == [Exit(None)] * 3
    await asyncio.gather(*(child.gone() for child in children))
    assert living(child.pid for child in children) == []
    assert (await (await run("true")).exited()).status == 0


async def test_children_of_one_subreaper_end_independently(run: Run) -> None:
    """A daemon is killed with the program that it comes from, and with no other."""
    first, second = [await run("python3", "-c", FAMILY, str(run.folder / name)) for name in ("first", "second")]
    theirs, others = await family(run.folder / "first"), await family(run.folder / "second")
    assert psutil.Process(first.pid).ppid() == psutil.Process(second.pid).ppid()
    first.kill()
    await first.gone()
    assert (living(theirs), living(others)) == ([], others)
    second.kill()
    await second.gone()
    assert living(others) == []


async def test_an_orphan_without_a_tag_is_found_by_its_session(run: Run) -> None:
    """The session tells to which child the orphan belongs."""
    command = f"(ulimit -S -m unlimited; sleep 60 & echo $! > {run.folder}/pid) & wait; exit 4"
    child, other = await run("sh", "-c", command), await run("sleep", "60")
    assert (await child.exited()).status == 4
    pid = int((run.folder / "pid").read_text())
    assert not child.is_gone
    child.kill()
    await child.gone()
    assert living([pid, other.pid]) == [other.pid]


async def test_an_orphan_without_tag_and_session_ends_with_its_subreaper(run: Run) -> None:
    """It does not delay the end of the program that it comes from."""
    pid_file = run.folder / "pid"
    daemon = f"ulimit -S -m unlimited; setsid sh -c 'echo $$ > {pid_file}; exec sleep 60' &"
    child = await run("sh", "-c", f"{daemon} while ! test -s {pid_file}; do sleep 0.01; done")
    await child.gone()
    pid = int(pid_file.read_text())
    assert living([pid]) == [pid]
    await run.spawner.close()
    assert living([pid]) == []


async def test_subreapers_start_and_end_with_the_children(run: Run) -> None:
    """None has more than the allowed number of children, and one stays when there are no children."""
    children = await asyncio.gather(*(run("sleep", "64") for _ in range(2 * CHILDREN_PER_SUBREAPER + 1)))
    subreapers = Counter(psutil.Process(child.pid).ppid() for child in children)
    assert sorted(subreapers.values())[1:] == [CHILDREN_PER_SUBREAPER, CHILDREN_PER_SUBREAPER]
    for child in children:
        child.kill()
    await asyncio.gather(*(child.gone() for child in children))
    assert run.spawner.watchdog_pid is not None
    watchdog = psutil.Process(run.spawner.watchdog_pid)
    await until(lambda: len(watchdog.children()) == 1)


async def test_without_tags_each_child_has_a_subreaper_of_its_own(tmp_path: Path, null: int) -> None:
    """All orphans of a subreaper belong to its only child then."""
    before = resource.getrlimit(resource.RLIMIT_RSS)
    resource.setrlimit(resource.RLIMIT_RSS, (1 << 40, before[1]))
    tasks = TaskRegistry()
    spawner = Spawner(tasks)
    run = Run(spawner, tmp_path, null)
    first, second = [await run("python3", "-c", FAMILY, str(tmp_path / name)) for name in ("first", "second")]
    resource.setrlimit(resource.RLIMIT_RSS, before)
    theirs, others = await family(tmp_path / "first"), await family(tmp_path / "second")
    assert psutil.Process(first.pid).ppid() != psutil.Process(second.pid).ppid()
    first.kill()
    await first.gone()
    assert (living(theirs), living(others)) == ([], others)
    await spawner.close()
    assert living(others) == []
    await tasks.close()


async def test_a_killed_watchdog_ends_all_children_and_is_replaced(run: Run) -> None:
    """The next child has a new watchdog."""
    child = await run("python3", "-c", FAMILY, str(run.folder / "pids"))
    pids = await family(run.folder / "pids")
    before = run.spawner.watchdog_pid
    assert before is not None
    os.kill(before, signal.SIGKILL)
    await child.gone()
    assert living(pids) == []
    assert (await (await run("true")).exited()).status == 0
    assert run.spawner.watchdog_pid not in (None, before)


def _kill_at_once(pid: int) -> None:
    """Kill a process and wait for its end, before the event loop can notice."""
    os.kill(pid, signal.SIGKILL)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)


async def test_a_start_after_the_unnoticed_death_of_the_watchdog_succeeds(run: Run) -> None:
    """A start before the end of file was read gets a new watchdog, and the dead one is reaped."""
    before = run.spawner.watchdog_pid
    assert before is not None
    _kill_at_once(before)
    child = await run("true")
    assert (await child.exited()).status == 0
    assert run.spawner.watchdog_pid not in (None, before)
    await until(lambda: not psutil.pid_exists(before))


async def _kill_watchdog_and_subreaper(run: Run, child: Child) -> None:
    subreaper = psutil.Process(child.pid).parent()
    watchdog = run.spawner.watchdog_pid
    assert subreaper is not None
    assert watchdog is not None
    os.kill(watchdog, signal.SIGSTOP)  # so that it cannot act in between
    subreaper.kill()
    os.kill(watchdog, signal.SIGKILL)


async def test_a_watchdog_and_a_subreaper_killed_together_leave_no_process(run: Run) -> None:
    """The tag tells which processes belong to the child, and all have ended before it counts as gone."""
    child = await run("python3", "-c", FAMILY, str(run.folder / "pids"))
    pids = await family(run.folder / "pids")
    await _kill_watchdog_and_subreaper(run, child)
    await child.gone()
    assert living(pids) == []


async def test_a_hundred_programs_start_at_once(run: Run) -> None:
    """Each reports its own exit status."""
    children = await asyncio.gather(*(run("sh", "-c", f"exit {n}") for n in range(100)))
    assert [ended.status for ended in await asyncio.gather(*(child.exited() for child in children))] == [*range(100)]


async def test_a_cancelled_start_leaves_no_process(run: Run) -> None:
    """A program that starts while its caller is cancelled is killed."""
    starts = [asyncio.ensure_future(run("sleep", f"61.{os.getpid()}")) for _ in range(20)]
    await asyncio.sleep(0)
    for start in starts:
        start.cancel()
    await asyncio.gather(*starts, return_exceptions=True)
    await until(lambda: not [p for p in psutil.process_iter() if _argv(p) == ["sleep", f"61.{os.getpid()}"]])


async def test_a_closed_spawner_ends_all_children_and_starts_nothing(tmp_path: Path, null: int) -> None:
    """A later start raises Unavailable."""
    tasks = TaskRegistry()
    spawner = Spawner(tasks)
    run = Run(spawner, tmp_path, null)
    child = await run("python3", "-c", FAMILY, str(tmp_path / "pids"))
    pids = await family(tmp_path / "pids")
    watchdog = spawner.watchdog_pid
    assert watchdog is not None
    await spawner.close()
    await child.gone()
    assert living([*pids, watchdog]) == []
    with pytest.raises(Unavailable, match="stopping"):
        await run("true")
    await tasks.close()


async def test_a_terminal_becomes_the_controlling_terminal(spawner: Spawner, tmp_path: Path, null: int) -> None:
    """The program has it as its three standard streams, and CTRL-C on it interrupts the program."""
    master, slave = os.openpty()
    code = "import os, sys; print(*(os.isatty(n) for n in range(3)), os.ttyname(0), flush=True); sys.stdin.read()"
    spec = Spec(("python3", "-c", code), {"PATH": os.environ["PATH"]}, tmp_path, null, null, null, os.ttyname(slave))
    child = await spawner.spawn(spec)
    line = await asyncio.to_thread(os.read, master, 1000)
    assert line.decode().split() == ["True", "True", "True", os.ttyname(slave)]
    os.write(master, b"\x03")
    assert (await child.exited()).status in (-signal.SIGINT, 130)
    os.close(master)
    os.close(slave)
