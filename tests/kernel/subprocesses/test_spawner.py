"""Children: how they start, end, are signalled, and that nothing of them is left."""

from __future__ import annotations

import asyncio
import os
import resource
import signal
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import psutil
import pytest

from smartmob.errors import Unavailable
from smartmob.kernel.runtime.tasks import TaskRegistry
from smartmob.kernel.subprocesses.spawner import KEPT_AT_MOST, Child, Exit, Spawner, SpawnFailed, Spec
from tests.kernel.subprocesses.families import FAMILY, family, living
from tests.kernel.subprocesses.files import limited_to, no_more_files
from tests.waiting import until


@pytest.fixture
async def spawner() -> AsyncIterator[Spawner]:
    tasks = TaskRegistry()
    spawner = Spawner(tasks)
    await spawner.start()
    yield spawner
    await spawner.close()
    await tasks.close()


@pytest.fixture
def null() -> Iterator[int]:
    fd = os.open(os.devnull, os.O_RDWR)
    yield fd
    os.close(fd)


class Run:
    """Starts programs whose output goes to a file."""

    def __init__(self, spawner: Spawner, folder: Path, null: int) -> None:
        self.spawner = spawner
        self.folder = folder
        self._null = null
        self.output = folder / "output"

    async def __call__(self, *argv: str, cwd: Path | None = None, **env: str) -> Child:
        with self.output.open("ab") as file:
            env = {"PATH": os.environ["PATH"], **env}
            fd = file.fileno()
            return await self.spawner.spawn(Spec(argv, env, cwd or self.folder, self._null, fd, fd))

    def written(self) -> str:
        return self.output.read_text()


@pytest.fixture
def run(spawner: Spawner, tmp_path: Path, null: int) -> Run:
    return Run(spawner, tmp_path, null)


async def test_tells_how_a_program_ended(run: Run) -> None:
    """Its exit status, what it used, and that nothing is left."""
    child = await run("sh", "-c", "echo $WORD from $PWD; exit 3", WORD="greetings")
    ended = await child.exited()
    await child.gone()
    assert ended.status == 3
    assert ended.max_memory > 0
    assert run.written() == f"greetings from {run.folder}\n"
    assert not child.alive


async def test_tells_the_signal_that_ended_a_program(run: Run) -> None:
    """As its negative number."""
    child = await run("sh", "-c", "kill -KILL $$")
    assert (await child.exited()).status == -signal.SIGKILL


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (("no-such-program",), "cannot start the program: No such file or directory"),
        (("/dev/null",), "cannot start the program: Permission denied"),
        (("",), "there is no program to start"),
    ],
)
async def test_says_why_a_program_cannot_be_started(run: Run, argv: tuple[str, ...], message: str) -> None:
    """The system's own reason."""
    with pytest.raises(SpawnFailed, match=message):
        await run(*argv)


async def test_says_that_the_folder_is_missing(run: Run, tmp_path: Path) -> None:
    """The folder is told apart from the program."""
    with pytest.raises(SpawnFailed, match="cannot start the folder: No such file or directory"):
        await run("true", cwd=tmp_path / "missing")


async def test_refuses_the_nul_character(run: Run) -> None:
    """No argument can contain it."""
    with pytest.raises(SpawnFailed, match="NUL"):
        await run("echo", "a\0b")


async def test_starts_a_text_without_interpreter_by_the_shell(run: Run, tmp_path: Path) -> None:
    """As shells do."""
    script = tmp_path / "script"
    script.write_text("echo by the shell\n")
    script.chmod(0o755)
    await (await run(str(script))).gone()
    assert run.written() == "by the shell\n"


async def test_hands_over_arguments_and_environment_as_they_are(run: Run) -> None:
    """Empty ones, blanks, line ends, more than a socket holds, and what is no UTF-8."""
    large, odd = "x" * 100_000, os.fsdecode(b"\xff\xfe")
    code = "import os, sys; print([len(a) for a in sys.argv[1:]], os.environb[b'ODD'], repr(os.environ['EMPTY']))"
    child = await run("python3", "-c", code, "", "a b\n", large, large, large, ODD=odd, EMPTY="")
    await child.gone()
    assert run.written() == "[0, 4, 100000, 100000, 100000] b'\\xff\\xfe' ''\n"


