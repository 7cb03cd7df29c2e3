"""Copies of trees both ways, compared with what `rsync -a` makes of the same trees."""

from __future__ import annotations

import asyncio
import os
import random
import resource
import shutil
import socket
import stat
import subprocess
from pathlib import Path
from typing import Any

import pytest

from smartmob.client.command_client import CommandClient
from smartmob.client.copying import Copy
from smartmob.client.failures import NotConnected
from smartmob.errors import InvalidInput, message_of
from tests.client.servers import Wire
from tests.waiting import SECONDS

ANY_BYTE = bytes(set(range(1, 256)) - {ord("/")})
NAMES = (
    b"plain",
    b"with space",
    b"\xff\xfe no utf-8",
    "fünf".encode(),
    b"new\nline",
    b"-dash",
    b"a:b",
    b"~tilde",
    b"*",
)


def some_names(random_: random.Random, count: int) -> list[bytes]:
    """Return names of files: some that have broken other tools, some of random bytes, one as long as a name may be."""
    random_names = [bytes(random_.choices(ANY_BYTE, k=random_.randrange(3, 60))) for _ in range(3)]
    longest = bytes(random_.choices(ANY_BYTE, k=254))
    return [b"%d%s" % pair for pair in enumerate(random_.sample([*NAMES, *random_names, longest], count))]


def quiet(done: int, total: int) -> None:
    """Tell no progress."""


def grow(folder: bytes, random_: random.Random, depth: int = 2) -> None:
    """Fill a folder with files, holes, folders, links and fifos of random modes and names."""
    for name in some_names(random_, 6):
        path = folder + b"/" + name
        kind = random_.choice(("file", "file", "hole", "folder", "empty", "link", "fifo"))
        if kind == "file":
            with open(path, "wb") as file:
                file.write(random_.randbytes(random_.choice((0, 1, 5000, 300_000))))
        elif kind == "hole":
            with open(path, "wb") as file:
                file.truncate(200_000)
                file.seek(100_000)
                file.write(b"in the middle")
        elif kind == "link":
            os.symlink(random_.choice((b"missing", b"..", b"/etc/passwd", b"0plain")), path)
        elif kind == "fifo":
            os.mkfifo(path)
        else:
            os.mkdir(path)
            if kind == "folder" and depth:
                grow(path, random_, depth - 1)
        if kind != "link":
            os.chmod(
                path, random_.choice((0o700, 0o755)) if kind in ("folder", "empty") else random_.choice((0o4755, 0o640))
            )
        os.utime(path, ns=(0, random_.randrange(10**18)), follow_symlinks=False)
    os.utime(folder, ns=(0, random_.randrange(10**18)))


def described(root: bytes) -> dict[bytes, Any]:
    """Return everything that is kept of a tree: kinds, modes without setuid, times, contents and targets of links."""
    found: dict[bytes, Any] = {}
    for folder, folders, names in os.walk(root):
        for path in [folder, *(folder + b"/" + name for name in (*folders, *names))]:
            about = os.lstat(path)
            content: Any = None
            if stat.S_ISREG(about.st_mode):
                with open(path, "rb") as file:
                    content = file.read()
            elif stat.S_ISLNK(about.st_mode):
                content = os.readlink(path)
            mode = about.st_mode & 0o777
            found[os.path.relpath(path, root)] = stat.S_IFMT(about.st_mode), mode, about.st_mtime_ns, content
    return found


def by_rsync(source: Path, target: Path) -> dict[bytes, Any]:
    """Return what `rsync -a` makes of a tree; where it is not installed, the tree itself, which is the same."""
    if shutil.which("rsync") is None:
        return described(os.fsencode(source))
    subprocess.run(["rsync", "-a", f"{source}/", f"{target}/"], check=True)
    return described(os.fsencode(target))


def differences(source: Path, copy: Path, modes: str = "--chmod=ug-s") -> bytes:
    """Return what `rsync -a --checksum` would still change in a copy; `modes` is how it compares modes."""
    if shutil.which("rsync") is None:
        return b""
    options = ["--archive", "--checksum", "--dry-run", "--itemize-changes", "--delete", modes]
    return subprocess.run(["rsync", *options, f"{source}/", f"{copy}/"], check=True, stdout=subprocess.PIPE).stdout


@pytest.fixture(autouse=True)
def _umask() -> Any:
    before = os.umask(0)
    yield
    os.umask(before)


