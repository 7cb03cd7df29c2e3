"""The lines of several machines on one output."""

from __future__ import annotations

from smartmob.cli.host_lines import HostLines


def test_whole_lines_have_their_machine_before_them() -> None:
    """A line that came in pieces is shown when it is whole, the last one with a line end."""
    shown = HostLines(("a", "b"), as_written=False, separator=" | ")
    assert shown.add("a", b"one\ntw") == "a | one\n"
    assert shown.add("b", b"x\n") == "b | x\n"
    assert shown.add("a", b"o\n") == "a | two\n"
    assert shown.add("b", b"rest") == ""
    assert shown.end("b") == "b | rest\n"
