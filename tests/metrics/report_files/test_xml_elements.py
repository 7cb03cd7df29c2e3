"""The elements of XML files: several documents, text around them, bounds."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from smartmob.errors import InvalidInput
from smartmob.metrics.report_files import xml_elements
from smartmob.metrics.report_files.report import Remark
from smartmob.metrics.report_files.xml_elements import ElementPosition, read_elements
from smartmob.metrics.report_files.xml_text import CHUNK_BYTES


class Recorder:
    """Keeps the starts of elements."""

    def __init__(self) -> None:
        self.starts: list[tuple[str, int]] = []
        self.altered: list[frozenset[str]] = []

    def start(self, tag: str, attributes: Mapping[str, str], position: ElementPosition) -> None:
        """Keep a start."""
        self.starts.append((tag, position.line))
        self.altered.append(position.altered)

    def end(self, tag: str) -> None:
        """Ignore an end."""


def _read(path: Path, content: str) -> tuple[Recorder, list[Remark]]:
    path.write_text(content, encoding="utf-8", newline="")
    recorder, remarks = Recorder(), []
    for _ in read_elements(path, recorder, remarks):
        pass
    return recorder, remarks


def test_documents_one_after_another_are_read(tmp_path: Path) -> None:
    """Lines are those of the file."""
    recorder, remarks = _read(
        tmp_path / "a.xml", "\n<?xml version='1.0'?>\n<a/>\n\n<?xml version='1.0'?>\n<b>\n<c/></b><d/>"
    )
    assert recorder.starts == [("a", 3), ("b", 6), ("c", 7), ("d", 7)]
    assert remarks == []


@pytest.mark.parametrize(
    "length", [0, CHUNK_BYTES - 60, CHUNK_BYTES - 20, CHUNK_BYTES - 5, CHUNK_BYTES, 3 * CHUNK_BYTES]
)
def test_text_around_a_document_is_skipped_with_one_remark(tmp_path: Path, length: int) -> None:
    """Its length makes no difference."""
    content = f"log {'.' * length} < >\n<testsuite>\n</testsuite>\n{'-' * length}\n</x>\n<?xml version='1.0'?><b/>"
    recorder, remarks = _read(tmp_path / "a.xml", content)
    assert recorder.starts == [("testsuite", 2), ("b", 6)]
    assert [remark.kind for remark in remarks] == ["text outside the report"]
    assert remarks[0].text.startswith("line 1: 'log ")


def test_the_place_tells_which_attributes_were_changed(tmp_path: Path) -> None:
    """An attribute with a character that XML forbids is named."""
    recorder, _ = _read(tmp_path / "a.xml", '<a x="1" y="\x1b"><b/></a>')
    assert recorder.altered == [frozenset({"y"}), frozenset()]


def test_a_tag_of_several_chunks_is_read(tmp_path: Path) -> None:
    """A long message of a failure is no fault."""
    recorder, _ = _read(tmp_path / "a.xml", f'<a><failure message="{"x" * 3 * CHUNK_BYTES}"/><b/></a>')
    assert [tag for tag, _ in recorder.starts] == ["a", "failure", "b"]


@pytest.mark.parametrize("end", ["<a><b>", "<a><![CDATA[x", "<a><!-- x", '<a><b x="', "<a>é&am", "<a/><b"])
def test_the_end_within_an_element_is_remarked(tmp_path: Path, end: str) -> None:
    """The remark names the line."""
    _, remarks = _read(tmp_path / "a.xml", f"\n{end}")
    assert [remark.kind for remark in remarks] == ["truncated file"]
    assert "line 2" in remarks[0].text


def test_a_fault_within_a_later_document_is_refused(tmp_path: Path) -> None:
    """The line is that of the file."""
    with pytest.raises(InvalidInput, match="line 3, column 3: not well-formed"):
        _read(tmp_path / "a.xml", "<a/>\n<b>\n</c>")


def test_an_encoding_that_does_not_exist_is_remarked(tmp_path: Path) -> None:
    """The file is read as UTF-8."""
    recorder, remarks = _read(tmp_path / "a.xml", "<?xml version='1.0' encoding='x-none'?><a/>")
    assert recorder.starts == [("a", 1)]
    assert remarks == [Remark("unknown encoding", "'x-none' was read as UTF-8")]


def test_output_between_a_declaration_and_its_report_is_skipped(tmp_path: Path) -> None:
    """Test programs in C++ write both to standard output."""
    recorder, remarks = _read(tmp_path / "a.xml", "<?xml version='1.0'?>\nhello from <main.cpp>\n<testsuites/>\n")
    assert recorder.starts == [("testsuites", 3)]
    assert [remark.kind for remark in remarks] == ["text outside the report"]


@pytest.mark.parametrize("length", range(40, 80))
def test_text_outside_is_never_taken_for_a_document(tmp_path: Path, length: int) -> None:
    """Wherever a chunk ends, only the root element of a report ends the text."""
    content = "x" * (CHUNK_BYTES - length) + "<no> <xml <?here " * 12 + "\n<testsuites/>"
    recorder, _ = _read(tmp_path / "a.xml", content)
    assert recorder.starts == [("testsuites", 2)]


def test_the_number_of_documents_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each one costs a parser."""
    monkeypatch.setattr(xml_elements, "MAX_DOCUMENTS", 3)
    assert len(_read(tmp_path / "a.xml", "<a/>" * 3)[0].starts) == 3
    with pytest.raises(InvalidInput, match="more than 3 documents"):
        _read(tmp_path / "a.xml", "<a/>" * 4)


@pytest.mark.parametrize("pattern", ["<{}/>", "<{}></{}>", '<b {}="1"/>', "<b:{}/>"])
def test_the_number_of_names_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pattern: str) -> None:
    """Names of elements and attributes are kept in memory until the end of their document."""
    monkeypatch.setattr(xml_elements, "MAX_NAMES", 100)
    few, many = ("".join(pattern.replace("{}", f"n{number}") for number in range(count)) for count in (90, 200))
    assert len(_read(tmp_path / "a.xml", f"<a>{few}</a>")[0].starts) == 91
    with pytest.raises(InvalidInput, match="more than 100 names"):
        _read(tmp_path / "a.xml", f"<a>{many}")
