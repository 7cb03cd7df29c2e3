"""The try-list: hostile requests to a service with a token and to one without.

Each row has the bytes of a request and the permitted statuses. No request may cause a 500 or get past the token, and
the service continues to answer other clients. THREAT_MODEL.md names the rows.
"""

from __future__ import annotations

import asyncio
import gzip
import zlib
from collections.abc import Iterable
from typing import Any, NamedTuple

import pytest

from tests.each import each
from tests.kernel.raw import Reply
from tests.loop_stalls import Stall
from tests.security.services import REPEATS, STALL, TOKEN, Target

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(900)]

REFUSED, UNKNOWN, FORBIDDEN = (400, 422), (404,), (403,)
CHUNKED = "Transfer-Encoding: chunked"
SECONDS, GROWTH = 0.1, 32 * 2**20
"""Limits of one request: the CPU time in seconds, and the growth of memory in bytes."""
PUBLIC = (b"/health", b"/client", b"/client/wood", b"/echo", b"/login")
CLOSED = (None,)
"""The connection is closed without an answer."""


def head(line: str, *headers: str, host: str = "localhost") -> bytes:
    """Return the head of a request."""
    lines = [line + " HTTP/1.1", f"Host: {host}", *headers, "Connection: close"]
    return ("\r\n".join(lines) + "\r\n").encode("latin-1")


def get(path: str, *headers: str, **options: str) -> bytes:
    """Return a request without a body."""
    return head(f"GET {path}", *headers, **options)


def post(path: str, body: bytes | str, *headers: str, **options: str) -> bytes:
    """Return a request with a body."""
    data = body.encode() if isinstance(body, str) else body
    return head(f"POST {path}", f"Content-Length: {len(data)}", *headers, **options) + b"\r\n" + data


def _zeros(megabytes: int, right_end: bool = False) -> bytes:
    """Return zeros as a gzip of a thousandth of the size: one packed megabyte again and again.

    Their checksum takes longer than all else, so it is right only where that is asked for.
    """
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    block = packer.compress(bytes(2**20)) + packer.flush(zlib.Z_FULL_FLUSH)
    end = zlib.crc32(bytes(megabytes * 2**20)).to_bytes(4, "little") if right_end else bytes(4)
    size = (megabytes * 2**20).to_bytes(4, "little")
    return gzip.compress(b"")[:10] + block * megabytes + packer.flush() + end + size


def _chunked(path: str, body: bytes, *headers: str) -> bytes:
    """Return a request with a chunked body, without Content-Length."""
    chunks = [body[start : start + 8192] for start in range(0, len(body), 8192)]
    framed = b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks)
    return head(f"POST {path}", CHUNKED, *headers) + b"\r\n" + framed + b"0\r\n\r\n"


