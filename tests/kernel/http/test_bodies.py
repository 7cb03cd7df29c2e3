"""Input of requests: bodies within their limits, JSON, forms and arguments."""

from __future__ import annotations

import asyncio
import gzip
import zlib
from typing import Any

import aiohttp
import msgspec
import pytest
import structlog

from smartmob.errors import InvalidInput
from smartmob.kernel.http import connection
from smartmob.kernel.http.bodies import decode
from smartmob.kernel.http.json_depth import MAX_LEVELS
from smartmob.kernel.http.unpacking import PIECE_BYTES
from tests.kernel.raw import Wire, wire
from tests.kernel.tiny import DECODER, Thing
from tests.waiting import SECONDS, until

JSON_TYPE = {"Content-Type": "application/json"}
GZIP = {"Content-Encoding": "gzip"}


def _post(path: str, *headers: str, body: bytes = b"") -> bytes:
    lines = [f"POST {path} HTTP/1.1", "Host: localhost", *headers]
    return ("\r\n".join(lines) + "\r\n\r\n").encode() + body


async def _problem(response: aiohttp.ClientResponse) -> Any:
    return await response.json(content_type=None)


class Clock:
    """A clock that advances by `step` seconds each time that it is read."""

    def __init__(self, step: float) -> None:
        self._step = step
        self._now = 0.0

    def __call__(self) -> float:
        """Return the next time."""
        self._now += self._step
        return self._now


