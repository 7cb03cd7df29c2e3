"""The script of a recording."""

from __future__ import annotations

import base64
import gzip
import json
from typing import Any

import pytest

from smartmob.errors import InvalidInput
from smartmob.turrets.har_script import Recording, read, script

HOST = "http://shop.test"


def entry(url: str = f"{HOST}/", method: str = "GET", at: int = 0, took: float = 100, **further: Any) -> dict[str, Any]:
    """Return an entry of a HAR file that begins `at` seconds and takes some milliseconds."""
    status = further.pop("status", 200)
    request = {"method": method, "url": url, "httpVersion": "HTTP/1.1", "headers": []} | further
    started = f"2026-01-01T10:00:{at:02}.000+01:00"
    return {"startedDateTime": started, "time": took, "request": request, "response": {"status": status}}


def har(*entries: dict[str, Any]) -> bytes:
    """Return a HAR file."""
    return json.dumps(
        {"log": {"version": "1.2", "creator": {"name": "x", "version": "1"}, "entries": entries}}
    ).encode()


def _read(*entries: dict[str, Any], **options: Any) -> Recording:
    return read(har(*entries), **options)


def _post(text: str | None, media_type: str = "application/json", **further: Any) -> dict[str, Any]:
    return entry(method="POST", postData={"mimeType": media_type, "text": text} | further)


def test_requests_are_in_the_order_of_their_begin_with_the_pauses_between() -> None:
    """Proxies write them in the order of their end; a name that comes again gets a number."""
    found = _read(
        entry(at=3, took=500), entry(f"{HOST}/a?x=1", at=0, took=1000), entry(f"{HOST}/a?x=2", at=1, took=500)
    )
    assert [(one.timer, one.think, one.path) for one in found.requests] == [
        ("GET /a", 0.0, "/a?x=1"),
        ("GET /a (2)", 0.0, "/a?x=2"),
        ("GET /", 1.5, "/"),
    ]


def test_automatic_headers_are_left_out_and_secret_ones_are_told() -> None:
    """Pseudo-headers of HTTP/2 too; a name that is kept is copied."""
    names = (
        "Host",
        ":authority",
        "Connection",
        "Accept-Encoding",
        "Sec-Fetch-Mode",
        "Accept",
        "Cookie",
        "X-CSRF-Token",
    )
    headers = [{"name": name, "value": "v"} for name in names]
    found = _read(entry(headers=headers))
    assert found.requests[0].headers == {"Accept": "v"}
    assert found.left_out.total == 2
    assert _read(entry(headers=headers), keep_headers=["cookie"]).requests[0].headers == {"Accept": "v", "Cookie": "v"}


SECRETS = [
    entry(f"{HOST}/a?api_key=S3CRET&x=1"),
    entry(f"{HOST}/form/eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJ4In0.S3CRET"),
    entry("http://me:S3CRET@shop.test/a"),
    _post('{"user": "me", "password": "S3CRET", "pin": 12}'.replace("12", "7") + " "),
    _post('{"inner": "{\\"accessToken\\":\\"S3CRET\\"}"}'),
    _post("user=me&password=S3CRET", "application/x-www-form-urlencoded"),
    _post("password=S3CRET&user=me", "text/plain"),
    _post(None, "application/x-www-form-urlencoded", params=[{"name": "pwd", "value": "S3CRET"}]),
    _post(
        '--b\r\nContent-Disposition: form-data; name="password"\r\n\r\nS3CRET\r\n--b--',
        "multipart/form-data; boundary=b",
    ),
    _post(None, "multipart/form-data", params=[{"name": "token", "value": "S3CRET"}]),
    _post("<a:Password type='x'>S3CRET</a:Password>", "text/xml"),
    _post(base64.b64encode(b'{"secret":"S3CRET"}').decode(), encoding="base64"),
    _post('{"a": "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJ4In0.S3CRET"}'),
    entry(headers=[{"name": "Referer", "value": f"{HOST}/?session_id=S3CRET"}]),
    entry(headers=[{"name": "Authorization", "value": "Bearer S3CRET"}]),
]


