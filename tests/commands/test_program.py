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
    reply = await commands.call("exec", "echo one; echo two >&2; echo three; exit 7")

    assert (reply.data, reply.code, reply.job) == (b"one\ntwo\nthree\n", 7, True)
    record = await commands.service.jobs.get(reply.number)
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
    reply = await commands.call("exec", cmd, **kwargs)

    assert reply.data.decode() == said.format(home=commands.home)
    assert reply.code == 0


async def test_binary_output(commands: RunningFeature) -> None:
    """Any bytes come through, and many of them."""
    reply = await commands.call("exec", _python("import sys; sys.stdout.buffer.write(bytes(range(256)) * 20_000)"))

    assert reply.data == bytes(range(256)) * 20_000
    assert reply.offsets[0] == 0


@pytest.mark.parametrize("terminal", [None, {"rows": 24, "columns": 80}], ids=["pipes", "terminal"])
async def test_too_many_open_files(commands: RunningFeature, terminal: Any) -> None:
    """However few there may be, the error is typed, nothing stays open, and the next start is as good as any."""

    def opened() -> list[str]:
        return os.listdir("/proc/self/fd")

    assert (await commands.call("exec", "true", terminal=terminal)).code == 0
    before = opened()
    for more in range(10):
        with no_more_files(but=more):
            reply = await commands.call("exec", "true", terminal=terminal)
        assert reply.code == 0 or "Too many open files" in str(reply.error)
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
    reply = await commands.call("exec", cmd, **kwargs)

    assert type(reply.error) is kind
    assert reply.code == 1
    record = await commands.service.jobs.get(reply.number)
    assert record.state == "failed"
    assert kind.__name__ in (record.error or "")


@pytest.mark.parametrize("cmd", [[], "", "'"])
async def test_nothing_to_run(commands: RunningFeature, cmd: Any) -> None:
    """An empty command and one that cannot be split are refused with a reason."""
    reply = await commands.call("exec", cmd, shell=False if isinstance(cmd, str) else None)
    assert "cmd" in str(reply.error)


async def test_signals(commands: RunningFeature) -> None:
    """A program that a signal ended has the signal's negative number."""
    reply = await commands.call("exec", "kill -9 $$")
    record = await commands.service.jobs.get(reply.number)

    assert (reply.code, record.state, record.signal) == (-9, "signaled", 9)


async def test_a_time_limit(commands: RunningFeature) -> None:
    """When its time is up a program is asked to end, and the record says why it did."""
    reply = await commands.call("exec", "trap 'echo bye; exit 3' TERM; echo hi; sleep 60 & wait", timeout=2)

    assert (reply.data, reply.code) == (b"hi\nbye\n", 3)
    assert (await commands.service.jobs.get(reply.number)).state == "timed out"


async def test_one_that_ignores_signals(commands: RunningFeature) -> None:
    """After its grace it is killed, with all its children."""
    reply = commands.begin("exec", _python(
        "import signal, subprocess, sys, time\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "child = subprocess.Popen(['setsid', 'sleep', '600'])\n"
        "print(child.pid)\n"
        "time.sleep(600)\n"
    ))  # fmt: skip
    await until(lambda: reply.data.endswith(b"\n"))
    grandchild = int(reply.data)
    await commands.call("kill", reply.number)
    await reply.ended.wait()

    assert reply.code == -signal.SIGKILL
    assert not psutil.pid_exists(grandchild)


async def test_what_is_left_behind(commands: RunningFeature) -> None:
    """A job ends with its program: a daemon that it left behind ends, too."""
    reply = await commands.call("exec", "setsid sleep 600 > /dev/null 2>&1 & echo $!; exit 0")

    assert reply.code == 0
    await until(lambda: not psutil.pid_exists(int(reply.data)))


async def test_output_after_the_end(commands: RunningFeature) -> None:
    """What a child of the program still writes at its end is not lost."""
    reply = await commands.call("exec", "(sleep 0.3; echo late) & echo early; exit 0")
    assert reply.data == b"early\nlate\n"


async def test_input(commands: RunningFeature) -> None:
    """Input comes as it is sent, and its end is reply."""
    reply = commands.begin("exec", ["cat"])
    await until(lambda: reply.number)
    assert (await commands.call("send_input", reply.number, "one")).values == [f"Sent value to job {reply.number}"]
    await until(lambda: reply.data == b"one\n")
    await commands.call("send_input", reply.number, "two\n")
    await commands.call("end_input", reply.number)
    await reply.ended.wait()

    assert (reply.data, reply.code) == (b"one\ntwo\n", 0)


async def test_input_that_nobody_reads(commands: RunningFeature) -> None:
    """A megabyte for a program that does not read waits, and ends with the program."""
    reply = commands.begin("exec", ["sleep", "600"])
    await until(lambda: reply.number)
    sending = commands.begin("send_input", reply.number, "x" * 1_000_000)
    await commands.call("is_alive", reply.number)
    assert not sending.ended.is_set()
    await commands.call("kill", reply.number)
    await sending.ended.wait()

    assert "no more input" in str(sending.error)


async def test_a_terminal(commands: RunningFeature) -> None:
    """A program on a terminal sees its size and its changes, and gets what is typed, CTRL-D and all."""
    reply = commands.begin("exec", "tty; stty size; cat; stty size", terminal={"rows": 30, "columns": 90})
    await until(lambda: b"30 90\r\n" in reply.data)
    assert reply.data.startswith(b"/dev/pts/")
    await commands.call("resize", reply.number, 40, 100)
    await commands.call("send_input", reply.number, "typed")
    await until(lambda: reply.data.count(b"typed\r\n") == 2)
    await commands.call("end_input", reply.number)
    await reply.ended.wait()

    assert reply.data.endswith(b"40 100\r\n")
    assert reply.code == 0


async def test_no_terminal(commands: RunningFeature) -> None:
    """Only a job with a terminal has a size."""
    reply = commands.begin("exec", ["sleep", "600"])
    await until(lambda: reply.number)
    assert "no terminal" in str((await commands.call("resize", reply.number, 1, 1)).error)


async def test_secrets_of_the_service(commands: RunningFeature, monkeypatch: pytest.MonkeyPatch) -> None:
    """Programs get the service's environment without its own settings, and records have names of variables only."""
    reply = await commands.call("exec", "env", env={"SECRET": "hidden-value"})
    record = await commands.service.jobs.get(reply.number)

    assert b"SMARTMOB_" not in reply.data
    assert b"SECRET=hidden-value" in reply.data
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
    reply = await commands.call("exec", **{"cmd": ["true"], **given})
    assert (reply.job, reply.code, type(reply.error)) == (False, 1, InvalidInput)
    assert next(iter(given)) in str(reply.error)
    assert (await commands.call("exec", ["true"])).code == 0
    assert (await commands.call("is_alive", other.number)).values == [True]


async def test_more_arguments_than_the_system_takes(commands: RunningFeature) -> None:
    """The job fails with the reason; programs of others go on."""
    other = commands.begin("exec", ["cat"])
    await until(lambda: other.number)
    for size in (3_000_000, 10_000_000):
        reply = await commands.call("exec", ["true", "x" * size])
        assert (reply.code, "Argument list too long" in str(reply.error)) == (1, True)
    assert (await commands.call("is_alive", other.number)).values == [True]
