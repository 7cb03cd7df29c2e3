"""The arguments that run the command of a Procfile: as a shell would run it."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from smartmob.processes.preparation.command import Assignment, argv, assignments


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("gunicorn app:web --bind 127.0.0.1:8000", ["gunicorn", "app:web", "--bind", "127.0.0.1:8000"]),
        ("./serve  --level=info\t-x", ["./serve", "--level=info", "-x"]),
    ],
)
def test_plain_words_are_run_directly(command: str, expected: list[str]) -> None:
    """A command without a character that is special to a shell needs none."""
    assert argv(command) == expected


@pytest.mark.parametrize(
    "command",
    [
        "serve --port $PORT",
        'serve "$PORT" 2>&1 >> log',
        "ls *.py",
        "cat ~/x",
        "a # it's",
        "python -c 'print(1); print(2)'",
        'sh -c "for i in 1 2; do echo n=\\$i; done"',
        "serve ${PORT:-80}",
        "~/bin/serve 'a b' c\\ d",
    ],
)
def test_a_single_command_replaces_its_shell(command: str) -> None:
    """With `exec`, signals reach the program."""
    assert argv(command) == ["/bin/sh", "-c", f"exec {command}"]


@pytest.mark.parametrize(
    "command",
    [
        *("a && b", "a; b", "a | b", "(a)", "while true", "cd x", "exec a $B", ". ./env", "if", "export A=1"),
        *("a `id`", "a $(id)", 'a "$(id | wc)"', "cat <<x", "echo -e x", "printf x", "[ -f x ]", "$X a", "> x a"),
        *("PATH=$PATH:bin && a", "A=1; a", "A=$(date) a", "A='x a", "a 'x", 'a "x', "a \\"),
    ],
)
def test_any_other_text_is_left_to_the_shell(command: str) -> None:
    """`exec` would run only the first command, cannot run builtin commands, or the text is not understood here."""
    assert argv(command) == ["/bin/sh", "-c", command]


@pytest.mark.parametrize(
    ("command", "replaced", "expected"),
    [
        ("A=1 B=$A serve -x C=3", (), ["/bin/sh", "-c", "A=1 B=$A exec serve -x C=3"]),
        ("A=1 B=$A serve -x C=3", ("A",), ["/bin/sh", "-c", "B=$A exec serve -x C=3"]),
        ("A=1 B='x y' serve -x C=3", ("A", "B", "C"), ["serve", "-x", "C=3"]),
        ("env QUEUE=* FOO=meh bundle exec", (), ["/bin/sh", "-c", "exec env QUEUE=* FOO=meh bundle exec"]),
        ("env QUEUE=* FOO=meh bundle exec", ("FOO",), ["/bin/sh", "-c", "exec env QUEUE=* bundle exec"]),
        ("A=${B:-$HOME/.b}/bin serve", ("C",), ["/bin/sh", "-c", "A=${B:-$HOME/.b}/bin serve"]),
    ],
)
def test_assignments_that_are_replaced_are_left_out(command: str, replaced: Sequence[str], expected: list[str]) -> None:
    """The variables of a request are stronger than those of the command."""
    assert argv(command, replaced) == expected


@pytest.mark.parametrize("command", ["B=1 A=$(date) serve", "A=1 && serve", "A=1; serve"])
def test_an_assignment_that_cannot_be_left_out_is_refused(command: str) -> None:
    """Neither of the two values is chosen silently."""
    with pytest.raises(ValueError, match="sets A within the shell, and the request sets A too; remove one"):
        argv(command, ("A",))


def test_assignments_have_their_places() -> None:
    """They are found with quotes, references and blanks."""
    assert assignments("A=1  B='x y'$C serve D=2") == [Assignment("A", 0, 3), Assignment("B", 5, 14)]


@pytest.mark.parametrize("command", ["", "  ", "A=1", "A=1 # serve", "env A=1 B=2"])
def test_a_text_without_a_command_is_refused(command: str) -> None:
    """The error is a ValueError."""
    with pytest.raises(ValueError, match="it has no command"):
        argv(command)


def test_another_shell_gets_the_text_as_it_is() -> None:
    """It decides what the text means."""
    assert argv("serve x", shell="/bin/bash") == ["/bin/bash", "-c", "serve x"]


@pytest.mark.parametrize(
    "text", ["a" * 65_000, "$a" * 30_000, '"' + "$ab" * 20_000, "a " * 30_000 + "'", "A=1 " * 9_000]
)
def test_reading_a_long_command_is_linear(text: str) -> None:
    """A pattern that tries several ways to split such a text would not end."""
    assert argv(f"{text} x")


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Return an environment whose PATH has the program `show`, which prints its arguments and some variables."""
    folder = tmp_path_factory.mktemp("bin")
    show = folder / "show"
    show.write_text('#!/bin/sh\nfor one in "$@"; do printf "%s." "$one"; done; printf "%s,%s" "$A" "$B"\n')
    show.chmod(0o755)
    return {"PATH": f"{folder}{os.pathsep}/usr/bin:/bin", "HOME": str(folder), "X": "a  b*", "EMPTY": "", "A": "outer"}


