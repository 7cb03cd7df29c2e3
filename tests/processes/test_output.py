"""The output of a process: what is kept, how it is framed, and that viewers do not disturb each other."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smartmob.processes.output import ProcessOutput
from tests.processes.frames import texts


class Viewer:
    """Somebody who looks on and keeps what it gets."""

    def __init__(self, *, notes: bool = False) -> None:
        self.notes = notes
        self.received: list[bytes] = []
        self.counted = 0
        self.ended: int | None = None

    def deliver(self, frames: bytes, lines: int) -> None:
        self.received.append(frames)
        self.counted += lines

    def end(self, code: int) -> None:
        self.ended = code

    @property
    def lines(self) -> list[str]:
        return texts(b"".join(self.received))


@pytest.fixture
def channel() -> ProcessOutput:
    return ProcessOutput(1024)


def test_each_line_is_a_frame(channel: ProcessOutput) -> None:
    """Without its end, also an empty one."""
    viewer = Viewer()
    channel.attach(viewer, 0)
    channel.write(b"one\n\ntwo\n")
    assert viewer.lines == ["one", "", "two"]
    assert viewer.counted == 3


def test_a_line_may_come_in_pieces(channel: ProcessOutput) -> None:
    """It is delivered when it has ended, as one."""
    viewer = Viewer()
    channel.attach(viewer, 0)
    for piece in (b"he", b"ll", b"o\nwor", b"ld\n"):
        channel.write(piece)
    assert viewer.lines == ["hello", "world"]


def test_a_last_line_without_an_end_is_delivered_at_exit(channel: ProcessOutput) -> None:
    """And does not run into what a successor writes."""
    viewer = Viewer()
    channel.attach(viewer, 0)
    channel.write(b"no end")
    assert viewer.lines == []
    channel.end_line()
    channel.end_line()
    channel.write(b"successor\n")
    assert viewer.lines == ["no end", "successor"]
    assert channel.tail(5) == ["no end", "successor"]


def test_who_comes_late_gets_the_last_lines_first(channel: ProcessOutput) -> None:
    """As many as asked for, then what follows; a line that has begun comes whole."""
    channel.write(b"a\nb\nc\nbeg")
    viewer, silent = Viewer(), Viewer()
    channel.attach(viewer, 2)
    channel.attach(silent, 0)
    channel.write(b"un\n")
    assert viewer.lines == ["b", "c", "begun"]
    assert silent.lines == ["begun"]


def test_the_ring_is_bounded(channel: ProcessOutput) -> None:
    """It holds the newest, and no half line at its beginning."""
    for number in range(10_000):
        channel.write(b"line %d\n" % number)
    kept = channel.tail(100_000)
    assert kept[-1] == "line 9999"
    assert all(line.startswith("line ") for line in kept)
    assert 100 <= len(kept) <= 1200
    assert kept == [f"line {number}" for number in range(10_000 - len(kept), 10_000)]


def test_a_program_that_writes_byte_by_byte_costs_no_object_for_each() -> None:
    """The pieces are put together."""
    channel = ProcessOutput(1024 * 1024)
    for _ in range(50_000):
        channel.write(b"x")
    assert len(channel._ring) < 50


def test_a_line_that_is_longer_than_the_ring_is_not_taken_for_a_short_one() -> None:
    """Its beginning is gone, so it is not shown."""
    channel = ProcessOutput(100)
    channel.write(b"a" * 5000)
    channel.write(b"b" * 5000)
    channel.write(b"end\nnext\n")
    assert channel.tail(10) == ["next"]


def test_notes_come_only_to_those_who_want_them(channel: ProcessOutput) -> None:
    """With a prefix, in their place among the lines, also when replayed."""
    with_notes, without = Viewer(notes=True), Viewer()
    channel.attach(with_notes, 0)
    channel.attach(without, 0)
    channel.write(b"one\n")
    channel.note("exited 1")
    channel.write(b"two\n")
    late = Viewer(notes=True)
    channel.attach(late, 10)
    assert with_notes.lines == late.lines == ["one", "[smartmob] exited 1", "two"]
    assert without.lines == channel.tail(10) == ["one", "two"]


def test_close_tells_everybody_once_and_who_comes_later(channel: ProcessOutput) -> None:
    """With the code of the WebSocket."""
    viewer = Viewer()
    channel.write(b"last\n")
    channel.attach(viewer, 0)
    channel.close(1000)
    late = Viewer()
    channel.attach(late, 1)
    assert (viewer.ended, late.ended, late.lines) == (1000, 1000, ["last"])


def test_who_has_left_gets_nothing(channel: ProcessOutput) -> None:
    """And the next viewer is not given half a line of before."""
    viewer = Viewer()
    channel.attach(viewer, 0)
    assert channel.viewers == 1
    channel.write(b"half")
    channel.detach(viewer)
    channel.detach(viewer)
    channel.write(b" a line\nanother\n")
    assert (viewer.lines, channel.viewers) == ([], 0)


LINES = st.lists(st.binary(max_size=300).map(lambda data: data.replace(b"\n", b"").replace(b"\r", b"")), max_size=30)


@settings(max_examples=200)
@given(LINES, st.lists(st.integers(1, 50), min_size=1), st.integers(0, 5))
def test_however_it_is_cut_the_lines_are_the_same(lines: list[bytes], cuts: list[int], tail: int) -> None:
    """Chunks have nothing to do with lines or characters, and late viewers see what early ones saw."""
    channel, early = ProcessOutput(1024 * 1024), Viewer()
    channel.attach(early, 0)
    data = b"".join(line + b"\n" for line in lines)
    at, turn = 0, 0
    while at < len(data):
        size = cuts[turn % len(cuts)]
        channel.write(data[at : at + size])
        at, turn = at + size, turn + 1
    expected = [line.decode(errors="replace") for line in lines]
    assert early.lines == expected
    late = Viewer()
    channel.attach(late, tail)
    assert late.lines == (expected[-tail:] if tail else [])
