"""`smartmob ab`: two programs and two revisions, and mistakes on the command line."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from smartmob.cli.main import group
from tests.acceptance.installed import python_with_pytest
from tests.experiments.suites import write_suite
from tests.waiting import until


@pytest.fixture(autouse=True)
def _own_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run in a folder of the test, and keep what experiments make in another one."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def _ab(*words: str) -> Result:
    return CliRunner().invoke(group, ("ab", *words), standalone_mode=False)


def _left(tmp_path: Path) -> list[Path]:
    return list((tmp_path / "cache" / "smartmob" / "experiments").iterdir())


def test_the_slower_of_two_programs_is_found(tmp_path: Path) -> None:
    """The slower one is found, the document has the verdict, and --fail-on sets the exit code."""
    words = ("--command", "sleep 0.02", "--command", "sleep 0.5", "--max-pairs", "60", "--max-time", "13m")
    result = _ab(*words, "--json", "--fail-on", "slower,memory")
    assert result.return_value == 1, result.output
    found = json.loads(result.stdout)
    assert found["verdict"] == "slower"
    assert {key: found["tests"][0][key] for key in ("name", "verdict", "witness")} == {
        "name": "command",
        "verdict": "slower",
        "witness": "clock",
    }
    assert found["tests"][0]["low"] > 1
    assert "--fail-on: slower" in result.stderr
    assert _left(tmp_path) == []


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("main",), "give BASE and HEAD: git revisions, folders or wheels"),
        (("--command", "true"), "--command is given twice"),
        (("--command", "true", "--command", "true", "main"), "--command is given twice"),
        (("--command", "true", "--command", ""), "--command is empty"),
        (("--command", "true", "--command", "true", "--duet"), "--duet is for suites of tests"),
        (
            ("--command", "true", "--command", "true", "--witness", "instructions"),
            "instructions are counted for suites",
        ),
        (("--command", "true", "--command", "true > x"), "--command is run without a shell, to which '>'"),
        (("--command", "echo 'open", "--command", "true"), "is not a valid command: no closing quotation"),
        (("--command", "sh -c 'exit 3'", "--command", "true"), "the program sh -c 'exit 3' ended with 3, and must end"),
        (("--command", "true", "--command", "sh -c 'kill -9 $$'"), "ended by SIGKILL, and must end with 0"),
        (("a", "b", "--min-effect", "0"), "--min-effect must be above 0"),
        (("a", "b", "--max-time", "soon"), "expected a duration"),
        (("a", "b", "--fail-on", "slow"), "'slow' is not one of slower, memory, undecided, busy"),
        (("no-such-a", "no-such-b"), "'no-such-a' is not a folder, a wheel or a revision"),
        ((".", ".", "--python", "/absent"), "there is no Python at /absent"),
        (("--command", "/absent/program", "--command", "true"), "no such file"),
    ],
)
def test_each_mistake_is_one_line_that_says_what_to_do(words: tuple[str, ...], said: str) -> None:
    """Each is one line that says what to do."""
    result = _ab(*words)
    assert result.stdout == ""
    assert said.casefold() in str(result.exception).casefold()
    assert "\n" not in str(result.exception)


@pytest.mark.long
def test_the_worktrees_of_two_revisions_are_removed(tmp_path: Path) -> None:
    """Their worktrees are gone at the end, and the report is Markdown."""
    here = write_suite(tmp_path / "here")
    names = ("-c", "user.name=me", "-c", "user.email=me@example.com", "-c", "commit.gpgsign=false")
    for words in (("init", "-q"), ("add", "-A"), ("commit", "-q", "-m", "one")):
        subprocess.run(["git", *names, *words], cwd=here, check=True)
    options = ("--python", str(python_with_pytest()), "--witness", "clock", "--max-pairs", "1", "--max-time", "13m")
    result = _ab("HEAD", "HEAD", *options, "--format", "markdown", "--", "-k", "fixture")
    assert result.return_value == 0, result.output
    assert result.stdout.startswith("### 🟡 HEAD → HEAD: 1 undecided")
    assert "test\\_fixture" in result.stdout
    assert not (here / ".git" / "worktrees").exists()
    assert _left(tmp_path) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
async def test_an_end_at_any_moment_leaves_nothing(number: signal.Signals, tmp_path: Path) -> None:
    """CTRL-C and SIGTERM print the verdict so far; after SIGKILL the folder and the programs are gone as well."""
    words = ("ab", "--command", "sleep 0.31", "--command", "sleep 0.31", "--json", "--max-time", "13m")
    process = subprocess.Popen(  # noqa: ASYNC220  # it returns at once
        [sys.executable, "-m", "smartmob", *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    with process:
        assert process.stdout is not None
        assert process.stderr is not None
        while "pair 2" not in process.stderr.readline():
            pass
        os.kill(process.pid, number)
        output = process.stdout.read()
        process.wait()
    if number == signal.SIGKILL:
        assert await until(lambda: not _left(tmp_path))
        return
    assert process.returncode == 130
    found = json.loads(output)
    assert (found["verdict"], found["ended"]) == ("undecided", "it was interrupted")
    assert _left(tmp_path) == []
