"""Programs that run as jobs: their output, input, terminal, time limit, and how they end."""

from __future__ import annotations

import os
import signal
import sys
from typing import Any

import psutil
import pytest

from smartmob.errors import InvalidInput
from tests.commands.features import RunningFeature
from tests.kernel.subprocesses.files import no_more_files
from tests.waiting import until


def _python(text: str) -> list[str]:
    return [sys.executable, "-u", "-c", text]


async def test_output_and_exit_code(commands: RunningFeature) -> None:
    """Both streams come in the order of writing, with the program's own exit code."""
    told = await commands.call("exec", "echo one; echo two >&2; echo three; exit 7")

    assert (told.data, told.code, told.job) == (b"one\ntwo\nthree\n", 7, True)
    record = await commands.service.job(told.number)
    assert (record.state, record.exit_code, record.output_bytes) == ("exited", 7, 14)
    assert record.pid is not None
    assert record.user_seconds is not None
    assert (record.max_rss or 0) > 100_000


@pytest.mark.parametrize(
    ("cmd", "kwargs", "said"),
    [
        (["echo", "a b", "$HOME"], {}, "a b $HOME\n"),
        ("echo 'a b' $(echo c)", {}, "a b c\n"),
        ("echo 'a b' $X", {"shell": False}, "a b $X\n"),
        ("echo $MORE", {"env": {"MORE": "much"}}, "much\n"),
        ("pwd", {"cwd": "inner"}, "{home}/inner\n"),
        ("pwd", {}, "{home}\n"),
        ("cat", {"stdin": "given"}, "given"),
        ("cat; exit 0", {"stdin": ""}, ""),
    ],
)
async def test_ways_to_run(commands: RunningFeature, cmd: Any, kwargs: Any, said: str) -> None:
    """A shell's line, a list of arguments, environment, folder and input."""
    (commands.home / "inner").mkdir()
    told = await commands.call("exec", cmd, **kwargs)

    assert told.data.decode() == said.format(home=commands.home)
    assert told.code == 0


async def test_binary_output(commands: RunningFeature) -> None:
    """Any bytes come through, and many of them."""
    told = await commands.call("exec", _python("import sys; sys.stdout.buffer.write(bytes(range(256)) * 20_000)"))

    assert told.data == bytes(range(256)) * 20_000
    assert told.offsets[0] == 0


@pytest.mark.parametrize("terminal", [None, {"rows": 24, "columns": 80}], ids=["pipes", "terminal"])
async def test_too_many_open_files(commands: RunningFeature, terminal: Any) -> None:
    """However few there may be, the error is typed, nothing stays open, and the next start is as good as any."""

    def opened() -> list[str]:
        return os.listdir("/proc/self/fd")

    assert (await commands.call("exec", "true", terminal=terminal)).code == 0
    before = opened()
    for more in range(10):
        with no_more_files(but=more):
            told = await commands.call("exec", "true", terminal=terminal)
        assert told.code == 0 or "Too many open files" in str(told.error)
        await until(lambda: opened() == before)
    assert (await commands.call("exec", "true", terminal=terminal)).code == 0


@pytest.mark.parametrize(
    ("cmd", "kwargs", "kind"),
    [
        (["/no/such/program"], {}, FileNotFoundError),
        (["no-such-program-here"], {}, FileNotFoundError),
        (["./plain"], {}, PermissionError),
        (["ls"], {"cwd": "missing"}, FileNotFoundError),
        (["ls"], {"cwd": "/etc/hostname"}, NotADirectoryError),
        (["./missing"], {}, FileNotFoundError),
    ],
)
async def test_what_cannot_be_started(commands: RunningFeature, cmd: Any, kwargs: Any, kind: type) -> None:
    """The error is typed, and the record tells it."""
    (commands.home / "plain").write_text("no program")
    told = await commands.call("exec", cmd, **kwargs)

    assert type(told.error) is kind
    assert told.code == 1
    record = await commands.service.job(told.number)
    assert record.state == "failed"
    assert kind.__name__ in (record.error or "")


@pytest.mark.parametrize("cmd", [[], "", "'"])
async def test_nothing_to_run(commands: RunningFeature, cmd: Any) -> None:
    """An empty command and one that cannot be split are refused with a reason."""
    told = await commands.call("exec", cmd, shell=False if isinstance(cmd, str) else None)
    assert "cmd" in str(told.error)


async def test_signals(commands: RunningFeature) -> None:
    """A program that a signal ended has the signal's negative number."""
    told = await commands.call("exec", "kill -9 $$")
    record = await commands.service.job(told.number)

    assert (told.code, record.state, record.signal) == (-9, "signaled", 9)


async def test_a_time_limit(commands: RunningFeature) -> None:
    """When its time is up a program is asked to end, and the record says why it did."""
    told = await commands.call("exec", "trap 'echo bye; exit 3' TERM; echo hi; sleep 60 & wait", timeout=2)

    assert (told.data, told.code) == (b"hi\nbye\n", 3)
    assert (await commands.service.job(told.number)).state == "timed out"


async def test_one_that_ignores_signals(commands: RunningFeature) -> None:
    """After its grace it is killed, with all its children."""
    told = commands.begin("exec", _python(
        "import signal, subprocess, sys, time\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "child = subprocess.Popen(['setsid', 'sleep', '600'])\n"
        "print(child.pid)\n"
        "time.sleep(600)\n"
    ))  # fmt: skip
    await until(lambda: told.data.endswith(b"\n"))
    grandchild = int(told.data)
    await commands.call("kill", told.number)
    await told.ended.wait()

    assert told.code == -signal.SIGKILL
    assert not psutil.pid_exists(grandchild)