async def test_a_program_starts_in_a_clean_state(run: Run) -> None:
    """No signal is blocked or ignored, no descriptor of ours is open, and it leads a session of its own."""
    await (await run("cat", "/proc/self/status")).gone()
    status = dict(line.split(":\t", 1) for line in run.written().splitlines())
    assert int(status["SigBlk"], 16) == 0
    # The C library keeps two signals for itself, and posix_spawn(3) leaves them ignored.
    assert int(status["SigIgn"], 16) & ~(1 << 31 | 1 << 32) == 0
    assert status["NSsid"] == status["NSpid"] == status["NSpgid"]
    run.output.unlink()
    await (await run("sh", "-c", "ls /proc/$$/fd")).gone()
    assert run.written().split() == ["0", "1", "2"]


async def test_a_program_gets_the_limit_of_files_that_we_began_with(tmp_path: Path, null: int) -> None:
    """Also when the service has raised its own since."""
    tasks, hard = TaskRegistry(), resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    with limited_to(500):
        spawner = Spawner(tasks)
    run = Run(spawner, tmp_path, null)
    await (await run("sh", "-c", "ulimit -Sn; ulimit -Hn")).gone()
    assert run.written().split() == ["500", "unlimited" if hard == resource.RLIM_INFINITY else str(hard)]
    await spawner.close()
    await tasks.close()


async def test_says_that_too_many_files_are_open(run: Run) -> None:
    """And starts programs again when there are fewer."""
    with run.output.open("ab"), no_more_files(), pytest.raises(SpawnFailed, match="Too many open files"):
        await run.spawner.spawn(Spec(("true",), {}, run.folder, 0, 0, 0))
    assert (await (await run("true")).exited()).status == 0


@pytest.mark.parametrize("but", range(2, 8, 2))
async def test_says_that_there_are_no_files_for_a_keeper(tmp_path: Path, null: int, but: int) -> None:
    """Whichever of the guardian's and the keeper's sockets is the one too many; and the next time it works."""
    tasks = TaskRegistry()
    spawner = Spawner(tasks)
    with no_more_files(but), pytest.raises(SpawnFailed, match="Too many open files"):
        await spawner.spawn(Spec(("true",), {}, tmp_path, null, null, null))
    assert (await (await Run(spawner, tmp_path, null)("true")).exited()).status == 0
    await spawner.close()
    await tasks.close()


async def test_signals_reach_the_whole_group(run: Run) -> None:
    """Also those that the program started."""
    inner = "trap 'echo inner; exit' TERM; sleep 60 & echo ready; wait"
    child = await run("sh", "-c", f"({inner}) & trap 'wait; exit 5' TERM; echo ready; wait")
    await until(lambda: run.written() == "ready\nready\n")
    child.signal(signal.SIGTERM)
    assert (await child.exited()).status == 5
    assert run.written() == "ready\nready\ninner\n"


async def test_stop_gives_a_program_its_time_and_then_kills_it(run: Run) -> None:
    """One that ignores the signal is killed; one that heeds it ends by itself."""
    stubborn = await run("sh", "-c", "trap '' TERM; echo ready; while :; do sleep 60; done")
    await until(lambda: run.written() == "ready\n")
    assert (await stubborn.stop(signal.SIGTERM, grace=0.05)).status == -signal.SIGKILL
    heeding = await run("sh", "-c", "trap 'exit 7' TERM; echo ready; while :; do sleep 0.01; done")
    await until(lambda: run.written() == "ready\nready\n")
    assert (await heeding.stop(signal.SIGTERM, grace=60)).status == 7


async def test_nothing_of_a_tree_is_left_when_it_is_gone(run: Run) -> None:
    """Neither one in its own session nor a daemon, also when they ignore signals."""
    child = await run("python3", "-c", FAMILY, str(run.folder / "pids"))
    pids = await family(run.folder / "pids")
    child.kill()
    await child.gone()
    assert living(pids) == []


