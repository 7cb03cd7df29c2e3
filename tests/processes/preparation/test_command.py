"""Which commands need a shell, and that a signal reaches the program either way."""

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
def test_what_a_shell_must_expand_is_replaced_by_the_program(command: str) -> None:
    """`exec`, so that no shell stands between the program and a signal."""
    assert argv(command) == ["/bin/sh", "-c", f"exec {command}"]


@pytest.mark.parametrize(
    "command",
    ["a && b", "a; b", "a | b", "(a)", "while true", "cd x", "exec a $B", ". ./env", "X=1 a", "if", "export A=1"],
)
def test_more_than_one_command_is_left_to_the_shell(command: str) -> None:
    """`exec` would run the first and forget the rest, and cannot run what belongs to the shell."""
    assert argv(command) == ["/bin/sh", "-c", command]


@pytest.mark.parametrize("command", ["", "  ", "echo 'open", 'echo "open', "echo \\"])
def test_refuses_what_is_no_command(command: str) -> None:
    """Nothing to run, or a quote that does not end."""
    with pytest.raises(ValueError, match=r"empty|quotation|escaped"):
        argv(command)


WORDS = st.text(st.sampled_from("ab $*'\"\\;&|~#!{}[]?<>()`=-"), min_size=1, max_size=8)


@given(st.lists(WORDS, min_size=1, max_size=4))
def test_means_what_a_shell_makes_of_it(words: list[str]) -> None:
    """Whatever the words are: run as decided here, they come out as a shell would hand them over."""
    command = "printf '%s.' " + " ".join(shlex.quote(word) for word in words)
    printed = subprocess.run(argv(command), capture_output=True, check=True, text=True).stdout
    assert printed == "".join(f"{word}." for word in words)
