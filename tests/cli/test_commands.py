"""`smartmob exec`, `jobs`, `output`, `kill` and `cp`: the real commands against a running service."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import re
import signal
import sys
from pathlib import Path
from typing import Any

import pytest

from smartmob.cli import main, server_options
from smartmob.cli.host_lines import HostLines
from smartmob.settings import Settings
from tests.acceptance.commands import PROGRAMS, QUICK_PROGRAMS, environment
from tests.client.servers import serving
from tests.waiting import SECONDS, until

pytestmark = pytest.mark.timeout(900)


class Caller:
    """Calls `smartmob` with the address of a service."""

    def __init__(self, port: int, folder: Path) -> None:
        self.port = port
        self.folder = folder

    async def start(self, *arguments: str, stdin: Any = asyncio.subprocess.DEVNULL) -> asyncio.subprocess.Process:
        """Start a command."""
        return await asyncio.create_subprocess_exec(
            *(QUICK_PROGRAMS / "smartmob", *arguments),
            stdin=stdin,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            cwd=self.folder,
            env=environment(SMARTMOB_SERVER=f"http://127.0.0.1:{self.port}"),
        )

    async def __call__(self, *arguments: str, given: bytes | None = None) -> tuple[int | None, str, str]:
        """Return exit code, output and errors."""
        stdin = asyncio.subprocess.DEVNULL if given is None else asyncio.subprocess.PIPE
        process = await self.start(*arguments, stdin=stdin)
        async with asyncio.timeout(SECONDS):
            output, errors = await process.communicate(given)
        return process.returncode, output.decode(), errors.decode()


@pytest.fixture(name="smartmob")
def _smartmob(client: Any, tmp_path: Path) -> Caller:
    """Return the caller."""
    return Caller(client.server.port, tmp_path)


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("a", "http://a:8080"),
        ("a:9000", "http://a:9000"),
        ("::1", "http://[::1]:8080"),
        ("[::1]:9000", "http://[::1]:9000"),
        ("https://lab.example", "https://lab.example"),
    ],
)
def test_an_address_may_be_a_name_or_complete(host: str, address: str) -> None:
    """A name, a name with a port, or a whole address."""
    assert server_options.address(host) == address


async def test_exec_passes_output_input_and_exit_code(smartmob: Caller) -> None:
    """Output, input and exit code of a remote command are the same as on this machine."""
    assert await smartmob("exec", "--", "sh", "-c", "cat; exit 7", given=b"in\n") == (7, "in\n", "")
    assert await smartmob("exec", "kill -9 $$") == (137, "", "")
    code, output, _ = await smartmob("exec", "-C", "/tmp", "-e", "A=b c", "pwd; echo $A")
    assert (code, output) == (0, "/tmp\nb c\n")
    assert await smartmob("exec", "-n", "--timeout", "30", "cat; echo end", given=b"in\n") == (0, "end\n", "")
    code, _, errors = await smartmob("exec", "-n", "--timeout", "0.2", "--", "sleep", "600")
    assert (code, errors) == (143, "smartmob: the time limit was reached\n")
    code, _, errors = await smartmob("exec", "--", "/no/such/program", "x")
    assert (code, "No such file" in errors) == (127, True)


async def test_wrong_usage_is_refused_before_anything_is_done(smartmob: Caller) -> None:
    """Wrong usage ends with 2 before anything is done; an unreachable service ends with 3."""
    for words in (
        ("exec",),
        ("exec", "-e", "nothing", "x"),
        ("exec", "-t", "--on", "a,b", "x"),
        ("cp", "a", "b"),
        ("cp", "h:a", "h:b"),
    ):
        assert (await smartmob(*words))[0] == 2, words
    code, _, errors = await smartmob("exec", "--server", "http://127.0.0.1:1", "ls")
    assert (code, "cannot connect" in errors) == (3, True)


async def test_lines_of_many_hosts_begin_with_the_host(smartmob: Caller) -> None:
    """Each line begins with its host, a program that reads gets the end of its input; the worst exit code counts."""
    hosts = f"127.0.0.1:{smartmob.port},localhost:{smartmob.port}"
    code, output, errors = await smartmob("exec", "--on", hosts, "cat; echo hi; printf bad >&2; exit 3")
    assert (code, sorted(output.splitlines())) == (3, ["127.0.0.1: hi", "localhost: hi"])
    assert sorted(errors.splitlines()) == [
        *("127.0.0.1: bad", "127.0.0.1: ended with 3", "localhost: bad", "localhost: ended with 3")
    ]
    code, output, errors = await smartmob("exec", "--on", f"127.0.0.1:{smartmob.port},127.0.0.1:1", "echo hi")
    assert (code, "cannot connect" in errors) == (3, True)


async def test_ctrl_c_twice_leaves_the_command_running(smartmob: Caller) -> None:
    """CTRL-C once interrupts the command; twice leaves it, and says how to come back."""
    process = await smartmob.start("exec", "-n", "trap 'echo got; exit 9' INT; echo up; while :; do sleep 0.05; done")
    assert process.stdout is not None
    assert await process.stdout.readline() == b"up\n"
    process.send_signal(signal.SIGINT)
    output, _ = await process.communicate()
    assert (process.returncode, output.splitlines()[-1]) == (9, b"got")

    process = await smartmob.start("exec", "-n", "trap 'echo int' INT; echo up; while :; do sleep 0.05; done")
    assert process.stdout is not None
    assert await process.stdout.readline() == b"up\n"
    process.send_signal(signal.SIGINT)
    while await process.stdout.readline() != b"int\n":
        pass
    process.send_signal(signal.SIGINT)
    _, errors = await process.communicate()
    said = re.search(rb"Job (\d+) is still running. Attach again with: smartmob output \1 -f", errors)
    assert said, errors
    assert process.returncode == 130
    job = said[1].decode()
    assert (await smartmob("output", job))[1].startswith("up\n")
    assert (await smartmob("kill", "-s", "KILL", job))[0] == 0
    assert (await smartmob("output", job, "-f"))[0] == 137


async def test_a_prompt_is_shown_before_its_line_ends(smartmob: Caller) -> None:
    """`exec` and a second viewer, `output -f`, show what is written at once."""
    process = await smartmob.start("exec", "printf 'name? '; read x; echo $x", stdin=asyncio.subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdin is not None
    assert await process.stdout.readexactly(6) == b"name? "
    viewer = await smartmob.start("output", "-f", "1")
    assert viewer.stdout is not None
    assert await viewer.stdout.readexactly(6) == b"name? "
    process.stdin.write(b"me\n")
    assert await process.communicate() == (b"me\n", b"")
    assert await viewer.communicate() == (b"me\n", b"")


async def test_a_detached_job_has_an_empty_input_unless_it_is_kept(smartmob: Caller) -> None:
    """A program that reads ends; with --keep another client may send it something."""
    code, output, errors = await smartmob("exec", "-d", "cat; echo over")
    assert (code, output, errors.startswith("Job 1 is running. Attach again with:")) == (0, "", True)
    assert await smartmob("output", "1", "-f") == (0, "over\n", "")
    assert (await smartmob("exec", "-d", "--keep", "echo up; cat"))[0] == 0
    viewer = await smartmob.start("output", "-f", "2")
    assert viewer.stdout is not None
    assert await viewer.stdout.readline() == b"up\n"
    assert (await smartmob("kill", "2"))[0] == 0
    assert await viewer.wait() == 143


def test_lines_of_hosts_without_their_ends() -> None:
    """On a terminal a prompt is shown at once, and other hosts begin new lines; a pipe gets whole lines."""
    given = (("a", b"one\nname? "), ("b", b"two"), ("b", b" three\n"), ("a", b"me\n"), ("b", b"last"))
    shown = HostLines(("a", "b"), as_written=True)
    assert [shown.add(host, data) for host, data in given] + [shown.end("b"), shown.end("a")] == [
        "a: one\na: name? ",
        "\nb: two",
        " three\n",
        "a: me\n",
        "b: last",
        "\n",
        "",
    ]
    piped = HostLines(("a", "b"), as_written=False)
    assert [piped.add(host, data) for host, data in given] + [piped.end("b"), piped.end("a")] == [
        "a: one\n",
        "",
        "b: two three\n",
        "a: name? me\n",
        "",
        "b: last\n",
        "",
    ]


async def _ended(smartmob: Caller) -> bool:
    return not json.loads((await smartmob("jobs", "--json", "--state", "running"))[1])


async def test_the_end_of_the_viewer_ends_the_job(smartmob: Caller) -> None:
    """A pipe that was closed, with or without output of the job, TERM and HUP end it, unless `--keep` is given."""
    for line in ("yes", "echo one; sleep 600"):
        process = await smartmob.start("exec", "-n", line)
        assert process.stdout is not None
        await process.stdout.read(2)
        process._transport.get_pipe_transport(1).close()  # type: ignore[attr-defined]  # asyncio has no other way
        assert await process.wait() == 141, line
        assert process.stderr is not None
        assert await process.stderr.read() == b""
    for number, code in ((signal.SIGTERM, 143), (signal.SIGHUP, 129)):
        process = await smartmob.start("exec", "-n", "echo up; sleep 600")
        assert process.stdout is not None
        await process.stdout.readline()
        process.send_signal(number)
        assert await process.wait() == code
    while not await _ended(smartmob):
        pass

    process = await smartmob.start("exec", "-n", "--keep", "echo up; read x; echo $x")
    assert process.stdout is not None
    await process.stdout.readline()
    process.send_signal(signal.SIGTERM)
    _, errors = await process.communicate()
    assert re.fullmatch(rb"Job (\d+) is still running. Attach again with: smartmob output \1 -f\n", errors)
    assert not await _ended(smartmob)


async def test_detach_says_how_to_come_back(smartmob: Caller) -> None:
    """`--detach` tells how to come back, and ends at once."""
    code, output, errors = await smartmob("exec", "--detach", "echo hello; exit 3")
    said = re.fullmatch(r"Job (\d+) is running. Attach again with: smartmob output \1 -f\n", errors)
    assert said is not None
    assert (code, output) == (0, "")
    assert (await smartmob("output", "-f", said[1]))[:2] == (3, "hello\n")


async def test_closed_standard_streams_end_a_command_with_one_line(smartmob: Caller) -> None:
    """Closed input is empty input; closed output and a full disk end with one line."""
    await smartmob("exec", "echo x")
    here = f"127.0.0.1:{smartmob.port}"
    for words, code, lines in (
        ("exec 'cat; echo x' <&-", 0, 0),
        ("exec 'cat; echo x' >&-", 1, 1),
        ("exec 'cat; echo x' 2>&-", 0, 0),
        (f"exec --on {here} 'echo x' >&-", 1, 1),
        ("cp - :/tmp/never-made <&-", 1, 1),
        (f"exec --on {here} 'echo x' >/dev/full", 1, 1),
        ("jobs >&-", 1, 1),
        ("output 1 >/dev/full", 1, 1),
        ("cp :/etc/passwd - >/dev/full", 1, 1),
    ):
        # A forked program gets no closed streams.
        program = f"{sys.executable} -m smartmob" if "&-" in words else QUICK_PROGRAMS / "smartmob"
        process = await asyncio.create_subprocess_exec(
            *("sh", "-c", f"{program} {words}"),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=environment(SMARTMOB_SERVER=f"http://127.0.0.1:{smartmob.port}"),
        )
        _, errors = await process.communicate()
        assert (process.returncode, len(errors.splitlines())) == (code, lines), (words, errors)


def _bad_calls(folder: Path) -> list[tuple[list[str], int, str]]:
    """Return arguments of commands, the exit codes and a part of the error messages."""
    (folder / "file").write_text("x")
    (folder / "inner" / "file").mkdir(parents=True)
    os.mkfifo(folder / "fifo")
    (folder / "loop").symlink_to("loop")
    file, wrong = f"{folder}/file", "\udcff"
    return [
        (["exec", "--", "/no/such", "x"], 127, "/no/such: No such file or directory"),
        (["exec", "--", file, "x"], 126, "Permission denied"),
        (["exec", "-C", "/no/such", "true"], 1, "/no/such: No such file or directory"),
        (["exec", "-C", file, "true"], 1, "Not a directory"),
        (["exec", "-C", "~no-such-user", "true"], 1, "~no-such-user: there is no such user"),
        (["exec", "-e", "1A=b", "true"], 2, "expected NAME=VALUE"),
        (["exec", "--", "printf", wrong], 1, "\\xff is not UTF-8"),
        (["exec", "--timeout", "nan", "true"], 2, "is not a finite number"),
        (["exec", "--timeout", "1e300", "true"], 2, "--timeout: expected a number of seconds"),
        (["exec", "--on", "", "true"], 2, "--on: expected names of machines, separated by commas"),
        (["exec", "--on", "a,a", "true"], 2, "--on: 'a' is given twice"),
        (["exec", "--on", "a:99999", "true"], 2, "ports go up to 65535"),
        (["jobs", "--state", "nonsense"], 2, "is not one of 'running'"),
        (["output", "999"], 1, "there is no job 999; `smartmob jobs` lists them"),
        (["exec", "--host", "rack7", "ls"], 2, "there is no option --host (see"),
        (["output", "9" * 25], 1, "there is no job '99"),
        (["output", "x"], 2, "is not a valid integer"),
        (
            ["kill", "999"],
            1,
            "smartmob: job 999 does not exist or has already completed; `smartmob jobs --state running`",
        ),
        (["kill", "9" * 25], 1, "does not exist"),
        (["kill", "0"], 2, "is not in the range"),
        (["kill", "-s", "NOPE", "1"], 1, "'NOPE' is not a signal"),
        (["kill", "-s", "999", "1"], 1, "'999' is not a signal"),
        (["cp", "missing", ":x"], 1, "there is no missing here"),
        (["cp", f"{folder}/loop", ":x"], 1, "there is no"),
        (["cp", ":/no/such", "x"], 1, "/no/such: No such file or directory"),
        (["cp", f":/no/{wrong}", "x"], 1, "No such file or directory"),
        (["cp", file, f":{file}/x"], 1, f"{file}/x: Not a directory"),
        (["cp", f":{file}", f"{file}/x"], 1, "Not a directory"),
        (["cp", file, f":{folder}/inner"], 1, "Is a directory"),
        (["cp", f":{file}", f"{folder}/inner"], 1, "Is a directory"),
        (["cp", f"{folder}/inner", f":{file}"], 1, "it is a file there, not a folder"),
        (["cp", f":{folder}/inner", file], 1, "it is a file there, not a folder"),
        (["cp", f":{folder}/fifo", "x"], 1, "it is a fifo"),
        (["cp", file, f":{folder}/fifo"], 1, "it is a fifo"),
        (["cp", file, ":/dev/full"], 1, "No space left"),
        (["cp", f":{file}", "/dev/full"], 1, "No space left"),
        (["cp", file, ":/proc/smartmob-new"], 1, "/proc/smartmob-new: No such file or directory"),
        (["cp", f":{file}", "/proc/smartmob-new"], 1, "/proc/smartmob-new: No such file or directory"),
        (["cp", file, f":/tmp/{'a' * 300}"], 1, "File name too long"),
        (["cp", f"{file}/", ":x"], 1, f"{file}/: Not a directory"),
        (["cp", f":{file}/", "x"], 1, f"{file}/: Not a directory"),
        (["cp", file, f":{file}/"], 1, f"{file}/: Not a directory"),
        (["cp", f":{file}", f"{file}/"], 1, f"{file}/: Not a directory"),
        (["cp", "", ":x"], 2, "SRC and DEST must not be empty"),
        (["cp", f":{file}", ""], 2, "must not be empty"),
        (["cp", file, "[a:99999]:x"], 2, "ports go up to 65535"),
        (["cp", file, ":~no-such-user/x"], 1, "~no-such-user: there is no such user"),
    ]


def test_errors_of_users_are_one_line(
    settings: Settings, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each error ends with its exit code and one line that says what is wrong; wrong usage is explained below that."""
    monkeypatch.chdir(tmp_path)
    with serving(settings) as server:
        monkeypatch.setenv("SMARTMOB_SERVER", server.url)
        assert _called(["exec", "-d", "sleep 600"]) == 0
        for words, wanted, part in _bad_calls(tmp_path):
            capfd.readouterr()
            code = _called(words)
            errors = capfd.readouterr().err.splitlines()
            assert (code, part in errors[-1]) == (wanted, True), (words, code, errors)
            assert len(errors) == 1 or (code == 2 and errors[0].startswith("Usage:")), (words, errors)


