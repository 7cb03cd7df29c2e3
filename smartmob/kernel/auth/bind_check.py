"""The check that a service which other machines can reach has a token; the service makes it before its imports."""

from __future__ import annotations

import ipaddress

from smartmob.errors import StartupError


def check_bind(host: str, token: str | None, insecure: bool) -> None:
    """Raise StartupError, with possible solutions, for a service that other machines can reach without a token."""
    if token is not None or insecure or is_loopback(host):
        return
    raise StartupError(
        f"refusing to listen on {host} without a token, since every client that can connect could run programs here. "
        "Put a secret into a file and give --token-file FILE (or set SMARTMOB_TOKEN), "
        "or listen on 127.0.0.1, or accept the risk with --insecure."
    )


def is_loopback(host: str) -> bool:
    """Return whether `host` can be reached only from this machine."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