async def test_random_trees_are_copied_as_by_rsync(lab: CommandClient, tmp_path: Path) -> None:
    """Kinds, modes, times, contents and names of any bytes arrive in both directions, also over an earlier copy."""
    for seed in (*range(6), *(random.randrange(6, 2**32) for _ in range(6))):
        source, there, back = (tmp_path / f"{name}{seed}" for name in ("source", "there", "back"))
        source.mkdir()
        grow(os.fsencode(source), random.Random(seed))
        wanted = by_rsync(source, tmp_path / f"rsync{seed}")
        for _ in range(2):
            copy = Copy(lab, quiet)
            await copy.send(f"{source}/.", str(there))
            await copy.fetch(f"{there}/.", str(back))
            assert copy.problems == []
        assert described(os.fsencode(there)) == wanted, seed
        assert described(os.fsencode(back)) == wanted, seed
        assert (differences(source, there), differences(source, back)) == (b"", b""), seed


async def test_a_tree_that_grows_meanwhile_is_copied_as_it_was(lab: CommandClient, tmp_path: Path) -> None:
    """Each copy of a file that is appended to is a beginning of it; a later copy is the same as the tree."""
    source = tmp_path / "source"
    source.mkdir()
    grow(os.fsencode(source), random.Random(5))
    growing = [source / f"growing{number}" for number in range(3)]
    for path in growing:
        path.write_bytes(os.urandom(1_500_000))

    def extend(done: int, total: int) -> None:
        for path in growing:
            with path.open("ab") as file:
                file.write(os.urandom(1000))

    for way in ("send", "fetch"):
        least = [path.stat().st_size for path in growing]
        copy = Copy(lab, extend)
        await getattr(copy, way)(f"{source}/.", str(tmp_path / way))
        assert copy.problems == []
        for path, size in zip(growing, least, strict=True):
            copied = (tmp_path / way / path.name).read_bytes()
            assert len(copied) >= size
            assert path.read_bytes().startswith(copied)
        await getattr(Copy(lab, quiet), way)(f"{source}/.", str(tmp_path / way))
        assert described(os.fsencode(tmp_path / way)) == described(os.fsencode(source))
        assert differences(source, tmp_path / way) == b""


async def test_a_copy_that_was_cut_off_is_completed_by_the_next(wire: Wire, tmp_path: Path) -> None:
    """A client that ends at any byte leaves no wrong file, and the next copy makes the tree whole."""
    source = tmp_path / "source"
    source.mkdir()
    grow(os.fsencode(source), random.Random(3))
    (source / "large").write_bytes(os.urandom(3_000_000))
    wanted = described(os.fsencode(source))
    for seed in range(4):
        for way in ("send", "fetch"):
            target, limit = tmp_path / f"{way}{seed}", random.Random(seed).randrange(3_500_000)

            async def copy(way: str = way, target: Path = target, limit: int | None = None) -> None:
                async with CommandClient(wire.url, timeout=SECONDS) as lab:

                    def progress(done: int, total: int) -> None:
                        if limit is not None and done >= limit:
                            raise NotConnected("killed")

                    await getattr(Copy(lab, progress), way)(f"{source}/.", str(target))

            try:
                await copy(limit=limit)
            except NotConnected:
                pass
            for path, about in described(os.fsencode(target)).items() if target.exists() else ():
                if not path.endswith(b".smartmob-part") and about[3] is not None:
                    assert about[3] == wanted[path][3]
            await copy()
            found = described(os.fsencode(target))
            assert {path: about for path, about in found.items() if not path.endswith(b".smartmob-part")} == wanted


async def test_what_cannot_be_copied_is_told_and_the_rest_is_copied(lab: CommandClient, tmp_path: Path) -> None:
    """A socket, and a file in whose place is a folder, are told; a folder under a link is not followed."""
    source, there = tmp_path / "source", tmp_path / "there"
    (source / "inner").mkdir(parents=True)
    (source / "inner" / "file").write_text("inner")
    (source / "file").write_text("content")
    (source / "other").write_text("other")
    with socket.socket(socket.AF_UNIX) as unix:
        unix.bind(str(source / "socket"))
        (there / "file").mkdir(parents=True)
        (tmp_path / "outside").mkdir()
        (there / "inner").symlink_to(tmp_path / "outside")
        for way in ("send", "fetch"):
            copy = Copy(lab, quiet)
            await getattr(copy, way)(f"{source}/.", str(there))
            assert [problem.partition(":")[0] for problem in sorted(copy.problems)] == [
                "file was not copied",
                "inner was not copied",
                "socket was not copied",
            ]
    assert (there / "other").read_text() == "other"
    assert not list((tmp_path / "outside").iterdir())


