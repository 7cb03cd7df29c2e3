"""Unpacking archives: all types, and no file outside the folder or beyond the limits."""

from __future__ import annotations

import gzip
import io
import os
import random
import stat
import tarfile
import threading
import tracemalloc
import zipfile
from collections.abc import Iterable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from smartmob.processes.preparation.archive import Kind, kind_of
from smartmob.processes.preparation.archive import unpack as unpack_archive
from smartmob.processes.preparation.unpacked_tree import ArchiveError, Interrupted, UnpackLimits
from tests.processes.archives import KINDS, Entry, File, Folder, HardLink, Link, Special, make_archive

TARS = [kind for kind in KINDS if kind != "zip"]
Pairs = Iterable[tuple[str, Entry]]


AMPLE = UnpackLimits()


def _unpack(folder: Path, data: bytes, limits: UnpackLimits = AMPLE) -> Path:
    path = folder / "archive"
    path.write_bytes(data)
    return unpack(path, folder / "target", limits)


def unpack(path: Path, target: Path, limits: UnpackLimits, stop: threading.Event | None = None) -> Path:
    return unpack_archive(path, target, limits, stop).root


def _tree(root: Path) -> dict[str, str]:
    """Return the content of a folder by path: bytes of files, targets of links, "/" for folders."""
    found = {}
    for path in root.rglob("*"):
        name = str(path.relative_to(root))
        found[name] = f"-> {path.readlink()}" if path.is_symlink() else "/" if path.is_dir() else path.read_text()
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_each_type_of_archive_is_detected_by_content_and_unpacked(kind: Kind, tmp_path: Path) -> None:
    """Files, folders and links are as they were packed, whatever the name of the archive."""
    data = make_archive(
        kind,
        {
            "Procfile": "web: ./run",
            "run": File("#!/bin/sh", 0o4755),
            "./lib/deep/x.py": b"x",
            "empty": Folder(),
            "lib/link": Link("../run"),
            "grüße.txt": "hallo",
        },
    )
    root = _unpack(tmp_path, data)

    assert kind_of(tmp_path / "archive") == kind
    assert root == tmp_path / "target"
    assert _tree(root) == {
        "Procfile": "web: ./run",
        "run": "#!/bin/sh",
        "lib": "/",
        "lib/deep": "/",
        "lib/deep/x.py": "x",
        "lib/link": "-> ../run",
        "empty": "/",
        "grüße.txt": "hallo",
    }


@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_only_the_executable_permission_is_kept(kind: Kind, tmp_path: Path) -> None:
    """No file is setuid, writable for others, or unreadable for its owner."""
    modes = {"a": 0o6777, "b": 0o644, "c": 0o001, "d": 0o000, "e": 0o2666}
    files: dict[str, Entry] = {name: File("x", mode) for name, mode in modes.items()}
    root = _unpack(tmp_path, make_archive(kind, {**files, "f": Folder(0o7000)}))

    found = {path.name: stat.S_IMODE(path.stat().st_mode) & ~0o077 for path in root.iterdir()}
    assert found == {"a": 0o700, "b": 0o600, "c": 0o700, "d": 0o600, "e": 0o600, "f": 0o700}
    assert not any(stat.S_IMODE(path.stat().st_mode) & 0o022 for path in root.iterdir())


@pytest.mark.parametrize("kind", ["zip", "tar.gz"])
@pytest.mark.parametrize(
    ("files", "root"),
    [
        ({"app-1/Procfile": "web: x", "app-1/y": ""}, "app-1"),
        ({"app-1/Procfile": Link("x"), "app-1/x": ""}, "app-1"),
        ({"__MACOSX/app/._x": "", ".DS_Store": "", "app/Procfile": ""}, "app"),
        ({"app/Procfile": "", "Procfile": ""}, ""),
        ({"app/Procfile": "", "other": ""}, ""),
        ({"app/deep/Procfile": ""}, ""),
        ({"app/x": ""}, ""),
    ],
)
def test_a_single_folder_with_the_procfile_is_the_root(
    kind: Kind, files: dict[str, Entry], root: str, tmp_path: Path
) -> None:
    """Archives of code hosts are like that; otherwise the top is the root."""
    assert _unpack(tmp_path, make_archive(kind, files)) == tmp_path / "target" / root


def test_a_hard_link_becomes_a_copy(tmp_path: Path) -> None:
    """Writing to one does not change the other."""
    root = _unpack(tmp_path, make_archive("tar", {"a/x": File("1", 0o755), "y": HardLink("./a/x")}))
    (root / "y").write_text("2")

    assert _tree(root) == {"a": "/", "a/x": "1", "y": "2"}
    assert os.access(root / "y", os.X_OK)


