"""The sides of an experiment: worktrees of revisions, folders, wheels, and mistakes."""

from __future__ import annotations

import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from smartmob.errors import InvalidInput
from smartmob.experiments.cleaner import Workplace
from smartmob.experiments.sides import Side, prepare, probe, resolve, uncommitted
from tests.experiments.repositories import git
from tests.experiments.suites import WORK, write_suite


@pytest.fixture(name="workplace")
def _workplace(tmp_path: Path) -> Iterator[Workplace]:
    place = Workplace(tmp_path / "cache")
    yield place
    place.close()


@pytest.fixture(name="repository")
def _repository(tmp_path: Path) -> Path:
    """Return a repository with two commits, whose project is in a folder of it."""
    folder = tmp_path / "repository"
    write_suite(folder / "project")
    git(folder.parent, "init", "-q", str(folder))
    for text in ("first", "second"):
        (folder / "project" / "work.py").write_text(f"# {text}\n{WORK}")
        git(folder, "add", "-A")
        git(folder, "commit", "-q", "-m", text)
    return folder


def test_a_revision_is_a_worktree_that_is_removed(repository: Path, tmp_path: Path) -> None:
    """Both revisions are there at once, in the folder in which the command was given; later nothing is left."""
    place = Workplace(tmp_path / "cache")
    here = repository / "project"
    sides = [resolve(given, name, place, here) for given, name in (("HEAD~1", "a"), ("HEAD", "b"))]
    assert [(side.folder / "work.py").read_text().split()[1] for side in sides] == ["first", "second"]
    assert sides[1].commit == git(repository, "rev-parse", "HEAD").strip()
    assert len(str(sides[0].folder)) == len(str(sides[1].folder))
    place.close()
    assert git(repository, "worktree", "list").count("\n") == 1
    assert not (repository / ".git" / "worktrees").exists()


def test_changes_that_no_revision_has(repository: Path) -> None:
    """They are noticed, so that they can be told."""
    assert not uncommitted(repository)
    (repository / "project" / "work.py").write_text("")
    assert uncommitted(repository)


def test_a_folder_stands_for_itself(tmp_path: Path, workplace: Workplace) -> None:
    """It comes before a revision of the same name; modules of its `src` count as its own."""
    folder = write_suite(tmp_path / "one")
    (folder / "src" / "mine").mkdir(parents=True)
    (folder / "src" / "mine" / "__init__.py").touch()
    side = resolve(str(folder), "a", workplace, tmp_path)
    assert (side.kind, side.folder, side.import_path) == ("folder", folder, [folder / "src", folder])
    assert side.modules() == ["mine", "work"]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("no-such-thing", "not a folder, a wheel or a revision"),
        ("gone.whl", "there is no wheel"),
        ("--help", "not a folder"),
    ],
)
def test_what_names_no_side(given: str, said: str, tmp_path: Path, workplace: Workplace) -> None:
    """The message says what was expected, in one line."""
    with pytest.raises(InvalidInput, match=said) as caught:
        resolve(given, "a", workplace, tmp_path)
    assert "\n" not in str(caught.value)


def test_a_given_python_is_that_of_both_sides(tmp_path: Path, workplace: Workplace) -> None:
    """It is asked once for its version and for the plugins that it has."""
    sides = [Side("a", "folder", tmp_path), Side("b", "folder", tmp_path)]
    found = prepare(sides, workplace, sys.executable, ())
    assert found[0].python == found[1].python
    assert found[0].python is not None
    assert {"pytest", "xdist"} <= found[0].python.modules


def test_a_python_that_cannot_be_used(tmp_path: Path) -> None:
    """One that does not exist, one that is none, and one without pytest are refused with what to do."""
    for python, said in (("/absent/python", "there is no Python"), ("/bin/false", "is not a usable Python")):
        with pytest.raises(InvalidInput, match=said):
            probe(python)
    bare = tmp_path / "python"
    bare.write_text(f'#!/bin/sh\nexec {sys.executable} -I -S "$@"\n')
    bare.chmod(0o700)
    with pytest.raises(InvalidInput, match="has no pytest: install it there"):
        probe(str(bare))


def _wheel(path: Path) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("mine/__init__.py", "")
        archive.writestr("mine/inner/__init__.py", "")
        archive.writestr("single.py", "")
        archive.writestr("mine-1.dist-info/METADATA", "")
    return path


def test_wheels_come_before_the_modules_of_a_given_python(tmp_path: Path, workplace: Workplace) -> None:
    """They are unpacked, each into a folder of its own, from which the packages and modules in them have to come."""
    wheels = [_wheel(tmp_path / f"mine-{number}-py3-none-any.whl") for number in (1, 2)]
    sides = [resolve(str(wheel), name, workplace, tmp_path) for wheel, name in zip(wheels, "ab", strict=True)]
    found = prepare(sides, workplace, sys.executable, ())
    assert [side.modules() for side in found] == [["mine", "single"]] * 2
    assert found[0].home != found[1].home
    for side in found:
        assert side.import_path == [side.home]
        assert (side.home / "mine" / "inner" / "__init__.py").is_file()


def test_a_file_that_is_no_wheel(tmp_path: Path, workplace: Workplace) -> None:
    """It is refused with its name."""
    (tmp_path / "broken.whl").write_text("not a wheel")
    side = resolve(str(tmp_path / "broken.whl"), "a", workplace, tmp_path)
    with pytest.raises(InvalidInput, match=r"broken\.whl cannot be read as a wheel"):
        prepare([side, side], workplace, sys.executable, ())