def _printed(arguments: Sequence[str], env: dict[str, str]) -> tuple[int, bytes]:
    home = Path(env["HOME"])
    try:
        done = subprocess.run(arguments, env=env, cwd=home, stdin=subprocess.DEVNULL, capture_output=True, check=False)
    except (FileNotFoundError, PermissionError) as error:
        return (127 if isinstance(error, FileNotFoundError) else 126), b""
    # A command that needs a shell replaces it by `exec`, which a shell names in its error.
    return done.returncode, done.stdout.replace(b": exec: ", b": ")


_PIECES = st.sampled_from(
    (
        *(
            "a",
            "b c",
            "$X",
            '"$X"',
            "'$X'",
            "${X}",
            "${EMPTY:-d}",
            "\\$X",
            "'",
            '"',
            "\\",
            "`",
            "$",
            "#",
            " #",
            "~",
            "*",
        ),
        *(
            "{",
            "}",
            "(",
            ")",
            ";",
            "&&",
            "|",
            "&",
            ">&2",
            "2>&1",
            "<",
            "=",
            "A=1",
            "B=$A",
            "A=$(echo x)",
            "!",
            "[",
            "%",
        ),
        *('"it\'s"', "echo -e a", "show", "env A=2", "exec", "printf %s", "true", "if", ":", "\t", "$((1+2))", "$'x'"),
    )
)


@settings(max_examples=150, deadline=None)
@given(
    st.lists(_PIECES, max_size=5),
    st.sampled_from(("show ", "A=1 show ", "A=1 B=$A show ", "env A=3 show ", "")),
    st.booleans(),
)
@example(['sh -c "for i in 1 2; do echo n=\\$i; done"'], "", False)
@example(["PATH=$PATH:bin && echo ok"], "", False)
@example(["A=1 show $A"], "", False)
@example(["show # it's"], "", False)
@example(["a", "2>&1"], "", True)
def test_a_command_prints_what_a_shell_prints(
    programs: dict[str, str], pieces: list[str], before: str, spaced: bool
) -> None:
    """It holds for the output and the exit status of any text that is accepted."""
    command = (before + (" " if spaced else "").join(pieces)).strip(" \t")
    try:
        arguments = argv(command)
    except ValueError:
        return
    if "$$" in command:
        return  # the process id of the shell
    if "&" in command.replace("&&", "").replace(">&", ""):
        return  # programs in the background print at any time
    printed, wanted = _printed(arguments, programs), _printed(["/bin/sh", "-c", command], programs)
    # `env` prints variables in the order of the environment, which a shell changes.
    assert (printed[0], sorted(printed[1].splitlines())) == (wanted[0], sorted(wanted[1].splitlines()))
