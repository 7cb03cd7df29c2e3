"""The client of a request that a worker has passed on to the owner: its address and its scheme, in one header."""

from __future__ import annotations

import hmac

from multidict import CIMultiDictProxy

from smartmob.kernel.http.forwarding import ForwardedClient, TrustedProxies

HEADER = "X-Smartmob-Worker"
"""The header, which each worker sets, and which counts only with the secret that the workers have."""


def value(secret: str, scheme: str, address: str) -> str:
    """Return the value of the header for a client."""
    return f"{secret} {scheme} {address}"


class WorkerClients:
    """Implements the proxies of a gate: the owner gets its requests from workers, whose clients may be proxies."""

    def __init__(self, secret: str, proxies: TrustedProxies) -> None:
        self._secret = secret.encode()
        self._proxies = proxies

    def client(self, peer: str | None, headers: CIMultiDictProxy[str]) -> ForwardedClient | None:
        """Return the client of a request, as `TrustedProxies.client`."""
        secret, _, rest = headers.get(HEADER, "").partition(" ")
        if not hmac.compare_digest(secret.encode(errors="surrogateescape"), self._secret):
            return self._proxies.client(peer, headers)
        scheme, _, address = rest.partition(" ")
        found = self._proxies.client(address, headers)
        if found is not None:
            return ForwardedClient(found.address, found.scheme or scheme, found.host)
        return ForwardedClient(address, scheme)
