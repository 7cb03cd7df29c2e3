"""Frames of the console, and addresses without their secrets."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smartmob.processes.model import CheckState, Definition, HealthCheck, ProcessSnapshot
from smartmob.processes.protocol import LONGEST_LINE, _check_status, encode_lines, encode_pieces, listed, shown_address
from tests.processes.frames import texts

_CREATED = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 1023, 1024, 65535, 65536, 200_000])
def test_the_head_of_a_frame_is_right_for_each_form_of_the_length(size: int) -> None:
    """The sizes are at the borders of the three forms (RFC 6455, section 5.2)."""
    line = b"x" * size
    assert texts(encode_lines(line)[0]) == [line.decode()]


@given(st.lists(st.text().filter(lambda text: "\n" not in text and "\r" not in text), min_size=1))
def test_each_line_is_a_frame(lines: list[str]) -> None:
    """Frames have the order and the characters of the lines."""
    frames, count = encode_lines("\n".join(lines).encode())
    assert (texts(frames), count) == (lines, len(lines))


@given(st.binary())
def test_any_bytes_make_valid_frames(data: bytes) -> None:
    """Any bytes become at least one frame for each line."""
    frames, count = encode_lines(data)
    assert len(texts(frames)) == count == data.count(b"\n") + 1


def test_carriage_returns_before_a_line_end_are_removed() -> None:
    """Those within a line stay, because progress bars need them."""
    assert texts(encode_lines(b"one\r\ntwo\rthree\r\n\rfour\r")[0]) == ["one", "two\rthree", "\rfour"]


def test_each_frame_begins_with_the_mark_of_its_source() -> None:
    """So does each piece of a line that is too long, which stays within the limit."""
    assert texts(encode_lines(b"a\r\n\nb", b"2")[0]) == ["2a", "2", "2b"]
    assert texts(encode_pieces(b"a\r\nb", b"1")[0]) == ["1a\r\n", "1b"]
    for encode in (encode_lines, encode_pieces):
        pieces = texts(encode(b"x" * (2 * LONGEST_LINE), b"2")[0])
        assert {piece[0] for piece in pieces} == {"2"}
        assert "".join(piece[1:] for piece in pieces) == "x" * (2 * LONGEST_LINE)
        assert max(map(len, pieces)) <= LONGEST_LINE


def test_a_line_that_is_too_long_is_split_between_characters() -> None:
    """No piece is too long, and together they are the line."""
    line = "é" * LONGEST_LINE + "x"
    pieces = texts(encode_lines(f"a\n{line}\nb".encode())[0])
    assert (pieces[0], pieces[-1], "".join(pieces[1:-1])) == ("a", "b", line)
    assert max(len(piece.encode()) for piece in pieces) <= LONGEST_LINE


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("http://host/path", "http://host/path"),
        ("http://me:secret@host:80/a@b", "http://***@host:80/a@b"),
        ("https://token@host", "https://***@host"),
        ("http://host/a@b", "http://host/a@b"),
        ("http://host/a?sig=secret&v=1", "http://host/a?sig=***&v=***"),
        ("http://host/a?secret", "http://host/a?***"),
        ("http://host/a?sig=se=cret#secret", "http://host/a?sig=***"),
        ("http://host/a?x=1;sig=secret", "http://host/a?x=***"),
        ("http://host/a#secret", "http://host/a#***"),
        ("http://host/a#secret?sig=secret", "http://host/a?sig=***"),
        ("http://me:sec?ret@host/a", "http://***@host/a"),
        ("http://host?a=b@secret", "http://***@secret"),
    ],
)
def test_secrets_in_addresses_are_not_shown(url: str, shown: str) -> None:
    """Passwords, user names and the values of a query are replaced; to do so twice changes nothing more."""
    assert shown_address(url) == shown
    assert shown_address(shown) == shown


def test_secrets_in_the_address_of_a_check_are_not_shown() -> None:
    """A path keeps its form; a program may be asked with a password or a token."""
    shown = {
        text: _check_status(CheckState(check=HealthCheck(http=text), state="passing"))
        for text in ("/health", "/h?token=secret", "http://me:secret@localhost:$PORT/")
    }
    assert [each.check.http for each in shown.values() if each is not None] == [
        "/health", "/h?token=***", "http://***@localhost:$PORT/",
    ]  # fmt: skip


def test_a_listing_shows_a_new_process_as_pending_for_a_second() -> None:
    """A client of seed 002 finds the state of the answer to its request; a stop is shown at once."""

    def state(now: str, seconds: float) -> str:
        definition = Definition(
            slug="app.web.0",
            app="app",
            node="web.0",
            process_type="web",
            source_url="http://host/",
            env={},
            grace=1.0,
            created_at=_CREATED,
        )
        snapshot = ProcessSnapshot(
            definition=definition,
            state=now,
            detail="",
            output=[],
            downloaded=None,
            pid=None,
            port=None,
            started_at=None,
            uptime=None,
            restarts=0,
            last_status=None,
            next_try_at=None,
            sample=None,
            viewers=0,
        )
        return listed(snapshot, "http://here", _CREATED + timedelta(seconds=seconds)).state

    assert state("download failure", 0.0) == state("download failure", 0.99) == "pending"
    assert state("download failure", 1.0) == "download failure"
    assert state("running", 0.5) == "pending"
    assert state("stopped", 0.5) == "stopped"
