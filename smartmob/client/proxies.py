"""The HTTP proxy through which this machine reaches a service, from the variables that curl and others read."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from urllib.parse import urlsplit

from smartmob.errors import SettingsError

_NAMES = ("https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY")
"""The variables in the order in which they count, as curl has it."""


def proxy_of(url: str, environment: Mapping[str, str]) -> str | None:
    """Return the proxy for an https:// address, or None; raises SettingsError for one that is no HTTP proxy.

    This machine itself is never reached through a proxy, and no http:// address is: a WebSocket needs a tunnel, which
    proxies open for https:// only.
    """
    parts = urlsplit(url)
    host = parts.hostname or ""
    name = next((name for name in _NAMES if environment.get(name)), None)
    if parts.scheme != "https" or name is None or _is_here(host):
        return None
    if _is_excepted(host, environment.get("no_proxy") or environment.get("NO_PROXY") or ""):
        return None
    proxy = environment[name]
    proxy = proxy if "://" in proxy else f"http://{proxy}"
    if not proxy.startswith(("http://", "https://")):
        raise SettingsError(
            f"{name} names a proxy for {proxy.partition('://')[0]}, but only HTTP proxies can be used; "
            f"to connect without one, add {host} to no_proxy"
        )
    return proxy


def _is_here(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def _is_excepted(host: str, names: str) -> bool:
    """Return whether a list has the host, a domain that it is in, a network of its address, or `*`."""
    for name in (part.strip().lower().lstrip(".") for part in names.split(",")):
        if name and (name == "*" or host == name or host.endswith(f".{name}") or _contains(name, host)):
            return True
    return False


def _contains(network: str, host: str) -> bool:
    try:
        return ipaddress.ip_address(host) in ipaddress.ip_network(network, strict=False)
    except ValueError:
        return False
