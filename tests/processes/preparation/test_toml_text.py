"""TOML of a source: what it may cost."""

from __future__ import annotations

import pytest

from smartmob.processes.preparation import toml_text


def test_keys_of_very_many_parts_are_refused() -> None:
    """The line is named; as many dots as are allowed are read."""
    key = ".".join("a" * (toml_text.MOST_DOTS + 1))
    document = toml_text.parse(f"x = 1\n{key} = 1".encode())
    assert document["x"] == 1
    with pytest.raises(ValueError, match="line 2 has more than 200 dots"):
        toml_text.parse(f"x = 1\n{key}.a = 1".encode())


def test_what_is_no_toml_is_a_value_error() -> None:
    """So are bytes that are not UTF-8."""
    for data, reason in ((b"x = ", "Invalid value"), (b"\xff", "invalid start byte")):
        with pytest.raises(ValueError, match=reason):
            toml_text.parse(data)
