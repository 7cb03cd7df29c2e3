"""Output as lines, arguments as they are sent, signatures as people read them."""

from __future__ import annotations

import asyncio
import inspect
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smartmob.client import messages
from smartmob.client.connection import ConnectionListener
from smartmob.client.limits import LIMITS
from smartmob.client.listener import Listener
from smartmob.client.messages import LineSplitter, ServerMethod, StandardErrorBytes, StandardErrorText, StreamLines
from smartmob.commands.builtin import COMMANDS
from smartmob.commands.protocol import Done
from smartmob.commands.registry import Registry

DESCRIBED = {command.name: command.description for command in Registry(COMMANDS)}


@given(st.text(alphabet="ab\n\r ü\x0b\x0c\x1c\x85\u2028", max_size=60), st.integers(1, 7))
def test_output_is_split_at_line_ends_only(text: str, size: int) -> None:
    """Cut anywhere, output becomes the lines that text mode reads: ends are LF, CR LF and CR, and nothing else."""
    data, lines = text.encode(), LineSplitter()
    found = [line for at in range(0, len(data), size) for line in lines.add(data[at : at + size])] + lines.end()

    assert "".join(found) == text.replace("\r\n", "\n").replace("\r", "\n")
    assert all(line.endswith("\n") for line in found[:-1])
    assert all("\n" not in line[:-1] for line in found)


def test_bytes_outside_utf8_are_replaced() -> None:
    """They are shown as such, and the rest is read on."""
    assert LineSplitter().add(b"a\xffb\n") == ["a\ufffdb\n"]


@pytest.mark.parametrize(
    ("name", "args", "kwargs", "sent"),
    [
        ("exec", ("ls",), {"timeout_": 5}, (["ls"], {"timeout": 5})),
        ("wrfile", ("f", b"x"), {}, (["f", b"x"], {})),
        ("wrfile", (), {"path": "f", "data": bytearray(b"x")}, ([], {"path": "f", "data": bytearray(b"x")})),
        ("unknown", (1,), {"a_": 2}, ([1], {"a_": 2})),
    ],
)
def test_a_parameter_named_like_an_option_takes_an_underscore(name: str, args: Any, kwargs: Any, sent: Any) -> None:
    """A parameter whose name the client uses itself is given with a `_` behind it."""
    assert messages.arguments(DESCRIBED.get(name), args, kwargs) == sent


@pytest.mark.parametrize(("args", "kwargs"), [(("f", "text"), {}), (("f",), {"data": "text"})])
def test_a_text_is_refused_where_bytes_are_expected(args: Any, kwargs: Any) -> None:
    """They are refused here, since the server would take them for base64."""
    with pytest.raises(TypeError, match="data must be bytes, not str"):
        messages.arguments(DESCRIBED["wrfile"], args, kwargs)


def test_signatures_show_the_options_of_the_client() -> None:
    """They show the server's parameters and the client's own."""
    assert str(messages.signature(DESCRIBED["mkdir"])) == (
        "(path: str, mode: Optional[int] = None, *, timeout=None, complete=True, echo_response=False, "
        "max_interval=None, raise_error=False)"
    )
    assert "timeout_" in inspect.signature(_method("exec")).parameters
    for description in DESCRIBED.values():
        assert ServerMethod(description).signature.startswith(f"{description.name}(")
        assert ServerMethod(description).text


def _method(name: str) -> Any:
    def method() -> None:
        pass

    vars(method)["__signature__"] = messages.signature(DESCRIBED[name])
    return method


def test_unread_messages_are_bounded_by_count() -> None:
    """Of very many some are left out, the reader is told how many."""
    listener = Listener("exec", max_interval=None)
    for _ in range(LIMITS.unread_messages // 1_000 + 2):
        listener.values([1] * 1_000, 10)
    listener.finished(Done(1, 0))
    found = asyncio.run(listener.output())
    assert len(found) == LIMITS.unread_messages + 1
    assert str(found[-1]).startswith("2,000 messages left out")


@pytest.mark.parametrize("kind", [Listener, ConnectionListener])
def test_unread_messages_are_bounded_by_bytes(monkeypatch: pytest.MonkeyPatch, kind: Any) -> None:
    """Both listeners leave messages out whose frames have too many bytes, and tell how many."""
    monkeypatch.setattr(LIMITS, "unread_bytes", 100)
    listener = kind("ls", max_interval=None)
    observer = listener.handler()
    for number in range(4):
        observer.values([number], 60)
    observer.done(Done(1, 0))
    found = asyncio.run(listener.output()) if kind is Listener else list(listener)
    assert [str(each) for each in found] == [
        "0", "3 messages left out here: those before were not read in time",
    ]  # fmt: skip


def test_gaps_are_bounded() -> None:
    """Of very many gaps the last ones become one."""
    gaps: list[tuple[int, int]] = []
    for place in range(2 * LIMITS.gaps):
        messages.add_gap(gaps, place, place + 1)
    assert len(gaps) == LIMITS.gaps
    assert gaps[-1] == (LIMITS.gaps - 1, 2 * LIMITS.gaps)


def test_pieces_of_a_line_are_printed_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    """A piece gets no line end, because its line may continue; any other message has a line of its own."""
    for message in ("name? ", "me\n", 5):
        messages.echo_partial(message)
    messages.echo("name? ")
    assert capsys.readouterr().out == "name? me\n5\nname? \n"


def test_lines_of_two_streams_are_split_by_themselves() -> None:
    """A line of standard error is a StandardErrorText, and does not end one of standard output."""
    lines = StreamLines()
    found = [*lines.add(b"one "), *lines.add(StandardErrorBytes(b"error\nla")), *lines.add(b"two\n"), *lines.end()]
    assert [(text, type(text)) for text in found] == [
        ("error\n", StandardErrorText), ("one two\n", str), ("la", StandardErrorText),
    ]  # fmt: skip