async def test_devices_fifos_and_links_are_never_replaced(lab: CommandClient, tmp_path: Path) -> None:
    """A device is written to, a fifo is refused there, and the file behind a link is replaced; the link stays."""
    (tmp_path / "src").write_text("content")
    device = tmp_path / "null"
    link, fifo, real = tmp_path / "link", tmp_path / "fifo", tmp_path / "real"
    real.write_text("before")
    link.symlink_to(real)
    os.mkfifo(fifo)
    for way in ("send", "fetch"):
        await getattr(Copy(lab, quiet), way)(str(tmp_path / "src"), "/dev/null")
        real.write_text("before")
        await getattr(Copy(lab, quiet), way)(str(tmp_path / "src"), str(link))
        assert (link.is_symlink(), real.read_text()) == (True, "content")
        with pytest.raises(OSError, match="fifo"):
            await getattr(Copy(lab, quiet), way)(str(tmp_path / "src"), str(fifo))
    with pytest.raises(OSError, match="fifo"):
        await Copy(lab, quiet).fetch(str(fifo), str(device))
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)
    assert stat.S_ISFIFO(fifo.stat().st_mode)


async def test_files_that_grow_or_have_no_size(lab: CommandClient, tmp_path: Path) -> None:
    """A file is read to its end, with the digest of what was read: one of /proc has no size, one grows meanwhile."""
    for way in ("send", "fetch"):
        await getattr(Copy(lab, quiet), way)("/proc/version", str(tmp_path / way))
        assert (tmp_path / way).read_text() == Path("/proc/version").read_text()
        growing = tmp_path / f"growing-{way}"
        growing.write_bytes(bytes(2_000_000))
        grown = False

        def extend(done: int, total: int, growing: Path = growing) -> None:
            nonlocal grown
            if not grown:
                grown = True
                with growing.open("ab") as file:
                    file.write(b"more" * 500_000)

        await getattr(Copy(lab, extend), way)(str(growing), str(tmp_path / f"{way}-grown"))
        copied = (tmp_path / f"{way}-grown").read_bytes()
        assert len(copied) >= 2_000_000
        assert growing.read_bytes().startswith(copied)


async def test_a_pipe_is_copied_by_its_name_in_dev_fd(lab: CommandClient, tmp_path: Path) -> None:
    """A pipe is read to its end and written to, by its name in /dev/fd as a shell gives it."""
    reading, writing = os.pipe()
    os.write(writing, b"hello")
    os.close(writing)
    await Copy(lab, quiet).send(f"/dev/fd/{reading}", str(tmp_path / "there"))
    os.close(reading)
    assert (tmp_path / "there").read_bytes() == b"hello"

    (tmp_path / "there").write_bytes(data := os.urandom(500_000))
    reading, writing = os.pipe()
    taking = asyncio.create_task(asyncio.to_thread(_read_all, reading))
    await Copy(lab, quiet).fetch(str(tmp_path / "there"), f"/dev/fd/{writing}")
    os.close(writing)
    assert await taking == data


def _read_all(descriptor: int) -> bytes:
    with os.fdopen(descriptor, "rb") as file:
        return file.read()


async def test_a_copy_goes_into_a_folder_that_exists(lab: CommandClient, tmp_path: Path) -> None:
    """As with `cp -r`: a file or a folder goes into it, the content of `folder/.` is merged with it."""
    (tmp_path / "source" / "empty").mkdir(parents=True)
    (tmp_path / "source" / "file").write_text("x")
    for way in ("send", "fetch"):
        target = tmp_path / way
        target.mkdir()
        for source in ("source", "source/file", "source/."):
            await getattr(Copy(lab, quiet), way)(f"{tmp_path}/{source}", str(target))
        found = sorted(str(path.relative_to(target)) for path in target.rglob("*"))
        assert found == ["empty", "file", "source", "source/empty", "source/file"], way


async def test_the_folder_of_a_copy_must_exist(lab: CommandClient, tmp_path: Path) -> None:
    """As with `cp` and `scp`: a missing folder is an error that names it; `make_path` creates it, as for `rsync`."""
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "file").write_text("x")
    for way in ("send", "fetch"):
        for source, target in (
            ("source/file", "missing/x"),
            ("source/file", "missing/"),
            ("source", "missing/x"),
            ("source/.", "missing/x/"),
        ):
            with pytest.raises(InvalidInput, match=r"there is no folder .*missing/?: create it first"):
                await getattr(Copy(lab, quiet), way)(f"{tmp_path}/{source}", f"{tmp_path}/{target}")
            with pytest.raises(NotADirectoryError):
                await getattr(Copy(lab, quiet), way)(f"{tmp_path}/{source}", f"{tmp_path}/source/file/x")
        assert not (tmp_path / "missing").exists()

        await getattr(Copy(lab, quiet), way)(f"{tmp_path}/source", f"{tmp_path}/{way}/")  # as `cp -r` does
        assert os.listdir(tmp_path / way) == ["file"]
        for source, target in (("source/file", "a/b/x"), ("source/file", "a/c/"), ("source", "a/d/")):
            copy = Copy(lab, quiet, make_path=True)
            await getattr(copy, way)(f"{tmp_path}/{source}", f"{tmp_path}/{way}/{target}")
        made = sorted(str(path.relative_to(tmp_path / way)) for path in (tmp_path / way).rglob("*"))
        assert made == ["a", "a/b", "a/b/x", "a/c", "a/c/file", "a/d", "a/d/source", "a/d/source/file", "file"]