HOSTILE: dict[str, tuple[Pairs, str]] = {
    "zip slip": ([("../evil", "x")], "leads out of its folder"),
    "deep slip": ([("a/b/../../../evil", "x")], "leads out of its folder"),
    "slip that comes back": ([("a/../b", "x")], "leads out of its folder"),
    "folder slip": ([("../evil", Folder())], "leads out of its folder"),
    "link slip": ([("../evil", Link("x"))], "leads out of its folder"),
    "link out": ([("a", Link("../evil"))], "leads out of the source"),
    "link to absolute": ([("a", Link("/etc/passwd"))], "leads out of the source"),
    "link to nothing": ([("a", Link(""))], "leads out of the source"),
    "deep link out": ([("a/b/c", Link("../../../evil"))], "leads out of the source"),
    "file through a link": ([("a", Link("b")), ("b/x", ""), ("a/y", "evil")], "uses 'a' as a folder"),
    "link in place of a folder": ([("a/x", ""), ("a", Link("b"))], "both a folder and something else"),
    "link by a link": (
        [("a/b/up", Link("../..")), ("x", Link("a/b/up/../evil")), ("a/b/evil", "")],
        "leads out of the source",
    ),
    "link out and back": ([("app/Procfile", ""), ("app/x", Link("../app/Procfile"))], "leads out of the source"),
    "link out and back by a link": (
        [("app/Procfile", ""), ("app/a/up", Link("..")), ("app/x", Link("a/up/../app/Procfile"))],
        "leads out of the source",
    ),
    "links in a circle": ([("a", Link("b")), ("b", Link("a"))], "leads out of the source"),
    "link above the root": ([("app/Procfile", ""), ("app/x", Link(".."))], "leads out of the source"),
    "absolute and out": ([("/../evil", "x")], "leads out of its folder"),
    "file and folder": ([("a", "1"), ("a/b", "2")], "uses 'a' as a folder"),
    "folder and file": ([("a/b", "1"), ("a", "2")], "both a folder and something else"),
    "the top as a file": ([(".", "1")], "both a folder and something else"),
    "device": ([("null", Special())], "neither a file nor a folder nor a link"),
    "long name": ([("x" * 300, "1")], "name too long"),
}


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("kind", ["zip", "tar"])
@pytest.mark.parametrize("case", HOSTILE)
def test_nothing_leaves_the_folder(kind: Kind, case: str, tmp_path: Path) -> None:
    """Each attempt is refused with its name, and no file is outside."""
    pairs, message = HOSTILE[case]
    inner = tmp_path / "a" / "b" / "c"
    inner.mkdir(parents=True)

    with pytest.raises(ArchiveError, match=f"(?i){message}"):
        _unpack(inner, make_archive(kind, pairs))

    assert {path.name for path in inner.iterdir()} == {"archive", "target"}
    assert not [path for path in tmp_path.rglob("evil") if not path.is_relative_to(inner / "target")]


@pytest.mark.parametrize(
    ("pairs", "message"),
    [
        ([("evil", HardLink("/etc/passwd"))], "not a file before it"),
        ([("evil", HardLink("../archive"))], "leads out of its folder"),
        ([("evil", HardLink("later")), ("later", "x")], "not a file before it"),
        ([("disk", Special(tarfile.BLKTYPE))], "neither a file nor a folder nor a link"),
        ([("part", Special(b"M"))], "a tar archive in several volumes"),
    ],
)
def test_devices_and_bad_hard_links_are_refused(pairs: Pairs, message: str, tmp_path: Path) -> None:
    """A hard link must lead to an earlier file of the archive."""
    with pytest.raises(ArchiveError, match=message):
        _unpack(tmp_path, make_archive("tar", pairs))


SMALL = UnpackLimits(bytes=1_000_000, files=20, ratio=10, ratio_from=500_000)


@pytest.mark.parametrize("kind", KINDS)
def test_a_bomb_is_stopped_while_it_unpacks(kind: Kind, tmp_path: Path) -> None:
    """Not more bytes are written than the limit allows."""
    with pytest.raises(ArchiveError, match=r"more than (1000000|500000) bytes"):
        _unpack(tmp_path, make_archive(kind, {"a": bytes(400_000), "b": bytes(900_000)}), SMALL)

    assert sum(path.stat().st_size for path in (tmp_path / "target").iterdir()) <= 1_000_000


