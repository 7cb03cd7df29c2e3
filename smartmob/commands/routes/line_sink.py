"""The replies to a command that was called by an HTTP request: lines of JSON."""

from __future__ import annotations

import asyncio
import base64
import codecs
from collections.abc import AsyncIterator
from typing import Any, Literal

import msgspec
import orjson

from smartmob.commands import protocol
from smartmob.commands.error_serialisation import serialise
from smartmob.commands.model import STDERR, STDOUT, Failure, Outcome

_MOST_HELD_LINES = 64
"""Lines that wait for the client before a command must wait."""


_NAMES: dict[int, Literal["stderr"] | None] = {STDOUT: None, STDERR: "stderr"}
"""The value of `Line.stream` for each stream."""


class Line(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """A line of an answer: first the number of the call, then the messages and the output, finally the outcome.

    Output is in `text` where it is UTF-8 and in `base64` where it is not; `offset` is the offset of its first byte.
    `stream` is "stderr" for standard error where the command was called with `apart`.
    The exit code -1 is SIGHUP with `signal` 1, and a refused parameter with `bad_parameter`.
    """

    number: int | None = None
    job: bool | None = None
    value: Any = None
    offset: int | None = None
    text: str | None = None
    base64: str | None = None
    stream: Literal["stderr"] | None = None
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
        self._decoders = {stream: codecs.getincrementaldecoder("utf-8")() for stream in (STDOUT, STDERR)}
        self._ends = {STDOUT: 0, STDERR: 0}  # offsets after the newest bytes of each stream

    def acknowledge(self, number: int, job: bool) -> None:
        self._add(Line(number=number, job=job))

    def emit(self, value: object) -> None:
        data = bytes(value) if isinstance(value, bytes | bytearray) else None
        self._add(Line(value=protocol.encode_value(value)) if data is None else _bytes_line(data, None))

    async def drain(self) -> None:
        while len(self._lines) > _MOST_HELD_LINES:
            self._taken.clear()
            await self._taken.wait()

    async def send_output(self, offset: int, data: bytes | memoryview, stream: int = STDOUT) -> None:
        decoder = self._decoders[stream]
        held, _ = decoder.getstate()
        if held and self._ends[stream] != offset:
            # Bytes of the other stream stand between the parts of a character.
            self._add_bytes(stream, held)
            decoder.reset()
            held = b""
        self._ends[stream] = offset + len(data)
        try:
            text = decoder.decode(data)
        except UnicodeDecodeError:
            decoder.reset()
            self._add(_bytes_line(held + data, offset - len(held), stream))
        else:
            if text:
                self._add(Line(offset=offset - len(held), text=text, stream=_NAMES[stream]))
        await self.drain()

    def report_gap(self, first: int, last: int) -> None:
        for decoder in self._decoders.values():
            decoder.reset()
        self._add(Line(gap=[first, last]))

    async def receive(self) -> bytes | None:
        return None

    def finish(self, outcome: Outcome) -> None:
        for stream, decoder in self._decoders.items():
            held, _ = decoder.getstate()
            if held:
                self._add_bytes(stream, held)
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

    def _add_bytes(self, stream: int, held: bytes) -> None:
        """Add the beginning of a character, which are the newest bytes of a stream."""
        self._add(_bytes_line(held, self._ends[stream] - len(held), stream))

    def _add(self, line: Line) -> None:
        document = msgspec.to_builtins(line, enc_hook=str, builtin_types=(bytes,))
        try:
            data = orjson.dumps(document, default=str, option=orjson.OPT_APPEND_NEWLINE)
        except orjson.JSONEncodeError:
            document = protocol.without_surrogates(document)
            data = orjson.dumps(document, default=str, option=orjson.OPT_APPEND_NEWLINE)
        self._lines.append(data)
        self._added.set()


def _bytes_line(data: bytes, offset: int | None, stream: int = STDOUT) -> Line:
    return Line(offset=offset, base64=base64.b64encode(data).decode(), stream=_NAMES[stream])
