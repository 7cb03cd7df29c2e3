"""Output of commands."""

from __future__ import annotations

import json
import time

import pytest

from smartmob.cli import printing


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "-"), (0.4, "0 s"), (59.9, "59 s"), (61, "1 min 1 s"), (7200, "2 h 0 min"), (200_000, "2 d 7 h")],
)
def test_a_duration_is_shown_in_two_units(value: float | None, text: str) -> None:
    """A duration is shown in its two largest units."""
    assert printing.span(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "-"), (0, "0 B"), (999, "999 B"), (1500, "1.5 kB"), (12_345_678, "12.3 MB"), (5e12, "5000.0 GB")],
)
def test_a_size_has_a_suitable_unit(value: float | None, text: str) -> None:
    """Bytes come with the unit that suits them."""
    assert printing.size(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0, "0.0/s"), (17.55, "17.6/s"), (1234.5, "1,234.5/s"), (0.25, "0.25/s"), (0.00093, "0.00093/s")],
)
def test_a_small_rate_has_digits(value: float, text: str) -> None:
    """A small one has digits that are not 0."""
    assert printing.rate(value) == text


def test_text_cannot_command_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    """Neither titles nor what is said pass on what a terminal obeys, or take it for markup; lines stay lines."""
    assert printing.printable("a\nb\tc\x1b]0;x\x07\x9b1m\u202e") == "a\nb\tc\ufffd]0;x\ufffd\ufffd1m\ufffd"
    printing.print_table("Run [red]\x1b[2J", ("A",), [("b" * 40,)])
    printing.say("no\x1b[2Jthing")
    out, err = capsys.readouterr()
    assert "Run [red]\ufffd[2J" in out
    assert err == "no\ufffd[2Jthing\n"


def test_a_cell_cannot_command_the_terminal() -> None:
    """Control characters of a name that somebody sent are not passed on, and markup is text."""
    assert printing.plain("a\x1b[31mb\x07[red]c").plain == "a\ufffd[31mb\ufffd[red]c"
    assert [printing.plain(nothing).plain for nothing in (None, "")] == ["-", "-"]


def test_a_table_is_not_cut(capsys: pytest.CaptureFixture[str]) -> None:
    """Without a terminal its lines are as wide as they must be to be read by programs."""
    printing.print_table("Title", ("Name", ">Number"), [("x" * 120, 7)])

    lines = capsys.readouterr().out.splitlines()
    assert lines[0].strip() == "Title"
    assert "x" * 120 in lines[2]
    assert lines[2].split()[-1] == "7"


def test_talk_goes_to_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    """So that what is printed can be piped."""
    printing.say("[bold]hello")
    printing.print_json({"a": 1})

    said = capsys.readouterr()
    assert said.err == "[bold]hello\n"
    assert said.out == '{\n  "a": 1\n}\n'


def test_json_cannot_command_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    """Controls, marks of direction and separators of lines are escaped, and the value is the same."""
    document = {"\x1b[2J\x9b\u202e": ["\x85\u2028\u2066\x7f\U000e0001", "größe 🔴"]}
    printing.print_json(document)
    said = capsys.readouterr().out
    assert said.replace("\n", "").isprintable()
    assert "größe 🔴" in said
    assert json.loads(said) == document


@pytest.mark.parametrize("zone", ["America/New_York", "Pacific/Kiritimati"])
@pytest.mark.parametrize("text", ["0001-01-01T00:00:00+00:00", "9999-12-31T23:59:59.999999+00:00"])
def test_each_time_is_printed_in_any_zone(monkeypatch: pytest.MonkeyPatch, zone: str, text: str) -> None:
    """A time that has no year in the zone of this machine is printed in its own."""
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        assert printing.local_time(text)[:4] in ("0001", "9999")
    finally:
        monkeypatch.undo()
        time.tzset()