@pytest.mark.parametrize("kind", ["zip", "tar.xz"])
def test_an_archive_above_the_ratio_is_refused(kind: Kind, tmp_path: Path) -> None:
    """Small content may exceed the ratio."""
    _unpack(tmp_path, make_archive(kind, {"a": bytes(450_000)}), SMALL)
    (tmp_path / "more").mkdir()

    with pytest.raises(ArchiveError, match="more than 500000 bytes, more than 10 times its size"):
        _unpack(tmp_path / "more", make_archive(kind, {"a": bytes(600_000)}), SMALL)


@pytest.mark.parametrize("kind", ["zip", "tar"])
@pytest.mark.parametrize(
    "files",
    [{str(number): "" for number in range(21)}, {"/".join("abcdefghijklmnopqrstuvw"): ""}],
    ids=["files", "folders"],
)
def test_too_many_files_and_folders_are_refused(kind: Kind, files: dict[str, Entry], tmp_path: Path) -> None:
    """Folders that occur only in the paths of files count, too."""
    with pytest.raises(ArchiveError, match="more than 20 files and folders"):
        _unpack(tmp_path, make_archive(kind, files), SMALL)


def test_each_hard_link_counts_towards_the_limit(tmp_path: Path) -> None:
    """Each is a copy that needs space on the disk."""
    links = [(f"x{number}", HardLink("a")) for number in range(5)]
    with pytest.raises(ArchiveError, match="more than 1000000 bytes"):
        _unpack(tmp_path, make_archive("tar", [("a", os.urandom(300_000)), *links]), SMALL)


