"""Parsing Procfiles: the examples of the RFC, assignments as in a shell, and invalid lines."""

from __future__ import annotations

import subprocess
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smartmob.errors import InvalidInput
from smartmob.processes.preparation.procfile import Assignment, BadLine, Command, Variable, parse

_NAMES = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,8}", fullmatch=True)
_TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\0\r\n"), max_size=20)


def _commands(data: str) -> dict[str, str]:
    return {name: command.text for name, command in parse(data.encode()).items()}


BASICS = {"web": "gunicorn myapp:app", "worker": "celery -A tasks worker --loglevel=info"}


@pytest.mark.parametrize(
    "data",
    [
        "web: gunicorn myapp:app\nworker: celery -A tasks worker --loglevel=info\n",
        "# fast\nweb: gunicorn myapp:app\n\n# easy\nworker: celery -A tasks worker --loglevel=info\n",
        "web: gunicorn \\\n  myapp:app\nworker: \\\n  celery \\\n  -A tasks \\\n  worker \\\n  --loglevel=info\n",
        "   web: gunicorn myapp:app\n \t \n\t# indented\n\tworker:celery -A tasks worker --loglevel=info",
        "web: gunicorn myapp:app \r\n\r\nworker: celery -A tasks worker --loglevel=info\r\n",
        "web: gunicorn\\\nmyapp:app\nworker: celery -A tasks \\\n# no: beat\n worker --loglevel=info",
    ],
    ids=["basics", "comments", "multiline", "indented", "windows", "comment-inside"],
)
def test_the_examples_of_the_rfc_are_parsed(data: str) -> None:
    """With blank lines, comments and continued lines they have the same two commands."""
    assert _commands(data) == BASICS


def test_a_blank_line_ends_a_continued_command() -> None:
    """The line after it is a declaration."""
    assert _commands("web: serve \\\n\nworker: work") == {"web": "serve", "worker": "work"}


@pytest.mark.parametrize(
    ("command", "text", "environment"),
    [
        ("A=1 B=two serve -x C=3", "serve -x C=3", {"A": "1", "B": "two"}),
        ("env QUEUE=* FOO=meh bundle exec", "bundle exec", {"QUEUE": "*", "FOO": "meh"}),
        ("env -i A=1 serve", "env -i A=1 serve", {}),
        ("A='a b' B=\"c d\" serve", "serve", {"A": "a b", "B": "c d"}),
        ("A= serve", "serve", {"A": ""}),
        ("A=x\\ y serve", "serve", {"A": "x y"}),
        ("A=b=c serve", "serve", {"A": "b=c"}),
        ("PATH=bin:$PATH serve", "serve", {"PATH": "bin:/usr/bin"}),
        ("A=$HOME/x B=${A}y serve", "serve", {"A": "/home/me/x", "B": "/home/me/xy"}),
        ("A=${NONE:-5000} B=${HOME:-x} C=$NONE serve", "serve", {"A": "5000", "B": "/home/me", "C": ""}),
        ("A='$HOME' B=\\$HOME C=$ serve", "serve", {"A": "$HOME", "B": "$HOME", "C": "$"}),
        ("serve $PORT", "serve $PORT", {}),
    ],
)
def test_leading_assignments_go_to_the_environment(command: str, text: str, environment: dict[str, str]) -> None:
    """They are removed from the command and have the meaning that they have in a shell."""
    parsed = parse(f"web: {command}".encode())["web"]

    assert parsed.text == text
    assert parsed.environment({"HOME": "/home/me", "PATH": "/usr/bin"}) == environment


@pytest.mark.parametrize(
    ("data", "line", "reason"),
    [
        (b"web: a\nnonsense\n", 2, "neither a process type"),
        (b"web: a \\ \nb", 2, "neither a process type"),
        (b"web: a\n\nweb: b", 3, "already declared on line 1"),
        (b"# x\nweb:\n", 2, "has no command"),
        (b"web: A=1\n", 1, "has no command"),
        (b"web: A=1 A=2 serve\n", 1, "set twice"),
        (b"web: A='x serve\n", 1, "not closed"),
        (b"web: A=$(date) serve\n", 1, "nothing else that a shell expands"),
        (b"web: A=`date` serve\n", 1, "nothing else that a shell expands"),
        (b"web: A=${B%x} serve\n", 1, "nothing else that a shell expands"),
        (b"web: A=1; serve\n", 1, "follows an assignment"),
        (b"we b: x\n", 1, "neither a process type"),
        (b"../x: x\n", 1, "neither a process type"),
        (b"\xef\xbb\xbfweb: x\n", 1, "byte order mark"),
        (b"web: x\n\xff: y\n", 2, "byte 1 of the line is not UTF-8"),
        (b"web: x\0y\n", 1, "zero byte"),
        (b"web: x\nworker: y \\\n  z \\\n", 2, "continued"),
    ],
)
def test_an_invalid_line_is_reported(data: bytes, line: int, reason: str) -> None:
    """The error has the number of the line and the reason."""
    with pytest.raises(BadLine, match=f"Procfile, line {line}: .*{reason}") as caught:
        parse(data)
    assert caught.value.line == line


