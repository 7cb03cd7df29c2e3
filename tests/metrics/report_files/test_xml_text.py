"""The text of XML files in any encoding, without characters that XML forbids."""

from __future__ import annotations

from pathlib import Path

import pytest

from smartmob.errors import InvalidInput
from smartmob.metrics.report_files.xml_text import CHUNK_BYTES, XmlText, element_names, encoding_of, visible


def _text(path: Path, content: bytes) -> str:
    path.write_bytes(content)
    return "".join(XmlText(path).chunks())


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"a &amp; &lt; &#10; b", "a &amp; &lt; &#10; b"),
        (b"a & b &nbsp; &;", "a &amp; b &amp;nbsp; &amp;;"),
        (b"\x1b[1m&#27;&#x1B;&#X1b;\0", r"\x1b[1m\x1b\x1b\x1b\x00"),
        (b"&#xD83D;&#xDE00; &#55357;&#56832;", "\U0001f600 \U0001f600"),
        (b"&#xD800; &#xFFFF; &#99999999; &#1114112;", r"\ud800 \uffff &amp;#99999999; &amp;#1114112;"),
        ("\ufffe\uffff".encode(), r"\ufffe\uffff"),
        (b"z\xe9", r"z\xe9"),
        (b"tab\tline\r\n", "tab\tline\r\n"),
    ],
)
def test_what_xml_forbids_is_replaced(tmp_path: Path, content: bytes, expected: str) -> None:
    """Ampersands become entities, and characters become escapes that a person can read."""
    assert visible(_text(tmp_path / "a.xml", content)) == expected


@pytest.mark.parametrize("reference", ["&#27;", "&#xD83D;&#xDE00;", "&amp;", "&lt;", "&", "é"])
def test_a_reference_is_read_across_chunks(tmp_path: Path, reference: str) -> None:
    """Its place in the file makes no difference."""
    whole = _text(tmp_path / "a.xml", f"x{reference}y".encode())
    for length in range(CHUNK_BYTES - 34, CHUNK_BYTES + 2):
        content = b"-" * length + f"x{reference}y".encode()
        assert _text(tmp_path / "a.xml", content) == "-" * length + whole


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        (b"\xef\xbb\xbf<a/>", ("utf-8", 3, None)),
        (b"\xff\xfe<\0", ("utf-16-le", 2, None)),
        (b"\xff\xfe\0\0<\0\0\0", ("utf-32-le", 4, None)),
        (b"\n\0<\0a\0/\0>\0", ("utf-16-le", 0, None)),
        (b"\0<\0a\0/\0>", ("utf-16-be", 0, None)),
        (b"<?xml version='1.0' encoding='utf-16'?>", ("utf-8", 0, None)),
        (b"<?xml version='1.0' encoding='GB2312'?>", ("gb18030", 0, None)),
        (b"<?xml version='1.0' encoding='Klingon'?>", ("utf-8", 0, "Klingon")),
        (b"<?xml version='1.0' encoding='hex'?>", ("utf-8", 0, "hex")),
        (b"<?xml version='1.0' encoding='rot13'?>", ("utf-8", 0, "rot13")),
        (b"<?xml version='1.0' encoding='unicode_escape'?>", ("utf-8", 0, "unicode_escape")),
        (b"<a/>", ("utf-8", 0, None)),
    ],
)
def test_the_encoding_is_found(head: bytes, expected: tuple[str, int, str | None]) -> None:
    """A name that is no encoding of files is told, and the file is read as UTF-8."""
    assert encoding_of(head) == expected


def test_the_names_of_elements_are_found_in_any_encoding() -> None:
    """Declarations, comments and CDATA sections hide none, and show none."""
    text = '<?xml version="1.0"?><!-- <x> --><!DOCTYPE a [<!ELEMENT b ANY>]><p:a z="1"><![CDATA[<y>]]><b/>'
    assert element_names(text.encode()) == element_names(text.encode("utf-16")) == ["a", "b"]


def test_a_file_of_zeros_is_empty(tmp_path: Path) -> None:
    """A crash of the machine leaves such files."""
    with pytest.raises(InvalidInput, match="is empty"):
        _text(tmp_path / "a.xml", b"\0" * 100)
