"""Lines of several processes on one screen."""

from __future__ import annotations

import asyncio
import io
import os

import pytest

from smartmob.cli.line_printer import LinePrinter, _colours
from smartmob.processes.protocol import NOTES, STDERR, STDOUT


async def test_lines_go_out_at_the_end_of_a_round(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    """A single line does not wait, and what cannot be text comes as a replacement."""
    screen = LinePrinter({"a.b": "b"}, as_json=False)
    screen.show("a.b", "one")
    screen.show("a.b", "t\udcffo")
    assert capfdbinary.readouterr().out == b""
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert capfdbinary.readouterr().out == b"one\nt?o\n"


async def test_the_buffer_of_lines_is_bounded(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    """The buffer has a bound, however many lines one iteration of the event loop brings."""
    screen = LinePrinter({"a.b": "b"}, as_json=False)
    for _ in range(100):
        screen.show("a.b", "x" * 10_000)
    assert len(capfdbinary.readouterr().out) > 900_000
    screen.flush()
    assert len(capfdbinary.readouterr().out) < 100_000


async def test_names_are_as_wide_as_the_longest(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    """They are as wide as the longest, and without colours where there is no terminal."""
    screen = LinePrinter({"a.web.0": "web.0", "a.worker.10": "worker.10"}, as_json=False)
    screen.show("a.web.0", "\x1b[31mred")
    screen.show("a.worker.10", "[smartmob] exited 1")
    screen.flush()
    assert capfdbinary.readouterr().out == b"web.0     | \x1b[31mred\nworker.10 | [smartmob] exited 1\n"


async def test_json_distinguishes_lines_and_events(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    """An object for each line, told apart from what happens to the process."""
    screen = LinePrinter({"a.b": "b"}, as_json=True)
    screen.show("a.b", 'say "x"')
    screen.show("a.b", "[smartmob] exited 1")
    screen.flush()
    assert capfdbinary.readouterr().out == (b'{"slug":"a.b","line":"say \\"x\\""}\n{"slug":"a.b","event":"exited 1"}\n')


async def test_standard_error_is_told_apart(
    capfdbinary: pytest.CaptureFixture[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Red on a terminal, a field in JSON, and never on the line of a piece of standard output."""
    screen = LinePrinter({"a.b": "b"}, as_json=True)
    screen.show("a.b", "one", STDOUT)
    screen.show("a.b", "[smartmob] forged", STDERR)
    screen.show("a.b", "[smartmob] exited 1", NOTES)
    screen.flush()
    assert capfdbinary.readouterr().out == (
        b'{"slug":"a.b","line":"one"}\n'
        b'{"slug":"a.b","line":"[smartmob] forged","stream":"stderr"}\n'
        b'{"slug":"a.b","event":"exited 1"}\n'
    )
    pieces = LinePrinter({"a.b": "b"}, as_json=False)
    assert pieces.takes_sources
    for piece, source in (("Name: ", STDOUT), ("bad", STDERR), (" thing\n", STDERR), ("me\n", STDOUT)):
        pieces.show_piece("a.b", piece, source)
    pieces.flush()
    assert capfdbinary.readouterr().out == b"Name: \nbad thing\nme\n"
    assert not LinePrinter({"a": "a", "b": "b"}, as_json=False).takes_sources
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.delenv("NO_COLOR", raising=False)
    coloured = LinePrinter({"a": "a", "b": "b"}, as_json=False)
    assert coloured.takes_sources
    coloured.show("a", "one", STDOUT)
    coloured.show("a", "bad", STDERR)
    coloured.flush()
    heads = capfdbinary.readouterr().out.split(b"\n")
    assert heads[0].endswith(b"one")
    assert heads[1].endswith(b"\x1b[31mbad\x1b[0m")


async def test_a_closed_reader_ends_the_waiting_task(monkeypatch: pytest.MonkeyPatch) -> None:
    """The waiting task gets the error, although the failed write belongs to no task."""
    ours, theirs = os.pipe()
    os.close(ours)
    with os.fdopen(theirs, "wb", buffering=0) as pipe:
        monkeypatch.setattr("sys.stdout", io.TextIOWrapper(pipe, write_through=True))
        screen = LinePrinter({"a.b": "b"}, as_json=False)
        screen.show("a.b", "one")
        with pytest.raises(BrokenPipeError):
            await screen.broken()


def test_colours_are_stable_and_differ() -> None:
    """A name has its colour in whatever company as long as there is no clash, and few names never share one."""
    names = {f"app.web.{number}": "" for number in range(8)}
    assert len(set(_colours(names).values())) == 8
    assert _colours(names) == _colours(dict(reversed(names.items())))
    assert len(_colours({f"app.web.{number}": "" for number in range(100)})) == 100
    alone = {name: _colours({name: ""})[name] for name in names}
    assert alone == {name: _colours({name: ""})[name] for name in names}
    assert len(set(alone.values())) > 1


async def test_pieces_are_written_as_they_come(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    """A prompt is there without its line end; an event between two pieces begins a line of its own."""
    screen = LinePrinter({"a.b": "b"}, as_json=False)
    assert screen.takes_pieces
    for piece in ("one\r\n", "10 %\r", "20 %", "[smartmob] stopping\n", " done\n", "Name: "):
        screen.show_piece("a.b", piece)
    screen.flush()
    assert capfdbinary.readouterr().out == b"one\n10 %\r20 %\n[smartmob] stopping\n done\nName: "
    assert not LinePrinter({"a": "a", "b": "b"}, as_json=False).takes_pieces