@pytest.mark.parametrize("one", SECRETS, ids=range(len(SECRETS)))
def test_no_secret_is_in_the_script(one: dict[str, Any]) -> None:
    """It is told that there was one: by its key of the configuration, or as left out."""
    found = _read(one)
    assert "S3CRET" not in script(found)
    assert found.secrets or found.left_out.total


def test_bodies_are_sent_as_they_were() -> None:
    """Text, base64, forms and files; a content that the file does not have is told."""
    params = [
        {"name": "f", "fileName": "a.txt", "contentType": "text/plain", "value": "hi"},
        {"name": "g", "fileName": "b"},
    ]
    found = _read(
        _post('{"a": "ü"}'),
        _post(base64.b64encode(b"\x00\xff").decode(), "image/png", encoding="base64"),
        _post("a=1&b=x+y&c=", "application/x-www-form-urlencoded"),
        _post(None, "multipart/form-data; boundary=gone", params=params),
        entry(method="POST", bodySize=17),
    )
    bodies = [one.body for one in found.requests]
    assert bodies[:3] == ['{"a": "ü"}'.encode(), b"\x00\xff", b"a=1&b=x+y&c="]
    assert b'name="f"; filename="a.txt"\r\nContent-Type: text/plain\r\n\r\nhi\r\n' in bodies[3]
    assert "boundary=smartmob" in found.requests[3].headers["Content-Type"]
    assert [kind for kind, _, _ in found.left_out.items()] == [
        "contents of files that the file does not have",
        "bodies that the file does not have",
    ]


def test_what_cannot_be_fired_is_told() -> None:
    """Other hosts, data: addresses, WebSockets and tunnels."""
    upgrade = [{"name": "Upgrade", "value": "websocket"}]
    entries = (
        entry(),
        entry("https://ads.test/x"),
        entry("data:image/png;base64,AA"),
        entry("chrome-extension://abc/x.js"),
        entry("wss://shop.test/live"),
        entry(headers=upgrade),
        entry("shop.test:443", method="CONNECT"),
    )
    found = _read(*entries)
    assert (len(found.requests), found.left_out.total) == (1, 6)
    assert [one.origin for one in _read(*entries, all_hosts=True).requests] == ["", "https://ads.test"]
    assert len(_read(*entries, hosts=["ads.test"]).requests) == 2


@pytest.mark.parametrize(("status", "expected"), [(200, (200,)), (404, (404,)), (304, (200, 304)), (0, ()), (None, ())])
def test_the_recorded_status_is_expected(status: int | None, expected: tuple[int, ...]) -> None:
    """A request that had no answer may have any below 400."""
    assert _read(entry(status=status)).requests[0].statuses == expected


@pytest.mark.parametrize("data", [b"", b"[]", b'{"log": {}}', b'{"log": {"entries": []}}', b"\xff"])
def test_other_files_are_refused(data: bytes) -> None:
    """With one line."""
    with pytest.raises(InvalidInput, match=r"HAR|no request"):
        read(data)


def test_the_script_is_python_whatever_the_texts_are() -> None:
    """Quotes and line ends of a recording end no string."""
    found = _read(entry(f"{HOST}/'+__import__('os')+'\"\n?q='\"", headers=[{"name": "Accept", "value": "'\r\nX: y\\"}]))
    compile(script(found), "script", "exec")
    assert "\\r" not in script(found)


