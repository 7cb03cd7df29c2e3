"""Decoding of newline-delimited JSON (NDJSON) that arrives in chunks of any size."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TypeVar

import msgspec

from smartmob.errors import InvalidInput, TooLarge
from smartmob.kernel.http import json_depth
from smartmob.kernel.http.bodies import decode

T = TypeVar("T")

MEDIA_TYPES = ("application/x-ndjson", "application/jsonlines", "application/x-jsonlines", "application/jsonl")
_MAX_LINE_BYTES = 1024 * 1024
_BLOCK_BYTES = 512 * 1024


async def documents(chunks: AsyncIterator[bytes], decoder: msgspec.json.Decoder[T]) -> AsyncIterator[list[T]]:
    """Yield the documents of the lines in batches; empty lines are skipped.

    Raises InvalidInput that names the line (counted from 1) and the field, and TooLarge for a long line.
    """
    lines_before = 0
    buffer = bytearray()
    async for chunk in chunks:
        buffer += chunk
        if len(buffer) < _BLOCK_BYTES:
            continue
        end = buffer.rfind(b"\n") + 1
        if end:
            block = bytes(buffer[:end])
            del buffer[:end]
            yield _decode(block, decoder, lines_before)
            lines_before += block.count(b"\n")
        if len(buffer) > _MAX_LINE_BYTES:
            raise TooLarge(f"line {lines_before + 1} has more than {_MAX_LINE_BYTES} bytes")
    yield _decode(bytes(buffer), decoder, lines_before)


def _decode(block: bytes, decoder: msgspec.json.Decoder[T], lines_before: int) -> list[T]:
    lines = block.split(b"\n")
    if not lines[-1]:
        lines.pop()
    # A search for one byte takes a tenth of the time of a search for six.
    if (b"\\" not in block or b"\\u0000" not in block) and not json_depth.is_too_deep(block):
        try:
            return list(map(decoder.decode, lines))
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            pass  # a line is empty or invalid: the loop below finds out which
    found = []
    for number, line in enumerate(lines, start=lines_before + 1):
        if line.strip():
            try:
                found.append(decode(decoder, line))
            except InvalidInput as error:
                raise InvalidInput(f"line {number}: {error}", error.faults) from None
    return found
