"""`smartmob bisect` on a small repository: the commit is found, also with broken ones between, and nothing is left."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from smartmob.cli.main import group
from tests.experiments.repositories import Commit, make_repository
from tests.waiting import until

_FAST, _SLOW, _BROKEN = "sleep 0.01", "sleep 0.15", "exit 1"


@pytest.fixture(autouse=True)
def _own_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run in the repository of the test, and keep what experiments make in another folder."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def _bisect(*words: str) -> Result:
    return CliRunner().invoke(group, ("bisect", *words), standalone_mode=False)


def _line(*works: str) -> dict[str, str]:
    """Make a history without merges, one commit for each content of the program `work`; return the hashes."""
    commits = {
        f"c{number}": Commit([f"c{number - 1}"] if number else [], {"work": work}) for number, work in enumerate(works)
    }
    return make_repository(Path.cwd(), commits)


def _nothing_is_left(tmp_path: Path) -> bool:
    folders = list((tmp_path / "cache" / "smartmob" / "experiments").iterdir())
    return folders == [] and not (Path.cwd() / ".git" / "worktrees").exists()


def test_the_commit_is_found(tmp_path: Path) -> None:
    """A broken commit is skipped, the answers and the confidence are told, and no worktree is left."""
    names = _line(_FAST, _FAST, _FAST, _BROKEN, _SLOW, _SLOW)
    result = _bisect("c0", "c5", "--command", "sh work", "--json", "--skip", "c1")
    assert result.return_value == 0, result.output
    found = json.loads(result.stdout)
    assert (found["verdict"], found["direction"], found["test"]) == ("several", "slower", "command")
    assert [each["commit"] for each in found["candidates"]] == [names["c3"], names["c4"]]
    assert found["confidence"] >= 0.99
    answers = {step["commit"]: step["answer"] for step in found["steps"]}
    assert answers[names["c3"]] == "skipped"
    assert names["c1"] not in answers
    assert "skipped" in result.stderr
    assert _nothing_is_left(tmp_path)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("c0", "c1"), "give a TEST"),
        (("c0", "c1", "test", "--command", "true"), "give a TEST"),
        (("c0", "c1", "--command", ""), "--command is empty"),
        (("c0", "c1", "--command", "true", "--max-time", "soon"), "expected a duration"),
        (("c0", "c1", "--command", "true", "--min-effect", "0"), "--min-effect must be above 0"),
        (("c0", "c9", "--command", "true"), "'c9' is not a revision"),
        (("c1", "c0", "--command", "true"), "give the older revision first"),
        (("c0", "c1", "--command", "true", "--skip", "c7"), "'c7' is not a revision"),
        (("c0", "c1", "test_x", "--python", "/absent"), "there is no Python at /absent"),
        (("c0", "c1", "--command", "/absent/program"), "no such file"),
        (("c0", "c1", "--command", "false"), "ended with 1, and must end with 0"),
        (("c0", "c1", "--command", "echo 'open"), "is not a valid command: no closing quotation"),
    ],
)
def test_a_mistake_prints_nothing_as_data(words: tuple[str, ...], said: str, tmp_path: Path) -> None:
    """Each is told, and nothing is printed as data."""
    _line(_FAST, _FAST)
    result = _bisect(*words)
    assert result.stdout == ""
    assert said.casefold() in str(result.exception).casefold()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
async def test_an_end_leaves_nothing(number: signal.Signals, tmp_path: Path) -> None:
    """CTRL-C prints the commits that are left; after SIGKILL the worktrees are gone as well."""
    _line(_FAST, _FAST, _SLOW)
    words = ("bisect", "c0", "c2", "--command", "sh work", "--json")
    process = subprocess.Popen(  # noqa: ASYNC220  # it returns at once
        [sys.executable, "-m", "smartmob", *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    with process:
        assert process.stdout is not None
        assert process.stderr is not None
        while "1. " not in process.stderr.readline():
            pass
        process.send_signal(number)
        output = process.stdout.read()
        process.wait()
    if number == signal.SIGINT:
        assert process.returncode == 130
        found = json.loads(output)
        assert (found["verdict"], found["direction"]) == ("interrupted", "slower")
        assert len(found["candidates"]) == 2
    assert await until(lambda: _nothing_is_left(tmp_path))