async def test_a_stopped_copy_leaves_the_modes_of_folders(lab: CommandClient, tmp_path: Path) -> None:
    """Folders have their own modes and times when a copy is stopped, also those that are not complete."""
    source = tmp_path / "source"
    for name in ("a", "b"):
        (source / name).mkdir(parents=True)
        (source / name / "file").write_text("x")
        os.utime(source / name, ns=(0, 10**18))
        (source / name).chmod(0o2551)
    os.utime(source, ns=(0, 10**18))
    for way in ("send", "fetch"):
        copy = Copy(lab, lambda done, total: stop())

        def stop(copy: Copy = copy) -> None:
            if copy.files:
                raise asyncio.CancelledError

        with pytest.raises(asyncio.CancelledError):
            await getattr(copy, way)(str(source), str(tmp_path / way))
        assert (copy.count, copy.listed) == (4, 5)
        for name, mode in ((".", source.stat().st_mode & 0o777), ("a", 0o551), ("b", 0o551)):
            about = (tmp_path / way / name).stat()
            assert (about.st_mode & 0o777, about.st_mtime_ns) == (mode, 10**18), (way, name)


async def test_a_folder_that_is_created_has_its_mode_at_once(lab: CommandClient, tmp_path: Path) -> None:
    """A copy that is killed leaves folders that others may read as they may read the original."""
    os.umask(0o022)
    await lab.run("place", path=str(tmp_path / "new"), kind="folder", mode=0o575, raise_error=True)
    await lab.run("place", path=str(tmp_path / "plain"), kind="folder", raise_error=True)
    assert [(tmp_path / name).stat().st_mode & 0o777 for name in ("new", "plain")] == [0o755, 0o755]


async def test_a_disk_that_is_full_leaves_no_incomplete_file(lab: CommandClient, tmp_path: Path) -> None:
    """The error names the file and the reason, in both directions, and also a folder keeps no temporary file."""
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "large").write_bytes(os.urandom(3_000_000))
    (tmp_path / "target").mkdir()
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    for way in ("send", "fetch"):
        resource.setrlimit(resource.RLIMIT_FSIZE, (2_000_000, before[1]))
        try:
            with pytest.raises(OSError, match="File too large") as caught:
                await getattr(Copy(lab, quiet), way)(f"{tmp_path}/source/large", str(tmp_path / "target" / way))
            copy = Copy(lab, quiet)
            await getattr(copy, way)(f"{tmp_path}/source/.", str(tmp_path / "target"))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
        assert caught.value.filename == str(tmp_path / "target" / way)
        assert copy.problems == ["large was not copied: File too large"]
        assert os.listdir(tmp_path / "target") == []


async def test_errors_of_a_target_name_it(lab: CommandClient, tmp_path: Path) -> None:
    """A name that is too long, a folder in the place of a file and a file in the place of a folder are named whole."""
    (tmp_path / "file").write_text("x")
    (tmp_path / "folder" / "file").mkdir(parents=True)
    for way in ("send", "fetch"):
        for target, reason in (("x" * 256, "File name too long"), ("folder", "Is a directory")):
            with pytest.raises(OSError, match=reason) as caught:
                await getattr(Copy(lab, quiet), way)(str(tmp_path / "file"), f"{tmp_path}/{target}")
            assert str(tmp_path / target) in message_of(caught.value), (way, target)
        copy = Copy(lab, quiet)
        await getattr(copy, way)(str(tmp_path / "folder"), str(tmp_path / "file"))
        assert copy.problems == [f"{tmp_path}/folder was not copied: it is a file there, not a folder"]


async def test_a_stream_becomes_a_file_as_a_shell_makes_it(lab: CommandClient, tmp_path: Path) -> None:
    """The mode is that of a new file under the umask of the service; a file that exists keeps its own."""
    os.umask(0o027)
    (tmp_path / "old").write_text("before")
    (tmp_path / "old").chmod(0o604)
    for name, mode in (("new", 0o640), ("old", 0o604)):
        reading, writing = os.pipe()
        os.write(writing, b"hello")
        os.close(writing)
        await Copy(lab, quiet).send(f"/dev/fd/{reading}", str(tmp_path / name))
        os.close(reading)
        assert ((tmp_path / name).read_bytes(), (tmp_path / name).stat().st_mode & 0o777) == (b"hello", mode)
