"""Does what the pages use of curl, for the tests of a machine that has none."""

from __future__ import annotations

import argparse
import http.client
import sys
from pathlib import Path
from urllib.parse import quote, urljoin, urlsplit

_REFUSED, _FAILED = 7, 22


def main() -> int:
    """Make one request and return the exit code."""
    given = _parser().parse_args()
    parts = urlsplit(given.url)
    assert parts.hostname is not None
    connection = http.client.HTTPConnection(parts.hostname, parts.port)
    body = _body(given)
    try:
        connection.request(
            given.request or ("GET" if body is None else "POST"),
            (parts.path or "/") + (f"?{parts.query}" if parts.query else ""),
            body,
            _headers(given, body),
        )
    except ConnectionError as error:
        sys.stderr.write(f"curl: ({_REFUSED}) {error}\n")
        return _REFUSED
    response = connection.getresponse()
    data = response.read()
    if given.cookie_jar and (cookie := response.getheader("Set-Cookie")):
        Path(given.cookie_jar).write_text(cookie.split(";")[0])
    if given.fail and response.status >= 400:
        if not given.silent or given.show_error:
            sys.stderr.write(f"curl: ({_FAILED}) The requested URL returned error: {response.status}\n")
        return _FAILED
    if given.output:
        Path(given.output).write_bytes(data)
    else:
        sys.stdout.buffer.write(data)
    target = response.getheader("Location")
    said = given.write_out.replace("%{http_code}", str(response.status)).replace("\\n", "\n")
    sys.stdout.write(said.replace("%{redirect_url}", urljoin(given.url, target) if target else ""))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("curl")
    parser.add_argument("url")
    parser.add_argument("-s", "--silent", action="store_true")
    parser.add_argument("-S", "--show-error", action="store_true")
    parser.add_argument("--fail", action="store_true")
    parser.add_argument("-X", "--request")
    parser.add_argument("-H", "--header", action="append", default=[])
    for name in ("--data-binary", "--data-urlencode", "--output", "--cookie", "--cookie-jar"):
        parser.add_argument(name)
    parser.add_argument("--write-out", default="")
    return parser


def _body(given: argparse.Namespace) -> bytes | None:
    if given.data_urlencode is not None:
        name, _, value = given.data_urlencode.partition("=")
        return f"{name}={quote(value, safe='')}".encode()
    if given.data_binary is None:
        return None
    text: str = given.data_binary
    return Path(text[1:]).read_bytes() if text.startswith("@") else text.encode()


def _headers(given: argparse.Namespace, body: bytes | None) -> dict[str, str]:
    headers = {"Accept": "*/*"} | dict(line.split(": ", 1) for line in given.header)
    if body is not None:
        headers.setdefault("Content-Type", "application/x-www-form-urlencoded")
    if given.cookie:
        headers["Cookie"] = Path(given.cookie).read_text()
    return headers


if __name__ == "__main__":
    sys.exit(main())