class TestSize:
    """Bodies of any length."""

    @pytest.mark.parametrize("size", [0, 1, 99_999, 100_000])
    async def test_a_body_up_to_the_limit_is_read_whole(self, tiny_client: Any, size: int) -> None:
        """A body of any size up to the limit arrives whole."""
        response = await tiny_client.post("/length", data=b"x" * size)

        assert await response.json() == {"length": size}

    @pytest.mark.parametrize("size", [100_001, 1_000_000])
    async def test_a_larger_body_is_refused(self, tiny_client: Any, size: int) -> None:
        """A body above the limit gets 413 with the limit and the option, with and without a Content-Length."""

        async def unannounced() -> Any:
            for _ in range(size // 1000 + 1):
                yield b"x" * 1000

        for data in (b"x" * size, unannounced()):
            response = await tiny_client.post("/length", data=data)

            assert response.status == 413
            problem = await _problem(response)
            assert problem["type"] == "urn:smartmob:problem:too-large"
            assert "100000 bytes" in problem["detail"]
            assert "--max-body" in problem["detail"]

    async def test_the_limit_holds_for_a_body_in_the_first_packet(self, serving: Any) -> None:
        """A small body that arrives together with the headers is checked against the limit, too."""
        client, _, _ = await serving(limit=10)
        for size, status in ((10, 200), (11, 413)):
            async with wire(client.port) as line:
                line.send(_post("/length", f"Content-Length: {size}", body=b"x" * size))

                assert (await line.reply()).status == status

    async def test_a_too_large_content_length_is_refused_before_reading(self, line: Wire) -> None:
        """A request with a too large Content-Length gets 413 at once."""
        line.send(_post("/length", "Content-Length: 100000000000"))

        assert (await line.reply()).status == 413

    async def test_expect_100_continue_gets_100_continue(self, line: Wire) -> None:
        """A client that sends `Expect: 100-continue` gets 100, and its body is read."""
        line.send(_post("/length", "Content-Length: 5", "Expect: 100-continue"))
        async with asyncio.timeout(SECONDS):
            assert (await line.reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 100 ")

        line.send(b"12345")

        assert (await line.reply()).json() == {"length": 5}

    async def test_a_refused_request_gets_no_100_continue(self, serving: Any) -> None:
        """A request without a valid token or with a too large body gets the refusal as its first answer."""
        client, _, _ = await serving(token="x")
        for authorization, status in (("Authorization: Bearer y", 401), ("Authorization: Bearer x", 413)):
            async with wire(client.port) as line:
                line.send(_post("/length", "Content-Length: 200000", "Expect: 100-continue", authorization))

                assert (await line.reply()).status == status

    async def test_a_route_may_have_a_lower_limit(self, tiny_client: Any) -> None:
        """A route refuses bodies above its own limit, and its answer names no option."""
        fits = await tiny_client.post("/few", data=b"x" * 1_000)
        beyond = await tiny_client.post("/few", data=b"x" * 1_001)
        packed = await tiny_client.post("/few", data=gzip.compress(b"x" * 1_001), headers=GZIP)

        assert (fits.status, beyond.status, packed.status) == (200, 413, 413)
        for response in (beyond, packed):
            detail = (await _problem(response))["detail"]
            assert "1000 bytes" in detail
            assert "--max-body" not in detail

    async def test_the_limit_counts_unpacked_bytes(self, tiny_client: Any) -> None:
        """The limit applies to the size of a packed body after unpacking."""
        headers = {"Content-Encoding": "gzip"}

        fits = await tiny_client.post("/length", data=gzip.compress(b"x" * 50_000), headers=headers)
        bomb = await tiny_client.post("/length", data=gzip.compress(b"x" * 5_000_000), headers=headers)

        assert (fits.status, bomb.status) == (200, 413)
        assert (await fits.json())["length"] == 50_000


class TestPacked:
    """Bodies with a Content-Encoding."""

    @pytest.mark.parametrize(
        ("coding", "pack"),
        [
            ("gzip", gzip.compress),
            ("GZIP", gzip.compress),
            ("x-gzip", gzip.compress),
            ("gzip", lambda data: gzip.compress(data[:7]) + gzip.compress(data[7:])),
            ("deflate", zlib.compress),
            ("deflate", lambda data: zlib.compress(data)[2:-4]),
            ("identity", bytes),
        ],
    )
    async def test_each_supported_coding_is_unpacked(self, tiny_client: Any, coding: str, pack: Any) -> None:
        """Gzip with several members, deflate with and without its header, and identity are read."""
        headers = {"Content-Encoding": coding}
        response = await tiny_client.post("/things", data=pack(b'{"name": "packed"}'), headers=headers)

        assert (response.status, (await response.json())["name"]) == (201, "packed")

    @pytest.mark.parametrize("coding", ["br", "gzip, gzip", "gzip,identity", "x"])
    async def test_an_unsupported_coding_is_refused_by_name(self, tiny_client: Any, coding: str) -> None:
        """An unsupported Content-Encoding gets 415 with its name."""
        response = await tiny_client.post("/things", data=b"{}", headers={"Content-Encoding": coding})

        assert response.status == 415
        assert coding in (await _problem(response))["detail"]

    @pytest.mark.parametrize(
        ("coding", "data"),
        [
            ("gzip", b"no gzip"),
            ("gzip", gzip.compress(b"{}")[:-1]),
            ("gzip", gzip.compress(b"{}") + b"behind it"),
            ("gzip", gzip.compress(b"{}")[:-8] + bytes(8)),
            ("deflate", zlib.compress(b"{}")[:-1]),
            ("deflate", zlib.compress(b"{}") + b"behind it"),
        ],
        ids=("none", "no end", "rest", "wrong sum", "no end of deflate", "rest of deflate"),
    )
    async def test_a_damaged_packed_body_is_refused(self, tiny_client: Any, coding: str, data: bytes) -> None:
        """A packed body that is incomplete, damaged or followed by other bytes gets 400."""
        response = await tiny_client.post("/things", data=data, headers={"Content-Encoding": coding})

        assert response.status == 400
        assert coding in (await _problem(response))["detail"]

    async def test_sizes_around_a_piece_are_read_whole(self, tiny_client: Any) -> None:
        """A body that unpacks to one piece, or a byte more or less, arrives whole."""
        for size in (PIECE_BYTES - 1, PIECE_BYTES, PIECE_BYTES + 1, 100_000):
            for pack in (gzip.compress, zlib.compress):
                coding = {"Content-Encoding": "gzip" if pack is gzip.compress else "deflate"}
                response = await tiny_client.post("/length", data=pack(b"x" * size), headers=coding)

                assert await response.json() == {"length": size}


class TestUnread:
    """Bodies that no handler reads."""

    @pytest.mark.parametrize("path", ["/hello", "/unknown", "/length"])
    async def test_a_large_unread_body_closes_the_connection(self, line: Wire, path: str) -> None:
        """The answer comes at once with `Connection: close`, and no later request is handled."""
        method = "GET" if path == "/hello" else "POST"
        line.send(f"{method} {path} HTTP/1.1\nHost: localhost\nContent-Length: 200000\n\n")

        reply = await line.reply()

        assert reply.headers["Connection"] == "close"
        line.send(bytes(200_000) + b"GET /hello HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert await line.ended() == b""

    async def test_only_a_bounded_rest_of_an_unread_body_is_read(
        self, tiny_client: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A client that sends without end is disconnected after the answer."""
        monkeypatch.setattr(connection, "_LINGER_SECONDS", 0.0)
        async with wire(tiny_client.port) as line:
            line.send(_post("/unknown", "Content-Length: 100000000000"))
            assert (await line.reply()).status == 404
            sent = 0
            with pytest.raises(ConnectionError):
                async with asyncio.timeout(SECONDS):
                    while True:
                        line.send(bytes(2**16))
                        await line.writer.drain()
                        sent += 2**16

        # Beside what was read there is what the buffers of the system hold.
        assert sent < 64 * 2**20

    async def test_a_small_unread_body_keeps_the_connection(self, line: Wire) -> None:
        """A small unread body that arrives after the answer does not close the connection."""
        for path in ("/hello", "/unknown"):
            line.get(path, "Content-Length: 2")
            assert "Connection" not in (await line.reply()).headers
            line.send(b"{}")

        line.get("/hello")
        assert (await line.reply()).status == 200

    async def test_an_unread_body_is_not_unpacked(self, tiny_client: Any) -> None:
        """An invalid gzip body is ignored by a handler that reads no body."""
        response = await tiny_client.get("/hello", data=b"no gzip", headers=GZIP)

        assert response.status == 200


class TestRate:
    """The lowest accepted rate of a body."""

    async def test_a_body_below_the_rate_is_refused(self, serving: Any) -> None:
        """A body that arrives steadily but too slowly gets 408."""
        clock = Clock(step=2.0)
        client, _, request_stats = await serving(timeout=20.0, least_rate=1_000.0, seconds=clock)
        async with wire(client.port) as line:
            line.send(_post("/length", "Content-Length: 1000"))
            reply = asyncio.create_task(line.reply())
            while not reply.done():
                line.send(b"x")
                await asyncio.sleep(0)

            answer = await reply

        assert answer.status == 408
        assert "1000 bytes a second" in answer.json()["detail"]
        assert request_stats.active == 0

    async def test_a_body_above_the_rate_may_take_long(self, serving: Any) -> None:
        """A body above the rate is read however long it takes."""
        clock = Clock(step=30.0)
        client, _, _ = await serving(timeout=20.0, least_rate=100.0, seconds=clock)
        response = await client.post("/length", data=b"x" * 90_000)

        assert await response.json() == {"length": 90_000}


class TestTransport:
    """Bodies that arrive in parts, late or malformed."""

    async def test_a_body_in_single_bytes_is_read_whole(self, line: Wire) -> None:
        """A body that arrives byte by byte is read whole."""
        body = b'{"name": "w\xc3\xb6rld"}'
        line.send(_post("/things", f"Content-Length: {len(body)}"))
        for byte in body:
            line.send(bytes([byte]))
            await line.writer.drain()

        assert (await line.reply()).json()["name"] == "wörld"

    async def test_a_stalled_body_is_refused(self, serving: Any) -> None:
        """A body without data for the time limit gets 408 with that limit."""
        client, _, request_stats = await serving(timeout=0.05)
        async with wire(client.port) as line:
            line.send(_post("/things", "Content-Length: 10", body=b"12345"))

            reply = await line.reply()

        assert (reply.status, reply.headers["Content-Type"]) == (408, "application/problem+json")
        assert reply.json()["type"] == "urn:smartmob:problem:too-slow"
        assert "0.05 s" in reply.json()["detail"]
        assert request_stats.active == 0

    async def test_a_client_that_disconnects_in_its_body_is_counted(self, serving: Any) -> None:
        """A connection that ends within its body is counted as 499 and not logged as an error."""
        client, _, request_stats = await serving()
        with structlog.testing.capture_logs() as lines:
            async with wire(client.port) as line:
                line.send(_post("/things", "Content-Length: 10", body=b"12345"))
                await until(lambda: request_stats.active)

            await until(lambda: request_stats.requests)

        assert lines == []
        assert request_stats.active == 0
        assert request_stats.requests == {("POST", 499): 1}

    @pytest.mark.parametrize("bad", [b"zz\r\n", b"5\r\nabc", b"-1\r\n"])
    async def test_wrong_chunks_are_refused(self, line: Wire, bad: bytes) -> None:
        """A body with wrong chunked framing gets 400, and no error is logged."""
        with structlog.testing.capture_logs() as lines:
            line.send(_post("/length", "Transfer-Encoding: chunked"))
            line.send(bad + b"\r\n0\r\n\r\n")

            reply = await line.reply()

        assert reply.status == 400
        assert [line for line in lines if line["log_level"] != "info"] == []

    async def test_a_request_with_two_lengths_is_refused(self, line: Wire) -> None:
        """A request with Content-Length and Transfer-Encoding gets 400."""
        line.send(_post("/length", "Content-Length: 5", "Transfer-Encoding: chunked", body=b"0\r\n\r\n"))

        assert (await line.reply()).status == 400

    async def test_an_unread_body_is_not_taken_for_a_request(self, tiny_client: Any) -> None:
        """The body of a refused request does not become the next request."""
        for _ in range(3):
            response = await tiny_client.post("/unknown", data=b"GET /hello HTTP/1.1\r\n\r\n" * 50)

            assert response.status == 404
        assert (await tiny_client.get("/hello")).status == 200


BAD = [
    (b"", "$", "the body is not valid JSON"),
    (b"{", "$", "the body is not valid JSON"),
    (b"[", "$", "the body is not valid JSON"),
    (b'{"name": 1', "$", "the body is not valid JSON"),
    (b'{"name": "\xff"}', "$", "the body is not valid JSON: it is not UTF-8"),
    (b"[]", "$", "Expected `object`"),
    (b"{}", "$.name", "this field is required"),
    (b'{"name": 1}', "$.name", "Expected `str`"),
    (b'{"name": "a", "sizes": [1, "2"]}', "$.sizes[1]", "Expected `int`"),
    (b'{"name": "a\\u0000b"}', "$.name", "a text cannot contain the NUL character"),
    (b'{"name": "a", "notes": {"x": [1, {"y": "\\u0000"}]}}', "$.notes.x[1].y", "a text cannot contain the NUL"),
    (b'{"name": "a", "notes": {"\\u0000": 1}}', "$.notes", "a text cannot contain the NUL character"),
    (b'{"name": "a", "unknown": "\\u0000"}', "$.unknown", "a text cannot contain the NUL character"),
    (b'{"name": "a\0b"}', "$", "the body is not valid JSON"),
]


class TestDecode:
    """JSON that becomes a Struct."""

    @pytest.mark.parametrize(("data", "where", "said"), BAD)
    def test_invalid_json_is_refused_with_the_path_of_the_fault(self, data: bytes, where: str, said: str) -> None:
        """Invalid input is refused with the JSON path and the fault."""
        with pytest.raises(InvalidInput) as caught:
            decode(DECODER, data)

        (fault,) = caught.value.faults
        assert fault.where == where
        assert fault.message.startswith(said)

    @pytest.mark.parametrize(
        "data", [rb'{"name": "a\\u0000b"}', rb'{"name": "a\\u0000b", "sizes": [1], "notes": {"n": 1}}']
    )
    def test_an_escaped_backslash_is_no_nul(self, data: bytes) -> None:
        """The text backslash-u-0000 is an ordinary text."""
        assert decode(DECODER, data).name == "a\\u0000b"

    @pytest.mark.parametrize("kind", [Any, dict[str, Any], Thing])
    def test_levels_up_to_the_limit_are_decoded(self, kind: Any) -> None:
        """The allowed number of levels is decoded, one more is refused, in known and unknown fields."""
        decoder = msgspec.json.Decoder(kind)
        for levels in (MAX_LEVELS - 1, MAX_LEVELS):
            data = b'{"name": "a", "more": ' + b"[" * levels + b"]" * levels + b"}"
            if levels < MAX_LEVELS:
                decode(decoder, data)
                continue
            with pytest.raises(InvalidInput, match="nested too deeply, in more than 64 levels"):
                decode(decoder, data)

    def test_paths_begin_with_the_given_root(self) -> None:
        """The path of a fault begins with the path of the decoded document."""
        for data in (b'{"name": 1}', b'{"name": "\\u0000"}'):
            with pytest.raises(InvalidInput) as caught:
                decode(DECODER, data, "$[7]")

            assert caught.value.faults[0].where == "$[7].name"

    def test_unknown_members_are_ignored(self) -> None:
        """A valid document is decoded, and its unknown members are ignored."""
        assert decode(DECODER, b'{"name": "a", "sizes": [1], "more": true}') == Thing("a", [1])

    def test_the_search_for_a_nul_is_linear(self) -> None:
        """A long key above many texts is not copied for each of them, and not sent back."""
        # To copy the key for each of them would take longer than the limit of a test.
        data = b'{"name": "a", "notes": {"%s": [%s"\\u0000"]}}' % (b"k" * 4_000_000, b'"x",' * 4_000_000)
        with pytest.raises(InvalidInput) as caught:
            decode(DECODER, data)
        assert caught.value.faults[0].where.startswith("$.notes.kkk")
        assert len(str(caught.value)) < 1_000

    async def test_long_paths_are_cut_in_answers(self, tiny_client: Any) -> None:
        """An answer shows only the beginning of a long key or value."""
        long = "k" * 90_000
        for data in ('{"name": "a", "notes": {"%s": "\\u0000"}}', '{"name": "a", "sizes": "%s"}', '{"%s'):
            response = await tiny_client.post("/things", data=data.replace("%s", long))

            assert response.status == 400
            assert len(await response.read()) < 5_000

    async def test_an_answer_lists_the_bad_field(self, tiny_client: Any) -> None:
        """Over HTTP, the answer lists the path of the bad field."""
        response = await tiny_client.post("/things", data=b'{"name": "a", "sizes": [null]}', headers=JSON_TYPE)

        assert response.status == 400
        assert (await _problem(response))["errors"][0]["where"] == "$.sizes[0]"
        created = await tiny_client.post("/things", data='{"name": "wörld"}'.encode(), headers=JSON_TYPE)
        assert (created.status, await created.json()) == (201, {"name": "wörld", "sizes": [], "notes": {}})


class TestArguments:
    """Arguments in the query and the path."""

    @pytest.mark.parametrize(
        ("query", "expected"),
        [
            ("text=a", {"text": "a", "page": 1}),
            ("text=a&page=7", {"text": "a", "page": 7}),
            ("text=%C3%BC%20%26+%3D", {"text": "ü & =", "page": 1}),
            ("text=", {"text": "", "page": 1}),
        ],
    )
    async def test_query_arguments_are_converted(self, tiny_client: Any, query: str, expected: dict[str, Any]) -> None:
        """Query arguments become the fields of the Struct, with their types."""
        assert await (await tiny_client.get(f"/search?{query}")).json() == expected

    @pytest.mark.parametrize(
        ("query", "where"), [("", "text"), ("page=1", "text"), ("text=a&page=x", "page"), ("text=%00", "text")]
    )
    async def test_a_bad_query_argument_is_named(self, tiny_client: Any, query: str, where: str) -> None:
        """An invalid or missing query argument gets 400 with its name."""
        response = await tiny_client.get(f"/search?{query}")

        assert response.status == 400
        assert (await _problem(response))["errors"][0]["where"] == where

    @pytest.mark.parametrize(("part", "name"), [("a", "a"), ("a%2Fb", "a/b"), ("%C3%BC", "ü"), ("a+b", "a+b")])
    async def test_path_arguments_are_decoded_once(self, line: Wire, part: str, name: str) -> None:
        """Path arguments are percent-decoded, including slashes."""
        line.get(f"/part/{part}")

        assert (await line.reply()).json() == {"name": name}

    async def test_a_nul_in_the_path_is_refused(self, line: Wire) -> None:
        """A NUL character in a path argument gets 400 with the name of the argument."""
        line.get("/part/a%00b")

        reply = await line.reply()

        assert (reply.status, reply.json()["errors"][0]["where"]) == (400, "name")