def _called(words: list[str]) -> int:
    words = ["exec", "-n", *words[1:]] if words[0] == "exec" else words  # the input of the tests is no file
    return main._run(lambda: main.group(words, prog_name="smartmob", standalone_mode=False))


async def test_jobs_are_listed_and_their_output_is_printed(smartmob: Caller) -> None:
    """Jobs are listed for people and for programs, and their output is printed from any byte."""
    await smartmob("exec", "echo hello; exit 4")
    code, output, _ = await smartmob("jobs")
    assert code == 0
    assert re.search(r"1 +exited +4 .* echo hello; exit 4", output)
    (job,) = json.loads((await smartmob("jobs", "--json", "--state", "exited"))[1])
    assert (job["id"], job["exit_code"]) == (1, 4)
    assert await smartmob("output", "1", "--from", "2") == (0, "llo\n", "")
    await smartmob("exec", "echo out; echo err >&2; exit 3")
    assert await smartmob("output", "-f", "--stream", "stderr", "2") == (3, "err\n", "")
    assert await smartmob("output", "--stream", "stdout", "2") == (0, "out\n", "")
    assert (await smartmob("output", "1", "-f"))[:2] == (4, "hello\n")
    assert (await smartmob("output", "99"))[0] == 1
    code, _, errors = await smartmob("kill", "1")
    assert (code, "does not exist" in errors) == (1, True)