async def test_a_daemon_that_outlives_its_parent_can_still_be_ended(run: Run) -> None:
    """The program has ended, its descendant has not: it is not gone before that one is."""
    child = await run("sh", "-c", f"setsid sleep 60 & echo $! > {run.folder}/pid")
    await child.exited()
    pid = int((run.folder / "pid").read_text())
    assert living([pid]) == [pid]
    child.kill()
    await child.gone()
    assert living([pid]) == []


async def test_a_bomb_that_forks_is_caught(run: Run) -> None:
    """A process that goes on in a child of its own again and again cannot run away, nor hold up its neighbours."""
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


async def test_a_killed_keeper_leaves_nothing(run: Run) -> None:
    """What it kept is ended by the guardian, and the child is gone without a known status."""
    child = await run("python3", "-c", FAMILY, str(run.folder / "pids"))
    pids = await family(run.folder / "pids")
    keeper = psutil.Process(child.pid).parent()
    assert keeper is not None
    keeper.kill()
    assert await child.exited() == Exit(None)
    await child.gone()
    assert living(pids) == []


async def test_a_killed_keeper_ends_all_that_it_kept(run: Run) -> None:
    """Each of them is told about, and the next program has another keeper."""
    children = [await run("sleep", "63") for _ in range(3)]
    keeper = psutil.Process(children[0].pid).parent()
    assert keeper is not None
    keeper.kill()
    assert await asyncio.gather(*(child.exited() for child in children)) == [Exit(None)] * 3
    await asyncio.gather(*(child.gone() for child in children))
    assert living(child.pid for child in children) == []
    assert (await (await run("true")).exited()).status == 0


async def test_trees_under_one_keeper_end_apart(run: Run) -> None:
    """A daemon whose parent has ended goes with the program that it comes from, and with no other."""
    first, second = [await run("python3", "-c", FAMILY, str(run.folder / name)) for name in ("first", "second")]
    theirs, others = await family(run.folder / "first"), await family(run.folder / "second")
    assert psutil.Process(first.pid).ppid() == psutil.Process(second.pid).ppid()
    first.kill()
    await first.gone()
    assert (living(theirs), living(others)) == ([], others)
    second.kill()
    await second.gone()
    assert living(others) == []


async def test_an_orphan_without_a_brand_is_known_by_its_session(run: Run) -> None:
    """The next best thing that tells whose it is."""
    command = f"(ulimit -S -m unlimited; sleep 60 & echo $! > {run.folder}/pid) & wait; exit 4"
    child, other = await run("sh", "-c", command), await run("sleep", "60")
    assert (await child.exited()).status == 4
    pid = int((run.folder / "pid").read_text())
    assert not child.is_gone
    child.kill()
    await child.gone()
    assert living([pid, other.pid]) == [other.pid]


async def test_an_orphan_that_nobody_knows_ends_with_its_keeper(run: Run) -> None:
    """It has taken off its brand and left the session, so it does not hold its program up."""
    pid_file = run.folder / "pid"
    daemon = f"ulimit -S -m unlimited; setsid sh -c 'echo $$ > {pid_file}; exec sleep 60' &"
    child = await run("sh", "-c", f"{daemon} while ! test -s {pid_file}; do sleep 0.01; done")
    await child.gone()
    pid = int(pid_file.read_text())
    assert living([pid]) == [pid]
    await run.spawner.close()
    assert living([pid]) == []


async def test_keepers_come_and_go_with_the_children(run: Run) -> None:
    """No keeper has more than its share; one stays when there are none."""
    children = await asyncio.gather(*(run("sleep", "64") for _ in range(2 * KEPT_AT_MOST + 1)))
    keepers = Counter(psutil.Process(child.pid).ppid() for child in children)
    assert sorted(keepers.values())[1:] == [KEPT_AT_MOST, KEPT_AT_MOST]
    for child in children:
        child.kill()
    await asyncio.gather(*(child.gone() for child in children))
    assert run.spawner.guardian_pid is not None
    guardian = psutil.Process(run.spawner.guardian_pid)
    await until(lambda: len(guardian.children()) == 1)


