"""Newline-delimited JSON in chunks of any size."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Iterable
from typing import Any

import msgspec
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smartmob.errors import InvalidInput, TooLarge
from smartmob.kernel.http import ndjson


class Row(msgspec.Struct, frozen=True):
    """One document."""

    name: str
    size: int = 0


DECODER = msgspec.json.Decoder(Row)


async def _read(chunks: Iterable[bytes]) -> list[list[Row]]:
    async def given_chunks() -> AsyncIterator[bytes]:
        for chunk in chunks:
            yield chunk

    return [block async for block in ndjson.documents(given_chunks(), DECODER)]


async def _rows(*chunks: bytes) -> list[Row]:
    return [row for block in await _read(chunks) for row in block]


def _line(**fields: Any) -> bytes:
    return orjson.dumps(fields) + b"\n"


async def test_each_line_becomes_a_document() -> None:
    """There is one document for each line, in their order."""
    assert await _rows(_line(name="a"), _line(name="b", size=2)) == [Row("a"), Row("b", 2)]


@pytest.mark.parametrize(
    "data",
    [
        b'{"name": "a"}\n{"name": "b"}\n',
        b'{"name": "a"}\n{"name": "b"}',
        b'{"name": "a"}\r\n{"name": "b"}\r\n',
        b'\n\n{"name": "a"}\n  \n\t\n{"name": "b"}\n\n',
        b' {"name": "a"} \n\t{"name": "b"}\t',
    ],
)
async def test_blanks_and_line_ends_do_not_matter(data: bytes) -> None:
    """Empty lines, blanks, both line ends and a missing last line end are accepted."""
    assert await _rows(data) == [Row("a"), Row("b")]


@pytest.mark.parametrize("data", [b"", b"\n", b" \n\n"])
async def test_no_line_gives_no_document(data: bytes) -> None:
    """An empty body has no documents."""
    assert await _rows(data) == []


@settings(deadline=None, max_examples=60)
@given(st.lists(st.text(max_size=9), max_size=12), st.lists(st.integers(0, 400), max_size=12))
def test_chunks_may_end_anywhere(names: list[str], cuts: list[int]) -> None:
    """The boundaries of chunks do not change the documents."""
    names = [name.replace("\0", "") for name in names]
    data = b"".join(_line(name=name) for name in names)
    ends = [0, *sorted(cuts), len(data)]

    rows = asyncio.run(_rows(*(data[start:end] for start, end in itertools.pairwise(ends))))

    assert rows == [Row(name) for name in names]


async def test_documents_are_yielded_in_batches() -> None:
    """Batches are yielded long before the end, and nothing is lost between them."""
    lines = [_line(name=f"row {n}", size=n) for n in range(60_000)]
    data = b"".join(lines)

    blocks = await _read(data[start : start + 70_001] for start in range(0, len(data), 70_001))

    assert len(blocks) > 2
    assert [row.size for block in blocks for row in block] == list(range(60_000))


BAD = [
    (b"{}", "$.name: this field is required"),
    (b'{"name": "a"', "$: the body is not valid JSON"),
    (b'{"name": "\xff"}', "$: the body is not valid JSON: it is not UTF-8"),
    (b'{"name": "a\\u0000b"}', "$.name: a text cannot contain the NUL character"),
    (b"3", "$: Expected `object`, got `int`"),
    (b'{"x": ' + b"[" * 20_000, "$: the body is nested too deeply"),
    (b'{"name": "a", "x": ' + b"[" * 64 + b"]" * 64 + b"}", "$: the body is nested too deeply"),
]


@pytest.mark.parametrize(("bad", "said"), BAD)
@pytest.mark.parametrize("before", [0, 3, 40_000])
async def test_a_bad_line_is_named(bad: bytes, said: str, before: int) -> None:
    """The error counts lines from 1, empty ones included, however many came before, and names the field."""
    data = b"\n" * before + bad + b"\n" + _line(name="good")

    with pytest.raises(InvalidInput) as caught:
        await _rows(data)

    assert str(caught.value).startswith(f"line {before + 1}: {said}")
    assert caught.value.faults[0].where == said.partition(":")[0]


@pytest.mark.parametrize("bad_block", [1, 2, 3])
async def test_line_numbers_continue_in_later_batches(bad_block: int) -> None:
    """A bad line of a later batch has the number that an editor shows."""
    line = _line(name="x" * 100)
    block = line * (600_000 // len(line))
    chunks = [block] * bad_block + [b'{"name": 1}\n' + block]

    with pytest.raises(InvalidInput, match=rf"^line {bad_block * block.count(10) + 1}: \$\.name: "):
        await _rows(*chunks)


@pytest.mark.parametrize("data", [b'{"name":\n"a"}\n', b'{"name": "a"} {"name": "b"}\n', b'{"name": "a"}{"name": "b"}'])
async def test_two_documents_on_one_line_are_refused(data: bytes) -> None:
    """Otherwise the boundaries of chunks would decide whether a body is accepted."""
    with pytest.raises(InvalidInput, match=r"^line 1: "):
        await _rows(data)


async def test_an_escaped_backslash_is_no_nul() -> None:
    """The text backslash-u-0000 is an ordinary text."""
    assert await _rows(rb'{"name": "a\\u0000b"}') == [Row("a\\u0000b")]


async def test_batches_before_a_bad_line_are_yielded() -> None:
    """All batches before the bad line are yielded, and then the error is raised."""
    line = _line(name="x" * 100)
    block = line * (600_000 // len(line))

    async def chunks() -> AsyncIterator[bytes]:
        yield block
        yield b"{}\n"

    seen = 0
    with pytest.raises(InvalidInput):
        async for rows in ndjson.documents(chunks(), DECODER):
            seen += len(rows)

    assert seen == block.count(b"\n")


async def test_a_too_long_line_is_refused_with_its_number() -> None:
    """A line without an end is refused before it fills the memory."""
    taken = 0

    async def chunks() -> AsyncIterator[bytes]:
        nonlocal taken
        yield _line(name="a")
        for _ in range(1000):
            taken += 1
            yield b"x" * 65_536

    with pytest.raises(TooLarge, match=r"^line 2 has more than 1048576 bytes$"):
        async for _ in ndjson.documents(chunks(), DECODER):
            pass

    assert taken < 40
