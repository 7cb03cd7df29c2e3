"""The output of a process: the ring, the frames, and the independence of viewers."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smartmob.processes.output import ProcessOutput
from smartmob.processes.protocol import STDERR, STDOUT, whole_characters
from tests.processes.frames import texts


class Viewer:
    """A viewer that records the frames it gets."""

    def __init__(
        self, *, notes: bool = False, partial: bool = False, marked: bool = False, stream: int | None = None
    ) -> None:
        self.notes = notes
        self.partial = partial
        self.marked = marked
        self.stream = stream
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
def output() -> ProcessOutput:
    return ProcessOutput(1024)


def test_each_line_is_a_frame(output: ProcessOutput) -> None:
    """A frame has no line end; an empty line is an empty frame."""
    viewer = Viewer()
    output.attach(viewer, 0)
    output.write(b"one\n\ntwo\n")
    assert viewer.lines == ["one", "", "two"]
    assert viewer.counted == 3


def test_a_line_written_in_pieces_is_one_frame(output: ProcessOutput) -> None:
    """It is delivered when its line end was written."""
    viewer = Viewer()
    output.attach(viewer, 0)
    for piece in (b"he", b"ll", b"o\nwor", b"ld\n"):
        output.write(piece)
    assert viewer.lines == ["hello", "world"]


def test_a_last_line_without_an_end_is_delivered_at_exit(output: ProcessOutput) -> None:
    """The output of the next program does not continue it."""
    viewer = Viewer()
    output.attach(viewer, 0)
    output.write(b"no end")
    assert viewer.lines == []
    output.end_line()
    output.end_line()
    output.write(b"successor\n")
    assert viewer.lines == ["no end", "successor"]
    assert output.tail(5) == ["no end", "successor"]


def test_a_new_viewer_gets_the_last_lines_first(output: ProcessOutput) -> None:
    """It gets as many as it asked for, then the new lines; a line that was begun before comes whole."""
    output.write(b"a\nb\nc\nbeg")
    viewer, silent = Viewer(), Viewer()
    output.attach(viewer, 2)
    output.attach(silent, 0)
    output.write(b"un\n")
    assert viewer.lines == ["b", "c", "begun"]
    assert silent.lines == ["begun"]


def test_the_ring_keeps_the_newest_lines_within_its_limit(output: ProcessOutput) -> None:
    """Its first line is never a part of a line."""
    for number in range(10_000):
        output.write(b"line %d\n" % number)
    kept = output.tail(100_000)
    assert kept[-1] == "line 9999"
    assert all(line.startswith("line ") for line in kept)
    assert 100 <= len(kept) <= 1200
    assert kept == [f"line {number}" for number in range(10_000 - len(kept), 10_000)]


def test_a_program_that_writes_byte_by_byte_costs_no_object_for_each() -> None:
    """Small chunks are joined in the ring."""
    output = ProcessOutput(1024 * 1024)
    for _ in range(50_000):
        output.write(b"x")
    assert len(output._ring) < 50


def test_a_line_longer_than_the_ring_is_not_shown_as_a_shorter_one() -> None:
    """A line whose beginning was dropped is not shown."""
    output = ProcessOutput(100)
    output.write(b"a" * 5000)
    output.write(b"b" * 5000)
    output.write(b"end\nnext\n")
    assert output.tail(10) == ["next"]


def test_notes_are_sent_only_to_viewers_that_ask_for_them(output: ProcessOutput) -> None:
    """They have a prefix and their position among the lines, also in kept lines."""
    with_notes, without = Viewer(notes=True), Viewer()
    output.attach(with_notes, 0)
    output.attach(without, 0)
    output.write(b"one\n")
    output.note("exited 1")
    output.write(b"two\n")
    late = Viewer(notes=True)
    output.attach(late, 10)
    assert with_notes.lines == late.lines == ["one", "[smartmob] exited 1", "two"]
    assert without.lines == output.tail(10) == ["one", "two"]


def test_lines_of_both_streams_are_not_joined(output: ProcessOutput) -> None:
    """A line is in the order where it was completed, for live and for late viewers; the end completes both."""
    live = [Viewer(), Viewer(marked=True), Viewer(stream=STDERR), Viewer(stream=STDOUT, marked=True, notes=True)]
    for viewer in live:
        output.attach(viewer, 0)
    output.write(b"o1\no")
    output.write_error(b"e1\ne")
    output.write(b"2\r\n")
    output.note("waits")
    output.write_error(b"2\xff\n?")
    output.write(b"rest")
    output.end_line()
    output.write(b"next\n")
    late = [Viewer(), Viewer(marked=True), Viewer(stream=STDERR), Viewer(stream=STDOUT, marked=True, notes=True)]
    for viewer in late:
        output.attach(viewer, 100)
    for viewers in (live, late):
        assert [viewer.lines for viewer in viewers] == [
            ["o1", "e1", "o2", "e2\ufffd", "rest", "?", "next"],
            ["1o1", "2e1", "1o2", "2e2\ufffd", "1rest", "2?", "1next"],
            ["e1", "e2\ufffd", "?"],
            ["1o1", "1o2", "3[smartmob] waits", "1rest", "1next"],
        ]
        assert [viewer.counted for viewer in viewers] == [7, 7, 3, 5]
    assert output.tail(3) == ["rest", "?", "next"]


def test_an_incomplete_line_of_each_stream_is_shown() -> None:
    """With marks it can be seen to which line a piece belongs; the rest of each follows."""
    output, viewer = ProcessOutput(1024), Viewer(partial=True, marked=True)
    output.attach(viewer, 0)
    output.write(b"Name: ")
    output.write_error(b"wait")
    output._show_open_lines()
    late = Viewer(partial=True, marked=True, stream=STDERR)
    output.attach(late, 0)
    output.write_error(b"ed\n")
    output.write(b"me\n")
    assert viewer.lines == ["1Name: ", "2wait", "2ed\n", "1me\n"]
    assert late.lines == ["2wait", "2ed\n"]


def test_a_line_without_an_end_is_among_the_last_lines_of_a_viewer_that_does_not_follow() -> None:
    """A program may write for hours without a line end; each stream has such a line of its own."""
    output = ProcessOutput(1024)
    output.write(b"one\nwait")
    output.write_error(b"50 %")
    viewers = [Viewer(marked=True), Viewer(partial=True, stream=STDERR), Viewer(stream=STDOUT)]
    for viewer, tail in zip(viewers, (2, 5, 0), strict=True):
        output.attach(viewer, tail, follow=False)
    assert [viewer.lines for viewer in viewers] == [["1wait", "250 %"], ["50 %\n"], []]
    assert output.viewers == 0


def test_a_dropped_line_of_one_stream_leaves_the_other_whole() -> None:
    """Only the stream whose oldest line was cut skips the rest of it."""
    output = ProcessOutput(100)
    output.write(b"a" * 5000)
    output.write_error(b"whole\n")
    output.write(b"b" * 60 + b"\nkept\n")
    assert output.tail(10) == ["whole", "kept"]


def test_streams_that_alternate_cost_no_object_for_each_byte() -> None:
    """The ring has a bounded number of chunks, and keeps the newest."""
    output = ProcessOutput(64 * 1024)
    for _ in range(10_000):
        output.write(b"o\n")
        output.write_error(b"e\n")
    assert len(output._ring) <= 1024
    assert output.tail(1000) == ["o", "e"] * 500


def test_close_ends_present_and_later_viewers_once(output: ProcessOutput) -> None:
    """Each gets the close code of the WebSocket."""
    viewer = Viewer()
    output.write(b"last\n")
    output.attach(viewer, 0)
    output.close(1000)
    late = Viewer()
    output.attach(late, 1)
    assert (viewer.ended, late.ended, late.lines) == (1000, 1000, ["last"])


def test_a_detached_viewer_gets_nothing(output: ProcessOutput) -> None:
    """The next viewer does not get the rest of a line that was begun before."""
    viewer = Viewer()
    output.attach(viewer, 0)
    assert output.viewers == 1
    output.write(b"half")
    output.detach(viewer)
    output.detach(viewer)
    output.write(b" a line\nanother\n")
    assert (viewer.lines, output.viewers) == ([], 0)


LINES = st.lists(st.binary(max_size=300).map(lambda data: data.replace(b"\n", b"").replace(b"\r", b"")), max_size=30)


@settings(max_examples=200)
@given(LINES, st.lists(st.integers(1, 50), min_size=1), st.integers(0, 5))
def test_chunk_borders_do_not_change_the_lines(lines: list[bytes], cuts: list[int], tail: int) -> None:
    """Late viewers get the same lines as early ones."""
    output, early = ProcessOutput(1024 * 1024), Viewer()
    output.attach(early, 0)
    data = b"".join(line + b"\n" for line in lines)
    at, turn = 0, 0
    while at < len(data):
        size = cuts[turn % len(cuts)]
        output.write(data[at : at + size])
        at, turn = at + size, turn + 1
    expected = [line.decode(errors="replace") for line in lines]
    assert early.lines == expected
    late = Viewer()
    output.attach(late, tail)
    assert late.lines == (expected[-tail:] if tail else [])


def test_a_line_without_an_end_is_shown_to_viewers_of_partial_lines() -> None:
    """The others get the whole line; put together the pieces are the output, and no character is cut."""
    timers: list[Callable[[], None]] = []
    output = ProcessOutput(1024, lambda seconds, call: timers.append(call))
    whole, partial = Viewer(notes=True), Viewer(notes=True, partial=True)
    output.attach(whole, 0)
    output.attach(partial, 0)
    output.write("Name: é".encode()[:-1])
    assert partial.lines == []
    timers.pop()()
    assert (whole.lines, partial.lines) == ([], ["Name: "])

    late = Viewer(partial=True)
    output.attach(late, 0)
    output.note("waits")
    output.write("é".encode()[-1:] + b" x\r\nnext\n% ")
    output.end_line()
    assert whole.lines == ["[smartmob] waits", "Name: é x", "next", "% "]
    assert partial.lines == ["Name: ", "[smartmob] waits\n", "é x\r\n", "next\n", "% \n"]
    assert late.lines == ["Name: ", "é x\r\n", "next\n", "% \n"]


@given(st.lists(st.text("aé\n\r€😀", max_size=6).map(str.encode), max_size=8), st.data())
def test_pieces_are_the_output_however_it_is_written(chunks: list[bytes], data: st.DataObject) -> None:
    """Bytes are neither lost nor doubled, whenever the incomplete line is shown."""
    output, partial = ProcessOutput(1 << 20), Viewer(partial=True)
    written = b"".join(chunks)
    output.attach(partial, 0)
    at = 0
    while at < len(written):
        size = data.draw(st.integers(1, 5))
        output.write(written[at : at + size])
        at += size
        if data.draw(st.booleans()):
            output._show_open_lines()
    output._show_open_lines()
    assert "".join(partial.lines) == written.decode()


@pytest.mark.parametrize("text", ["", "a", "é", "a€", "😀", "a😀"])
def test_an_incomplete_character_is_found_at_each_place(text: str) -> None:
    """The rest of it may follow in the next chunk."""
    data = text.encode()
    whole = len(text[:-1].encode())
    assert [whole_characters(data[:size]) for size in range(whole, len(data) + 1)] == (
        [whole] * (len(data) - whole) + [len(data)]
    )


def test_bytes_that_are_no_utf8_are_not_held_back() -> None:
    """Only the beginning of a character is."""
    for data in (b"\x80\x80\x80\x80", b"a\xff\x80\x80\x80", b"\x80"):
        assert whole_characters(data) == len(data)
