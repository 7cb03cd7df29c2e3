"""The submodules of revisions, from real repositories."""

from __future__ import annotations

import tarfile
from pathlib import Path

import pytest

from smartmob.cli.side_archives import pack, unpack
from smartmob.experiments.cleaner import Workplace
from smartmob.experiments.sides import resolve
from tests.experiments.repositories import git


@pytest.fixture(name="repository")
def _repository(tmp_path: Path) -> Path:
    """Return a repository with a submodule in a submodule, whose second commit pins another commit of the first."""
    for name, inner in (("deep", None), ("library", "deep"), ("project", "library")):
        folder = tmp_path / name
        folder.mkdir()
        git(folder, "init", "-q")
        (folder / f"{name}.txt").write_text("old")
        if inner:
            git(
                folder,
                "-c",
                "protocol.file.allow=always",
                "submodule",
                "add",
                "-q",
                str(tmp_path / inner),
                f"a {inner}",
            )
            words = ("submodule", "update", "-q", "--init", "--recursive")
            git(folder, "-c", "protocol.file.allow=always", *words)
        git(folder, "add", "-A")
        git(folder, "commit", "-q", "-m", "first")
    project = tmp_path / "project"
    (project / "a library" / "library.txt").write_text("new")
    git(project / "a library", "commit", "-q", "-a", "-m", "second")
    git(project, "commit", "-q", "-a", "-m", "second")
    return project


def _files(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): path.read_text() for path in sorted(folder.rglob("*.txt"))}


def test_a_revision_has_the_submodules_that_it_pins(repository: Path, tmp_path: Path) -> None:
    """Also those in submodules, in the worktree as in the archive for another machine, and nothing is left of them."""
    place = Workplace(tmp_path / "cache")
    for given, text in (("HEAD~1", "old"), ("HEAD", "new")):
        expected = {"a library/a deep/deep.txt": "old", "a library/library.txt": text, "project.txt": "old"}
        side = resolve(given, "a", place, repository)
        assert (_files(side.folder), side.absent) == (expected, ())
        archive = tmp_path / f"{given}.tar"
        sent = unpack(pack(given, repository, archive), archive, tmp_path / f"sent-{given}")
        assert (_files(sent.folder), sent.absent) == (expected, ())
    place.close()
    assert git(repository, "status", "--porcelain") == ""
    assert git(repository, "worktree", "list").count("\n") <= 1


def test_a_folder_is_sent_with_its_submodules(repository: Path, tmp_path: Path) -> None:
    """Their files are sent as they are, those that are not committed as well."""
    (repository / "a library" / "more.txt").write_text("fresh")
    pack(str(repository), tmp_path, tmp_path / "sent.tar")
    with tarfile.open(tmp_path / "sent.tar") as archive:
        names = {name for name in archive.getnames() if name.endswith(".txt")}
    assert names == set(_files(repository))


def test_submodules_that_the_clone_does_not_have(repository: Path, tmp_path: Path) -> None:
    """They are named, and the rest of the revision is there."""
    git(tmp_path, "clone", "-q", str(repository), "clone")
    place = Workplace(tmp_path / "cache")
    side = resolve("HEAD", "a", place, tmp_path / "clone")
    assert (_files(side.folder), side.absent) == ({"project.txt": "old"}, ("a library",))
    assert pack("HEAD", tmp_path / "clone", tmp_path / "sent.tar").absent == ["a library"]
    place.close()