async def test_files_and_folders_are_copied_both_ways(smartmob: Caller, tmp_path: Path) -> None:
    """Files and folders there and back, into folders that exist and such that do not."""
    (tmp_path / "src" / "inner").mkdir(parents=True)
    (tmp_path / "src" / "a").write_bytes(os.urandom(100_000))
    (tmp_path / "src" / "inner" / "b").write_text("b")
    here = f"[127.0.0.1:{smartmob.port}]"
    copied = f"Copied 2 files, 100.0 kB from src to :{tmp_path}/there\n"
    assert await smartmob("cp", "src", f":{tmp_path}/there") == (0, "", copied)
    assert (tmp_path / "there" / "inner" / "b").read_text() == "b"
    assert (await smartmob("cp", "--mkpath", "src/a", f"{here}:{tmp_path}/new/"))[0] == 0
    assert (tmp_path / "new" / "a").read_bytes() == (tmp_path / "src" / "a").read_bytes()
    assert (await smartmob("cp", f"{here}:{tmp_path}/there", "back"))[0] == 0
    assert (tmp_path / "back" / "a").read_bytes() == (tmp_path / "src" / "a").read_bytes()
    copied = f"Copied 1 file, 100.0 kB from :{tmp_path}/there/a to new\n"
    assert await smartmob("cp", f":{tmp_path}/there/a", "new") == (0, "", copied)
    code, _, errors = await smartmob("cp", ":/no/such", "x")
    assert (code, "No such file" in errors) == (1, True)
    code, _, errors = await smartmob("cp", "missing", ":/tmp/x")
    assert (code, "there is no missing here" in errors) == (1, True)


async def test_a_program_gets_a_terminal_of_the_same_size(smartmob: Caller) -> None:
    """`-t` gives the program a terminal of the size of ours, raw, so that CTRL-C is the program's."""
    ours, theirs = pty.openpty()
    os.set_blocking(ours, False)
    process = await asyncio.create_subprocess_exec(
        *(PROGRAMS / "smartmob", "exec", "-t", "--", "sh", "-c", "tty; stty size; cat; echo ended $?"),
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env=environment(SMARTMOB_SERVER=f"http://127.0.0.1:{smartmob.port}"),
        start_new_session=True,
    )
    os.close(theirs)
    seen = b""

    def shows(text: bytes) -> bool:
        nonlocal seen
        try:
            seen += os.read(ours, 65536)
        except OSError:
            pass
        return text in seen

    await until(lambda: shows(b"24 80"))
    os.write(ours, b"typed\r")
    await until(lambda: shows(b"typed\r\ntyped"))
    os.write(ours, b"\x04")
    await until(lambda: shows(b"ended 0"))
    assert await process.wait() == 0
    os.close(ours)
    assert b"/dev/pts/" in seen
