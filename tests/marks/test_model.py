"""The rules for the text of a mark."""

from __future__ import annotations

import pytest

from smartmob.errors import InvalidInput
from smartmob.marks.model import one_line


def test_a_text_loses_its_surrounding_blanks() -> None:
    """A text in any script is accepted, and blanks around it are removed."""
    assert one_line("$.text", "  neuer Kernel auf rack7: 本番 🚀 ") == "neuer Kernel auf rack7: 本番 🚀"


@pytest.mark.parametrize("text", ["two\nlines", "a\ttab", "\x1b[31mred", "zero\0", "line\u2028separator"])
def test_a_text_with_control_characters_is_refused(text: str) -> None:
    """Control characters could act on the terminal or the page of a reader."""
    with pytest.raises(InvalidInput, match=r"^\$\.text: expected one line"):
        one_line("$.text", text)
