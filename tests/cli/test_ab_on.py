"""`smartmob ab --on`: sides are measured on another machine, which is reserved meanwhile, and nothing is left there."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import psutil
import pytest

from tests.acceptance.installed import python_with_pytest
from tests.cli.conftest import Command, Start
from tests.experiments.suites import write_suite
from tests.waiting import until

_HERE = f"{sys.executable} -m smartmob"


@pytest.fixture(autouse=True)
def _own_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "files").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "files"))
    for name in ("cache", "state"):
        monkeypatch.setenv(f"XDG_{name.upper()}_HOME", str(tmp_path / name))


async def test_two_folders_are_sent_and_measured(smartmob: Command, tmp_path: Path) -> None:
    """Output and exit code are those of the command there, and the files are gone; the user's reservation stays.

    The result is stored by the service that was named.
    """
    ident = json.loads((await smartmob("reserve", "--for", "6h", "--json"))[1])["id"]
    before = (await smartmob("reservations", "--json", SMARTMOB_RESERVATION=ident))[1]
    sides = [str(write_suite(tmp_path / name)) for name in ("one", "two")]
    options = ["--python", str(python_with_pytest()), "--witness", "clock", "--json"]
    options += ["--max-pairs", "1", "--max-time", "13m"]
    there = ("--on", "service", "--smartmob", _HERE, "--fail-on", "undecided", "--", "-k", "fixture")
    code, output, errors = await smartmob("ab", *sides, *options, *there, SMARTMOB_RESERVATION=ident)
    assert code == 1, errors
    found = json.loads(output)
    assert [found[side]["given"] for side in ("base", "head")] == sides
    assert [test["name"] for test in found["tests"]] == ["test_work.py::test_fixture"]
    assert "pair 1" in errors
    assert "--fail-on: undecided" in errors
    assert f"stored: `smartmob experiments show {found['id']}" in errors
    stored = json.loads((await smartmob("experiments", "show", "latest", "--json"))[1])
    assert stored == found
    assert (await smartmob("reservations", "--json", SMARTMOB_RESERVATION=ident))[1] == before
    assert os.listdir(tmp_path / "files") == []
    assert list((tmp_path / "cache" / "smartmob" / "experiments").iterdir()) == []


async def test_ctrl_c_ends_it_there(start: Start, smartmob: Command, tmp_path: Path) -> None:
    """The verdict so far is printed; work of others is refused while it runs, and the machine is free afterwards."""
    words = ("ab", "--command", "sleep 0.1", "--command", "sleep 0.1", "--json", "--no-store")
    async with start(*words, "--on", "service", "--smartmob", _HERE) as typed:
        await typed.says("pair 2")
        code, _, errors = await smartmob("exec", "true")
        assert code != 0
        assert "(smartmob ab)" in errors
        assert await typed.interrupt() == 130
        found = json.loads(typed.output)
        assert (found["verdict"], found["ended"]) == ("undecided", "it was interrupted")
    assert (await smartmob("exec", "true"))[0] == 0
    assert os.listdir(tmp_path / "files") == []


async def test_a_killed_far_end_leaves_nothing(start: Start, smartmob: Command, tmp_path: Path) -> None:
    """When the command there gets SIGKILL, this is told with code 3, its files are removed, and the machine is free."""
    side = str(write_suite(tmp_path / "one"))
    words = ("ab", side, side, "--python", str(python_with_pytest()), "--witness", "clock", "--no-store")
    async with start(*words, "--on", "service", "--smartmob", _HERE, "--", "-k", "fixture") as typed:
        await typed.says("pair 2")
        (there,) = (
            each for each in psutil.process_iter(["cmdline", "environ"])
            if "--from-input" in (each.info["cmdline"] or ())
            and (each.info["environ"] or {}).get("TMPDIR") == str(tmp_path / "files")
        )  # fmt: skip
        there.kill()
        assert await typed.wait() == 3
        assert "the command there was ended by signal 9" in typed.errors
    assert (await smartmob("exec", "true"))[0] == 0
    assert os.listdir(tmp_path / "files") == []
    assert await until(lambda: not list((tmp_path / "cache" / "smartmob" / "experiments").iterdir()))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("absent-a", "absent-b", "--on", "service"), "is not a folder, a wheel or a revision"),
        ((".", ".", "--on", "rack9"), "there is no node rack9"),
        (("--command", "true", "--command", "true", "--on", "service", "--smartmob", ""), "--smartmob is empty"),
    ],
)
async def test_each_mistake_is_reported_before_anything_is_measured(
    smartmob: Command, words: tuple[str, ...], said: str
) -> None:
    """Each is told before anything is measured."""
    code, output, errors = await smartmob("ab", *words)
    assert code != 0
    assert output == ""
    assert said in errors
