"""Unpacking tar archives: what `tar` writes is read as `tar` reads it."""

from __future__ import annotations

import gzip
import io
import os
import subprocess
import tarfile
from pathlib import Path

import pytest

from smartmob.processes.preparation.archive import unpack
from smartmob.processes.preparation.unpacked_tree import ArchiveError, UnpackLimits
from tests.processes.archives import Link, Special, make_archive

SMALL = UnpackLimits(bytes=1_000_000, files=20, ratio=10, ratio_from=500_000)


def _seen(root: Path) -> dict[str, bytes | str | None]:
    """Return the content of a folder by path: bytes of files, targets of links, None for folders."""
    return {
        os.fsdecode(path.relative_to(root)): os.readlink(path)
        if path.is_symlink()
        else None
        if path.is_dir()
        else path.read_bytes()
        for path in root.rglob("*")
    }


@pytest.fixture(name="folder")
def _folder(tmp_path: Path) -> Path:
    folder = tmp_path / "app"
    deep = folder / "/".join(["a-folder-with-a-long-name"] * 12)
    deep.mkdir(parents=True)
    (deep / ("x" * 120)).write_bytes(b"deep")
    (folder / "Procfile").write_text("web: ./run\r\n")
    (folder / "gr\u00fc\u00dfe").write_bytes(b"hallo")
    (folder / os.fsdecode(b"latin-\xe9")).write_bytes(b"1")
    (folder / "empty").mkdir()
    (folder / "link").symlink_to("Procfile")
    (folder / "long-link").symlink_to("/".join(["a-folder-with-a-long-name"] * 12))
    (folder / "run").write_bytes(b"#!/bin/sh\n")
    (folder / "run").chmod(0o755)
    (folder / "same").hardlink_to(folder / "run")
    with (folder / "holes").open("wb") as file:
        file.write(b"begin")
        file.seek(300_000)
        file.write(b"middle")
        file.truncate(600_000)
    return folder


@pytest.mark.machine
@pytest.mark.parametrize("options", ["--format=gnu", "--format=gnu --sparse", "--format=posix --sparse"])
def test_what_tar_packs_is_what_tar_unpacks(options: str, folder: Path, tmp_path: Path) -> None:
    """Long names, names of any bytes, links and holes; from the folder above and from within."""
    for number, where in enumerate((["-C", folder.parent, "app"], ["-C", folder, "."])):
        made, by_tar = tmp_path / f"{number}.tar.gz", tmp_path / f"tar{number}"
        subprocess.run(["tar", "-czf", made, *options.split(), *where], check=True)
        by_tar.mkdir()
        subprocess.run(["tar", "-xzf", made, "-C", by_tar], check=True)

        root = unpack(made, tmp_path / f"ours{number}", UnpackLimits()).root

        assert _seen(root) == _seen(by_tar / "app" if number == 0 else by_tar)
        assert os.access(root / "run", os.X_OK)


def test_the_holes_of_a_sparse_file_count(folder: Path, tmp_path: Path) -> None:
    """A hole of a gigabyte needs no byte in the archive."""
    with (folder / "holes").open("wb") as file:
        file.truncate(1024**3)
    subprocess.run(["tar", "-czf", tmp_path / "a", "--sparse", "-C", folder, "."], check=True)
    with pytest.raises(ArchiveError, match="unpacks to more than"):
        unpack(tmp_path / "a", tmp_path / "out", UnpackLimits())
    assert (tmp_path / "out" / "holes").exists() is False


