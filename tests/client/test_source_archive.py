"""Packing a folder: what is in, what stays out, the same bytes each time, and what the service makes of them."""

from __future__ import annotations

import hashlib
import io
import os
import socket
import stat
import tarfile
from pathlib import Path

import pytest

from smartmob.client.source_archive import PackingError, SourceArchive, source_archive
from smartmob.processes.preparation.archive import unpack
from smartmob.processes.preparation.unpacked_tree import UnpackLimits


def _app(folder: Path, *names: str) -> Path:
    """Make a folder with a Procfile and these files; a name that ends with a slash is a folder."""
    for name in ("Procfile", *names):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if name.endswith("/"):
            path.mkdir(exist_ok=True)
        else:
            path.write_text(name)
    return folder


def _names(folder: Path) -> list[str]:
    with source_archive(folder) as made, tarfile.open(made.path) as tar:
        return tar.getnames()


def _data(folder: Path) -> tuple[SourceArchive, bytes]:
    with source_archive(folder) as made:
        return made, made.path.read_bytes()


def test_a_folder_comes_out_as_it_went_in(tmp_path: Path) -> None:
    """Contents, folders, links and who may execute, unpacked by the service's own code."""
    root = _app(tmp_path / "app", "run", "lib/grün.py", "empty/", f"{'x' * 120}/{'y' * 120}/z")
    (root / "run").chmod(0o4750)
    (root / "lib" / "link").symlink_to("../run")
    (root / "dangling").symlink_to("nothing")
    os.link(root / "run", root / "again")

    with source_archive(root) as made:
        target = unpack(made.path, tmp_path / "target", UnpackLimits()).root

    there = {str(path.relative_to(target)) for path in target.rglob("*")}
    assert there == {str(path.relative_to(root)) for path in root.rglob("*")}
    assert (target / "lib" / "grün.py").read_text() == "lib/grün.py"
    assert (target / "lib" / "link").readlink() == Path("../run")
    assert (target / "again").read_text() == "run"
    assert stat.S_IMODE((target / "run").stat().st_mode) & 0o4700 == 0o700


def test_the_same_content_has_the_same_digest(tmp_path: Path) -> None:
    """Times, owners, the order on the disk and the folder's own name do not count; content and rights do."""
    first = _app(tmp_path / "a", "x", "y/z")
    second = _app(tmp_path / "b", "y/z", "x")
    os.utime(second / "x", (1, 1))
    (second / "x").chmod(0o600)

    made, data = _data(first)
    assert made.digest == hashlib.sha256(data).hexdigest()
    assert (made.size, made.files) == (len(data), 3)
    assert _data(second)[1] == data

    (second / "x").chmod(0o700)
    assert _data(second)[1] != data
    (second / "x").chmod(0o600)
    (second / "x").write_text("X")
    assert _data(second)[1] != data


def test_nothing_of_this_machine_is_in_it(tmp_path: Path) -> None:
    """No names of users and no times."""
    _, data = _data(_app(tmp_path, "x"))

    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        for info in tar.getmembers():
            assert (info.uid, info.gid, info.uname, info.gname, info.mtime) == (0, 0, "", "", 315_532_800)
    assert data[4:8] == bytes(4)
    assert not data[3] & 0x08


def test_what_never_belongs_to_a_program_stays_out(tmp_path: Path) -> None:
    """The history, compiled files and the environment of the developer, wherever they are."""
    root = _app(tmp_path, ".git/config", ".venv/bin/x", "a/__pycache__/x.pyc", "a/.git", "a/b.py", ".gitignore", ".env")

    assert _names(root) == [".env", ".gitignore", "Procfile", "a", "a/b.py"]


@pytest.mark.parametrize(
    ("patterns", "expected"),
    [
        ("*.log\n", ["Procfile", "a", "a/build", "a/build/x", "a/x.py", "build", "build/keep", "build/x"]),
        ("# comment\n\nbuild/\n", ["Procfile", "a", "a/keep.log", "a/x.log", "a/x.py", "x.log"]),
        ("/build\n*.log\n!keep.log\n", ["Procfile", "a", "a/build", "a/build/x", "a/keep.log", "a/x.py"]),
        ("a/**/x*\nbuild/*\n!build/keep\n", ["Procfile", "a", "a/build", "a/keep.log", "build", "build/keep", "x.log"]),
        ("a\n!a/x.py\nbuild\n", ["Procfile", "x.log"]),
    ],
)
def test_patterns_keep_out_what_they_name(patterns: str, expected: list[str], tmp_path: Path) -> None:
    """They mean what they mean to git: the last one counts, and nothing comes back from a folder that is out."""
    root = _app(tmp_path, "x.log", "a/x.log", "a/keep.log", "a/x.py", "a/build/x", "build/x", "build/keep")
    (root / ".slugignore").write_text(patterns)

    assert [name for name in _names(root) if name != ".slugignore"] == expected


@pytest.mark.parametrize("to", ["/etc/passwd", "../outside", "a/../../outside", "a/up/../outside", "../app/Procfile"])
def test_a_link_out_of_the_folder_is_refused(to: str, tmp_path: Path) -> None:
    """Nothing is where it leads on the other machine; the error says where it is and what to do."""
    root = _app(tmp_path / "app", "a/x")
    (root / "a" / "up").symlink_to("..")
    (root / "evil").symlink_to(to)

    with pytest.raises(PackingError, match=r"evil is a link out of the folder, to .*replace it by its target"):
        _names(root)

    (root / ".slugignore").write_text("evil\n")
    assert _names(root) == [".slugignore", "Procfile", "a", "a/up", "a/x"]


