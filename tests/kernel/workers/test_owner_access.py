"""The client of a request that a worker has passed on."""

from __future__ import annotations

import pytest
from multidict import CIMultiDict, CIMultiDictProxy

from smartmob.kernel.http.forwarding import ForwardedClient, TrustedProxies
from smartmob.kernel.workers import owner_access
from smartmob.kernel.workers.owner_access import HEADER, WorkerClients


def _client(given: str, trusted: tuple[str, ...] = (), **headers: str) -> ForwardedClient | None:
    clients = WorkerClients("secret", TrustedProxies(trusted))
    sent = {HEADER: given} | {name.replace("_", "-"): text for name, text in headers.items()}
    return clients.client("", CIMultiDictProxy(CIMultiDict(sent)))


@pytest.mark.parametrize(("scheme", "address"), [("http", "10.0.0.7"), ("https", "fe80::1%eth0")])
def test_the_owner_sees_the_client_of_the_worker(scheme: str, address: str) -> None:
    """Address and scheme are those of the client's own connection."""
    assert _client(owner_access.value("secret", scheme, address)) == ForwardedClient(address, scheme)


def test_a_trusted_proxy_before_the_worker_is_believed() -> None:
    """Its header counts as if there were no workers; that of another machine does not."""
    told = owner_access.value("secret", "http", "10.0.0.7")
    behind = _client(told, ("10.0.0.7",), X_Forwarded_For="192.0.2.1", X_Forwarded_Proto="https")
    assert behind == ForwardedClient("192.0.2.1", "https")
    assert _client(told, (), X_Forwarded_For="192.0.2.1") == ForwardedClient("10.0.0.7", "http")


@pytest.mark.parametrize("forged", ["", "wrong http 127.0.0.1", "\udcff http 127.0.0.1"])
def test_the_header_counts_only_with_the_secret(forged: str) -> None:
    """A client that sends it itself stays the client that it is."""
    assert _client(forged) is None
