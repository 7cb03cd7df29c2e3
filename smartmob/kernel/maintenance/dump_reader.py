"""Reads the script that `pg_restore --data-only` prints, which holds the rows of tables as COPY blocks.

Nothing of the script is executed. Lines outside of COPY blocks are compared with the lines that `pg_dump` writes, and
skipped; any other line is refused.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Awaitable, Callable

import msgspec

from smartmob.errors import InvalidInput

_LONGEST_LINE_BYTES = 64 * 1024  # outside of COPY blocks
_SHOWN_CHARACTERS = 60  # of a refused line in the message
_END = b"\n\\.\n"

_NAME = r'(?:[a-z_][a-z0-9_]*|"[a-z_][a-z0-9_]*")'
_SCHEMA = r'(?:[a-z_][a-z0-9_$]*|"(?:[^"]|"")+")'
_COPY = re.compile(rf"COPY {_SCHEMA}\.({_NAME}) \(({_NAME}(?:, {_NAME})*)\) FROM stdin;")
_ENCODING = re.compile(r"SET client_encoding = '([A-Za-z0-9_]+)';")
_SETTINGS = (
    *("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout", "transaction_timeout"),
    *("standard_conforming_strings", "check_function_bodies", "xmloption", "client_min_messages", "row_security"),
    *("default_tablespace", "default_table_access_method"),
)
_HARMLESS = (
    re.compile(r"|--.*"),
    re.compile(rf"SET (?:{'|'.join(_SETTINGS)}) = (?:\w+|'\w*');"),
    re.compile(r"SELECT pg_catalog\.set_config\('search_path', '', false\);"),
    re.compile(r"\\(?:un)?restrict [A-Za-z0-9]+"),
)

Read = Callable[[], Awaitable[bytes]]
"""Returns the next bytes of the script, and an empty value at its end."""


class CopyBlock(msgspec.Struct, frozen=True):
    """The rows of a table in PostgreSQL's text format. Read them before the next block."""

    table: str
    columns: tuple[str, ...]
    encoding: str
    rows: AsyncIterator[bytes]


async def blocks(read: Read) -> AsyncIterator[CopyBlock]:
    """Yield the COPY blocks of a script; raises InvalidInput for a line that `pg_dump` does not write."""
    source, encoding = _ScriptReader(read), "UTF8"
    while (line := await source.line()) is not None:
        if match := _COPY.fullmatch(line):
            columns = tuple(name.strip('"') for name in match[2].split(", "))
            rows = source.rows()
            yield CopyBlock(match[1].strip('"'), columns, encoding, rows)
            async for _ in rows:
                pass
        elif match := _ENCODING.fullmatch(line):
            encoding = match[1]
        elif not any(pattern.fullmatch(line) for pattern in _HARMLESS):
            raise InvalidInput(f"the file holds more than rows of smartmob's tables: {line[:_SHOWN_CHARACTERS]!r}")


class _ScriptReader:
    """Reads a script by lines and blocks; `_rest` are the bytes that were read and not yet returned."""

    def __init__(self, read: Read) -> None:
        self._read = read
        self._rest = b""

    async def line(self) -> str | None:
        """Return the next line without its end, or None at the end of the script."""
        while (end := self._rest.find(b"\n")) < 0 and len(self._rest) <= _LONGEST_LINE_BYTES:
            data = await self._read()
            if not data:
                if self._rest:
                    raise InvalidInput("the file ends in the middle of a line")
                return None
            self._rest += data
        if not 0 <= end <= _LONGEST_LINE_BYTES:
            raise InvalidInput("the file holds a line that is too long for a backup of smartmob")
        line, self._rest = self._rest[:end], self._rest[end + 1 :]
        return line.decode("utf-8", "backslashreplace")

    async def rows(self) -> AsyncIterator[bytes]:
        """Yield the bytes of a block up to the line that ends it."""
        # With the line end before the block, the end of an empty block is found as well.
        data, skipped = b"\n" + self._rest, 1
        while (end := data.find(_END)) < 0:
            keep = len(data) - len(_END) + 1
            if keep > skipped:
                yield data[skipped:keep]
                data, skipped = data[keep:], 0
            more = await self._read()
            if not more:
                raise InvalidInput("the file ends in the middle of a table")
            data += more
        self._rest = data[end + len(_END) :]
        if end + 1 > skipped:
            yield data[skipped : end + 1]
