"""Parsing .env files."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smartmob.processes.preparation.envfile import parse, parse_dotenv, remark
from smartmob.processes.preparation.procfile import BadLine

_NAMES = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,8}", fullmatch=True)
_BLANKS = " \t\r\f\v"
_VALUES = st.text(st.characters(codec="utf-8", exclude_characters="\0\n"), max_size=20).map(
    lambda text: text.strip(_BLANKS).rstrip("\\" + _BLANKS)
)


def test_the_example_of_the_rfc_is_parsed() -> None:
    """It has two addresses."""
    data = b"REDIS_URL=redis+tcp://localhost:6379/0\nMYSQL_URL=mysql+tcp://root:thepassword@localhost:3306/MySchema\n"
    assert parse(data) == {
        "REDIS_URL": "redis+tcp://localhost:6379/0",
        "MYSQL_URL": "mysql+tcp://root:thepassword@localhost:3306/MySchema",
    }


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", {}),
        (b"# a comment\n\n  \t\n  # B=1\nA=1", {"A": "1"}),
        (b"  A \t=  1  \r\nB=", {"A": "1", "B": ""}),
        (b"A=one \\\n   two\\\nthree\nB=2", {"A": "one two three", "B": "2"}),
        (b"A=x # y=1", {"A": "x # y=1"}),
        (b'A="x y"', {"A": '"x y"'}),
        (b"A=a=b $HOME", {"A": "a=b $HOME"}),
        ("B=ü".encode(), {"B": "ü"}),
    ],
)
def test_comments_blanks_and_continued_lines_follow_the_rfc(data: bytes, expected: dict[str, str]) -> None:
    """Values are literal."""
    assert parse(data) == expected


@pytest.mark.parametrize(
    ("data", "line", "reason"),
    [
        (b"A=1\nnonsense secret\n", 2, "neither a variable"),
        (b"export A=secret\n", 1, "leave out the word `export`"),
        (b"1A=secret\n", 1, "neither a variable"),
        (b"A=1\nB=2\nA=secret\n", 3, "already set on line 1"),
        (b"\xef\xbb\xbfA=secret\n", 1, "byte order mark"),
        (b"A=1\nB=secret\xff\n", 2, "not UTF-8"),
        (b"A=secret\0\n", 1, "zero byte"),
        (b"A=secret\\", 1, "continued"),
    ],
)
def test_an_invalid_line_is_reported_without_its_value(data: bytes, line: int, reason: str) -> None:
    """The error has the number of the line and the reason, but no text that may be a password."""
    with pytest.raises(BadLine, match=rf"\.env, line {line}: .*{reason}") as caught:
        parse(data)
    assert caught.value.line == line
    assert "secret" not in str(caught.value)


@given(st.binary(max_size=200) | st.text(st.sampled_from("AB=\\# \n\r\t"), max_size=60).map(str.encode))
def test_any_bytes_are_variables_or_refused(data: bytes) -> None:
    """Any file is parsed or raises BadLine."""
    try:
        assert all("\0" not in value and "\n" not in value for value in parse(data).values())
    except BadLine as error:
        assert 1 <= error.line <= data.count(b"\n") + 1


@given(st.dictionaries(_NAMES, _VALUES), st.sampled_from(["=", " = ", "\t=  "]))
def test_any_value_is_read_as_it_was_written(variables: dict[str, str], equals: str) -> None:
    """Only blanks at the ends are removed."""
    data = "".join(f"{name}{equals}{value}\n" for name, value in variables.items()).encode()

    assert parse(data) == variables


DOTENV = b"""# comment
export A=1
B='single $A' # behind
C="two
lines ${A}"
D=${HOME}/x
E=plain # comment
F=
G
"""


def test_the_dialect_of_python_dotenv_is_read() -> None:
    """It has `export`, quotes, comments behind values, variables and values of several lines."""
    assert parse_dotenv(DOTENV, {"HOME": "/home/me"}) == {
        "A": "1",
        "B": "single $A",
        "C": "two\nlines 1",
        "D": "/home/me/x",
        "E": "plain",
        "F": "",
    }


def test_names_with_dots_and_dashes_are_read_in_that_dialect() -> None:
    """Java programs use them, as `discovery.type` of Elasticsearch."""
    assert parse_dotenv(b"discovery.type=single-node\nmy-name=1\n", {}) == {
        "discovery.type": "single-node",
        "my-name": "1",
    }


@pytest.mark.parametrize(
    ("data", "line", "reason"),
    [
        (b"A=1\nB='open\n", 2, "neither a variable"),
        (b"A=1\nwhat is this\n", 2, "neither a variable"),
        (b"A=1\n'B C'=2\n", 2, "a name has only letters"),
        (b"A=1\n2B=2\n", 2, "a name has only letters"),
        (b"A=1\nB=\xff\n", 2, "not UTF-8"),
        (b"A=a\0b", 1, "zero byte"),
        (b"A=" + b"x" * 300_000, 1, "more than 262144 bytes"),
        (b"A=x\n" + b"A=${A}${A}\n" * 30, 18, "more than 131071 characters"),
    ],
)
def test_an_invalid_line_of_the_dialect_is_reported(data: bytes, line: int, reason: str) -> None:
    """The error has the number of the line and no value."""
    with pytest.raises(BadLine, match=reason) as caught:
        parse_dotenv(data, {})
    assert caught.value.line == line


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (b'A=1\nB="secret"\n', "line 2: the quotes are part of the value"),
        (b"A = 'secret x'\n", "line 1: the quotes are part of the value"),
        (b"A=secret # a comment\n", "line 1: ` #` begins no comment"),
        (b"A=1\nB=db://${secret}@host/\n", "line 2: `${...}` is part of the value, and is not replaced"),
        (b"A=it's\nB=x#y$z\n", None),
        (b"A=\"\nB='\n", None),
    ],
)
def test_what_other_tools_read_differently_is_told(data: bytes, found: str | None) -> None:
    """The remark names the line and the setting, and no value."""
    told = remark(data)
    assert parse(data)
    assert (told is None) == (found is None)
    if told is not None and found is not None:
        assert told == f".env, {found}{told.partition(found)[2]}"
        assert told.endswith("; --processes-dotenv reads the file as python-dotenv does")
        assert "secret" not in told


@pytest.mark.parametrize(
    ("data", "remedy"),
    [
        (b"export A=secret", "or start the service with --processes-dotenv"),
        (b"A=1\nKEY='secret\nsecret\n'", "the value in quotes that begins on line 2, start the service with"),
        (b"A: secret", "write `A=...`"),
    ],
)
def test_an_invalid_line_of_another_dialect_is_refused_with_a_remedy(data: bytes, remedy: str) -> None:
    """The error says what to write or which setting reads it."""
    with pytest.raises(BadLine, match=remedy) as caught:
        parse(data)
    assert "secret" not in str(caught.value)
