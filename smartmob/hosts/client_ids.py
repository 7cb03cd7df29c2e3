"""The names of machines, and the client ids with which they authenticate."""

from __future__ import annotations

import base64
import binascii
import re

LONGEST_NAME = 128  # characters
LONGEST_PASSWORD = 1024  # characters
# Characters of base64 of a name and a password of at most four bytes a character.
_LONGEST_CLIENT_ID = 4 * (4 * LONGEST_NAME + LONGEST_PASSWORD * 4 + 1) // 3 + 4


def is_name(name: str) -> bool:
    """Return whether this is a valid name of a machine; `name_rule` describes them.

    Seed 001 refuses names that do not begin with a letter. Host names that begin with a digit are accepted where they
    have no other meaning: the id of a container, or a name with a dot or a hyphen. A colon separates the name from the
    password in a client id. Slashes, spaces, dots and letters of any script are allowed.
    """
    begins = name[:1].isalpha() or _DIGIT_NAME.fullmatch(name) is not None
    return 0 < len(name) <= LONGEST_NAME and begins and name.isprintable() and ":" not in name


_DIGIT_NAME = re.compile(
    r"[0-9a-f]{12}|[0-9a-f]{64}"  # the host names that Docker and Podman give, and the whole id of a container
    r"|[0-9][0-9a-zA-Z_]*([.-][0-9a-zA-Z_]+)+\.?"  # a host name or an IPv4 address (RFC 1123, section 2.1)
)


def name_rule() -> str:
    """Return the rule for valid names of machines in words."""
    return (
        "a name begins with a letter (or is a container's id, or a host name such as 01-web or 10.0.0.7), has at most "
        f"{LONGEST_NAME} printable characters and no colon"
    )


def client_id(name: str, password: str) -> str:
    """Return the id with which a client authenticates: the base64 of `name:password` (seed 001)."""
    return base64.b64encode(f"{name}:{password}".encode()).decode()


def parse_client_id(given: str) -> tuple[str, str] | None:
    """Return the name and the password in a client id, or None when it is invalid."""
    if len(given) > _LONGEST_CLIENT_ID:
        return None
    try:
        name, colon, password = base64.b64decode(given.strip().encode(), validate=True).decode().partition(":")
    except (binascii.Error, UnicodeError):
        return None
    return (name, password) if colon and is_name(name) else None


def authorization_id(header: str | None) -> str:
    """Return the client id in an Authorization header: alone, or with HTTP Basic, which uses the same base64."""
    scheme, _, rest = (header or "").strip().partition(" ")
    return rest.strip() if scheme.lower() == "basic" else scheme
