"""Running commands directly or through a shell."""

from __future__ import annotations

import shlex
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smartmob.processes.preparation.command import argv


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("gunicorn app:web --bind 127.0.0.1:8000", ["gunicorn", "app:web", "--bind", "127.0.0.1:8000"]),
        ("python -c 'print(1); print(2)'", ["python", "-c", "print(1); print(2)"]),
        ('echo "a b" c\\ d', ["echo", "a b", "c d"]),
        ("echo '$HOME' \"it's\"", ["echo", "$HOME", "it's"]),
        ("echo \\$HOME", ["echo", "$HOME"]),
    ],
)
def test_plain_words_are_run_directly(command: str, expected: list[str]) -> None:
    """Quotes alone need no shell."""
    assert argv(command) == expected


@pytest.mark.parametrize(
    "command", ["serve --port $PORT", 'serve "$PORT"', "serve `id`", "ls *.py", "serve > log 2>&1", "cat ~/x", "a #b"]
)
def test_a_single_command_replaces_its_shell(command: str) -> None:
    """With `exec`, signals reach the program."""
    assert argv(command) == ["/bin/sh", "-c", f"exec {command}"]


@pytest.mark.parametrize(
    "command",
    ["a && b", "a; b", "a | b", "(a)", "while true", "cd x", "exec a $B", ". ./env", "X=1 a", "if", "export A=1"],
)
def test_several_commands_keep_their_shell(command: str) -> None:
    """`exec` would run only the first, and cannot run builtin commands."""
    assert argv(command) == ["/bin/sh", "-c", command]


@pytest.mark.parametrize("command", ["", "  ", "echo 'open", 'echo "open', "echo \\"])
def test_a_command_without_words_or_with_an_open_quote_is_refused(command: str) -> None:
    """The error is a ValueError."""
    with pytest.raises(ValueError, match=r"empty|quotation|escaped"):
        argv(command)


WORDS = st.text(st.sampled_from("ab $*'\"\\;&|~#!{}[]?<>()`=-"), min_size=1, max_size=8)


@given(st.lists(WORDS, min_size=1, max_size=4))
def test_words_are_the_same_as_in_a_shell(words: list[str]) -> None:
    """Arguments are those that a shell would pass, for any words."""
    command = "printf '%s.' " + " ".join(shlex.quote(word) for word in words)
    printed = subprocess.run(argv(command), capture_output=True, check=True, text=True).stdout
    assert printed == "".join(f"{word}." for word in words)
