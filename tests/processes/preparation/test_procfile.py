"""Parsing Procfiles: the examples of the RFC, assignments as in a shell, and invalid lines."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smartmob.processes.preparation.procfile import BadLine, ProcfileCommand, parse

_NAMES = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,8}", fullmatch=True)
_TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\0\r\n"), max_size=20)


def _commands(data: str) -> dict[str, str]:
    return {name: command.text for name, command in parse(data.encode()).commands.items()}


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
    ("data", "line", "reason"),
    [
        (b"web: a\nnonsense\n", 2, "neither a process type"),
        (b"web: a \\ \nb", 2, "neither a process type"),
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


@pytest.mark.parametrize(
    ("data", "line", "reason"),
    [
        (b"web: a\n\nweb: b\nother: x", 3, "already declared on line 1"),
        (b"# x\nweb:\nother: x\n", 2, "has no command"),
        (b"web : a\nother: x\n", 1, "leave out the blanks before the colon: `web: ...`"),
        (b"other: x\nweb\t:\ta\nweb: b", 2, "leave out the blanks before the colon: `web: ...`"),
    ],
)
def test_only_the_process_type_with_a_fault_is_refused(data: bytes, line: int, reason: str) -> None:
    """The error has the number of the line, and the other process types have their commands."""
    found = parse(data)

    with pytest.raises(BadLine, match=f"Procfile, line {line}: .*{reason}"):
        found.command("web")
    assert found.command("other").text == "x"


def test_a_name_that_differs_by_case_is_suggested() -> None:
    """The message for an unknown process type names the one that may be meant."""
    found = parse(b"Web: x\nworker: y")

    assert found.unknown("web") == "the Procfile has no 'web'; it has Web, worker; did you mean 'Web'?"
    assert found.unknown("workers").endswith("did you mean 'worker'?")
    assert found.unknown("beat") == "the Procfile has no 'beat'; it has Web, worker"


@given(st.binary(max_size=200) | st.text(st.sampled_from("web: A=$'\"\\{}`#\n\r \t"), max_size=60).map(str.encode))
def test_any_bytes_are_a_procfile_or_refused(data: bytes) -> None:
    """Any file is parsed or raises BadLine."""
    try:
        found = parse(data)
    except BadLine as error:
        assert 1 <= error.line <= data.count(b"\n") + 1
    else:
        assert all(command.text or name in found.faults for name, command in found.commands.items())


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

    assert {name: command.text for name, command in parsed.commands.items()} == expected
    assert parsed.faults == {}


def test_a_command_knows_its_line() -> None:
    """The line of a continued command is its first."""
    assert parse(b"\nweb: A=x$B/y \\\n serve").commands == {"web": ProcfileCommand("A=x$B/y serve", 2)}


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"web: " + b" ".join(b"V%d=1" % number for number in range(115_111)) + b" x", "more than 262144 bytes"),
        (b"web: A=" + b"x" * 70_000 + b" x", "more than 65536 characters"),
        (b"web: x \\\n" + b"xxxxxxxx \\\n" * 9_000 + b"x", "more than 65536 characters"),
        (b"\n" * 10_002, "more than 10000 lines"),
    ],
    ids=["bytes", "a line", "a continued line", "lines"],
)
def test_a_procfile_beyond_a_limit_is_refused(data: bytes, reason: str) -> None:
    """The error names the limit."""
    with pytest.raises(BadLine, match=reason):
        parse(data)


def test_a_procfile_in_utf16_is_named_as_such() -> None:
    """The message says how to save it; CRLF alone is no fault."""
    with pytest.raises(BadLine, match="the file is UTF-16"):
        parse("\ufeffweb: x\n".encode("utf-16-le"))
    assert parse(b"web: a \\\r\n  b\r\nqueue: c\r\n").command("web").text == "a b"


@pytest.mark.parametrize(
    ("line", "remedy"),
    [
        ("web serve --port 1", "a process type needs a colon after its name: `web: ...`"),
        ("web=serve", "a process type needs a colon after its name: `web: ...`"),
        ("- web: serve", "begins with none of the last two: `web: ...`"),
        ("we b: serve", "`we-b: ...`"),
        ("web/1: serve", "`web-1: ...`"),
        ("---", "leave it out"),
        ("'web': serve", "needs a backslash as the very last character there"),
        ("--bind 0.0.0.0:80 app", "needs a backslash as the very last character there"),
        ("--url=http://x", "needs a backslash as the very last character there"),
    ],
)
def test_lines_that_other_tools_skip_are_refused_with_a_remedy(line: str, remedy: str) -> None:
    """Foreman and honcho start nothing for these lines, and say nothing (`^([A-Za-z0-9_-]+):\\s*(.+)$` in both)."""
    assert re.fullmatch(r"([A-Za-z0-9_-]+):\s*(.+)", line) is None
    with pytest.raises(BadLine, match=re.escape(remedy)):
        parse(f"a: b\n{line}\n".encode())


@pytest.mark.parametrize(
    "line", ["web:serve", "WEB: serve", "my-web: serve", "my_web:\tserve", "1: serve", "web: a: b"]
)
def test_lines_that_other_tools_run_are_accepted(line: str) -> None:
    """A blank after the colon is not needed; capital letters, digits, dashes and underscores are part of names."""
    match = re.fullmatch(r"([A-Za-z0-9_-]+):\s*(.+)", line)
    assert match is not None
    assert _commands(f"{line}\r\n") == {match[1]: match[2]}