@pytest.mark.parametrize(
    ("post", "sent", "body"),
    [
        ({"mimeType": "application/json; charset=utf-8", "text": '{"a": 1}'}, None, b'{"a": 1}'),
        ({"mimeType": "text/plain;charset=ISO-8859-1", "text": "ü"}, None, b"\xfc"),
        ({"mimeType": "text/plain;charset=none", "text": "ü"}, None, "ü".encode()),
        ({"mimeType": "image/png", "text": "AP8=\n", "encoding": "base64"}, None, b"\x00\xff"),
        ({"mimeType": "application/x-www-form-urlencoded", "text": "a=1"}, None, b"a=1"),
        ({"mimeType": "", "params": [{"name": "a", "value": "1"}]}, "application/x-www-form-urlencoded", b"a=1"),
        ({"mimeType": "multipart/form-data; boundary=b", "text": "--b--"}, None, b"--b--"),
    ],
)
def test_a_body_has_its_content_type(post: dict[str, Any], sent: str | None, body: bytes) -> None:
    """It is that of the headers, otherwise that of the body, with its charset; the length is never copied."""
    bare = _read(entry(method="POST", postData=post)).requests[0]
    assert (bare.headers, bare.body) == ({"Content-Type": sent or post["mimeType"]}, body)
    headers = [{"name": "content-type", "value": "text/x"}, {"name": "Content-Length", "value": "99"}]
    headers += [{"name": "Transfer-Encoding", "value": "chunked"}, {"name": ":path", "value": "/"}]
    given = _read(entry(method="POST", postData=post, headers=headers)).requests[0]
    assert given.headers == ({"content-type": "text/x"} if sent is None else {"Content-Type": sent})


def test_a_body_that_the_file_has_unpacked_is_not_called_packed() -> None:
    """A target could not read it; one that is packed stays so."""
    headers = [{"name": "Content-Encoding", "value": "gzip"}]
    packed = base64.b64encode(gzip.compress(b"hi")).decode()
    found = _read(
        entry(method="POST", headers=headers, postData={"mimeType": "text/plain", "text": "hi"}),
        entry(method="POST", headers=headers, postData={"mimeType": "x/y", "text": packed, "encoding": "base64"}),
    )
    assert found.requests[0].headers == {"Content-Type": "text/plain"}
    assert found.requests[1].headers == {"Content-Encoding": "gzip", "Content-Type": "x/y"}
    assert [example for _, _, example in found.left_out.items()] == ["Content-Encoding: gzip"]


def test_cookies_that_are_no_header_are_told_and_kept_on_request() -> None:
    """Some browsers write them only in a list of their own."""
    cookies = [{"name": "a", "value": "1"}, {"name": "b", "value": "2"}]
    found = _read(entry(cookies=cookies))
    assert (found.requests[0].headers, found.left_out.total) == ({}, 1)
    assert _read(entry(cookies=cookies), keep_headers=["cookie"]).requests[0].headers == {"Cookie": "a=1; b=2"}


def test_an_address_without_its_host_is_that_of_the_headers() -> None:
    """Some proxies write only the path."""
    headers = [{"name": ":authority", "value": "shop.test"}, {"name": ":scheme", "value": "http"}]
    found = _read(entry("/a?x=1", headers=headers), entry("/b", headers=[{"name": "Host", "value": "other.test"}]))
    assert (found.origin, found.requests[0].path) == (HOST, "/a?x=1")
    assert [example for _, _, example in found.left_out.items()] == ["other.test"]


def test_requests_that_were_never_sent_are_told() -> None:
    """Blocked and aborted ones, and those that became a WebSocket; one without an answer is sent."""
    blocked, aborted, refused = (entry(f"{HOST}/{name}", status=0) for name in ("ad", "gone", "refused"))
    blocked["response"]["_error"] = "net::ERR_BLOCKED_BY_CLIENT"
    aborted["response"]["_error"] = "net::ERR_ABORTED"
    refused["response"]["_error"] = "net::ERR_CONNECTION_REFUSED"
    found = _read(blocked, aborted, refused, entry(f"{HOST}/live", status=101))
    assert [one.path for one in found.requests] == ["/refused"]
    assert [(kind, count) for kind, count, _ in found.left_out.items()] == [
        ("requests that were blocked or aborted", 2),
        ("statuses of requests that had no answer (below 400 is expected)", 1),
        ("WebSocket connections", 1),
    ]
