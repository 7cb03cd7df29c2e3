"""Turns a recording of a browser or proxy (HAR) into the requests of a load test script. No I/O.

The format is HAR 1.2 (http://www.softwareishard.com/blog/har-12-spec/), with the fields that browsers add or leave out.
Values that look like secrets are replaced by placeholders; the script fills them in from its configuration.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

import msgspec

from smartmob.errors import InvalidInput
from smartmob.tally import Tally
from smartmob.turrets.names import timer_name

MOST_REQUESTS = 5_000  # of a script
CONFIG_PREFIX = "secret_"  # the beginning of the keys of the configuration that hold secrets
PLACEHOLDER = "{{%s}}"
"""The placeholder of a secret in a text of the script, by the key of its value."""

_AUTOMATIC = frozenset(
    {
        # Hop by hop (RFC 9110, section 7.6.1), set by the client, or about what it cannot do: caches and compression.
        *("connection", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade", "host"),
        *("content-length", "accept-encoding", "user-agent", "if-none-match", "if-modified-since", "expect"),
    }
)
_SECRET_HEADERS = frozenset({"cookie", "authorization", "proxy-authorization"})
_SECRET = re.compile(
    r"pass(?:word|wd|phrase|code)?$|pwd|secret|token|api[-_]?key|access[-_]?key|sess(?:ion)?[-_]?id|^sid$|auth|credential|"
    r"csrf|xsrf|signature|^sig$|jwt|^otp$|^pin$",
    re.IGNORECASE,
)
_JWT = re.compile(r"\beyJ[\w-]{8,}\.[\w-]{4,}\.[\w-]*")
_JSON_PAIR = re.compile(r'("((?:[^"\\]|\\.){1,100})"\s*:\s*)("(?:[^"\\]|\\.)*"|-?\d[\d.eE+-]*)')
_ESCAPED_PAIR = re.compile(r'(\\"([^"\\]{1,100})\\"\s*:\s*\\")([^"\\]*)(\\")')
_ELEMENT = re.compile(r"(<(?:\w+:)?(\w{1,100})(?:\s[^<>]*)?>)([^<>]+)(</)")
_FIELD = re.compile(r'(; ?name="([^"\r\n]{1,100})"[^\r\n]*(?:\r?\n[^\r\n]+)*\r?\n\r?\n)(.*?)(\r?\n--)', re.DOTALL)
"""A pair of JSON inside a text of JSON, an element of XML, and a field of multipart/form-data (RFC 7578)."""
_NOT_KEY = re.compile(r"\W+")
_FORM = "application/x-www-form-urlencoded"
_CHARSET = re.compile(r"charset\s*=\s*\"?([\w.:-]{1,40})", re.IGNORECASE)
_SWITCHED = 101  # status
_NOT_SENT = re.compile("BLOCKED|ABORTED|CANCEL", re.IGNORECASE)
"""Errors of Chromium (`net::ERR_BLOCKED_BY_CLIENT`) and of others that write such a field."""
_PACKED = {"gzip": b"\x1f\x8b", "deflate": b"\x78", "zstd": b"\x28\xb5\x2f\xfd"}
"""The first bytes of packed bodies, by the value of Content-Encoding (those of Brotli are not known)."""
_BOUNDARY = "smartmob-boundary-7d1f0c"
_LEAST_THINK = 0.05  # seconds between two requests that are kept
_URL_SAFE = "%/:=&?~#+!$,;'@()*[]"


class _Pair(msgspec.Struct, rename="camel"):
    name: str = ""
    value: str | None = None


class _Param(msgspec.Struct, rename="camel"):
    name: str = ""
    value: str | None = None
    file_name: str | None = None
    content_type: str | None = None


class _PostData(msgspec.Struct, rename="camel"):
    media_type: str | None = msgspec.field(default=None, name="mimeType")
    text: str | None = None
    params: list[_Param] | None = None
    encoding: str | None = None


class _Request(msgspec.Struct, rename="camel"):
    url: str
    method: str = "GET"
    headers: list[_Pair] | None = None
    cookies: list[_Pair] | None = None
    post_data: _PostData | None = None
    body_size: float | None = None


class _Response(msgspec.Struct, rename="camel"):
    status: int | None = None
    error: str | None = msgspec.field(default=None, name="_error")


class _Entry(msgspec.Struct, rename="camel"):
    request: _Request
    response: _Response | None = None
    started_date_time: str = ""
    time: float | None = None


class _Log(msgspec.Struct, rename="camel"):
    entries: list[_Entry]


class _Har(msgspec.Struct, rename="camel"):
    log: _Log


_DECODER = msgspec.json.Decoder(_Har, strict=False)


class RecordedRequest(msgspec.Struct, frozen=True):
    """A request of a script: `think` seconds after the one before; `statuses` are those that count as success.

    `origin` is "" for the host of the recording, whose address the configuration can replace.
    """

    think: float
    timer: str
    method: str
    origin: str
    path: str
    headers: dict[str, str]
    body: bytes
    statuses: tuple[int, ...]


class Recording(msgspec.Struct):
    """The requests of a recording, its `origin`, the keys of its secrets, and what was left out."""

    origin: str = ""
    requests: list[RecordedRequest] = msgspec.field(default_factory=list)
    secrets: dict[str, None] = msgspec.field(default_factory=dict)
    left_out: Tally = msgspec.field(default_factory=Tally)


def read(
    data: bytes, *, all_hosts: bool = False, hosts: Collection[str] = (), keep_headers: Iterable[str] = ()
) -> Recording:
    """Return the requests of a HAR file in the order of their start. Raises InvalidInput."""
    try:
        entries = _DECODER.decode(data.removeprefix(b"\xef\xbb\xbf")).log.entries
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidInput(f"is not a HAR file: {error}") from None
    times = [_moment(entry.started_date_time) for entry in entries]
    known = all(at is not None for at in times)
    order = sorted(range(len(entries)), key=lambda index: times[index] or 0.0) if known else range(len(entries))
    found, ended, names = Recording(), None, dict[str, int]()
    kept = frozenset(name.lower() for name in keep_headers)
    for index in order:
        entry, begin = entries[index], times[index]
        parts = _address(entry.request, found)
        if parts is None or _was_not_sent(entry, found):
            continue
        origin, host, path = parts
        found.origin = found.origin or origin
        if origin != found.origin and not all_hosts and host not in hosts:
            found.left_out.add("requests to other hosts (--all-hosts, --host)", host)
            continue
        think = 0.0 if begin is None or ended is None else max(begin - ended, 0.0)
        if begin is not None:
            ended = max(ended or begin, begin + max(entry.time or 0.0, 0.0) / 1000)
        method = entry.request.method.upper()
        shown = _without_secrets(path, found)
        name = timer_name(f"{method} {shown.partition('?')[0]}")
        names[name] = names.get(name, 0) + 1
        body, media_type = _body(entry.request, found)
        headers = _headers(entry.request, media_type, kept, found)
        if body:
            _without_packing(headers, body, found)
        found.requests.append(
            RecordedRequest(
                think=think if think >= _LEAST_THINK else 0.0,
                timer=name if names[name] == 1 else f"{name} ({names[name]})",
                method=method,
                origin="" if origin == found.origin else origin,
                path=shown,
                headers=headers,
                body=body,
                statuses=_statuses(entry.response),
            )
        )
    if not found.requests:
        raise InvalidInput("has no request that can be fired")
    if len(found.requests) > MOST_REQUESTS:
        raise InvalidInput(f"has {len(found.requests)} requests, a script has at most {MOST_REQUESTS}; record less")
    return found


def _moment(text: str) -> float | None:
    try:
        return datetime.fromisoformat(text).timestamp()
    except (ValueError, OverflowError):
        return None


def _address(request: _Request, found: Recording) -> tuple[str, str, str] | None:
    """Return origin, host and path of a request, or None if it cannot be fired."""
    try:
        parts = urlsplit(_absolute(request))
        host, port = parts.hostname or "", parts.port
    except ValueError:
        found.left_out.add("addresses that cannot be read", request.url)
        return None
    upgrade = any(
        pair.name.lower() == "upgrade" and "websocket" in (pair.value or "").lower() for pair in request.headers or ()
    )
    if parts.scheme in ("ws", "wss") or upgrade:
        found.left_out.add("WebSocket connections", request.url)
        return None
    if parts.scheme not in ("http", "https") or not host:
        found.left_out.add(f"{parts.scheme or 'relative'}: addresses", request.url)
        return None
    if parts.username is not None:
        found.left_out.add("user names and passwords in addresses", host)
    if not re.fullmatch(r"[A-Za-z]+", request.method) or request.method.upper() == "CONNECT":
        found.left_out.add("methods that cannot be sent", request.method)
        return None
    shown = f"[{host}]" if ":" in host else host
    origin = f"{parts.scheme}://{shown}" + (f":{port}" if port is not None else "")
    path = quote(parts.path or "/", _URL_SAFE) + (f"?{quote(parts.query, _URL_SAFE)}" if parts.query else "")
    return origin, host, path


def _absolute(request: _Request) -> str:
    """Return the address of a request; some proxies write only the path, and the headers have the rest."""
    url = request.url.strip()
    given = {pair.name.lower(): pair.value or "" for pair in request.headers or ()}
    host = given.get(":authority") or given.get("host")
    return f"{given.get(':scheme') or 'https'}://{host}{url}" if host and re.match(r"/(?!/)", url) else url


def _was_not_sent(entry: _Entry, found: Recording) -> bool:
    """Return whether a request was blocked or aborted by the browser, or became a WebSocket."""
    response = entry.response
    if response is None:
        return False
    if response.status == _SWITCHED:
        found.left_out.add("WebSocket connections", entry.request.url)
        return True
    if not response.status and _NOT_SENT.search(response.error or ""):
        found.left_out.add("requests that were blocked or aborted", f"{entry.request.url} {response.error}")
        return True
    if response.status is not None and response.status <= 0:
        found.left_out.add("statuses of requests that had no answer (below 400 is expected)", entry.request.url)
    return False


def _without_packing(headers: dict[str, str], body: bytes, found: Recording) -> None:
    """Remove the header that says how a body is packed if the recording has it unpacked, as browsers write it."""
    for name, value in list(headers.items()):
        if name.lower() == "content-encoding" and not body.startswith(_PACKED.get(value.lower(), b"\0")):
            found.left_out.add("headers of bodies that the file has unpacked", f"{name}: {headers.pop(name)}")


def _headers(request: _Request, media_type: str | None, kept: Collection[str], found: Recording) -> dict[str, str]:
    """Return the headers to send; those that may have secrets are left out unless they are kept by name."""
    headers: dict[str, str] = {}
    for pair in request.headers or ():
        name, value = pair.name.strip(), (pair.value or "").replace("\r", " ").replace("\n", " ").strip()
        low = name.lower()
        if not re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", name):
            continue  # pseudo-headers of HTTP/2, such as :path
        if low in kept:
            headers[name] = value
        elif low in _SECRET_HEADERS or _SECRET.search(name):
            found.left_out.add("headers that may have secrets (--keep-header)", name)
        elif low not in _AUTOMATIC and not low.startswith("sec-"):
            headers[name] = _without_secrets(value, found)
    if request.cookies and not any(pair.name.strip().lower() == "cookie" for pair in request.headers or ()):
        if "cookie" in kept:
            headers["Cookie"] = "; ".join(f"{pair.name}={pair.value or ''}" for pair in request.cookies)
        else:
            found.left_out.add("headers that may have secrets (--keep-header)", "Cookie")
    data = request.post_data
    known = data.media_type.strip() if data is not None and data.media_type else ""
    if media_type is not None:
        headers = {name: value for name, value in headers.items() if name.lower() != "content-type"}
        headers["Content-Type"] = media_type
    elif known and not any(name.lower() == "content-type" for name in headers):
        headers["Content-Type"] = _without_secrets(known.replace("\r", " ").replace("\n", " "), found)
    return {name: value.replace("\0", "").encode().decode("latin-1") for name, value in headers.items()}


def _body(request: _Request, found: Recording) -> tuple[bytes, str | None]:
    """Return the body of a request, and its media type if it is not that of its headers."""
    data = request.post_data
    if data is None:
        if request.body_size is not None and request.body_size > 0:
            found.left_out.add("bodies that the file does not have", request.url)
        return b"", None
    media_type = (data.media_type or "").partition(";")[0].strip().lower()
    if data.text and data.encoding == "base64":
        try:
            body = base64.b64decode("".join(data.text.split()), validate=True)
        except binascii.Error:
            found.left_out.add("bodies that the file does not have", request.url)
            return b"", None
        return _without_secrets(body.decode("latin-1"), found).encode("latin-1"), None
    if data.params and media_type == "multipart/form-data" and not data.text:
        return _multipart(data.params, found), f"multipart/form-data; boundary={_BOUNDARY}"
    if media_type == _FORM or (data.params and not data.text):
        pairs = parse_qsl(data.text, keep_blank_values=True) if data.text else [
            (param.name, param.value or "") for param in data.params or ()
        ]  # fmt: skip
        return _form(pairs, found).encode(), None if media_type == _FORM else _FORM
    return _encoded(_without_secrets(data.text or "", found), data.media_type or ""), None


def _encoded(text: str, media_type: str) -> bytes:
    """Return a text in the charset of its media type, in UTF-8 if that is unknown."""
    charset = _CHARSET.search(media_type)
    try:
        return text.encode(charset[1] if charset is not None else "utf-8")
    except (LookupError, UnicodeEncodeError):
        return text.encode("utf-8", "replace")


def _form(pairs: Sequence[tuple[str, str]], found: Recording) -> str:
    return urlencode([(name, _value(name, value, found)) for name, value in pairs], safe="{}")


def _multipart(params: Iterable[_Param], found: Recording) -> bytes:
    """Return a body with the fields of a form (RFC 7578)."""
    lines = []
    for param in params:
        disposition = f'form-data; name="{_quoted(param.name)}"'
        if param.file_name is not None:
            disposition += f'; filename="{_quoted(param.file_name)}"'
            if not param.value:
                found.left_out.add("contents of files that the file does not have", param.file_name)
        lines.append(f"--{_BOUNDARY}\r\nContent-Disposition: {disposition}\r\n")
        if param.content_type:
            lines.append(f"Content-Type: {_quoted(param.content_type)}\r\n")
        lines.append(f"\r\n{_value(param.name, param.value or '', found)}\r\n")
    return "".join([*lines, f"--{_BOUNDARY}--\r\n"]).encode("utf-8", "replace")


def _quoted(text: str) -> str:
    return re.sub(r'[\r\n"]', lambda found: f"%{ord(found[0]):02X}", text)


def _value(name: str, value: str, found: Recording) -> str:
    """Return a value, or a placeholder if its name or form shows that it is a secret."""
    if value and _SECRET.search(name):
        return _placeholder(name, found)
    return _JWT.sub(lambda _: _placeholder("jwt", found), value)


def _without_secrets(text: str, found: Recording) -> str:
    """Return a text with placeholders for the values of secrets: in JSON, XML, forms and queries, and tokens of JWT."""
    text = _JSON_PAIR.sub(lambda pair: _json_pair(pair, found), text)
    for pattern in (_ESCAPED_PAIR, _ELEMENT, _FIELD):
        text = pattern.sub(lambda pair: pair[1] + _value(pair[2], pair[3], found) + pair[4], text)
    text = re.sub(
        r"(^|[?&])([^=&?#\s\"<{]{1,100})=([^&#\s]*)",
        lambda pair: f"{pair[1]}{pair[2]}={_value(pair[2], pair[3], found)}",
        text,
    )
    return _JWT.sub(lambda _: _placeholder("jwt", found), text)


def _json_pair(pair: re.Match[str], found: Recording) -> str:
    if not _SECRET.search(pair[2]) or pair[3] == '""':
        return pair[0]
    placeholder = _placeholder(pair[2], found)
    return f'{pair[1]}"{placeholder}"' if pair[3].startswith('"') else pair[1] + placeholder


def _placeholder(name: str, found: Recording) -> str:
    key = CONFIG_PREFIX + (_NOT_KEY.sub("_", name).strip("_").lower() or "value")
    found.secrets[key] = None
    return PLACEHOLDER % key


def _statuses(response: _Response | None) -> tuple[int, ...]:
    """Return the statuses that count as success: the recorded one, () if there was none, which means below 400."""
    status = response.status if response is not None else None
    if status is None or not 100 <= status <= 599:
        return ()
    return (200, 304) if status == 304 else (status,)


def script(recording: Recording, *, think: bool = True, most_think: float = 10.0) -> str:
    """Return the script that sends the requests of a recording; `most_think` is in seconds."""
    lines = [_HEAD]
    for one in recording.requests:
        if think and one.think:
            lines.append(f"        await asyncio.sleep({min(one.think, most_think):.3g})")
        address = repr(one.path) if not one.origin else f"{one.path!r}, {one.origin!r}"
        lines.append(f"        with CustomTimer(self, {one.timer!r}):")
        lines.append(f"            await self.send({one.statuses!r}, {one.method!r}, self.address({address}),")
        lines.append(f"                {_fitting(one.headers)}, {one.body!r})")
    return "\n".join(lines) + "\n"


def _fitting(headers: dict[str, str]) -> str:
    return "{" + ", ".join(f"{name!r}: {value!r}" for name, value in headers.items()) + "}"


_HEAD = '''"""The requests of a recording, in their order. Each user is one object of Transaction."""

import asyncio

from smartmob.turrets.scripting import BaseTransaction, CustomTimer, Http


class Transaction(BaseTransaction):
    def __init__(self, config, context=None):
        super().__init__(config, context)
        self.http = Http()
        self.secrets = {"{{%s}}" % key: str(value) for key, value in config.items() if key.startswith("secret_")}

    def filled(self, text):
        """Return a text with the values of secrets, which config.json has."""
        for mark, value in self.secrets.items():
            text = text.replace(mark, value)
        return text

    def address(self, path, origin=None):
        return self.filled((origin or self.config["base_url"].rstrip("/")) + path)

    async def send(self, statuses, method, url, headers, body):
        headers = {name: self.filled(value) for name, value in headers.items()}
        if self.secrets:
            body = self.filled(body.decode("latin-1")).encode("latin-1", "replace")
        answer = await self.http.request(method, url, body, headers)
        return answer.expect(*statuses)

    async def run(self):'''
