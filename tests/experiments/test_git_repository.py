"""Revisions of git: what they name, in hooks as well, and why they name nothing."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from smartmob.errors import InvalidInput
from smartmob.experiments import git_repository
from smartmob.experiments.cleaner import Workplace
from smartmob.experiments.sides import resolve


def _git(folder: Path, *words: str) -> str:
    names = ("-c", "user.name=me", "-c", "user.email=me@example.com", "-c", "commit.gpgsign=false")
    return subprocess.run(["git", "-C", folder, *names, *words], capture_output=True, text=True, check=True).stdout


@pytest.fixture(name="repository")
def _repository(tmp_path: Path) -> Path:
    """Return a repository with two commits and a tag with a message, in a folder with a space in its name."""
    folder = tmp_path / "re po"
    folder.mkdir()
    _git(folder, "init", "-q", ".")
    for text in ("one", "two"):
        (folder / "text").write_text(text)
        _git(folder, "add", "-A")
        _git(folder, "commit", "-q", "-m", text)
    _git(folder, "tag", "-a", "-m", "the first", "v/1", "HEAD~1")
    return folder


def test_all_forms_of_a_revision_name_a_commit(repository: Path) -> None:
    """Tags with a message stand for their commit, and `:/TEXT` for the newest one with it in its message."""
    first, second = _git(repository, "rev-parse", "HEAD~1", "HEAD").split()
    named = {each: git_repository.commit_of(repository, each) for each in ("v/1", ":/one", "HEAD^", "@~1", first[:8])}
    assert set(named.values()) == {first}
    (repository / "text").write_text("three")
    _git(repository, "stash")
    assert _git(repository, "rev-parse", "stash@{0}^").strip() == second
    assert git_repository.commit_of(repository, "stash@{0}") == _git(repository, "rev-parse", "stash@{0}").strip()


@pytest.mark.parametrize("given", ["", "-x", "--help", "HEAD:text", "HEAD~9", "v1..v2", "^HEAD", "a\nb"])
def test_what_names_no_commit_is_refused(repository: Path, given: str) -> None:
    """An empty word, as of a variable of CI that is not set, does not stand for the current folder."""
    with pytest.raises(InvalidInput, match="is not a revision of a git repository at"):
        git_repository.commit_of(repository, given)
    place = Workplace(repository.parent / "cache")
    with pytest.raises(InvalidInput, match="is not a folder, a wheel or a revision"):
        resolve(given, "a", place, repository)
    place.close()


def test_a_shallow_clone_says_how_to_get_the_rest(repository: Path, tmp_path: Path) -> None:
    """Jobs of CI make clones of one commit."""
    shallow = tmp_path / "shallow"
    _git(tmp_path, "clone", "-q", "--depth", "1", f"file://{repository}", str(shallow))
    with pytest.raises(InvalidInput, match=r"'HEAD~1' is not a revision .* shallow, `git fetch --unshallow`"):
        git_repository.commit_of(shallow, "HEAD~1")


def test_a_repository_of_another_user_says_what_git_wants(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a container the owner of a mounted repository is often another one."""
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")
    with pytest.raises(
        InvalidInput, match=r"detected dubious ownership .* call `git config --global --add safe"
    ) as caught:
        git_repository.commit_of(repository, "HEAD")
    assert "\n" not in str(caught.value)


def test_without_a_repository_or_git_that_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The folder alone does not explain it."""
    with pytest.raises(InvalidInput, match="not a git repository"):
        git_repository.commit_of(tmp_path, "HEAD")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InvalidInput, match="git is not installed"):
        git_repository.commit_of(tmp_path, "HEAD")


def test_a_hook_of_another_repository_changes_nothing(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """git tells hooks its repository by variables, which would count more than the folder."""
    other = tmp_path / "other"
    other.mkdir()
    _git(other, "init", "-q", ".")
    wanted = _git(repository, "rev-parse", "HEAD").strip()
    monkeypatch.setenv("GIT_DIR", str(other / ".git"))
    monkeypatch.setenv("GIT_INDEX_FILE", str(other / ".git" / "index"))
    place = Workplace(tmp_path / "cache")
    side = resolve("HEAD", "a", place, repository)
    assert side.commit == wanted
    assert (side.folder / "text").read_text() == "two"
    place.close()
    assert not (other / ".git" / "worktrees").exists()


def test_hooks_of_the_user_do_not_run_in_a_worktree(repository: Path, tmp_path: Path) -> None:
    """One that fails, as without its configuration in an old commit, would end the experiment."""
    hook = repository / ".git" / "hooks" / "post-checkout"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text("#!/bin/sh\nexit 1\n")
    hook.chmod(0o755)
    place = Workplace(tmp_path / "cache")
    assert resolve("v/1", "a", place, repository).kind == "revision"
    place.close()
