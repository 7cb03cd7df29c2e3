"""The targets of health checks: the addresses in their texts. No I/O."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

_PORT = re.compile(r"\$(?:PORT\b|\{PORT\})")
_UNSAFE = re.compile(r"[\x00-\x20\x7f]")
_LARGEST_PORT = 65535
LOCALHOST = "localhost"
"""The default host, which is both 127.0.0.1 and ::1: programs listen on either."""


def url(text: str, port: str) -> str:
    """Return the address of an `http` check: a path of the program's own port, or a whole URL; `$PORT` is `port`.

    Raises ValueError, with a text for people.
    """
    found = _PORT.sub(port, text)
    if found.startswith("/"):
        found = f"http://{LOCALHOST}:{port}{found}"
    if _UNSAFE.search(found):
        raise ValueError(f"http {text!r}: an address has no blanks and no control characters")
    try:
        parts = urlsplit(found)
        _ = parts.port
    except ValueError as error:
        raise ValueError(f"http {text!r}: {error}") from None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"http {text!r}: expected a path such as /health, or an http:// or https:// address")
    return found


def address(target: int | str, port: str) -> tuple[str, int]:
    """Return the host and the port of a `tcp` check: `PORT`, `HOST:PORT` or `[IPV6]:PORT`; `$PORT` is `port`.

    Raises ValueError, with a text for people.
    """
    host, _, number = _PORT.sub(port, str(target)).rpartition(":")
    if not (number.isascii() and number.isdigit() and 1 <= int(number[:6]) <= _LARGEST_PORT) or len(number) > 5:
        raise ValueError(f"tcp {target!r}: expected a port from 1 to 65535, HOST:PORT, or $PORT for the program's own")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise ValueError(f"tcp {target!r}: an IPv6 address stands in brackets, as in [::1]:5432")
    if host.isdigit() or _PORT.search(str(target).rpartition(":")[0]):
        raise ValueError(f"tcp {target!r}: a host is a name or an address, not a number")
    if _UNSAFE.search(host):
        raise ValueError(f"tcp {target!r}: a host has no blanks and no control characters")
    return host or LOCALHOST, int(number)
