"""Tests of the choice of the requests that may be answered from a replica."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from smartmob.kernel.runtime.replica_reads import ALLOWED, ReplicaReads


@pytest.fixture(autouse=True)
def _keep_choice() -> Iterator[None]:
    """Restore the choice after a test, whose context later tests share."""
    before = ALLOWED.set(False)
    yield
    ALLOWED.reset(before)


def test_a_client_that_has_changed_something_is_not_sent_to_the_replica_until_it_must_have_the_change() -> None:
    """Others are, and so is the client once a replica that is read has the change."""
    now = 100.0
    reads = ReplicaReads(10.0, lambda: now)

    def allowed(method: str, client: str | None, *, websocket: bool = False) -> bool:
        reads.begin(method, client, websocket=websocket)
        return ALLOWED.get()

    assert not ALLOWED.get()
    assert allowed("GET", "10.0.0.1") and allowed("HEAD", None)
    assert not allowed("POST", "10.0.0.1")
    assert not allowed("GET", "10.0.0.1")
    assert allowed("GET", "10.0.0.2")
    assert not allowed("GET", "10.0.0.2", websocket=True)
    now = 110.5
    assert allowed("GET", "10.0.0.1")


def test_the_clients_that_are_remembered_are_bounded() -> None:
    """Those that have changed nothing for longest are forgotten first."""
    reads = ReplicaReads(1e9, lambda: 1.0)
    for number in range(20_000):
        reads.begin("POST", f"client {number}")
    assert len(reads._changed) == 10_000
    reads.begin("GET", "client 19999")
    assert not ALLOWED.get()