async def test_without_brands_each_child_has_a_keeper_of_its_own(tmp_path: Path, null: int) -> None:
    """To which all its orphans fall, and nobody else's."""
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


async def test_a_killed_guardian_takes_all_with_it_and_is_replaced(run: Run) -> None:
    """The children end, and the next one has a new guardian."""
    child = await run("python3", "-c", FAMILY, str(run.folder / "pids"))
    pids = await family(run.folder / "pids")
    before = run.spawner.guardian_pid
    assert before is not None
    os.kill(before, signal.SIGKILL)
    await child.gone()
    assert living(pids) == []
    assert (await (await run("true")).exited()).status == 0
    assert run.spawner.guardian_pid not in (None, before)


def _kill_at_once(pid: int) -> None:
    """Return when it is dead, before the event loop can have noticed."""
    os.kill(pid, signal.SIGKILL)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)


async def test_a_guardian_whose_death_is_met_by_an_order(run: Run) -> None:
    """Who orders before the end of file was read gets a new one, and the dead one is waited for."""
    before = run.spawner.guardian_pid
    assert before is not None
    _kill_at_once(before)
    child = await run("true")
    assert (await child.exited()).status == 0
    assert run.spawner.guardian_pid not in (None, before)
    await until(lambda: not psutil.pid_exists(before))


async def _kill_guardian_and_keeper(run: Run, child: Child) -> None:
    keeper = psutil.Process(child.pid).parent()
    guardian = run.spawner.guardian_pid
    assert keeper is not None
    assert guardian is not None
    os.kill(guardian, signal.SIGSTOP)  # so that it cannot act in between
    keeper.kill()
    os.kill(guardian, signal.SIGKILL)


async def test_a_guardian_and_a_keeper_killed_together_leave_nothing(run: Run) -> None:
    """Nobody keeps the tree then, but its brand tells who belongs to it, and all are ended before it counts as gone."""
    child = await run("python3", "-c", FAMILY, str(run.folder / "pids"))
    pids = await family(run.folder / "pids")
    await _kill_guardian_and_keeper(run, child)
    await child.gone()
    assert living(pids) == []


async def test_many_start_at_once(run: Run) -> None:
    """Nobody waits for anybody, and each gets its own report."""
    children = await asyncio.gather(*(run("sh", "-c", f"exit {n}") for n in range(100)))
    assert [ended.status for ended in await asyncio.gather(*(child.exited() for child in children))] == [*range(100)]


async def test_an_abandoned_start_leaves_nothing(run: Run) -> None:
    """Who is cancelled while the program starts need not look after it."""
    starts = [asyncio.ensure_future(run("sleep", f"61.{os.getpid()}")) for _ in range(20)]
    await asyncio.sleep(0)
    for start in starts:
        start.cancel()
    await asyncio.gather(*starts, return_exceptions=True)
    await until(lambda: not [p for p in psutil.process_iter() if _argv(p) == ["sleep", f"61.{os.getpid()}"]])


async def test_a_closed_nursery_ends_all_and_starts_nothing(tmp_path: Path, null: int) -> None:
    """Who comes too late is told so."""
    tasks = TaskRegistry()
    spawner = Spawner(tasks)
    run = Run(spawner, tmp_path, null)
    child = await run("python3", "-c", FAMILY, str(tmp_path / "pids"))
    pids = await family(tmp_path / "pids")
    guardian = spawner.guardian_pid
    assert guardian is not None
    await spawner.close()
    await child.gone()
    assert living([*pids, guardian]) == []
    with pytest.raises(Unavailable, match="stopping"):
        await run("true")
    await tasks.close()


async def test_orders_to_a_child_that_is_gone_do_nothing(run: Run) -> None:
    """A signal or a kill may come too late."""
    child = await run("true")
    await child.gone()
    child.signal(signal.SIGTERM)
    child.kill()
    assert (await child.stop(signal.SIGTERM, 1)).status == 0


async def test_a_terminal_becomes_the_controlling_one(spawner: Spawner, tmp_path: Path, null: int) -> None:
    """The program sees a terminal on all three, and CTRL-C typed there interrupts it."""
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
