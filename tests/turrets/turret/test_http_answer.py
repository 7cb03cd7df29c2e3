"""The parser of responses, compared with the independent parser h11."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import h11
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smartmob.turrets.turret.http_answer import LONGEST_BODY, LONGEST_HEAD, LONGEST_LINE, MOST_INTERIM, AnswerParser

OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"


@dataclass(frozen=True)
class Read:
    """The status and body that a parser read until the end of the connection."""

    status: int
    body: bytes


def _ours(pieces: list[bytes], method: str = "GET") -> Read | None:
    """Return what our parser reads, None for what it refuses."""
    parser = AnswerParser(bodiless=method == "HEAD")
    try:
        complete = [parser.feed(piece) for piece in pieces]
        return Read(parser.status, parser.body) if any(complete) or parser.end() else None
    except ValueError:
        return None


def _h11(data: bytes, method: str = "GET") -> Read | None:
    """Return what h11 reads, None for what it refuses, or when bytes are left over."""
    connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=2 * LONGEST_HEAD)
    connection.send(h11.Request(method=method, target="/", headers=[("Host", "a")]))
    connection.send(h11.EndOfMessage())
    connection.receive_data(data)
    connection.receive_data(b"")
    status, body = 0, b""
    try:
        while True:
            event = connection.next_event()
            if isinstance(event, h11.Response):
                status = event.status_code
            elif isinstance(event, h11.Data):
                body += bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                return Read(status, body) if not connection.trailing_data[0] else None
            elif isinstance(event, h11.ConnectionClosed) or event in (h11.NEED_DATA, h11.PAUSED):
                return None
    except h11.RemoteProtocolError:
        return None


def _cut(data: bytes, places: list[int]) -> list[bytes]:
    """Return `data` cut at these places."""
    bounds = [0, *sorted({place % (len(data) + 1) for place in places}), len(data)]
    return [data[start:end] for start, end in itertools.pairwise(bounds)]


_name = st.sampled_from(["X-A", "Content-Type", "Server", "x_y", "Keep-Alive"])
_value = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=12).map(str.strip)


@st.composite
def _answers(draw: st.DrawFn) -> bytes:
    """Draw an answer that a correct server may send, in each framing."""
    head = [
        f"HTTP/1.{draw(st.sampled_from('01'))} {draw(st.sampled_from([200, 201, 204, 304, 404, 503]))} {draw(_value)}"
    ]
    head += [f"{name}: {value}" for name, value in draw(st.lists(st.tuples(_name, _value), max_size=4))]
    body = draw(st.binary(max_size=60))
    framing = draw(st.sampled_from(["length", "lengths", "chunks", "close"]))
    if framing.startswith("length"):
        head += [f"Content-Length: {len(body)}"] * (2 if framing == "lengths" else 1)
    elif framing == "chunks":
        head.append("Transfer-Encoding: chunked")
        pieces = [piece for piece in _cut(body, draw(st.lists(st.integers(0, 60), max_size=3))) if piece]
        body = b"".join(b"%x%b\r\n%b\r\n" % (len(piece), b";a=b", piece) for piece in pieces)
        body += b"0\r\n" + draw(st.sampled_from([b"", b"X-T: 1\r\n"])) + b"\r\n"
    interim = draw(st.sampled_from([b"", b"HTTP/1.1 100 Continue\r\n\r\n"]))
    return interim + "\r\n".join(head).encode() + b"\r\n\r\n" + body


@given(_answers(), st.lists(st.integers(0, 400), max_size=4), st.sampled_from(["GET", "HEAD"]))
@settings(max_examples=300, deadline=None)
def test_an_answer_is_read_as_h11_reads_it(data: bytes, places: list[int], method: str) -> None:
    """Status and body are the same, however the bytes are cut."""
    expected = _h11(data, method)
    ours = _ours(_cut(data, places), method)
    assert ours == expected


@given(_answers(), st.lists(st.tuples(st.integers(0, 400), st.integers(-1, 255)), min_size=1, max_size=3), st.data())
@settings(max_examples=500, deadline=None)
def test_a_damaged_answer_is_never_read_otherwise(
    data: bytes, edits: list[tuple[int, int]], source: st.DataObject
) -> None:
    """After bytes were changed or removed, a response is refused or read as h11 reads it."""
    damaged = bytearray(data)
    for place, value in edits:
        at = place % max(1, len(damaged))
        damaged[at : at + 1] = b"" if value < 0 else bytes([value])
    ours = _ours(_cut(bytes(damaged), source.draw(st.lists(st.integers(0, 400), max_size=3))))
    assert ours is None or ours == _h11(bytes(damaged))


@pytest.mark.parametrize(
    "data",
    [
        b"rubbish HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        b"XXXX/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 20x OK\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 2000 OK\r\nContent-Length: 0\r\n\r\n",
        OK + b"Content-Length: 1_0\r\n\r\n0123456789",
        OK + b"Content-Length: +1\r\n\r\nx",
        OK + b"Content-Length : 1\r\n\r\nx",
        OK + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nxx",
        OK + b"Content-Length: 2\r\nContent-Length: 1\r\n\r\nxx",
        OK + b"Content-Length: 2, 1\r\n\r\nxx",
        OK + b"Content-Length: 1, 2\r\n\r\nxx",
        OK + b"Content-Length: " + b"9" * 30 + b"\r\n\r\n",
        OK + b"X\r\n\r\n",
        OK + b" X: 1\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\nContent-Length: 0\n\n",
        OK + b"X: \x0b\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 O\x0cK\r\nContent-Length: 0\r\n\r\n",
        OK + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        OK + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
        CHUNKED + b"5\r\nhelloX\r\n0\r\n\r\n",
        CHUNKED + b"5\r\nhello0\r\n\r\n",
        CHUNKED + b"0x5\r\nhello\r\n0\r\n\r\n",
        CHUNKED + b"-5\r\nhello\r\n0\r\n\r\n",
        CHUNKED + b"1_0\r\n0123456789abcdef\r\n0\r\n\r\n",
        CHUNKED + b"0\r\nno trailer\r\n\r\n",
        CHUNKED + b"0\r\n\r\nmore",
        OK + b"Content-Length: 0\r\n\r\nmore",
        b"HTTP/1.1 204 No\r\n\r\nmore",
        b"HTTP/1.1 101 Switching\r\n\r\n",
        b"HTTP/1.1 100 C\r\n\r\n" * (MOST_INTERIM + 1) + OK + b"Content-Length: 0\r\n\r\n",
    ],
)
def test_an_ambiguous_answer_is_refused(data: bytes) -> None:
    """Wrong status lines, lengths, codings, chunks and bytes after the end, whole and byte by byte."""
    assert _ours([data]) is None
    assert _ours([data[at : at + 1] for at in range(len(data))]) is None


@given(
    st.binary(max_size=30), st.integers(0, 40), st.integers(0, 3), st.sampled_from(["\r\nContent-Length: ", ", ", ","])
)
@settings(max_examples=200, deadline=None)
def test_different_lengths_are_refused_whichever_is_right(body: bytes, other: int, place: int, between: str) -> None:
    """The right length may stand first, last or between others; none of them is taken (RFC 9112, section 6.3)."""
    lengths = [str(len(body))] * 3
    lengths.insert(place, str(other))
    data = OK + f"Content-Length: {between.join(lengths)}\r\n\r\n".encode() + body
    expected = Read(200, body) if other == len(body) else None
    assert _ours([data]) == expected
    assert _h11(data) == expected or between != "\r\nContent-Length: "


@pytest.mark.parametrize(
    "data",
    [
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * LONGEST_HEAD,
        OK + b"Content-Length: %d\r\n\r\n" % (LONGEST_BODY + 1),
        CHUNKED + b"%x\r\n" % (LONGEST_BODY + 1),
        CHUNKED + b"1;" + b"x" * LONGEST_LINE,
        CHUNKED + b"0\r\n" + b"X: " + b"x" * LONGEST_LINE,
        CHUNKED + b"0\r\n" + (b"X: " + b"x" * 1000 + b"\r\n") * (LONGEST_HEAD // 1000 + 1),
    ],
)
def test_what_is_too_long_is_refused_before_its_end(data: bytes) -> None:
    """Head, body, chunk line and trailers have a limit each."""
    with pytest.raises(ValueError, match=r"too long|too large|trailer"):
        AnswerParser().feed(data)


def test_an_answer_with_two_framings_is_the_last_on_its_connection() -> None:
    """The chunks are read, and the connection is not used again (RFC 9112, section 6.3)."""
    parser = AnswerParser()
    assert parser.feed(OK + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n")
    assert (parser.body, parser.last) == (b"x", True)


def test_a_body_in_small_pieces_is_copied_once() -> None:
    """The bytes of a body are appended in place, so that the cost grows with its size and not with its square."""
    parser = AnswerParser()
    parser.feed(OK + b"Content-Length: 3000000\r\n\r\n")
    kept = parser._body
    for _ in range(3000):
        parser.feed(b"x" * 1000)
    assert parser._body is kept
    assert parser.end()
    assert len(parser.body) == 3_000_000


def test_chunks_without_end_are_refused_at_the_limit_of_the_body() -> None:
    """Each chunk is small, but together they are bounded."""
    parser, chunk = AnswerParser(), b"100000\r\n" + b"x" * 2**20 + b"\r\n"
    parser.feed(CHUNKED)
    for _ in range(LONGEST_BODY // 2**20):
        assert not parser.feed(chunk)
    with pytest.raises(ValueError, match="too long"):
        parser.feed(chunk)


class _Searched(bytearray):
    """A buffer that counts the bytes that are searched in it."""

    searched = 0

    def find(self, wanted: bytes, start: int = 0) -> int:  # type: ignore[override]  # only these arguments are used
        self.searched += len(self) - start
        return super().find(wanted, start)


def test_a_head_in_small_pieces_is_searched_once() -> None:
    """Each piece is searched with the three bytes before it, so that the cost grows with the size of the head."""
    parser, head = AnswerParser(), OK + b"X: " + b"x" * (LONGEST_HEAD - 1000) + b"\r\nContent-Length: 0"
    parser._buffer = buffer = _Searched()
    for byte in head:
        assert not parser.feed(bytes([byte]))
    assert parser.feed(b"\r\n\r\n")
    assert buffer.searched <= 5 * len(head)


def test_chunks_in_small_pieces_are_copied_once() -> None:
    """The same buffers are used throughout, and bytes that were read are removed from the first one."""
    parser = AnswerParser()
    parser.feed(CHUNKED + b"2dc6c0\r\n")
    buffer, body = parser._buffer, parser._body
    for _ in range(3000):
        parser.feed(b"x" * 1000)
        assert parser._body is body
    for _ in range(1000):
        parser.feed(b"\r\n1\r\nx")
        assert len(buffer) < 20
    assert parser.feed(b"\r\n0\r\n\r\n")
    assert parser._buffer is buffer
    assert len(parser.body) == 3_001_000


def test_a_header_in_several_lines_is_one_value() -> None:
    """Old servers fold long ones; the length of the body may be in such a line."""
    parser = AnswerParser()
    assert parser.feed(OK + b"X-Long: a \r\n  b\r\n\tc\r\nContent-Length:\r\n 2\r\n\r\nok")
    assert (parser.body, b"X-Long: a b c\r\n" in parser.head) == (b"ok", True)


def test_lines_that_end_with_lf_are_named() -> None:
    """The request does not wait for its time limit."""
    with pytest.raises(ValueError, match="with LF, not with CRLF"):
        AnswerParser().feed(b"HTTP/1.1 200 OK\nContent-Length: 0\n\n")
