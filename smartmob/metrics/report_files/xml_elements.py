"""The elements of an XML file, read as a stream by expat within bounds.

Text around the document is skipped, and several documents in a row are all read: logs are redirected into report files,
and report files are appended to each other.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Protocol
from xml.parsers import expat
from xml.parsers.expat import errors

from smartmob.errors import InvalidInput
from smartmob.metrics.report_files.report import Case, Header, Remark
from smartmob.metrics.report_files.xml_text import XmlText, visible

MAX_LEVELS = 200
"""Deepest nesting of elements. Suites are nested like folders and `describe` blocks: real files stay below 30."""

MAX_TAG_BYTES = 16 << 20
"""Longest tag or comment. A message of a failure, which is an attribute, is the longest one in real files."""

MAX_DOCUMENTS = 10_000
"""Most documents in a file. Each document needs a new parser, so a file of a million empty ones would take hours."""

MAX_NAMES = 50_000
"""Most names of elements and attributes, which are kept in memory. A report has a few dozen."""

TRUNCATED = "truncated file"
OUTSIDE = "text outside the report"
ENCODING = "unknown encoding"

_BEGIN = re.compile(r"<(?:\?xml\b|!--|!DOCTYPE\b|[A-Za-z_])")
_ROOT = re.compile(
    r"<(?:\?xml\b|!DOCTYPE\b|(?:[\w.-]+:)?(?:testsuites?|testrun|TestRun|test-run|test-results|assembly|assemblies)\b)"
)
# Longest declaration, in characters; a longer one is read by the parser.
_DECLARATION_CHARACTERS = 300
_PROLOG = re.compile(rf"(?:[\ufeff \t\r\n]|<\?xml\b[^>]{{0,{_DECLARATION_CHARACTERS - 10}}}\?>)*+")
# Longest text that may begin a document and go on in the next chunk, in characters.
_BEGIN_CHARACTERS = 64

_AT_END = {
    errors.codes[errors.XML_ERROR_NO_ELEMENTS],
    errors.codes[errors.XML_ERROR_UNCLOSED_TOKEN],
    errors.codes[errors.XML_ERROR_PARTIAL_CHAR],
    errors.codes[errors.XML_ERROR_UNCLOSED_CDATA_SECTION],
}


class Elements(Protocol):
    """A receiver of elements. Names of tags have no namespace."""

    def start(self, tag: str, attributes: Mapping[str, str], position: ElementPosition) -> None:
        """Take the start of an element."""

    def end(self, tag: str) -> None:
        """Take the end of the innermost open element."""


class ElementPosition:
    """The position of a start tag: its line, and the names of attributes with characters that XML forbids."""

    __slots__ = ("altered", "line")

    def __init__(self, line: int, altered: frozenset[str]) -> None:
        self.line = line
        self.altered = altered


_UNALTERED: frozenset[str] = frozenset()


class CaseElements(Elements, Protocol):
    """A receiver of elements that makes cases from them."""

    ready: list[Case]


def check_root(tag: str, roots: Iterable[str], format_name: str) -> None:
    """Raise InvalidInput if the first element of a file is not one of the root elements of its format."""
    if tag not in roots:
        raise InvalidInput(f"it is not {format_name}: it begins with <{tag[:40]}>")


def read_cases(path: Path, elements: CaseElements, header: Header) -> Iterator[Case]:
    """Yield the cases that `elements` makes from a file, in their order. Raises InvalidInput."""
    for _ in read_elements(path, elements, header.remarks):
        yield from elements.ready
        elements.ready.clear()


def read_elements(path: Path, elements: Elements, remarks: list[Remark]) -> Iterator[None]:
    """Pass the elements of a file to `elements`, and yield after each chunk of it. Raises InvalidInput.

    Remarks on skipped parts are added to `remarks`. A file that ends within an element is read up to its end, with a
    remark.
    """
    text = XmlText(path)
    documents = _Documents(text, elements, remarks)
    for chunk in text.chunks():
        documents.feed(chunk)
        yield
    documents.close()
    if text.unknown_encoding:
        remarks.append(Remark(ENCODING, f"{text.unknown_encoding!r} was read as UTF-8"))
    yield


class _Documents:
    """The documents of one file."""

    def __init__(self, text: XmlText, elements: Elements, remarks: list[Remark]) -> None:
        self._text = text
        self._elements = elements
        self._remarks = remarks
        self._parser: expat.XMLParserType | None = None
        self._levels = 0
        self._ended = False
        """True if the root element of the document has ended."""
        self._documents = 0
        self._any = False
        self._lines_before = 0
        """Lines of the file above the first one of the document."""
        self._skipped = ""
        """Text that may contain the beginning of a document, and is too short to decide."""
        self._reported_outside = False
        self._outside = False
        """True if the skipped text is the end of text outside of documents."""
        self._fed_bytes = 0
        self._previous = b""

    def feed(self, text: str) -> None:
        """Read a piece of text."""
        while text:
            if self._parser is None:
                text = self._find_document(self._skipped + text, final=False)
                if not text:
                    return
            text = self._parse(text)

    def close(self) -> None:
        """Read the rest at the end of the file."""
        text = self._skipped
        while text:
            if self._parser is None:
                text = self._find_document(text, final=True)
            text = self._parse(text) if text else ""
        if self._parser is not None:
            try:
                self._parser.Parse(b"", True)
            except expat.ExpatError as error:
                self._end_early(error)
        if not self._any:
            raise InvalidInput("it contains no XML element")

    def _end_early(self, error: expat.ExpatError) -> None:
        if error.code not in _AT_END:
            raise self._malformed(error)
        if not self._any:
            raise InvalidInput("it ends before its first XML element: write the report again")
        if self._levels or error.code != errors.codes[errors.XML_ERROR_NO_ELEMENTS]:
            line = self._lines_before + error.lineno
            reason = f"the file ends in line {line} within the report: cases after it are missing"
            self._remarks.append(Remark(TRUNCATED, reason))

    def _find_document(self, text: str, *, final: bool) -> str:
        """Return `text` from the beginning of a document on, with a new parser; or "", and keep what may begin one."""
        self._skipped, position = "", 0
        while True:
            # A declaration adds nothing to what is known, and output of a program can follow it.
            prolog = _PROLOG.match(text, position)
            position = prolog.end() if prolog is not None else position
            is_declaration = text.startswith("<?xml", position)
            left = len(text) - position
            if not left or (not final and left < (_DECLARATION_CHARACTERS if is_declaration else _BEGIN_CHARACTERS)):
                return self._keep(text, position)
            if not self._outside and _BEGIN.match(text, position):
                break
            self._report_outside(text, position)
            self._outside = True
            found = _ROOT.search(text, position)
            if found is None:
                return self._keep(text, len(text) if final else max(position, len(text) - _BEGIN_CHARACTERS))
            position = found.start()
            self._outside = False
            if not text.startswith("<?xml", position):
                break
        self._lines_before += text.count("\n", 0, position)
        self._new_parser()
        return text[position:]

    def _keep(self, text: str, position: int) -> str:
        """Keep `text` from `position` on, which may begin a document, until more text is available."""
        self._lines_before += text.count("\n", 0, position)
        self._skipped = text[position:]
        return ""

    def _report_outside(self, text: str, position: int) -> None:
        if not self._reported_outside:
            self._reported_outside = True
            line = text[position : position + 80].splitlines()[0]
            number = self._lines_before + text.count("\n", 0, position) + 1
            self._remarks.append(Remark(OUTSIDE, f"line {number}: {visible(line)!r} was skipped"))

    def _new_parser(self) -> None:
        self._documents += 1
        if self._documents > MAX_DOCUMENTS:
            raise self._refused(f"it has more than {MAX_DOCUMENTS:,} documents: split it")
        # The text is decoded already, so that the declaration of an encoding has no meaning.
        parser = expat.ParserCreate("utf-8")
        parser.specified_attributes = True
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.EntityDeclHandler = self._refuse_entity
        self._parser, self._levels, self._ended = parser, 0, False
        self._fed_bytes, self._previous = 0, b""

    def _parse(self, text: str) -> str:
        """Parse `text`, and return what follows the end of the document."""
        parser = self._parser
        assert parser is not None
        data = text.encode("utf-8")
        before = self._fed_bytes - len(self._previous)
        try:
            parser.Parse(data, False)
        except expat.ExpatError as error:
            if not self._ended:
                raise self._malformed(error) from None
            # The document has ended: text follows, or another document.
            rest = (self._previous + data)[max(0, parser.ErrorByteIndex - before) :]
            self._lines_before += error.lineno - 1
            self._parser = None
            return rest.decode("utf-8", errors="replace")
        self._fed_bytes += len(data)
        self._previous = data
        if len(parser.intern) > MAX_NAMES:
            raise self._refused(f"it has more than {MAX_NAMES:,} names of elements and attributes")
        if self._fed_bytes - max(0, parser.CurrentByteIndex) > MAX_TAG_BYTES + len(data):
            raise self._refused(f"a tag or comment is longer than {MAX_TAG_BYTES >> 20} MB")
        return ""

    def _malformed(self, error: expat.ExpatError) -> InvalidInput:
        line = self._lines_before + error.lineno
        reason = expat.ErrorString(error.code)
        if error.code == errors.codes[errors.XML_ERROR_INVALID_TOKEN]:
            reason = "a character such as < is not escaped"
        return InvalidInput(f"line {line}, column {error.offset + 1}: not well-formed XML ({reason})")

    def _refused(self, reason: str) -> InvalidInput:
        line = self._lines_before + (self._parser.CurrentLineNumber if self._parser is not None else 1)
        return InvalidInput(f"line {line}: {reason}")

    def _start(self, tag: str, attributes: dict[str, str]) -> None:
        self._levels += 1
        self._any = True
        if self._levels > MAX_LEVELS:
            raise self._refused(f"elements are nested deeper than {MAX_LEVELS} levels")
        altered = _UNALTERED
        if self._text.marked:
            shown = {name: visible(value) for name, value in attributes.items()}
            altered = frozenset(name for name, value in shown.items() if value != attributes[name])
            attributes = shown
        assert self._parser is not None
        position = ElementPosition(self._lines_before + self._parser.CurrentLineNumber, altered)
        self._elements.start(tag.rpartition(":")[2], attributes, position)

    def _end(self, tag: str) -> None:
        self._levels -= 1
        self._ended = self._levels == 0
        self._elements.end(tag.rpartition(":")[2])

    def _refuse_entity(self, name: str, *_: object) -> None:
        raise self._refused(f"it declares the entity {name[:40]!r}, which no report needs: remove the declaration")
