"""Unpacking zip archives of other systems: the names are those that `unzip` makes of them."""

from __future__ import annotations

import io
import os
import struct
import subprocess
import zipfile
import zlib
from pathlib import Path

import pytest

from smartmob.processes.preparation.archive import unpack
from smartmob.processes.preparation.unpacked_tree import ArchiveError, UnpackLimits

FAT, UNIX, NTFS = 0, 3, 10


def _zip(names: dict[str, bytes], system: int = FAT, **about: object) -> bytes:
    """Return a zip archive as a program of the system `system` writes it: without modes for FAT and NTFS."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as made:
        for name, content in names.items():
            info = zipfile.ZipInfo(name)
            info.create_system = system
            info.external_attr = 0x10 if name.endswith(("/", "\\")) else 0o100644 << 16 if system == UNIX else 0x20
            for key, value in about.items():
                setattr(info, key, value)
            made.writestr(info, content)
    return buffer.getvalue()


def _names(root: Path) -> set[str]:
    return {os.fsdecode(path.relative_to(root)) + "/" * path.is_dir() for path in root.rglob("*")}


ARCHIVES = {
    "of Windows, by .NET": _zip({"app\\Procfile": b"web: x", "app\\lib\\x.py": b"1", "app\\empty\\": b""}),
    "of Windows with slashes": _zip({"app/": b"", "app/Procfile": b"web: x", "app/a\\b/c": b"1"}),
    "of Unix, with a backslash in a name": _zip({"Procfile": b"web: x", "a\\b": b"1"}, UNIX),
    "with data behind": _zip({"Procfile": b"", "x": b"1"}) + b"junk",
    "behind a program": b"#!/bin/sh\nexit 0\n" + _zip({"Procfile": b"", "x": b"1"}),
    "absolute": _zip({"/Procfile": b"", "/a/b": b"1"}, UNIX),
    "of Unix, with names of any bytes": _zip({"Procfile": b"", "X1": b"1"}, UNIX).replace(b"X1", b"\xe4x"),
    "of the input of zip": _zip({"-": b"1"}, UNIX, external_attr=0o010600 << 16),
    "with data before": b"PK\x03\x04junk" + _zip({"Procfile": b"", "x": b"1"}),
}


@pytest.mark.machine
def test_names_are_those_of_unzip(tmp_path: Path) -> None:
    """Backslashes separate folders in archives from Windows, and only there."""
    for number, (about, data) in enumerate(ARCHIVES.items()):
        archive, by_unzip = tmp_path / f"{number}.zip", tmp_path / f"unzip{number}"
        archive.write_bytes(data)
        # 1: a warning, for example of backslashes.
        environment = {"PATH": os.defpath, "LC_ALL": "C.UTF-8"}
        done = subprocess.run(
            ["unzip", "-qq", archive, "-d", by_unzip], capture_output=True, env=environment, check=False
        )
        assert done.returncode in (0, 1), (about, done.stderr)
        target = tmp_path / f"ours{number}"
        unpack(archive, target, UnpackLimits())
        assert _names(target) == _names(by_unzip), about


def test_a_zip_of_ntfs_is_one_of_windows(tmp_path: Path) -> None:
    """A name there cannot contain a backslash, although unzip does not look at this number."""
    (tmp_path / "a").write_bytes(_zip({"app\\Procfile": b"web: x", "app\\lib\\x.py": b"1"}, NTFS))
    assert _names(unpack(tmp_path / "a", tmp_path / "out", UnpackLimits()).root) == {"Procfile", "lib/", "lib/x.py"}


def test_a_zip_from_windows_has_its_root_and_plain_permissions(tmp_path: Path) -> None:
    """Its only folder is found behind the backslashes; no file is executable, as Windows has no such permission."""
    (tmp_path / "a").write_bytes(ARCHIVES["of Windows, by .NET"])
    root = unpack(tmp_path / "a", tmp_path / "out", UnpackLimits()).root
    assert (root, _names(root)) == (tmp_path / "out" / "app", {"Procfile", "lib/", "lib/x.py", "empty/"})
    assert (root / "Procfile").stat().st_mode & 0o777 & ~0o022 == 0o644


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("..\\evil", "leads out of its"),
        ("a\\..\\..\\evil", "leads out of its"),
        ("\\..\\evil", "leads out of its"),
    ],
)
def test_backslashes_lead_nowhere(name: str, message: str, tmp_path: Path) -> None:
    """The rules of names apply to what a name becomes."""
    (tmp_path / "a").write_bytes(_zip({name: b"x"}))
    with pytest.raises(ArchiveError, match=message):
        unpack(tmp_path / "a", tmp_path / "out", UnpackLimits())
    assert not (tmp_path / "evil").exists()


def test_a_name_of_an_extra_field_counts(tmp_path: Path) -> None:
    """Older tools for Windows keep the name in UTF-8 there; with a wrong checksum it is about another name."""
    for number, (checksum, expected) in enumerate([(zlib.crc32(b"?.py"), "\u65e5.py"), (1, "?.py")]):
        field = b"\x01" + struct.pack("<I", checksum) + "\u65e5.py".encode()
        archive = tmp_path / f"{number}.zip"
        archive.write_bytes(_zip({"?.py": b"1"}, extra=struct.pack("<HH", 0x7075, len(field)) + field))
        unpack(archive, tmp_path / f"out{number}", UnpackLimits())
        assert _names(tmp_path / f"out{number}") == {expected}


def test_streamed_and_large_archives_are_read(tmp_path: Path) -> None:
    """Sizes may stand behind the content (data descriptors) and in ZIP64 fields."""

    class Pipe(io.RawIOBase):
        """A stream without positions, for which zipfile writes data descriptors."""

        def __init__(self) -> None:
            self.data = bytearray()

        def writable(self) -> bool:
            return True

        def write(self, data: bytes) -> int:  # type: ignore[override]  # any buffer is written as bytes
            self.data += data
            return len(data)

    pipe = Pipe()
    with zipfile.ZipFile(pipe, "w", zipfile.ZIP_DEFLATED) as made, made.open("Procfile", "w", force_zip64=True) as file:  # type: ignore[call-overload]  # a stream to write is enough
        file.write(b"web: x")
    (tmp_path / "a").write_bytes(bytes(pipe.data))
    root = unpack(tmp_path / "a", tmp_path / "out", UnpackLimits()).root
    assert (root / "Procfile").read_bytes() == b"web: x"


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_other_methods_of_compression_are_read(method: int, tmp_path: Path) -> None:
    """As far as zipfile knows them; another one is named in the error."""
    data = _zip({"Procfile": b"web: x" * 100}, compress_type=method)
    (tmp_path / "a").write_bytes(data)
    assert (unpack(tmp_path / "a", tmp_path / "out", UnpackLimits()).root / "Procfile").stat().st_size == 600
    # 9 is the method of Windows for files above 2 GiB.
    unknown = data.replace(struct.pack("<HHH", 20, 0, method), struct.pack("<HHH", 20, 0, 9))
    for old in (46, 63):
        unknown = unknown.replace(struct.pack("<HHH", old, 0, method), struct.pack("<HHH", old, 0, 9))
        unknown = unknown.replace(struct.pack("<HHH", old, 2, method), struct.pack("<HHH", old, 2, 9))
    (tmp_path / "b").write_bytes(unknown)
    with pytest.raises(ArchiveError, match=r"'Procfile' cannot be unpacked.*method 9"):
        unpack(tmp_path / "b", tmp_path / "other", UnpackLimits())