def test_a_zip_with_overlapping_files_is_a_bomb(tmp_path: Path) -> None:
    """Bytes that several entries share count for each of them; newer versions of Python refuse such entries."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as made:
        made.writestr("a", bytes(300_000))
        first = made.filelist[0]
        for number in range(5):
            entry = zipfile.ZipInfo("a")
            for name in ("header_offset", "compress_type", "CRC", "compress_size", "file_size"):
                setattr(entry, name, getattr(first, name))
            entry.filename = f"{number}"
            made.filelist.append(entry)
    with pytest.raises(ArchiveError):
        _unpack(tmp_path, buffer.getvalue(), SMALL)


def test_a_header_of_megabytes_is_not_read_into_memory(tmp_path: Path) -> None:
    """tarfile would read a name of any length in one piece."""
    info = tarfile.TarInfo("././@LongLink")
    info.type, info.size = tarfile.GNUTYPE_LONGNAME, 100_000_000
    data = gzip.compress(info.tobuf(tarfile.GNU_FORMAT) + b"x" * 3_000_000)

    with pytest.raises(ArchiveError, match="header of more than"):
        _unpack(tmp_path, data)


@pytest.mark.parametrize("kind", ["zip", "tar.gz"])
@pytest.mark.parametrize("entry", ["x", Folder(), Link("y")], ids=["file", "folder", "link"])
def test_a_name_of_very_many_folders_is_refused(kind: Kind, entry: Entry, tmp_path: Path) -> None:
    """Splitting a name that is longer than a path may be would need memory quadratic in its length."""
    data = make_archive(kind, {"a/" * 20_000 + "b": entry})
    tracemalloc.start()
    try:
        with pytest.raises(ArchiveError, match="longer than 4096 characters") as refused:
            _unpack(tmp_path, data)
        assert tracemalloc.get_traced_memory()[1] < 8 * 1024**2
    finally:
        tracemalloc.stop()
    assert len(str(refused.value)) < 200


@pytest.mark.parametrize("kind", ["zip", "tar.gz"])
def test_a_name_of_many_folders_is_refused(kind: Kind, tmp_path: Path) -> None:
    """A tree that is too deep to be copied and removed is not made."""
    with pytest.raises(ArchiveError, match="more than 500 folders"):
        _unpack(tmp_path, make_archive(kind, {"a/" * 500 + "b": "x"}))


@pytest.mark.parametrize("kind", ["zip", "tar.gz"])
def test_a_link_with_too_long_a_target_is_refused(kind: Kind, tmp_path: Path) -> None:
    """It is refused before it is followed."""
    with pytest.raises(ArchiveError, match="the target of the link 'l' is longer than 4096"):
        _unpack(tmp_path, make_archive(kind, {"l": Link("a/" * 10_000 + "b")}))


@pytest.mark.parametrize("kind", ["zip", "tar.gz"])
def test_links_that_are_expensive_to_follow_are_refused(kind: Kind, tmp_path: Path) -> None:
    """The steps of all links together are limited."""
    deep, back = "a/" * 500, "../" * 500
    way = {f"c{n}": Link(f"{deep}{back}c{n + 1}") for n in range(30)}
    many = {f"l{n}": Link("c0") for n in range(20)}
    with pytest.raises(ArchiveError, match="lead along too many folders"):
        _unpack(tmp_path, make_archive(kind, way | many))


def test_endless_headers_are_refused(tmp_path: Path) -> None:
    """A thousand global headers are refused, in a row or between files."""
    header = tarfile.TarInfo.create_pax_global_header({"comment": "x"})
    (tmp_path / "row").mkdir()
    with pytest.raises(ArchiveError):
        _unpack(tmp_path / "row", header * 3000 + bytes(1024))

    data = b"".join(
        tarfile.TarInfo.create_pax_global_header({f"key{n}": "x"}) + tarfile.TarInfo(f"{n}").tobuf() for n in range(80)
    )
    with pytest.raises(ArchiveError, match="too many global headers"):
        _unpack(tmp_path, data + bytes(1024))


@pytest.mark.parametrize("kind", KINDS)
def test_a_damaged_archive_is_refused(kind: Kind, tmp_path: Path) -> None:
    """An archive that is cut off anywhere is not accepted as a shorter one."""
    data = make_archive(kind, {"Procfile": "web: x", "a": os.urandom(20_000), "b": "y"})
    # The zeros at the end of a tar fill its last block.
    whole = len(data.rstrip(b"\0")) + (1024 if kind == "tar" else 0)
    for number, end in enumerate([whole * part // 20 for part in range(20)]):
        folder = tmp_path / str(number)
        folder.mkdir()
        with pytest.raises(ArchiveError):
            _unpack(folder, data[:end])


def test_a_damaged_header_is_refused(tmp_path: Path) -> None:
    """It is not treated as the end of the archive."""
    data = bytearray(make_archive("tar", {"a": "1", "b": "2"}))
    data[1024 + 5] ^= 0xFF

    with pytest.raises(ArchiveError, match="damaged"):
        _unpack(tmp_path, bytes(data))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "an empty file"),
        (b"\n<!DOCTYPE html><html>", "an HTML page"),
        (b'{"message": "no"}', "a document"),
        (b"web: x", "not an archive of a known type"),
        (bytes(1024), "not an archive of a known type"),
        (gzip.compress(b"web: x", mtime=0), "not a tar archive"),
        (gzip.compress(random.Random(1).randbytes(5000), mtime=0), "not a tar archive"),
    ],
)
def test_the_error_says_what_a_file_that_is_no_archive_seems_to_be(data: bytes, message: str, tmp_path: Path) -> None:
    """HTML pages, documents and empty files are recognised."""
    with pytest.raises(ArchiveError, match=message):
        _unpack(tmp_path, data)


def test_an_encrypted_zip_is_refused(tmp_path: Path) -> None:
    """There is no way to give its password."""
    data = bytearray(make_archive("zip", {"a": "1"}))
    data[data.index(b"PK\x01\x02") + 8] |= 1
    data[data.index(b"PK\x03\x04") + 6] |= 1

    with pytest.raises(ArchiveError, match="'a' is encrypted"):
        _unpack(tmp_path, bytes(data))


def test_names_of_a_zip_without_the_utf8_flag_are_read_as_utf8_if_possible(tmp_path: Path) -> None:
    """Other names are in the code page 437, unless the archive is from Unix."""
    data = make_archive("zip", {"grün": "1"}).replace("grün".encode(), b"gr\x81nx")
    for sign, flag in ((b"PK\x01\x02", 9), (b"PK\x03\x04", 7)):
        place = data.index(sign) + flag
        data = data[:place] + bytes([data[place] & ~0x08]) + data[place + 1 :]
    system = data.index(b"PK\x01\x02") + 5
    data = data[:system] + b"\0" + data[system + 1 :]  # FAT, not Unix
    assert _tree(_unpack(tmp_path, data)) == {"grünx": "1"}

    (tmp_path / "more").mkdir()
    assert _tree(_unpack(tmp_path / "more", data.replace(b"gr\x81nx", "grün".encode()))) == {"grün": "1"}


@pytest.mark.parametrize("kind", TARS)
def test_a_wrong_checksum_behind_the_end_of_a_tar_is_refused(kind: Kind, tmp_path: Path) -> None:
    """The compressed data is read to its end."""
    data = bytearray(make_archive(kind, {"Procfile": "web: x"}))
    if kind == "tar":
        assert _tree(_unpack(tmp_path, bytes(data))) == {"Procfile": "web: x"}
        return
    data[-8 if kind == "tar.gz" else -3] ^= 0xFF
    with pytest.raises(ArchiveError):
        _unpack(tmp_path, bytes(data))


@pytest.mark.parametrize("kind", ["zip", "tar.gz"])
def test_unpacking_stops_when_the_event_is_set(kind: Kind, tmp_path: Path) -> None:
    """Nothing more is unpacked."""
    path = tmp_path / "archive"
    path.write_bytes(make_archive(kind, {"a": "1"}))
    stop = threading.Event()
    stop.set()

    with pytest.raises(Interrupted):
        unpack(path, tmp_path / "target", UnpackLimits(), stop)
    assert not list((tmp_path / "target").iterdir())


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150, deadline=None)
@given(
    st.sampled_from(["zip", "tar", "tar.gz"]),
    st.lists(st.tuples(st.integers(0, 2**16), st.integers(1, 255)), min_size=1, max_size=6),
)
def test_any_damage_is_refused_or_harmless(
    tmp_path_factory: pytest.TempPathFactory, kind: Kind, changes: list[tuple[int, int]]
) -> None:
    """Flipped bits raise only ArchiveError, and no file leaves the folder."""
    files: dict[str, Entry] = {"Procfile": "web: x", "dir/a": File("1" * 700), "dir/l": Link("a"), "ü" * 60: "2"}
    data = bytearray(make_archive(kind, files))
    for place, change in changes:
        data[place % len(data)] ^= change
    folder = tmp_path_factory.mktemp("fuzz")
    try:
        _unpack(folder, bytes(data), UnpackLimits(bytes=10**6, files=50))
    except ArchiveError as error:
        assert str(error)
    assert {path.name for path in folder.iterdir()} == {"archive", "target"}


_PARTS = st.sampled_from(["a", "b", "..", ".", "", "c"])
_PATHS = st.lists(_PARTS, min_size=1, max_size=5).map("/".join)
_ENTRIES = st.one_of(
    st.just("x"), st.just(Folder()), _PATHS.map(Link), st.lists(st.just(".."), max_size=4).map("/".join).map(Link)
)


@pytest.mark.filterwarnings("ignore:Duplicate name")
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=200, deadline=None)
@given(st.sampled_from(["zip", "tar"]), st.lists(st.tuples(_PATHS, _ENTRIES), min_size=1, max_size=6))
def test_no_mixture_of_names_and_links_leaves_the_folder(
    tmp_path_factory: pytest.TempPathFactory, kind: Kind, pairs: list[tuple[str, Entry]]
) -> None:
    """All paths of an accepted archive, with links followed, stay below its root."""
    folder = tmp_path_factory.mktemp("names")
    try:
        root = _unpack(folder, make_archive(kind, pairs), UnpackLimits(files=50))
    except ArchiveError:
        root = folder / "target"
    else:
        for path in root.rglob("*"):
            assert path.resolve().is_relative_to(root)
    assert {path.name for path in folder.iterdir()} == {"archive", "target"}


def test_entries_of_a_zip_are_counted_before_it_is_read(tmp_path: Path) -> None:
    """The count is exact when the directory is found, whatever the files contain."""
    path = tmp_path / "archive"
    inner = make_archive("zip", {str(number): "" for number in range(50)})
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as made:
        made.writestr("inner.zip", inner)
        made.comment = b"PK\x05"
    path.write_bytes(buffer.getvalue())

    assert unpack(path, tmp_path / "target", UnpackLimits(files=5)) == tmp_path / "target"
    assert kind_of(path) == "zip"


def test_a_zip_of_too_many_entries_is_refused_before_its_directory_is_read(tmp_path: Path) -> None:
    """Of a damaged directory with too many entries, the number is reported, because it is checked first."""
    data = make_archive("zip", {f"file{number}": "" for number in range(20)})
    (tmp_path / "a.zip").write_bytes(data.replace(b"PK\x01\x02", b"XX\x01\x02", 1))
    with pytest.raises(ArchiveError, match="more than 10 files"):
        unpack(tmp_path / "a.zip", tmp_path / "out", UnpackLimits(files=10))


@pytest.mark.parametrize(
    ("start", "name"),
    [
        (b"7z\xbc\xaf'\x1c\0\4", "a 7z archive"),
        (b"Rar!\x1a\x07\x01\0", "a rar archive"),
        (b"\x5d\0\0\x80\0", "the old lzma format"),
    ],
)
def test_an_archive_of_another_type_is_named_with_those_that_are_read(start: bytes, name: str, tmp_path: Path) -> None:
    """The user learns in one line what to make instead."""
    with pytest.raises(ArchiveError, match=f"{name}; the source must be a zip, tar, .*tar.xz or tar.zst$"):
        _unpack(tmp_path, start + bytes(600))
