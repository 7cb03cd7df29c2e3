"""Names that were meant by unknown ones."""

from __future__ import annotations

import pytest

from smartmob.cli.suggestions import did_you_mean, nearest

NAMES = ("hosts", "report", "report-host", "myapp.web.0", "test_insertion_sort", "Rack7")


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("hots", "hosts"),
        ("host", "hosts"),
        ("rack7", "Rack7"),
        ("myapp.wbe.0", "myapp.web.0"),
        ("insertion", "test_insertion_sort"),
        ("repot", "report"),
        ("hosst", "hosts"),
        ("zzz", None),
        ("", None),
        ("posts", "hosts"),
        ("roots", None),
        ("start", None),
        ("hist", None),
        ("x", None),
    ],
)
def test_a_mistyped_name_finds_the_nearest_one(given: str, meant: str | None) -> None:
    """A typing error, another case and a part of a name find the name that was meant."""
    assert nearest(given, NAMES) == meant


def test_the_end_of_a_message() -> None:
    """It names what was meant, or says where all names are listed."""
    assert did_you_mean("hots", NAMES, "`ls` lists them") == "; did you mean hosts?"
    assert did_you_mean("zzz", NAMES, "`ls` lists them") == "; `ls` lists them"
    assert did_you_mean("zzz", NAMES) == ""