@pytest.mark.parametrize("pieces", ["10,5,3,2", "10,-5", "-1,5", "90,20"])
def test_wrong_pieces_of_a_sparse_file_are_refused(pieces: str, tmp_path: Path) -> None:
    """Pieces that overlap, go back or end behind the file: tarfile may look for a position without end."""
    info = tarfile.TarInfo("x")
    info.pax_headers = {"GNU.sparse.major": "0", "GNU.sparse.minor": "1", "GNU.sparse.size": "100"}
    info.pax_headers |= {"GNU.sparse.map": pieces, "GNU.sparse.numblocks": str(len(pieces.split(",")) // 2)}
    info.size = 60
    (tmp_path / "a").write_bytes(info.tobuf(tarfile.PAX_FORMAT) + bytes(512 + 1024))
    with pytest.raises(ArchiveError, match="its pieces are not in order"):
        unpack(tmp_path / "a", tmp_path / "out", UnpackLimits())


def test_a_second_archive_behind_the_first_is_told(tmp_path: Path) -> None:
    """`cat a.tar.gz b.tar.gz` is one archive for tar, which ends where the first one ends."""
    first, second = (gzip.decompress(make_archive("tar.gz", {name: "x"})) for name in ("Procfile", "b"))
    (tmp_path / "a").write_bytes(gzip.compress(first) + gzip.compress(second))
    found = unpack(tmp_path / "a", tmp_path / "out", UnpackLimits())
    assert [path.name for path in found.root.iterdir()] == ["Procfile"]
    assert found.remarks == ("what follows the end of the tar archive was ignored, for example a second archive",)


def test_junk_behind_the_compressed_data_is_ignored_with_a_remark(tmp_path: Path) -> None:
    """As gzip and tar do; what is unpacked is complete."""
    (tmp_path / "a").write_bytes(
        make_archive("tar.gz", {"Procfile": "x", "y": b"1" * 100_000}) + b"-- \nsent by a mailer"
    )
    found = unpack(tmp_path / "a", tmp_path / "out", UnpackLimits())
    assert (found.root / "y").stat().st_size == 100_000
    assert found.remarks == ("what follows the compressed data was ignored",)


def _added(archive: Path, name: str, kind: bytes, content: bytes = b"", linkname: str = "") -> None:
    with tarfile.open(archive, "a") as made:
        info = tarfile.TarInfo(name)
        info.type, info.size, info.linkname = kind, len(content), linkname
        made.addfile(info, io.BytesIO(content))


def _unusual(folder: Path) -> dict[str, Path]:
    """Return archives that `tar` reads: with members of all kinds, of old formats, and without their end."""
    found = {name: folder / f"{name}.tar" for name in ("kinds", "no end", "one block", "v7", "incremental")}
    source = folder / "source"
    (source / "inner").mkdir(parents=True)
    (source / "Procfile").write_text("web: x")
    (source / "inner" / "x").write_text("1")
    where = ["-C", source, "."]
    subprocess.run(["tar", "--format=v7", "-cf", found["v7"], *where], check=True)
    subprocess.run(["tar", "--format=gnu", "-g", folder / "snapshot", "-cf", found["incremental"], *where], check=True)
    found["kinds"].write_bytes(make_archive("tar", {"Procfile": "web: x", "link": Link("Procfile")}))
    _added(found["kinds"], "label", b"V")
    _added(found["kinds"], "same", tarfile.LNKTYPE, linkname="link")
    _added(found["kinds"], "odd", b"Z", b"content")
    _added(found["kinds"], "plain", tarfile.CONTTYPE, b"content")
    _added(found["kinds"], "folder/", tarfile.REGTYPE)
    data = found["v7"].read_bytes().rstrip(b"\0")
    data += bytes(-len(data) % tarfile.BLOCKSIZE)
    found["no end"].write_bytes(data)
    found["one block"].write_bytes(data + bytes(tarfile.BLOCKSIZE))
    return found


@pytest.mark.machine
def test_unusual_archives_are_read_as_tar_reads_them(tmp_path: Path) -> None:
    """A hard link to a link is a link, an unknown type is a file, a label is nothing; the end mark may be missing."""
    for name, archive in _unusual(tmp_path).items():
        by_tar = tmp_path / f"tar {name}"
        by_tar.mkdir()
        subprocess.run(["tar", "-xf", archive, "-C", by_tar], check=True, stderr=subprocess.DEVNULL)
        assert _seen(unpack(archive, tmp_path / f"ours {name}", UnpackLimits()).root) == _seen(by_tar), name


def test_a_fifo_is_left_out_with_a_remark(tmp_path: Path) -> None:
    """The rest is unpacked. A program that needs it makes it."""
    (tmp_path / "a").write_bytes(make_archive("tar", {"Procfile": "web: x", "pipe": Special(tarfile.FIFOTYPE)}))
    found = unpack(tmp_path / "a", tmp_path / "out", UnpackLimits())
    assert (list(_seen(found.root)), found.remarks) == (["Procfile"], ("the fifo 'pipe' was left out",))
