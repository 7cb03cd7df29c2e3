"""The addresses from which machines report."""

from __future__ import annotations

from typing import Any

from smartmob.app import build
from smartmob.hosts.addresses import HostAddresses
from smartmob.settings import Settings
from tests.conftest import running
from tests.hosts.samples import client_id, register, sample, talking


def _addresses(times: list[float]) -> HostAddresses:
    return HostAddresses(lambda: times[-1], lambda: "own")


def test_an_address_names_the_only_machine_that_reports_from_it() -> None:
    """An address that several machines share, as behind NAT, names none of them."""
    addresses = _addresses([0.0])
    addresses.seen("rack7", "192.0.2.7")
    assert addresses.host_at("192.0.2.7", is_local=False) == "rack7"
    assert addresses.host_at("192.0.2.8", is_local=False) is None
    addresses.seen("rack8", "192.0.2.7")
    assert addresses.host_at("192.0.2.7", is_local=False) is None
    addresses.seen("rack8", "192.0.2.8")
    assert addresses.host_at("192.0.2.7", is_local=False) == "rack7"


def test_the_machine_of_the_service_has_all_local_addresses() -> None:
    """A request over loopback is of the service's own machine."""
    assert _addresses([0.0]).host_at("127.0.0.1", is_local=True) == "own"


def test_an_old_address_names_no_machine() -> None:
    """An address may have been given to another machine after a day; a proxy makes it unknown at once."""
    times: list[Any] = [0.0]
    addresses = _addresses(times)
    addresses.seen("rack7", "192.0.2.7")
    times.append(86_401.0)
    assert addresses.host_at("192.0.2.7", is_local=False) is None
    addresses.seen("rack7", "192.0.2.7")
    addresses.seen("rack7", None)
    assert addresses.host_at("192.0.2.7", is_local=False) is None


async def test_the_address_of_a_sample_is_kept(settings: Settings) -> None:
    """Samples over HTTP and /echo tell the address of the machine; one through a proxy does not."""
    service = build(settings)
    hosts = service.services.hosts
    async with running(service) as client:
        headers = {"Authorization": await register(client, "rack7")}
        for more, expected in (({}, "rack7"), ({"X-Forwarded-For": "192.0.2.1"}, None)):
            async with client.post("/client/rack7", json=sample(), headers=headers | more) as answer:
                assert answer.status == 202, await answer.text()
            assert hosts.addresses.host_at("127.0.0.1", is_local=False) == expected
        async with talking(client) as talk:
            assert (await talk.send(sample(), client_id("rack7")))["type"] == "DATA_RETURN"
        assert hosts.addresses.host_at("127.0.0.1", is_local=False) == "rack7"


def test_an_address_is_news_once_and_again_after_some_time() -> None:
    """Other processes hear of it, but not with each sample."""
    times, told = [0.0], list[tuple[str, str | None]]()
    addresses = HostAddresses(lambda: times[-1], lambda: "own", lambda name, address: told.append((name, address)))
    for at, address in ((0.0, "192.0.2.7"), (599.0, "192.0.2.7"), (600.0, "192.0.2.7"), (601.0, "192.0.2.8")):
        times.append(at)
        addresses.seen("rack7", address)
    addresses.seen("rack7", None)
    addresses.seen("rack7", None)
    assert told == [("rack7", "192.0.2.7"), ("rack7", "192.0.2.7"), ("rack7", "192.0.2.8"), ("rack7", None)]
    assert not addresses.keep("rack8", None)
    assert addresses.keep("rack8", "192.0.2.9")
    assert len(told) == 4  # only the process that has seen a machine tells of it
