"""Encoded WebSocket frames, compared with aiohttp's reader."""

from __future__ import annotations

import pytest
from aiohttp import WSMsgType, web
from aiohttp.test_utils import TestClient, TestServer
from hypothesis import given
from hypothesis import strategies as st

from smartmob.kernel.http.ws_frames import SHORT_HEADS, FramePosition, text_frame, text_head


@pytest.mark.parametrize("size", [0, 1, 125, 126, 1023, 1024, 65535, 65536, 200_000])
async def test_aiohttp_reads_the_frames(size: int) -> None:
    """Texts of each class of length arrive whole and in order."""

    async def talk(request: web.Request) -> web.StreamResponse:
        socket = web.WebSocketResponse(compress=False)
        await socket.prepare(request)
        assert request.transport is not None
        request.transport.write(text_frame("x" * size) + text_frame("the end"))
        await socket.receive()
        return socket

    app = web.Application()
    app.router.add_get("/", talk)
    async with TestClient(TestServer(app)) as client, client.ws_connect("/") as socket:
        first, second = await socket.receive(), await socket.receive()
    assert (first.type, first.data) == (WSMsgType.TEXT, "x" * size)
    assert second.data == "the end"


def test_the_length_is_counted_in_bytes() -> None:
    """A text of 100 two-byte characters has a header for 200 bytes."""
    assert text_frame("é" * 100) == b"\x81\x7e\x00\xc8" + "é".encode() * 100


def test_prepared_headers_equal_computed_ones() -> None:
    """The prepared headers equal those that `text_head` computes."""
    assert [text_head(size) for size in range(len(SHORT_HEADS))] == SHORT_HEADS


SIZES = st.lists(st.sampled_from([0, 1, 2, 5, 125, 126, 127, 300, 65_535, 65_536, 70_000]), max_size=6)


@given(SIZES, st.booleans(), st.lists(st.integers(1, 90_000) | st.integers(1, 9), min_size=1, max_size=20))
def test_the_rest_of_a_frame_is_known_wherever_the_stream_is_cut(
    sizes: list[int], masked: bool, cuts: list[int]
) -> None:
    """After each part of a stream of frames, the bytes that are left of the current payload are exact."""
    stream, payloads = b"", []
    for size in sizes:
        head = text_head(size)
        stream += bytes((head[0], head[1] | (0x80 if masked else 0))) + head[2:] + b"mask" * masked
        payloads.append((len(stream), len(stream) + size))
        stream += bytes(size)
    position, at = FramePosition(), 0
    while at < len(stream):
        part = stream[at : at + cuts[at % len(cuts)]]
        at += len(part)
        position.advance(part)
        assert position.payload_left == next((end - at for start, end in payloads if start <= at < end), 0)
