"""The text of an XML file: decoded by its byte order mark or declaration, without the characters that XML forbids.

Test reporters copy the output of programs into their files, so that control characters, bytes of other encodings and
bare ampersands occur although XML forbids them. They are replaced by marks, code points that no text has, so that a
reader can tell a changed value from others; `visible` turns the marks into escapes such as `\\x1b`.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from pathlib import Path

from smartmob.errors import InvalidInput

CHUNK_BYTES = 1 << 16

# Longest reference that is replaced, in characters: two halves of a surrogate pair, "&#xD83D;&#xDE00;" with zeros.
_REFERENCE_CHARACTERS = 32

# The 32 noncharacters from U+FDD0 on stand for the control characters 0 to 31: XML allows them, and no text has them.
_CONTROL_MARK = 0xFDD0
# Private code points of plane 16 stand for the 256 values of a byte that the encoding does not have.
_BYTE_MARK = 0x10FE00

# The first half of a surrogate pair in decimal digits, 55296 to 56319.
_HIGH = r"55[2-9]\d\d|56[0-2]\d\d|563[01]\d"
_ILLEGAL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")
_REFERENCE = re.compile(
    r"&(?!(?:amp|lt|gt|quot|apos);)"
    r"(?:#[xX]0*([dD][89abAB][0-9a-fA-F]{2});&#[xX]0*([dD][c-fC-F][0-9a-fA-F]{2});"
    rf"|#0*({_HIGH});&#0*(5[67]\d{{3}});"
    r"|#(\d{1,10});|#[xX]([0-9a-fA-F]{1,10});)?"
)
_OPEN_REFERENCE = re.compile(rf"(?:&#[xX]0*[dD][89abAB][0-9a-fA-F]{{2}};|&#0*(?:{_HIGH});)?(?:&[#\w]*)?\Z")
"""The beginning of a reference, or of a pair of references, at the end of a piece of text."""

_CONTROLS = bytes(set(range(32)) - set(b"\t\n\r"))
_MARKS = re.compile("[\ufdd0-\ufdef\U0010fe00-\U0010feff]")

_BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_DECLARATION = re.compile(rb"<\?xml\b[^>]{0,200}?\bencoding\s*=\s*[\"']\s*([A-Za-z][\w.:+-]{0,40})\s*[\"']")

# Names of encodings that their users write for a larger one: text that fits the first fits the second.
_SUPERSETS = {"ascii": "utf-8", "gb2312": "gb18030", "gbk": "gb18030", "shift-jis": "cp932", "euc-kr": "cp949"}
# Codecs of Python that are no encodings of files.
_NO_ENCODINGS = {"idna", "punycode", "undefined", "unicode-escape", "raw-unicode-escape", "utf-7"}


class XmlText:
    """The text of one XML file. `marked` is whether the text so far contains a mark."""

    def __init__(self, path: Path) -> None:
        codecs.register_error(_BYTES_AS_MARKS, _bytes_as_marks)
        self.path = path
        self.marked = False
        self.unknown_encoding: str | None = None
        """The declared encoding if its name is unknown; the text is then read as UTF-8."""

    def chunks(self) -> Iterator[str]:
        """Yield the text in pieces, each without characters that XML forbids. Raises InvalidInput."""
        try:
            with self.path.open("rb") as file:
                head = file.read(CHUNK_BYTES)
                if not head.strip(b"\0 \t\r\n"):
                    raise InvalidInput("it is empty: write the report again")
                encoding, skipped_bytes, self.unknown_encoding = encoding_of(head)
                decoder = codecs.getincrementaldecoder(encoding)(errors=_BYTES_AS_MARKS)
                carry, chunk = "", head[skipped_bytes:]
                while chunk:
                    text = carry + decoder.decode(chunk)
                    carry = ""
                    # A reference that continues in the next chunk is read together with that chunk.
                    tail = _OPEN_REFERENCE.search(text, max(0, len(text) - _REFERENCE_CHARACTERS))
                    if tail is not None and tail[0]:
                        text, carry = text[: tail.start()], tail[0]
                    yield self._legal(text)
                    chunk = file.read(CHUNK_BYTES)
                yield self._legal(carry + decoder.decode(b"", final=True))
        except OSError as error:
            raise InvalidInput(f"it cannot be read: {error.strerror}") from None

    def _legal(self, text: str) -> str:
        if "&" in text:
            text = _REFERENCE.sub(_reference, text)
        # Most text is ASCII, for which this is the fastest search.
        if text.isascii() and len(text) == len(text.encode().translate(None, _CONTROLS)):
            return text
        text = _ILLEGAL.sub(_illegal, text)
        self.marked = self.marked or _MARKS.search(text) is not None
        return text


def visible(value: str) -> str:
    r"""Return `value` with its marks as escapes: `\x1b` for a control character or a byte that was not decoded."""
    return _MARKS.sub(_escape, value)


def encoding_of(head: bytes) -> tuple[str, int, str | None]:
    """Return the encoding of a file that begins with `head`, the length of its byte order mark, and an unknown name.

    The bytes decide between UTF-8, UTF-16 and UTF-32, whatever is declared: .NET declares "utf-16" in files of UTF-8.
    """
    for bom, name in _BYTE_ORDER_MARKS:
        if head.startswith(bom):
            return name, len(bom), None
    begin = head.lstrip(b" \t\r\n\0")[:8]
    if b"\0" in begin:
        zeros = [each == 0 for each in head[:64]]
        even_zeros, odd_zeros = sum(zeros[::2]), sum(zeros[1::2])
        if odd_zeros > len(zeros) // 4 > even_zeros:
            return "utf-16-le", 0, None
        if even_zeros > len(zeros) // 4 > odd_zeros:
            return "utf-16-be", 0, None
    found = _DECLARATION.search(head[:2048])
    if not found:
        return "utf-8", 0, None
    declared = found[1].decode("ascii")
    try:
        name = codecs.lookup(declared).name.replace("_", "-")
        "<".encode(name)
    except (LookupError, UnicodeError):
        return "utf-8", 0, declared
    if name in _NO_ENCODINGS or name.startswith(("utf-16", "utf-32")):
        return "utf-8", 0, declared if name in _NO_ENCODINGS else None
    return _SUPERSETS.get(name, name), 0, None


_ROOT = re.compile(r"<(?!xml\b)(?:[\w.-]+:)?([A-Za-z_][\w.-]*)(?=[\s/>]|$)")
_NO_ELEMENTS = re.compile(
    r"<!--.*?(?:-->|$)|<\?.*?(?:\?>|$)|<!\[CDATA\[.*?(?:\]\]>|$)|<!DOCTYPE[^\[>]*(?:\[[^\]]{0,2000}\]\s*)?>", re.DOTALL
)


_FIRST_TAG = re.compile(r"^<(?:\?xml\b|[A-Za-z])", re.MULTILINE)


def element_names(head: bytes) -> list[str]:
    """Return the names of the elements that begin in `head`, the first bytes of a file, without namespaces.

    Text may stand above the first element if that begins a line. A page of Markdown that shows XML has none.
    """
    encoding, skipped_bytes, _ = encoding_of(head)
    text = head[skipped_bytes:].decode(encoding, errors="replace").lstrip("\ufeff \t\r\n")
    if not text.startswith("<"):
        first = _FIRST_TAG.search(text)
        if first is None or "```" in text[: first.start()]:
            return []
        text = text[first.start() :]
    return _ROOT.findall(_NO_ELEMENTS.sub("", text))


_BYTES_AS_MARKS = "smartmob.bytes-as-marks"


def _bytes_as_marks(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeDecodeError):
        raise error
    wrong = error.object[error.start : error.end]
    return "".join(chr(_BYTE_MARK + byte) for byte in wrong), error.end


def _reference(match: re.Match[str]) -> str:
    """Return what stands for an ampersand in well-formed XML."""
    pairs = ((match[1], match[2], 16), (match[3], match[4], 10))
    for first, second, radix in pairs:
        if first:
            return _pair(int(first, radix), int(second, radix))
    if match[5] is None and match[6] is None:
        # A bare ampersand, or an entity that no document type defines.
        return "&amp;"
    code = int(match[5]) if match[5] is not None else int(match[6], 16)
    if code >= 0x110000:
        return "&amp;" + match[0][1:]
    character = chr(code)
    return _illegal_character(character) if _ILLEGAL.match(character) else f"&#{code};"


def _pair(high: int, low: int) -> str:
    """Return the character of a surrogate pair, which writers of UTF-16 give as two references."""
    if 0xD800 <= high < 0xDC00 <= low < 0xE000:
        return chr(0x10000 + ((high - 0xD800) << 10) + low - 0xDC00)
    return f"\\u{high:04x}\\u{low:04x}"


def _illegal(match: re.Match[str]) -> str:
    return _illegal_character(match[0])


def _illegal_character(character: str) -> str:
    code = ord(character)
    return chr(_CONTROL_MARK + code) if code < 0x20 else f"\\u{code:04x}"


def _escape(match: re.Match[str]) -> str:
    code = ord(match[0])
    return f"\\x{code - (_BYTE_MARK if code >= _BYTE_MARK else _CONTROL_MARK):02x}"
