"""Programs that run as jobs: their output, input, terminal, time limit, and how they end."""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest

from smartmob.errors import InvalidInput
from tests.commands.features import RunningFeature, feature
from tests.kernel.subprocesses.files import no_more_files
from tests.open_files import OpenFiles
from tests.waiting import SECONDS, until


def _python(text: str) -> list[str]:
    return [sys.executable, "-u", "-c", text]


async def test_both_streams_come_in_the_order_of_writing(commands: RunningFeature) -> None:
    """The exit code is the program's own."""
    reply = await commands.call("exec", "echo one; echo two >&2; echo three; exit 7")

    assert (reply.data, reply.code, reply.job) == (b"one\ntwo\nthree\n", 7, True)
    record = await commands.service.jobs.get(reply.number)
    assert (record.state, record.exit_code, record.output_bytes) == ("exited", 7, 14)
    assert record.pid is not None
    assert record.user_seconds is not None
    assert (record.max_rss or 0) > 100_000


@pytest.mark.parametrize(
    ("cmd", "kwargs", "output"),
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
async def test_command_lines_argument_lists_environment_folder_and_input(
    commands: RunningFeature, cmd: Any, kwargs: Any, output: str
) -> None:
    """Each parameter of `exec` does what its documentation says."""
    (commands.home / "inner").mkdir()
    reply = await commands.call("exec", cmd, **kwargs)

    assert reply.data.decode() == output.format(home=commands.home)
    assert reply.code == 0


async def test_output_may_be_any_bytes(commands: RunningFeature) -> None:
    """Five million bytes of every value arrive unchanged."""
    reply = await commands.call("exec", _python("import sys; sys.stdout.buffer.write(bytes(range(256)) * 20_000)"))

    assert reply.data == bytes(range(256)) * 20_000
    assert reply.offsets[0] == 0


@pytest.mark.parametrize("terminal", [None, {"rows": 24, "columns": 80}], ids=["pipes", "terminal"])
async def test_too_few_file_descriptors_are_an_error_that_leaves_nothing_open(
    commands: RunningFeature, terminal: Any
) -> None:
    """The next program starts as usual."""

    assert (await commands.call("exec", "true", terminal=terminal)).code == 0
    files = OpenFiles()
    for more in range(10):
        with no_more_files(but=more):
            reply = await commands.call("exec", "true", terminal=terminal)
        assert reply.code == 0 or "Too many open files" in str(reply.error)
        await until(lambda: not files.more())
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
async def test_a_program_that_cannot_be_started_fails_with_the_right_error(
    commands: RunningFeature, cmd: Any, kwargs: Any, kind: type
) -> None:
    """The record names the class of the error."""
    (commands.home / "plain").write_text("no program")
    reply = await commands.call("exec", cmd, **kwargs)

    assert type(reply.error) is kind
    assert reply.code == 1
    record = await commands.service.jobs.get(reply.number)
    assert record.state == "failed"
    assert kind.__name__ in (record.error or "")


@pytest.mark.parametrize("cmd", [[], "", "'"])
async def test_an_empty_command_is_refused(commands: RunningFeature, cmd: Any) -> None:
    """So is a command line that cannot be split."""
    reply = await commands.call("exec", cmd, shell=False if isinstance(cmd, str) else None)
    assert "cmd" in str(reply.error)


async def test_a_program_ended_by_a_signal_has_its_negative_number(commands: RunningFeature) -> None:
    """The record has the state `signaled`."""
    reply = await commands.call("exec", "kill -9 $$")
    record = await commands.service.jobs.get(reply.number)

    assert (reply.code, record.state, record.signal) == (-9, "signaled", 9)


async def test_a_program_is_asked_to_end_at_its_time_limit(database_url: str, tmp_path: Path) -> None:
    """The record has the state `timed out`."""
    async with feature(database_url, tmp_path, kill_grace=SECONDS) as commands:
        reply = await commands.call("exec", "trap 'echo bye; exit 3' TERM; echo hi; sleep 60 & wait", timeout=4)

        assert (reply.data, reply.code) == (b"hi\nbye\n", 3)
        assert (await commands.service.jobs.get(reply.number)).state == "timed out"


async def test_a_program_that_ignores_sigterm_is_killed_with_its_descendants(commands: RunningFeature) -> None:
    """It has the seconds of its grace before."""
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


async def test_descendants_end_with_their_program(commands: RunningFeature) -> None:
    """A daemon that the program has started is killed."""
    reply = await commands.call("exec", "setsid sleep 600 > /dev/null 2>&1 & echo $!; exit 0")

    assert reply.code == 0
    await until(lambda: not psutil.pid_exists(int(reply.data)))


async def test_output_of_descendants_after_the_end_is_kept(
    commands: RunningFeature, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A child of the program may still write shortly after its end."""
    monkeypatch.setattr("smartmob.commands.program._DESCENDANTS_SECONDS", SECONDS)
    reply = await commands.call("exec", "(sleep 0.3; echo late) & echo early; exit 0")
    assert reply.data == b"early\nlate\n"


async def test_input_and_its_end_reach_the_program(commands: RunningFeature) -> None:
    """A line end is added to a text without one."""
    reply = commands.begin("exec", ["cat"])
    await until(lambda: reply.number)
    assert (await commands.call("send_input", reply.number, "one")).values == [f"Sent value to job {reply.number}"]
    await until(lambda: reply.data == b"one\n")
    await commands.call("send_input", reply.number, "two\n")
    await commands.call("end_input", reply.number)
    await reply.ended.wait()

    assert (reply.data, reply.code) == (b"one\ntwo\n", 0)


async def test_input_waits_for_the_program(commands: RunningFeature) -> None:
    """A megabyte for a program that does not read waits, and fails when the program ends."""
    reply = commands.begin("exec", ["sleep", "600"])
    await until(lambda: reply.number)
    sending = commands.begin("send_input", reply.number, "x" * 1_000_000)
    await commands.call("is_alive", reply.number)
    assert not sending.ended.is_set()
    await commands.call("kill", reply.number)
    await sending.ended.wait()

    assert "no more input" in str(sending.error)


async def test_a_program_on_a_terminal_sees_its_size_and_what_is_typed(commands: RunningFeature) -> None:
    """A change of the size and CTRL-D reach it."""
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


async def test_a_job_without_a_terminal_cannot_be_resized(commands: RunningFeature) -> None:
    """The error says so."""
    reply = commands.begin("exec", ["sleep", "600"])
    await until(lambda: reply.number)
    assert "no terminal" in str((await commands.call("resize", reply.number, 1, 1)).error)


async def test_programs_do_not_inherit_settings_and_records_have_no_values(
    commands: RunningFeature, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the environment of a program, its record has the names only."""
    reply = await commands.call("exec", "env", env={"SECRET": "hidden-value"})
    record = await commands.service.jobs.get(reply.number)

    assert b"SMARTMOB_" not in reply.data
    assert b"SECRET=hidden-value" in reply.data
    assert record.env_names == ["SECRET"]
    assert "hidden-value" not in repr(record)


async def test_no_file_descriptor_stays_open_after_a_job(commands: RunningFeature) -> None:
    """Neither after success nor after an error."""
    await commands.call("exec", ["true"])
    files = OpenFiles()
    for cmd in (["true"], ["/no/such"], "exit 3"):
        await commands.call("exec", cmd)
    await commands.call("exec", "tty", terminal={})

    await until(lambda: not files.more())


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
async def test_values_that_no_program_can_get_are_refused(commands: RunningFeature, given: dict[str, Any]) -> None:
    """No job is made, the error names the place, and programs of others go on."""
    other = commands.begin("exec", ["cat"])
    await until(lambda: other.number)
    reply = await commands.call("exec", **{"cmd": ["true"], **given})
    assert (reply.job, reply.code, type(reply.error)) == (False, 1, InvalidInput)
    assert next(iter(given)) in str(reply.error)
    assert (await commands.call("exec", ["true"])).code == 0
    assert (await commands.call("is_alive", other.number)).values == [True]


async def test_too_many_arguments_fail_the_job_only(commands: RunningFeature) -> None:
    """The record has the reason, and programs of others go on."""
    other = commands.begin("exec", ["cat"])
    await until(lambda: other.number)
    for size in (3_000_000, 10_000_000):
        reply = await commands.call("exec", ["true", "x" * size])
        assert (reply.code, "Argument list too long" in str(reply.error)) == (1, True)
    assert (await commands.call("is_alive", other.number)).values == [True]
