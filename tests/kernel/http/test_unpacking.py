"""Unpacking in bounded steps."""

from __future__ import annotations

import gzip
import itertools
import tracemalloc
import zlib

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from smartmob.errors import InvalidInput
from smartmob.kernel.http.unpacking import PIECE_BYTES, Unpacker, unpacker

_WHOLE = b"".join(number.to_bytes(4, "big") for number in range(50_000))
_PACKED = {
    "gzip": gzip.compress(_WHOLE[:70_000]) + gzip.compress(_WHOLE[70_000:]),
    "deflate": zlib.compress(_WHOLE),
}


def _unpacked(coding: str, *parts: bytes) -> bytes:
    """Return the unpacked bytes of a body in parts."""
    found = Unpacker(coding)
    pieces = [piece for part in parts for piece in found.feed(part)]
    found.end()
    return b"".join(pieces)


@pytest.mark.parametrize(("content", "members"), [(bytes(2**26), 1), (b"", 50_000)], ids=("zeros", "members"))
def test_no_step_yields_more_than_a_piece(content: bytes, members: int) -> None:
    """Each step yields at most a piece of one member, and copies no more than that, so none takes long."""
    data = gzip.compress(content) * members
    steps = 0
    tracemalloc.start()
    try:
        for piece in Unpacker("gzip").feed(data):
            steps += 1
            assert len(piece) <= PIECE_BYTES
        assert tracemalloc.get_traced_memory()[1] < 4 * PIECE_BYTES
    finally:
        tracemalloc.stop()

    assert steps >= max(members, len(content) // PIECE_BYTES)


@given(cuts=st.lists(st.integers(0, 60_000), max_size=5))
def test_the_boundaries_of_chunks_do_not_matter(cuts: list[int]) -> None:
    """A body in any parts unpacks to the same bytes."""
    for coding, data in _PACKED.items():
        ends = [0, *sorted(cut for cut in cuts if cut < len(data)), len(data)]
        parts = [data[start:end] for start, end in itertools.pairwise(ends)]

        assert _unpacked(coding, *parts) == _WHOLE


def test_an_incomplete_body_is_refused_at_its_end() -> None:
    """An incomplete body is refused at its end, and an empty one is empty."""
    for cut in (1, 8, 20):
        with pytest.raises(InvalidInput, match="ends before"):
            _unpacked("gzip", gzip.compress(_WHOLE)[:-cut])

    assert _unpacked("gzip", b"") == b""


def test_only_supported_codings_have_an_unpacker() -> None:
    """Supported codings are unpacked, identity is not, and others get 415."""
    assert unpacker("") is None
    assert unpacker("Identity") is None
    assert unpacker(" gzip ") is not None
    with pytest.raises(web.HTTPUnsupportedMediaType):
        unpacker("zstd")
