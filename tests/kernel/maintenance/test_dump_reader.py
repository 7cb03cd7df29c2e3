"""Reading the script of pg_restore, in chunks of any size: blocks of rows, and refused lines."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smartmob.errors import InvalidInput
from smartmob.kernel.maintenance.dump_reader import blocks

_HEAD = """--
-- PostgreSQL database dump
--

\\restrict sa9Dy5eN

SET statement_timeout = 0;
SET client_encoding = 'LATIN1';
SET standard_conforming_strings = on;
SELECT pg_catalog.set_config('search_path', '', false);
SET xmloption = content;

"""
_BLOCK = 'COPY public.marks (id, "at") FROM stdin;\n'

Found = list[tuple[str, tuple[str, ...], str, bytes]]


async def _read(script: bytes, size: int) -> Found:
    """Return the blocks of a script that arrives in chunks of this size."""
    pieces: Iterator[bytes] = iter([script[at : at + size] for at in range(0, len(script), size)])

    async def read() -> bytes:
        return next(pieces, b"")

    return [
        (block.table, block.columns, block.encoding, b"".join([rows async for rows in block.rows]))
        async for block in blocks(read)
    ]


@pytest.mark.parametrize("size", [1, 2, 3, 5, 64, 10_000])
async def test_blocks_are_found_in_chunks_of_any_size(size: int) -> None:
    """One is empty, one contains text like its end, and one has another encoding."""
    rows = b"1\t\\.\n\\\\.\n.\n\\N\n\xff\n\n"
    script = _BLOCK.encode() + b"\\.\n\n" + _HEAD.encode() + _BLOCK.encode() + rows + b"\\.\n\n\n\\unrestrict x\n"
    expected = [("marks", ("id", "at"), "UTF8", b""), ("marks", ("id", "at"), "LATIN1", rows)]
    assert await _read(script, size) == expected


@given(
    rows=st.lists(st.binary(max_size=8).filter(lambda row: b"\n" not in row and row != b"\\.")), size=st.integers(1, 9)
)
def test_rows_are_returned_unchanged(rows: list[bytes], size: int) -> None:
    """The end of a block is the line with its end mark only."""
    data = b"".join(row + b"\n" for row in rows)
    script = _BLOCK.encode() + data + b"\\.\n" + _BLOCK.encode() + b"\\.\n"
    assert [block[3] for block in asyncio.run(_read(script, size))] == [data, b""]


@pytest.mark.parametrize(
    "text",
    [
        "DROP TABLE marks;",
        "\\! true",
        "\\connect x",
        "REFRESH MATERIALIZED VIEW public.x;",
        "SELECT pg_catalog.setval('public.x', 1, true);",
        "SELECT pg_catalog.lo_create('1');",
        "SELECT pg_catalog.set_config('search_path', 'x', false);",
        "SET session_authorization = 'x';",
        "SET statement_timeout = 0; DROP TABLE marks;",
        "SET client_encoding = 'UTF8' ;",
        "INSERT INTO marks VALUES (1);",
        "COPY public.marks FROM PROGRAM 'true';",
        "COPY public.marks (id) FROM '/etc/passwd';",
        "COPY public.marks (id) TO stdout;",
        "COPY public.marks (id) FROM stdin WITH (FORMAT binary);",
        "COPY public.marks (id) FROM stdin; DROP TABLE marks;",
        'COPY public."marks; x" (id) FROM stdin;',
        'COPY public."mar""ks" (id) FROM stdin;',
        'COPY public.marks ("i d") FROM stdin;',
        "COPY public.marks () FROM stdin;",
        "COPY marks (id) FROM stdin;",
        " COPY public.marks (id) FROM stdin;",
        "/* x */",
        "x" * 100_000,
    ],
)
async def test_other_lines_are_refused(text: str) -> None:
    """The error is one short line, before and after a block."""
    for script in (f"{_HEAD}{text}\n", f"{_BLOCK}\\.\n{text}\n"):
        with pytest.raises(InvalidInput, match="the file holds") as caught:
            await _read(script.encode(), 4096)
        assert len(str(caught.value).splitlines()) == 1
        assert len(str(caught.value)) < 200


@pytest.mark.parametrize("script", [_BLOCK, _BLOCK + "1\n", _BLOCK + "\\.", _BLOCK + "1\\.\n", "--", _BLOCK[:-1]])
async def test_a_truncated_script_is_refused(script: str) -> None:
    """A block without its end does not count."""
    with pytest.raises(InvalidInput, match="ends in the middle"):
        await _read(script.encode(), 4096)