async def test_what_is_left_behind(commands: RunningFeature) -> None:
    """A job ends with its program: a daemon that it left behind ends, too."""
    told = await commands.call("exec", "setsid sleep 600 > /dev/null 2>&1 & echo $!; exit 0")

    assert told.code == 0
    await until(lambda: not psutil.pid_exists(int(told.data)))


async def test_output_after_the_end(commands: RunningFeature) -> None:
    """What a child of the program still writes at its end is not lost."""
    told = await commands.call("exec", "(sleep 0.3; echo late) & echo early; exit 0")
    assert told.data == b"early\nlate\n"


async def test_input(commands: RunningFeature) -> None:
    """Input comes as it is sent, and its end is told."""
    told = commands.begin("exec", ["cat"])
    await until(lambda: told.number)
    assert (await commands.call("send_input", told.number, "one")).said == [f"Sent value to job {told.number}"]
    await until(lambda: told.data == b"one\n")
    await commands.call("send_input", told.number, "two\n")
    await commands.call("end_input", told.number)
    await told.ended.wait()

    assert (told.data, told.code) == (b"one\ntwo\n", 0)


async def test_input_that_nobody_reads(commands: RunningFeature) -> None:
    """A megabyte for a program that does not read waits, and ends with the program."""
    told = commands.begin("exec", ["sleep", "600"])
    await until(lambda: told.number)
    sending = commands.begin("send_input", told.number, "x" * 1_000_000)
    await commands.call("is_alive", told.number)
    assert not sending.ended.is_set()
    await commands.call("kill", told.number)
    await sending.ended.wait()

    assert "no more input" in str(sending.error)


async def test_a_terminal(commands: RunningFeature) -> None:
    """A program on a terminal sees its size and its changes, and gets what is typed, CTRL-D and all."""
    told = commands.begin("exec", "tty; stty size; cat; stty size", terminal={"rows": 30, "columns": 90})
    await until(lambda: b"30 90\r\n" in told.data)
    assert told.data.startswith(b"/dev/pts/")
    await commands.call("resize", told.number, 40, 100)
    await commands.call("send_input", told.number, "typed")
    await until(lambda: told.data.count(b"typed\r\n") == 2)
    await commands.call("end_input", told.number)
    await told.ended.wait()

    assert told.data.endswith(b"40 100\r\n")
    assert told.code == 0


async def test_no_terminal(commands: RunningFeature) -> None:
    """Only a job with a terminal has a size."""
    told = commands.begin("exec", ["sleep", "600"])
    await until(lambda: told.number)
    assert "no terminal" in str((await commands.call("resize", told.number, 1, 1)).error)


async def test_secrets_of_the_service(commands: RunningFeature, monkeypatch: pytest.MonkeyPatch) -> None:
    """Programs get the service's environment without its own settings, and records have names of variables only."""
    told = await commands.call("exec", "env", env={"SECRET": "hidden-value"})
    record = await commands.service.job(told.number)

    assert b"SMARTMOB_" not in told.data
    assert b"SECRET=hidden-value" in told.data
    assert record.env_names == ["SECRET"]
    assert "hidden-value" not in repr(record)


async def test_descriptors(commands: RunningFeature) -> None:
    """Nothing stays open behind a job, good or bad."""
    await commands.call("exec", ["true"])
    before = len(os.listdir("/proc/self/fd"))
    for cmd in (["true"], ["/no/such"], "exit 3"):
        await commands.call("exec", cmd)
    await commands.call("exec", "tty", terminal={})

    assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize(
    "given",
    [
        {"env": {"": "1"}},
        {"env": {"A=B": "1"}},
        {"env": {"A\0": "1"}},
        {"env": {"A": "\0"}},
        {"env": {"A": "\ud800"}},
        {"env": {"a b": "1"}},
        {"env": {"A\n": "1"}},
        {"cwd": "/tmp\0"},
        {"cwd": "\ud800"},
        {"stdin": "\ud800"},
        {"cmd": ["true", "\0"]},
        {"cmd": ["true", "\ud800"]},
        {"cmd": "true \0"},
        {"cmd": ["true", 1]},
    ],
)
async def test_what_no_program_can_be_given(commands: RunningFeature, given: dict[str, Any]) -> None:
    """It is refused before there is a job, with the place; programs of others go on."""
    other = commands.begin("exec", ["cat"])
    await until(lambda: other.number)
    told = await commands.call("exec", **{"cmd": ["true"], **given})
    assert (told.job, told.code, type(told.error)) == (False, 1, InvalidInput)
    assert next(iter(given)) in str(told.error)
    assert (await commands.call("exec", ["true"])).code == 0
    assert (await commands.call("is_alive", other.number)).said == [True]


async def test_more_arguments_than_the_system_takes(commands: RunningFeature) -> None:
    """The job fails with the reason; programs of others go on."""
    other = commands.begin("exec", ["cat"])
    await until(lambda: other.number)
    for size in (3_000_000, 10_000_000):
        told = await commands.call("exec", ["true", "x" * size])
        assert (told.code, "Argument list too long" in str(told.error)) == (1, True)
    assert (await commands.call("is_alive", other.number)).said == [True]