@given(st.binary(max_size=200) | st.text(st.sampled_from("web: A=$'\"\\{}`#\n\r \t"), max_size=60).map(str.encode))
def test_any_bytes_are_a_procfile_or_refused(data: bytes) -> None:
    """Any file is parsed or raises BadLine."""
    try:
        commands = parse(data)
    except BadLine as error:
        assert 1 <= error.line <= data.count(b"\n") + 1
    else:
        assert all(command.text for command in commands.values())


@given(
    st.dictionaries(
        _NAMES, st.tuples(_TEXTS.filter(lambda text: not text.strip(" \t\f\v").endswith("\\")), st.booleans())
    )
)
def test_any_command_is_read_as_it_was_written(commands: dict[str, tuple[str, bool]]) -> None:
    """It is the same on one line or on several."""
    expected = {name: f"run {text}".rstrip(" \t\f\v") for name, (text, _) in commands.items()}
    starts = {name: f"{name}: \\\n" if split else f"{name}: " for name, (_, split) in commands.items()}
    lines = [f"{starts[name]}{text}\n".encode() for name, text in expected.items()]

    parsed = parse(b"".join(lines))

    assert {name: command.text for name, command in parsed.items()} == expected
    assert not any(command.assignments for command in parsed.values())


@given(st.lists(st.tuples(_NAMES, _TEXTS), unique_by=lambda pair: pair[0], min_size=1, max_size=4))
def test_single_quotes_make_any_value_literal(pairs: list[tuple[str, str]]) -> None:
    """No character between them is special."""
    quoted = [(name, value.replace("'", "'\\''")) for name, value in pairs]
    line = " ".join(f"{name}='{value}'" for name, value in quoted)

    assert parse(f"web: {line} serve".encode())["web"].environment({}) == dict(pairs)


_SHELL_WORDS = st.text(st.sampled_from("ab'\"\\$ {}:-"), max_size=12)


@given(_SHELL_WORDS)
def test_assignments_have_the_value_that_a_shell_gives_them(word: str) -> None:
    """It holds for all words that are accepted."""
    try:
        command = parse(f"web: A={word} :".encode())["web"]
    except BadLine:
        return
    if command.text != ":":
        return
    script = f'a=1; b=; A={word}; printf %s. "$A"'
    shell = subprocess.run(["/bin/sh", "-c", script], capture_output=True, text=True, check=False, env={})
    assert shell.returncode != 0 or shell.stdout == command.environment({"a": "1"})["A"] + "."


def test_a_command_can_be_compared_and_hashed() -> None:
    """Commands are values."""
    assert parse(b"web: A=x$B/y serve")["web"] == Command("serve", (Assignment("A", ("x", Variable("B"), "/y")),))


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"web: " + b" ".join(b"V%d=1" % number for number in range(115_111)) + b" x", "more than 262144 bytes"),
        (b"web: " + b" ".join(b"V%d=1" % number for number in range(1_001)) + b" x", "more than 1000 variables"),
        (b"web: A=" + b"x" * 70_000 + b" x", "more than 65536 characters"),
        (b"web: x \\\n" + b"xxxxxxxx \\\n" * 9_000 + b"x", "more than 65536 characters"),
        (b"\n" * 10_002, "more than 10000 lines"),
    ],
    ids=["bytes", "assignments", "a line", "a continued line", "lines"],
)
def test_a_procfile_beyond_a_limit_is_refused(data: bytes, reason: str) -> None:
    """The error names the limit."""
    with pytest.raises(BadLine, match=reason):
        parse(data)


def test_parsing_the_largest_procfile_takes_little_time() -> None:
    """It has as many assignments and characters as allowed; the CPU time of the thread is compared."""
    before = time.thread_time()
    parse(b"web: " + b" ".join(b"V%d=%d" % (number, number) for number in range(1_000)) + b" x")
    parse(b"\n".join(b"web%d: A=%s x" % (number, b"y" * 65_000) for number in range(4)))
    assert time.thread_time() - before < 2


def test_values_that_double_each_other_are_refused() -> None:
    """Otherwise a few lines would fill the memory."""
    doubling = b" ".join(b"A%d=$A%d$A%d" % (number, number - 1, number - 1) for number in range(1, 24))
    command = parse(b"web: A0=xx " + doubling + b" serve")["web"]
    with pytest.raises(InvalidInput, match="the variable A16 has more than 131071 characters"):
        command.environment({})