def _in_small_chunks(line: str, chunk: bytes = b"1\r\nx\r\n") -> bytes:
    """Return a request whose body is a megabyte of chunks of one byte each."""
    return head(line, CHUNKED) + b"\r\n" + chunk * (2**20 // len(chunk)) + b"0\r\n\r\n"


MARK = '{"text": "x"}'
WEBSOCKET = (
    *("Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13"),
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
)
DEEP = b"[" * 200_000
BOMB = _zeros(64, right_end=True)
HUGE = _zeros(512)
FIELDS = gzip.compress(b"a&" * 5_000_000, 1)
FORM = "Content-Type: application/x-www-form-urlencoded"
GZIP = "Content-Encoding: gzip"
NUL_LIST = gzip.compress(b'{"%s": [%s"\\u0000"]}' % (b"k" * 2**20, b'"x",' * 20_000))
SMALL_NUL_LIST = b'{"%s": [%s"\\u0000"]}' % (b"k" * 4_000, b"0," * 4_000)
PROCESS = '{"app": "%s", "node": "web.0", "process_type": "web", "source_url": "%s"}'

ATTACKS: dict[str, tuple[bytes, Iterable[int | None]]] = {
    # A page that makes its own name point here (DNS rebinding), or posts to us from another site.
    "rebound name": (get("/metrics/", host="evil.example:8080"), FORBIDDEN),
    "rebound name in an absolute address": (get("http://evil.example/metrics/", host="evil.example"), FORBIDDEN),
    "name that begins like ours": (get("/metrics/", host="localhost.evil.example"), FORBIDDEN),
    "name with a user before it": (get("/metrics/", host="localhost@evil.example"), FORBIDDEN),
    "name with a second port": (get("/metrics/", host="localhost:1:evil"), FORBIDDEN),
    "address with a host behind it": (get("/metrics/", host="127.0.0.1:1@evil"), FORBIDDEN),
    "address that is none": (get("/metrics/", host="127.0.0.1.evil.example"), FORBIDDEN),
    "no name": (b"GET /metrics/ HTTP/1.1\r\nConnection: close\r\n\r\n", (400, 403)),
    "two names": (get("/metrics/", "Host: evil.example"), (400, 403)),
    "foreign origin": (post("/marks", MARK, "Origin: http://evil.example"), FORBIDDEN),
    "null origin": (post("/marks", MARK, "Origin: null"), FORBIDDEN),
    "origin on another port": (post("/marks", MARK, "Origin: http://localhost:9"), FORBIDDEN),
    "cross-site form": (post("/marks", MARK, "Sec-Fetch-Site: cross-site"), FORBIDDEN),
    "text from another site": (
        post("/marks", MARK, "Origin: http://e.example", "Content-Type: text/plain"), FORBIDDEN
    ),
    "foreign websocket, echo": (get("/echo", *WEBSOCKET, "Origin: http://evil.example"), FORBIDDEN),
    "foreign websocket, commands": (get("/commands", *WEBSOCKET, "Origin: http://evil.example"), FORBIDDEN),
    "foreign websocket, console": (get("/attach-console/a.b", *WEBSOCKET, "Origin: https://localhost:9"), FORBIDDEN),
    "foreign preflight": (
        head("OPTIONS /marks", "Origin: http://evil.example", "Access-Control-Request-Method: POST"), (403, 405)
    ),
    # Ways round the token and the method.
    "method override": (
        post("/marks", MARK, "X-HTTP-Method-Override: DELETE", "Origin: http://evil.example"), FORBIDDEN
    ),
    "method that does not exist": (head("BREW /marks"), (400, 405)),
    "method in lower case": (head("get /health"), (400, 405)),
    "connect": (head("CONNECT evil.example:443"), (400, 403, 404, 405)),
    "trace": (head("TRACE /metrics/"), (405,)),
    # Paths that lead elsewhere.
    "dots": (get("/../../../../etc/passwd"), UNKNOWN),
    "dots behind a slug": (get("/process-status/..%2f..%2fetc%2fpasswd"), UNKNOWN),
    "dots behind an archive": (get("/archives/..%2F..%2F..%2Fetc%2Fpasswd"), (400, 404)),
    "dots behind a job": (get("/jobs/..%2f1/output"), (400, 404)),
    "dots behind a package": (get("/turret-runs/..%2f../package"), (400, 404)),
    "dots behind files of pages": (get("/static/..%2f..%2f..%2f..%2fetc/passwd"), UNKNOWN),
    "dots behind the console": (get("/console/static/%2e%2e/%2e%2e/page.py"), UNKNOWN),
    "a backslash": (get("/archives/..\\..\\etc\\passwd"), (400, 404)),
    "NUL in a path": (get("/process-status/a%00b"), (400, 404)),
    "no UTF-8 in a path": (get("/process-status/%ff%fe"), (400, 404)),
    "a bad escape": (get("/process-status/%zz"), (400, 404)),
    "a path of 100 kB": (get("/process-status/" + "a" * 100_000), (400, 404, 414)),
    # What breaks the framing of HTTP (request smuggling), or its limits.
    "length and chunks": (
        head("POST /marks", "Content-Length: 5", CHUNKED) + b"\r\n0\r\n\r\nGET /x HTTP/1.1\r\n\r\n",
        REFUSED,
    ),
    "two lengths": (head("POST /marks", "Content-Length: 5", "Content-Length: 6") + b"\r\n" + b"{}" * 3, REFUSED),
    "a negative length": (head("POST /marks", "Content-Length: -1") + b"\r\n{}", REFUSED),
    "a length with a sign": (head("POST /marks", "Content-Length: +2") + b"\r\n{}", REFUSED),
    "a length in hexadecimal": (head("POST /marks", "Content-Length: 0x2") + b"\r\n{}", REFUSED),
    "a huge length": (head("POST /marks", "Content-Length: 99999999999999999999") + b"\r\n", (400, 413)),
    "more than is taken": (head("POST /marks", "Content-Length: 999999999") + b"\r\n", (413,)),
    "chunked twice": (head("POST /marks", "Transfer-Encoding: chunked, chunked") + b"\r\n0\r\n\r\n", (400, 501)),
    "an unknown coding": (head("POST /marks", "Transfer-Encoding: xchunked") + b"\r\n0\r\n\r\n", (400, 501)),
    "chunks hidden by a blank": (head("POST /marks", "Transfer-Encoding : chunked") + b"\r\n0\r\n\r\n", REFUSED),
    "a chunk of a negative size": (head("POST /marks", CHUNKED) + b"\r\n-1\r\nx\r\n0\r\n\r\n", REFUSED),
    "a chunk of a huge size": (
        head("POST /marks", CHUNKED) + b"\r\nfffffffffffffffff\r\nx\r\n", REFUSED
    ),
    "a folded header": (head("GET /health", "X-A: b\r\n c"), (200, 400)),
    "a header without a name": (head("GET /health", ": x"), REFUSED),
    "a bare line feed": (b"GET /health HTTP/1.1\nHost: localhost\n\n", (400, *CLOSED)),
    "a header of 100 kB": (head("GET /health", "X-A: " + "a" * 100_000), (400, 431)),
    "20,000 headers": (head("GET /health", *(f"X-{n}: a" for n in range(20_000))), (400, 431)),
    "a version of HTTP that is none": (b"GET /health HTTP/9.9\r\nHost: localhost\r\n\r\n", (400, 505)),
    "the preface of HTTP/2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", (400, 505)),
    "an upgrade to h2c": (get("/health", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA"), (200, 400)),
    "TLS to a plain port": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(64), (400, *CLOSED)),
    "an expectation": (post("/marks", MARK, "Expect: give-me-root"), (201, 417)),
    # Bodies.
    "JSON of 200,000 levels": (post("/marks", DEEP), REFUSED),
    "JSON of 2,000,000 levels": (post("/marks", b"[" * 2_000_000), (400, 413, 422)),
    "a field of 200,000 levels": (post("/marks", b'{"text": ' + DEEP), REFUSED),
    "an unknown field of 10,000 levels": (
        post("/sessions/", b'{"x": ' + b"[" * 10_000 + b"]" * 10_000 + b"}"), REFUSED
    ),
    "a description of 10,000 levels": (
        post("/sessions/", b'{"session_h": "a", "run_date": "2026-01-01", "scm_ref": "", "description": '
             + b'{"a":' * 10_000 + b"1" + b"}" * 10_000 + b"}"), REFUSED,
    ),
    "a description of 500 levels": (
        post("/sessions/", b'{"session_h": "a", "run_date": "2026-01-01", "scm_ref": "", "description": '
             + b'{"a":' * 500 + b"1" + b"}" * 500 + b"}"), (201, *REFUSED),
    ),
    "arguments of 500 levels": (post("/commands/exec", b"[" * 500 + b"]" * 500), REFUSED),
    "NUL in a text": (post("/marks", '{"text": "a\\u0000b"}'), REFUSED),
    "half a character": (post("/marks", '{"text": "\\ud800"}'), REFUSED),
    "no UTF-8 in a text": (post("/marks", b'{"text": "\xff"}'), REFUSED),
    "a number of 1,000 digits": (post("/marks", '{"text": "x", "at": ' + "9" * 1000 + "}"), REFUSED),
    "a number beyond all": (post("/turret-runs", '{"run_time": 1e999}'), REFUSED),
    "no number": (post("/turret-runs", '{"run_time": NaN}'), REFUSED),
    "a text for a mapping": (post("/create-process", '"x"'), REFUSED),
    "a coding that is unknown": (post("/marks", MARK, "Content-Encoding: aes128gcm"), (415,)),
    "a broken gzip": (post("/marks", b"\x1f\x8b\x08garbage", "Content-Encoding: gzip"), REFUSED),
    "a gzip of 64 MB": (post("/marks", BOMB, "Content-Encoding: gzip"), (400, 413)),
    "a gzip of 64 MB as NDJSON": (
        post("/metrics/", BOMB, "Content-Encoding: gzip", "Content-Type: application/x-ndjson"), (400, 413)
    ),
    "a gzip in a gzip": (post("/marks", gzip.compress(gzip.compress(b"x" * 9)), "Content-Encoding: gzip"), REFUSED),
    "a thousand gzips": (post("/marks", gzip.compress(b"") * 2_000, "Content-Encoding: gzip"), REFUSED),
    "five million fields in a gzip": (post("/login", FIELDS, FORM, GZIP), (413,)),
    "five million fields in a gzip of no length": (_chunked("/login", FIELDS, FORM, GZIP), (413,)),
    "a thousand fields": (post("/login", "a=b&" * 1_000, FORM), REFUSED),
    "a long key and a long list before a NUL": (post("/client", NUL_LIST, GZIP), (400, 413)),
    "a key and a list before a NUL": (post("/client", SMALL_NUL_LIST), REFUSED),
    "a long key and a long list before a NUL, where much is taken": (
        post("/sessions/", NUL_LIST, GZIP), (400, 413)
    ),
    "512 MB of zeros, where a token is needed": (post("/metrics/", HUGE, GZIP), (413,)),
    "512 MB of zeros to the login": (post("/login", HUGE, FORM, GZIP), (413,)),
    "512 MB of zeros of no length to the login": (_chunked("/login", HUGE, FORM, GZIP), (413,)),
    "512 MB of zeros to the registration": (post("/client", HUGE, GZIP), (413,)),
    "512 MB of zeros to what takes no body": (
        head("GET /health", f"Content-Length: {len(HUGE)}", GZIP) + b"\r\n" + HUGE, (200,)
    ),
    "512 MB of zeros of no length to nothing": (_chunked("/nothing", HUGE, GZIP), (404,)),
    "512 MB of zeros as deflate": (post("/login", HUGE[10:], FORM, "Content-Encoding: deflate"), (413,)),
    "two codings": (post("/login", gzip.compress(b"token=x"), FORM, "Content-Encoding: gzip, gzip"), (415,)),
    "a gzip without its end": (post("/login", gzip.compress(b"token=x")[:-4], FORM, GZIP), REFUSED),
    "100,000 empty gzips": (_chunked("/login", gzip.compress(b"") * 100_000, FORM, GZIP), (413,)),
    "a form of 100,000 fields": (
        post("/client/wood", "&".join(f"f{n}=1" for n in range(100_000))), (400, 401, 403, 404)
    ),
    "chunks of one byte": (_in_small_chunks("POST /metrics/"), REFUSED),
    "chunks of one byte to the login": (_in_small_chunks("POST /login"), (400, 413)),
    "chunks of one byte to the registration": (_in_small_chunks("POST /client"), (400, 413)),
    "chunks of one byte as an upload": (_in_small_chunks("POST /upload-archive"), REFUSED),
    "chunks of one byte to what takes no body": (_in_small_chunks("GET /health"), (200,)),
    "chunks with long extensions": (
        _in_small_chunks("POST /metrics/", b"1;" + b"e" * 60 + b"\r\nx\r\n"), REFUSED
    ),
    "a multipart of 10,000 parts": (
        post("/client/wood", b"--b\r\nContent-Disposition: form-data; name=a\r\n\r\nx\r\n" * 10_000 + b"--b--\r\n",
             "Content-Type: multipart/form-data; boundary=b"), (400, 401, 403, 404),
    ),
    # It is stored, and told for what it is when somebody wants to run it.
    "an archive that is none": (post("/upload-archive", b"MZ" * 100), (201,)),
    # Arguments.
    "a page before the first": (get("/metrics/?page=-99999999999999999999"), (200, 204, 400, 404)),
    "a limit of all": (get("/jobs?limit=99999999999999999999"), REFUSED),
    "an offset below zero": (get("/jobs/1/output?from=-1"), (400, 404)),
    "a cursor of somebody else": (get("/marks?after=AAAA"), REFUSED),
    "a time out of all": (get("/marks?from=99999-01-01"), REFUSED),
    "SQL in a path": (get("/sessions/x'%20OR%20'1'='1"), (204, 404)),
    "SQL in an argument": (get("/sessions/?with_flags=a');DROP%20TABLE%20marks;--"), (200, 204, 400)),
    "the sign of any text": (get("/items/like/%25/metrics"), (204,)),
    "a range of nothing": (get("/openapi.json", "Range: bytes=9-1,0-,0-,0-,0-"), (200, 206, 416)),
    # Commands for a shell, a template or a terminal, in names.
    "a command in a name": (post("/create-process", PROCESS % ("a/../../b", "http://x/y")), REFUSED),
    "a template in a name": (post("/create-process", PROCESS % ("{{7*7}}", "http://x/y")), REFUSED),
    "an escape in a name": (post("/create-process", PROCESS % ("a\\u001b[2J", "http://x/y")), REFUSED),
    "an escape of eight bits in a name": (post("/create-process", PROCESS % ("a\\u009b2J", "http://x/y")), REFUSED),
    "a name that runs backwards": (post("/create-process", PROCESS % ("a\\u202eb", "http://x/y")), REFUSED),
    "a line end in a name": (post("/create-process", PROCESS % ("a\\r\\nX: y", "http://x/y")), REFUSED),
    "a file as a source": (post("/create-process", PROCESS % ("a", "file:///etc/passwd")), REFUSED),
    "gopher as a source": (post("/create-process", PROCESS % ("a", "gopher://127.0.0.1:6379/x")), REFUSED),
    "a source without a host": (post("/create-process", PROCESS % ("a", "http:///x")), (201, 400, 409)),
    "a user that is no name": (post("/client", '{"username": "../../x", "password": "p"}'), (401, 403)),
    "a password of 1 MB": (
        post("/client", '{"username": "x", "password": "' + "p" * 2**20 + '"}'), (400, 401, 403, 413)
    ),
    "a command that is none": (post("/commands/__class__", "{}"), UNKNOWN),
    "a private command": (post("/commands/..%2fexec", "{}"), UNKNOWN),
}  # fmt: skip


def _as(target: Target, data: bytes) -> bytes:
    """Return a request with the target's token in it."""
    line, end, rest = data.partition(b"\r\n")
    return line + end + target.authorization().encode() + rest if data.count(b"HTTP/1.1") else data


def _bugs(target: Target, since: int) -> list[dict[str, Any]]:
    return [event for event in target.events[since:] if event["level"] in ("error", "critical")]


def _whole(data: bytes) -> bytes:
    """Return a request with a complete head."""
    return data if b"\r\n\r\n" in data or b"HTTP/1.1\r" not in data else data + b"\r\n"


class Cost(NamedTuple):
    """The cost of a request: the longest stall and the CPU time in seconds, and the growth of memory in bytes."""

    stall: Stall
    seconds: float
    growth: int

    @property
    def is_small(self) -> bool:
        """Return whether it is below all limits."""
        return self.stall.seconds < STALL and self.seconds < SECONDS and self.growth < GROWTH


async def _measured(target: Target, data: bytes) -> tuple[Reply | None, Cost]:
    """Return the answer and its cost; meanwhile another client must get its answer."""
    target.forget_peak()
    target.stalls.forget()
    memory, seconds = target.memory, target.seconds
    reply, lives = await asyncio.gather(target.send(data), target.lives())
    assert lives
    assert await target.lives()  # so the turn of the loop that answered is over, and counts
    return reply, Cost(target.stalls.longest, target.seconds - seconds, target.memory - memory)


async def _attack(target: Target, data: bytes, allowed: Iterable[int | None]) -> None:
    since = len(target.events)
    for _ in range(REPEATS):
        reply, cost = await _measured(target, _whole(data))
        if cost.is_small:
            break
        # What is done once, or happened to be done meanwhile, is not what this request costs; it costs the same again.
    assert cost.is_small, cost
    status = None if reply is None else reply.status
    assert status in tuple(allowed), reply
    if reply is not None:
        assert reply.status < 400 or len(reply.body) < 10_000
        assert reply.headers["X-Content-Type-Options"] == "nosniff"
        assert TOKEN.encode() not in reply.body
        assert "Access-Control-Allow-Origin" not in reply.headers
        assert b"root:" not in reply.body
        assert b"Traceback" not in reply.body
    assert await target.lives()
    assert _bugs(target, since) == []


@each("name", ATTACKS)
async def test_hostile_requests_to_an_open_service_are_refused(open_one: Target, name: str) -> None:
    """A service without a token refuses every hostile request with its specific error."""
    await _attack(open_one, *ATTACKS[name])


@each("name", ATTACKS)
async def test_hostile_requests_with_the_token_are_refused(guarded: Target, name: str) -> None:
    """With the token every hostile request gets the same error."""
    data, allowed = ATTACKS[name]
    await _attack(guarded, _as(guarded, data), allowed)


@each("name", ATTACKS)
async def test_hostile_requests_without_the_token_get_401(guarded: Target, name: str) -> None:
    """Without the token every request to a route that is not public is refused."""
    data, allowed = ATTACKS[name]
    public = data.split(b" HTTP")[0].rpartition(b" ")[2] in PUBLIC
    refused = tuple(status for status in allowed if status is None or status >= 400)
    await _attack(guarded, data, (*(allowed if public else refused), 401, 403))
