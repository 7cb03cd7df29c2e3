"""What can be a mark."""

from __future__ import annotations

import pytest

from smartmob.errors import InvalidInput
from smartmob.marks.model import shown


def test_a_text_that_can_be_shown() -> None:
    """In any script, without the blanks around it."""
    assert shown("$.text", "  neuer Kernel auf rack7: 本番 🚀 ") == "neuer Kernel auf rack7: 本番 🚀"


@pytest.mark.parametrize("text", ["two\nlines", "a\ttab", "\x1b[31mred", "zero\0", "line\u2028separator"])
def test_a_text_that_cannot_be_shown(text: str) -> None:
    """Control characters would act on the terminal or the page of whoever reads them."""
    with pytest.raises(InvalidInput, match=r"^\$\.text: expected one line"):
        shown("$.text", text)
