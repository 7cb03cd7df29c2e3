"""Reads results of JMeter as XML (JTL files), element by element. No I/O but the given file.

JMeter's manual describes the attributes in "Listeners", section "XML Log format 2.1"; version 1.0 has longer names.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import BinaryIO
from xml.parsers import expat

import msgspec

from smartmob.errors import InvalidInput
from smartmob.turrets.result_files.jmeter_csv import CONTROLLERS, FRACTIONS, controller, failure, is_aggregated
from smartmob.turrets.result_files.load_sample import (
    AGGREGATED,
    CUT_OFF,
    NO_DURATION,
    NOT_READ,
    FileAccount,
    LoadSample,
    is_valid_time,
    no_valid_time,
)

_CHUNK_BYTES = 256 * 1024
_SAMPLES = ("httpSample", "sample", "sampleResult")
_LONGEST_MESSAGE = 1000  # characters
_DEEPEST = 100  # levels of elements
_SAMPLE_DEPTH = 2  # level of the samples, below the root
_MILLISECONDS = 1000.0  # in a second
SUB_RESULTS = "sub-results of requests, such as redirects, are timers and no transactions"
_LONGEST_REFERENCE = 16  # bytes of a reference to a character, with leading zeros
_NOT_XML = re.compile(
    rb"&#(?:x0*(?:[0-8bcefBCEF]|1[0-9a-fA-F]|[fF]{3}[efEF])|0*(?:[0-8]|1[1245-9]|2\d|3[01]));|[\x00-\x08\x0b\x0c\x0e-\x1f]"
)
_CUT_OFF_ERRORS = (expat.errors.XML_ERROR_NO_ELEMENTS, expat.errors.XML_ERROR_UNCLOSED_TOKEN)


def recognised(head: str) -> bool:
    """Return whether a text begins as a JTL file in XML."""
    return "<testResults" in head


class _Open(msgspec.Struct):
    """A sample whose end was not read yet. `message` is that of its first failed assertion."""

    attributes: dict[str, str]
    message: str = ""


class _Reader:
    """The handlers of the parser; `ready` has the samples whose end was read."""

    def __init__(self, account: FileAccount) -> None:
        self.account = account
        self.ready: list[LoadSample] = []
        self._open: list[_Open] = []
        self._depth = 0
        self._text: list[str] | None = None

    def start(self, name: str, attributes: dict[str, str]) -> None:
        """Begin an element."""
        self._depth += 1
        if self._depth > _DEEPEST:
            raise InvalidInput(f"has elements in more than {_DEEPEST} levels")
        if name in _SAMPLES:
            self._open.append(_Open(attributes))
        elif self._depth == _SAMPLE_DEPTH:
            self.account.remarks.add(NOT_READ, f"an element {name}")
        elif name == "failureMessage" and self._open and not self._open[-1].message:
            self._text = []

    def data(self, text: str) -> None:
        """Add text of an element."""
        if self._text is not None and sum(map(len, self._text)) < _LONGEST_MESSAGE:
            self._text.append(text)

    def end(self, name: str) -> None:
        """End an element."""
        self._depth -= 1
        if name == "failureMessage" and self._text is not None:
            self._open[-1].message = "".join(self._text).strip()[:_LONGEST_MESSAGE]
            self._text = None
        elif name in _SAMPLES:
            self._finish(self._open.pop())

    def doctype(self, *_: object) -> None:
        """Refuse a document type, which results never have and which can declare entities."""
        raise InvalidInput("has a document type declaration, which results of JMeter never have")

    def _finish(self, one: _Open) -> None:
        given = one.attributes
        label = given.get("lb", given.get("label", ""))
        start, seconds = _number(given.get("ts", given.get("timeStamp"))), _number(given.get("t", given.get("time")))
        failed = given.get("s", given.get("success", "true")).lower() != "true"
        if start is None or not is_valid_time(start + (seconds or 0.0)):
            self.account.remarks.add(no_valid_time(start), label)
            return
        if "." in given.get("t", given.get("time", "")):
            self.account.note(FRACTIONS)
        if is_aggregated(given.get("sc", given.get("sampleCount", ""))):
            self.account.remarks.add(AGGREGATED, label)
            return
        if (users := given.get("na", "")).isdigit():
            self.account.users.add(start, float(users))
        if seconds is None and not failed:
            self.account.remarks.add(NO_DURATION, label)
            return
        sample = LoadSample(
            start + (seconds or 0.0), seconds, label, failed, counted=self._is_transaction(given, label)
        )
        if failed:
            code = given.get("rc", given.get("responseCode", ""))
            message = given.get("rm", given.get("responseMessage", ""))
            sample.error, sample.kind, sample.code = failure(code, message, one.message)
        self.ready.append(sample)

    def _is_transaction(self, given: dict[str, str], label: str) -> bool:
        """Return whether a sample is a transaction: no controller, and not a part of one."""
        if _is_controller(given):
            self.account.left_out.add(CONTROLLERS, label)
            return False
        if any(not _is_controller(outer.attributes) for outer in self._open):
            self.account.left_out.add(SUB_RESULTS, label)
            return False
        return True


def read(file: BinaryIO, account: FileAccount) -> Iterator[LoadSample]:
    """Yield the samples. An incomplete file is read up to its end; raises InvalidInput for other faults of XML."""
    reader = _Reader(account)
    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.StartElementHandler = reader.start
    parser.EndElementHandler = reader.end
    parser.CharacterDataHandler = reader.data
    parser.StartDoctypeDeclHandler = reader.doctype
    for chunk in _valid_chunks(file):
        try:
            parser.Parse(chunk, not chunk)
        except expat.ExpatError as error:
            yield from reader.ready
            if not chunk and expat.ErrorString(error.code) in _CUT_OFF_ERRORS:
                account.remarks.add(CUT_OFF, f"the file ends in line {error.lineno}, before </testResults>")
                return
            if expat.ErrorString(error.code) == expat.errors.XML_ERROR_JUNK_AFTER_DOC_ELEMENT:
                raise InvalidInput(
                    f"continues after </testResults> in line {error.lineno}: if it has several runs, divide it there"
                ) from None
            raise InvalidInput(
                f"is not well-formed XML in line {error.lineno}: {expat.ErrorString(error.code)}"
            ) from None
        yield from reader.ready
        reader.ready.clear()


def _valid_chunks(file: BinaryIO) -> Iterator[bytes]:
    """Yield a file in chunks and an empty one at its end, with U+FFFD for characters that XML cannot have.

    JMeter writes such characters of answers and messages as they are (section 2.2 of XML 1.0 lists those allowed).
    """
    held = b""
    while chunk := file.read(_CHUNK_BYTES):
        chunk = held + chunk
        end = chunk.rfind(b"&", -_LONGEST_REFERENCE)
        held, chunk = (chunk[end:], chunk[:end]) if end > 0 else (b"", chunk)
        if chunk:
            yield _NOT_XML.sub(b"\xef\xbf\xbd", chunk)
    if held:
        yield _NOT_XML.sub(b"\xef\xbf\xbd", held)
    yield b""


def _is_controller(attributes: dict[str, str]) -> bool:
    return controller(attributes.get("rm", attributes.get("responseMessage", "")))


def _number(text: str | None) -> float | None:
    """Return a time or a duration in seconds that is written in milliseconds, or None."""
    try:
        value = float(text) / _MILLISECONDS if text is not None else -1.0
    except ValueError:
        return None
    return value if 0 <= value < float("inf") else None
