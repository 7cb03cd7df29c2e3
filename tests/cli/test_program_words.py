"""The words of a program in an option."""

from __future__ import annotations

import pytest

from smartmob.cli.program_words import program_words
from smartmob.errors import SettingsError


def test_words_are_those_of_a_shell() -> None:
    """Quotes keep a word together."""
    assert program_words("--command", "sh -c 'echo a b'") == ["sh", "-c", "echo a b"]


@pytest.mark.parametrize(("text", "said"), [("", "is empty"), ("  ", "is empty"), ("echo 'a", "no closing quotation")])
def test_a_text_that_is_no_command_is_refused(text: str, said: str) -> None:
    """The line names the option."""
    with pytest.raises(SettingsError, match=f"^--command .*{said}"):
        program_words("--command", text)
