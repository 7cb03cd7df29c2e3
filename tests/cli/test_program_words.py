"""The words of a program in an option."""

from __future__ import annotations

import re
import shlex

import pytest

from smartmob.cli.program_words import program_words, words_without_shell
from smartmob.errors import SettingsError


def test_words_are_those_of_a_shell() -> None:
    """Quotes keep a word together."""
    assert program_words("--command", "sh -c 'echo a b'") == ["sh", "-c", "echo a b"]


@pytest.mark.parametrize(("text", "said"), [("", "is empty"), ("  ", "is empty"), ("echo 'a", "no closing quotation")])
def test_a_text_that_is_no_command_is_refused(text: str, said: str) -> None:
    """The line names the option."""
    with pytest.raises(SettingsError, match=f"^--command .*{said}"):
        program_words("--command", text)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("sort a > b", "'>' in 'sort a > b' belongs: .* --command 'sh -c '"),
        ("sort a >b", "'>b'"),
        ("sort a 2>&1", "'2>&1'"),
        ("cat a | sort", "'|'"),
        ("make && true", "'&&'"),
        ("cd a; make", "';'"),
        ("sleep 1 &", "'&'"),
        ("LC_ALL=C sort a", "begins with a variable, .*: --command 'env LC_ALL=C sort a'"),
    ],
)
def test_a_text_that_only_a_shell_understands_is_refused(text: str, said: str) -> None:
    """Its operators would be arguments, and the program would do something else without a word."""
    with pytest.raises(SettingsError, match=f"^--command .*{re.escape(said) if len(said) < 9 else said}"):
        words_without_shell("--command", text)


@pytest.mark.parametrize(
    "text",
    [
        "echo 'a > b' \"c; d\"",
        r"find . -exec true {} \;",
        "curl http://x/?a=1&b=2",
        "sed s;a;b;g",
        "true A=1",
        "a->b c",
    ],
)
def test_characters_of_operators_may_be_in_arguments(text: str) -> None:
    """Quoted ones, and those within a word, are those of the program."""
    assert words_without_shell("--command", text) == shlex.split(text)
