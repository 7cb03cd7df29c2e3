"""Tables on terminals and in pipes."""

from __future__ import annotations

import pytest

from smartmob.cli.table_layout import StyledLine, StyledText, columns_of, lines_of, wrapped


def _lines(heads: tuple[str, ...], *rows: tuple[str, ...], width: int | None = None) -> list[str]:
    return list(lines_of(heads, [tuple(map(StyledText, row)) for row in rows], width, colours=False))


def test_a_pipe_gets_whole_rows() -> None:
    """Without a width a row is one line, however long its names are."""
    head, row = _lines(("Name", ">Time", "Tags"), ("a" * 300, "9 s", "b c"))
    assert head == f"{'Name':300}  Time  Tags"
    assert row == f"{'a' * 300}   9 s  b c"


def test_cells_wrap_between_words() -> None:
    """A terminal that is too narrow for the rows shows cells in several lines, and splits no word."""
    lines = _lines(("Name", ">Time", "What"), ("test_a[x-1]", "1.20 ms", "it is one of many words"), width=34)
    assert lines == [
        "Name            Time  What",
        "test_a[x-1]  1.20 ms  it is one of",
        "                      many words",
    ]


def test_the_last_cells_of_a_row_that_does_not_fit_stand_below_it() -> None:
    """They have the names of their columns, a cell with nothing is left out, and a long one wraps between words."""
    heads = ("Run", ">Tests", ">Time", "", "Tags")
    rows = (
        ("e4851036d38c", "8", "4.09 s", "▇▇▇", "pipeline_branch=main imported_from=run-7.xml"),
        ("f0", "10", "3.9 s", "▇", "-"),
    )
    assert _lines(heads, *rows, width=30) == [
        "Run           Tests    Time",
        "e4851036d38c      8  4.09 s",
        "    ▇▇▇",
        "    Tags pipeline_branch=main",
        "         imported_from=run-7.xml",
        "f0               10   3.9 s",
        "    ▇",
    ]
    assert _lines(heads, *rows, width=22) == [
        "Run           Tests",
        "e4851036d38c      8",
        "    Time 4.09 s  ▇▇▇",
        "    Tags pipeline_branch=main",
        "         imported_from=run-7.xml",
        "f0               10",
        "    Time 3.9 s  ▇",
    ]


def test_a_date_and_its_time_stay_together() -> None:
    """A column of times is not made narrower; other columns stand below the row instead."""
    assert _lines(("Began", "Name", "Tags"), ("2026-11-01 12:00:00", "x", "how=plain"), width=30) == [
        "Began                Name",
        "2026-11-01 12:00:00  x",
        "    Tags how=plain",
    ]


def test_sentences_wrap_between_words() -> None:
    """Lines keep their indentation, and a command between backticks is not torn where it fits into a line."""
    text = "  No machine has joined; `smartmob token add NAME` prints how.\n\nlast"
    assert wrapped(text, 32) == [
        "  No machine has joined;",
        "  `smartmob token add NAME`",
        "  prints how.",
        "",
        "last",
    ]
    assert wrapped("a `b c d e f` g", 6) == ["a `b c", "d e f`", "g"]
    assert wrapped("x" * 20 + " y", 10) == ["x" * 20, "y"]
    assert wrapped("", 10) == [""]


def test_a_row_that_does_not_fit_has_a_line_for_each_cell() -> None:
    """On a terminal that is narrower than the words, each cell has a line with the name of its column."""
    row = ("tests/test_a.py::test_long[1]", "1 s", "x")
    assert _lines(("Test", ">Time", "Machine"), row, row, width=30) == [
        "Test     tests/test_a.py::test_long[1]",
        "Time     1 s",
        "Machine  x",
        "",
        "Test     tests/test_a.py::test_long[1]",
        "Time     1 s",
        "Machine  x",
    ]


@pytest.mark.parametrize(
    ("text", "columns"), [("abc", 3), ("größe", 5), ("\u6e2c\u8a66", 4), ("e\u0301", 1), ("🔴", 2), ("", 0)]
)
def test_the_columns_of_a_text(text: str, columns: int) -> None:
    """Wide characters take two columns, combining ones none."""
    assert columns_of(text) == columns


def test_columns_stand_below_each_other_after_wide_characters() -> None:
    """The column after one with wide characters begins at the same place in each row."""
    lines = _lines(("A", "B"), ("\u6e2c\u8a66", "x"), ("ab", "x"))
    assert lines == ["A     B", "\u6e2c\u8a66  x", "ab    x"]


def test_styles_are_codes_that_end() -> None:
    """A style begins before the text and ends after it, and an unknown style changes nothing."""
    assert StyledText("x", "bold red").ansi() == "\x1b[1;31mx\x1b[0m"
    assert StyledText("x", "plaid").ansi() == StyledText("x").ansi() == "x"
    line = StyledLine((StyledText("a", "dim"), StyledText("b")))
    assert (line.plain, line.ansi()) == ("ab", "\x1b[2ma\x1b[0mb")


def test_a_table_without_rows_is_its_head() -> None:
    """A table without rows is its head, and one without heads and rows is nothing."""
    assert _lines(("A", ">B")) == ["A  B"]
    assert _lines(("", "")) == []
