"""Names that a person gives become plain files with a format."""

from __future__ import annotations

import gzip
import os
from pathlib import Path

import pytest

from smartmob.cli import report_sources
from smartmob.cli.report_sources import NotAReport, ReportCandidate, UnusableFile
from smartmob.errors import InvalidInput

REPORT = b"<testsuites><testsuite/></testsuites>"


def _names(found: list[ReportCandidate | UnusableFile], folder: Path) -> list[str]:
    return [entry.name.removeprefix(f"{folder}/") for entry in found]


def _format(path: Path, forced: str | None = None, *, in_folder: bool = False) -> str | None:
    with report_sources.opened(ReportCandidate(path, str(path), in_folder), forced) as file:
        return None if file.format_ is None else file.format_.name


def test_folders_and_patterns_give_each_file_once_in_order(tmp_path: Path) -> None:
    """Files of Criterion are one report, links to the same file are one file."""
    for name in (
        "b.xml",
        "a.xml",
        "sub/c.xml",
        ".git/d.xml",
        "crit/x/new/estimates.json",
        "crit/x/base/estimates.json",
    ):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    (tmp_path / "link.xml").symlink_to(tmp_path / "a.xml")

    assert _names(list(report_sources.expand([str(tmp_path)])), tmp_path) == [
        str(tmp_path), "a.xml", "b.xml", "sub/c.xml"
    ]  # fmt: skip
    pattern = f"{tmp_path}/**/*.xml"
    assert _names(list(report_sources.expand([pattern, str(tmp_path / "b.xml")])), tmp_path) == [
        "a.xml", "b.xml", "sub/c.xml"
    ]  # fmt: skip
    assert list(report_sources.expand([f"{tmp_path}/*.trx"])) == [
        UnusableFile(f"{tmp_path}/*.trx", "no file matches this pattern")
    ]


def test_packed_files_and_databases_are_recognised(tmp_path: Path) -> None:
    """A packed file is read as what is in it; a format can be forced."""
    (tmp_path / "a.xml.gz").write_bytes(gzip.compress(REPORT))
    (tmp_path / "b").write_bytes(b"SQLite format 3\0rest")
    (tmp_path / "c").write_bytes(b"hello")
    assert _format(tmp_path / "a.xml.gz") == "junit"
    assert _format(tmp_path / "b") is None
    assert _format(tmp_path / "c", "go-bench") == "go-bench"
    assert _format(tmp_path / "c", "pymon") is None


def test_the_digest_is_that_of_the_content(tmp_path: Path) -> None:
    """It does not depend on the name, the date or the packing."""
    (tmp_path / "a.xml").write_bytes(REPORT)
    (tmp_path / "b.xml.gz").write_bytes(gzip.compress(REPORT))
    digests = []
    for name in ("a.xml", "b.xml.gz"):
        with report_sources.opened(ReportCandidate(tmp_path / name, name), None) as file:
            digests.append(file.digest)
    assert digests[0] == digests[1]


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("x.xml", b"", "is empty"),
        ("x.xml", b"hello", "has an unknown format"),
        ("x.bin", b"\x00\x01\x02", "has an unknown format"),
        ("x.zip", b"PK\x03\x04rest", "zip archive; unpack it first"),
        ("x.xml.gz", gzip.compress(REPORT, mtime=0)[:20], "is damaged"),
        ("nothing", None, "cannot be read: No such file or directory"),
    ],
)
def test_a_file_that_is_no_report_is_refused_with_the_reason(
    tmp_path: Path, name: str, content: bytes | None, said: str
) -> None:
    """One line is enough."""
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(InvalidInput, match=said):
        _format(tmp_path / name)


def test_pipes_and_devices_are_refused_without_reading(tmp_path: Path) -> None:
    """A named pipe would wait for a writer, and some devices have no end."""
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(InvalidInput, match="tests import - <"):
        _format(tmp_path / "pipe")
    for device in ("/dev/null", "/dev/zero"):
        with pytest.raises(InvalidInput, match="not a file"):
            _format(Path(device))


def test_pipes_of_the_shell_are_copied() -> None:
    """`<(command)` is a pipe that can be read once."""
    reading, writing = os.pipe()
    try:
        os.write(writing, REPORT)
    finally:
        os.close(writing)
    try:
        assert _format(Path(f"/dev/fd/{reading}")) == "junit"
    finally:
        os.close(reading)


def test_a_pattern_takes_the_estimates_of_criterion_that_its_folder_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those of earlier runs, and the changes since them, are no results of this run."""
    for folder in ("new", "base", "change"):
        (tmp_path / "target/flat" / folder).mkdir(parents=True)
        (tmp_path / "target/flat" / folder / "estimates.json").write_text("{}")
    monkeypatch.chdir(tmp_path)
    (found,) = report_sources.expand(["target/**/*.json"])
    assert isinstance(found, ReportCandidate)
    assert str(found.path) == "target/flat/new/estimates.json"


@pytest.mark.parametrize(("name", "content"), [("x.txt", b"hello"), ("x.log", b""), ("pom.xml", b"<project/>")])
def test_other_files_of_a_folder_are_passed_over(tmp_path: Path, name: str, content: bytes) -> None:
    """A folder of a build has many of them."""
    (tmp_path / name).write_bytes(content)
    with pytest.raises(NotAReport):
        _format(tmp_path / name, in_folder=True)


def test_a_file_that_changes_while_it_is_read_is_refused(tmp_path: Path) -> None:
    """Its second reading would give other cases than the first."""
    path = tmp_path / "x.xml"
    path.write_bytes(REPORT)
    with (
        pytest.raises(InvalidInput, match="changed while it was read"),
        report_sources.opened(ReportCandidate(path, "x.xml"), None),
    ):
        path.write_bytes(REPORT + b"<!-- more -->")


def test_packed_files_are_read_up_to_a_cut_if_they_may_be_cut(tmp_path: Path) -> None:
    """All that is before the cut is there; members that follow each other are one file, and other damage is refused."""
    text = "".join(f"{number * number}\n" for number in range(20_000)).encode()
    whole = gzip.compress(text)
    path = tmp_path / "a.gz"

    def unpacked(content: bytes) -> tuple[bytes, bool]:
        path.write_bytes(content)
        with report_sources.plain_file(ReportCandidate(path, "a.gz"), may_be_cut=True) as file:
            return file.path.read_bytes(), file.cut

    assert unpacked(whole) == (text, False)
    assert unpacked(whole + whole + b"\0" * 512) == (text + text, False)
    part, cut = unpacked(whole[: len(whole) // 2])
    assert cut
    assert len(part) > len(text) // 3
    assert text.startswith(part)
    assert unpacked(whole[:-4]) == (text, True)
    damaged = whole[:500] + b"XXXX" + whole[504:]
    for bad, said in ((whole[:12], "cut off"), (damaged, "is damaged"), (whole + b"rest", "is damaged")):
        with pytest.raises(InvalidInput, match=said):
            unpacked(bad)
