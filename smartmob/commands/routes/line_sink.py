"""The replies to a command that was called by an HTTP request: lines of JSON."""

from __future__ import annotations

import asyncio
import base64
import codecs
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import orjson

from smartmob.commands import protocol
from smartmob.commands.error_serialisation import serialise
from smartmob.commands.model import Failure, Outcome

_MOST_HELD_LINES = 64
"""Lines that wait for the client before a command must wait."""


class Line(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """A line of an answer: first the number of the call, then the messages and the output, at last the outcome.

    Output is in `text` where it is UTF-8 and in `base64` where it is not; `offset` is the offset of its first byte.
    The exit code -1 is SIGHUP with `signal` 1, and a refused parameter with `bad_parameter`.
    """

    number: int | None = None
    job: bool | None = None
    value: Any = None
    offset: int | None = None
    text: str | None = None
    base64: str | None = None
    gap: list[int] | None = None
    ended: bool = False
    exit_code: int | None = None
    state: str | None = None
    end: int | None = None
    signal: int | None = None
    bad_parameter: bool = False
    error: Failure | None = None


class LineSink:
    """Turns the replies of a command into lines of JSON, at the pace of the client."""

    def __init__(self) -> None:
        self._lines: list[bytes] = []
        self._added, self._taken = asyncio.Event(), asyncio.Event()
        self._done = False
        self._decoder = codecs.getincrementaldecoder("utf-8")()

    def acknowledge(self, number: int, job: bool) -> None:
        self._add(Line(number=number, job=job))

    def emit(self, value: object) -> None:
        data = bytes(value) if isinstance(value, bytes | bytearray) else None
        self._add(Line(value=protocol.encode_value(value)) if data is None else _bytes_line(data, None))

    async def drain(self) -> None:
        while len(self._lines) > _MOST_HELD_LINES:
            self._taken.clear()
            await self._taken.wait()

    async def send_output(self, offset: int, data: bytes | memoryview) -> None:
        held, _ = self._decoder.getstate()
        try:
            text = self._decoder.decode(data)
        except UnicodeDecodeError:
            self._decoder.reset()
            self._add(_bytes_line(held + data, offset - len(held)))
        else:
            if text:
                self._add(Line(offset=offset - len(held), text=text))
        await self.drain()

    def report_gap(self, first: int, last: int) -> None:
        self._decoder.reset()
        self._add(Line(gap=[first, last]))

    async def receive(self) -> bytes | None:
        return None

    def finish(self, outcome: Outcome) -> None:
        held, _ = self._decoder.getstate()
        if held:
            self._add(_bytes_line(held, (outcome.end or len(held)) - len(held)))
        error = None if outcome.error is None else serialise(outcome.error)
        self._done = True
        self._add(
            Line(
                ended=True,
                exit_code=outcome.exit_code,
                state=outcome.state,
                end=outcome.end,
                signal=outcome.signal,
                bad_parameter=outcome.bad_parameter,
                error=error,
            )
        )

    async def lines(self) -> AsyncIterator[bytes]:
        """Yield the lines, joined where several wait, until the command has ended."""
        while True:
            await self._added.wait()
            self._added.clear()
            lines, self._lines = self._lines, []
            self._taken.set()
            yield b"".join(lines)
            if self._done and not self._lines:
                return

    def _add(self, line: Line) -> None:
        document = msgspec.to_builtins(line, enc_hook=str, builtin_types=(bytes,))
        try:
            data = orjson.dumps(document, default=str, option=orjson.OPT_APPEND_NEWLINE)
        except orjson.JSONEncodeError:
            document = protocol.without_surrogates(document)
            data = orjson.dumps(document, default=str, option=orjson.OPT_APPEND_NEWLINE)
        self._lines.append(data)
        self._added.set()


def _bytes_line(data: bytes, offset: int | None) -> Line:
    return Line(offset=offset, base64=base64.b64encode(data).decode())