def test_what_is_no_file_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A socket that a program left, a pipe."""
    root = _app(tmp_path)
    os.mkfifo(root / "pipe")
    with pytest.raises(PackingError, match="pipe is neither a file nor a folder nor a link"):
        _names(root)
    (root / "pipe").unlink()
    with socket.socket(socket.AF_UNIX) as unix:
        monkeypatch.chdir(root)  # the path of a socket is short
        unix.bind("left")
        with pytest.raises(PackingError, match="left is neither a file nor a folder nor a link"):
            _names(root)


def test_a_folder_without_a_procfile_is_refused(tmp_path: Path) -> None:
    """Before it is uploaded, with an example of one; also when the patterns keep it out."""
    with pytest.raises(PackingError, match="has no Procfile, which says what to run"):
        _names(tmp_path)
    (_app(tmp_path) / ".slugignore").write_text("Proc*\n")
    with pytest.raises(PackingError, match=r"has no Procfile that \.slugignore lets in"):
        _names(tmp_path)
    with pytest.raises(PackingError, match="none is not a folder"):
        _names(tmp_path / "none")


@pytest.mark.parametrize(
    ("content", "reason"), [(b"ok\n!\n", r"line 2: '!' is not a pattern"), (b"\xff", "not a text in UTF-8")]
)
def test_bad_patterns_are_named(content: bytes, reason: str, tmp_path: Path) -> None:
    """With their line."""
    (_app(tmp_path) / ".slugignore").write_bytes(content)
    with pytest.raises(PackingError, match=reason):
        _names(tmp_path)


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("procfile", "there is procfile: its name must be Procfile"),
        ("PROCFILE", "there is PROCFILE: its name must be Procfile"),
        ("shop/Procfile", "there is shop/Procfile: run that folder instead"),
        ("shop/procfile", "there is shop/procfile: its name must be Procfile"),
    ],
)
def test_a_procfile_of_another_name_or_folder_is_told(name: str, hint: str, tmp_path: Path) -> None:
    """The message says which file is meant, and what to do."""
    path = tmp_path / "app" / name
    path.parent.mkdir(parents=True)
    path.write_text("web: x")
    with pytest.raises(PackingError, match=f"has no Procfile; {hint}$"), source_archive(tmp_path / "app"):
        pass


def test_names_of_any_bytes_come_out_as_they_went_in(tmp_path: Path) -> None:
    """Also those that are no UTF-8."""
    root = _app(tmp_path / "app")
    (root / os.fsdecode(b"gr\xfcn")).write_text("1")
    (root / "line\nbreak").write_text("2")
    with source_archive(root) as made:
        target = unpack(made.path, tmp_path / "target", UnpackLimits()).root
    assert set(os.listdir(os.fsencode(target))) == {b"Procfile", b"gr\xfcn", b"line\nbreak"}


def test_a_very_deep_folder_is_refused(tmp_path: Path) -> None:
    """In one line, instead of at the limit of Python's recursion."""
    root = _app(tmp_path / "app", "a/" * 501)
    with pytest.raises(PackingError, match="has more than 500 folders"), source_archive(root):
        pass


def test_progress_is_told(tmp_path: Path) -> None:
    """From nothing to everything, in bytes of content."""
    root = _app(tmp_path)
    (root / "large").write_bytes(os.urandom(1_000_000))
    seen: list[tuple[int, int]] = []

    with source_archive(root, lambda done, total: seen.append((done, total))):
        total = 1_000_000 + len("Procfile")

    assert seen[0] == (0, total)
    assert seen[-1] == (total, total)
    assert seen == sorted(seen)
    assert len(seen) > 5


@pytest.mark.parametrize(("change", "reason"), [(b"", "has shrunk"), (b"x" * 2_000_000, "has grown")])
def test_a_file_that_changes_meanwhile_is_noticed(change: bytes, reason: str, tmp_path: Path) -> None:
    """Half of an old and half of a new file is not packed."""
    root = _app(tmp_path)
    (root / "large").write_bytes(bytes(1_000_000))

    def meddle(done: int, total: int) -> None:
        if done == 0:
            (root / "large").write_bytes(change)

    with pytest.raises(PackingError, match=f"large {reason} while it was being packed"), source_archive(root, meddle):
        raise AssertionError("it was packed")


def test_a_file_that_vanishes_is_named(tmp_path: Path) -> None:
    """The reason is the system's."""
    root = _app(tmp_path, "gone")

    def meddle(done: int, total: int) -> None:
        if done == 0:
            (root / "gone").unlink()

    with pytest.raises(PackingError, match="gone: No such file or directory"), source_archive(root, meddle):
        raise AssertionError("it was packed")


def test_the_archive_is_removed_at_the_end(tmp_path: Path) -> None:
    """Also when what was done with it failed."""
    with pytest.raises(RuntimeError), source_archive(_app(tmp_path)) as made:
        assert made.path.exists()
        raise RuntimeError
    assert not made.path.exists()
    assert not made.path.parent.exists()
