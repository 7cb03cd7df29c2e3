"""Comparisons of runs on machines that CI services make for one job, on unknown machines, and on different ones."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import asyncpg
import pytest

from smartmob.feature_settings import HostsSettings
from smartmob.kernel.runtime import clock
from smartmob.settings import Settings
from tests.hosts.samples import register
from tests.metrics.samples import session
from tests.metrics.suites import compare, describe, get, send, verdict_on

SLOW = {"test_3": 0.2}
CONTAINERS = ("9f0c7b1f3a2e", "fv-az1250-48", "codespaces-c24d64", "web-7d4b9c6f5d-x2x4z", "runnervm0kj6c")


async def _history(client: Any, number: int = 10, letter: str = "s", **options: Any) -> None:
    for hour in range(number):
        await send(client, f"{letter}{hour:02}", hour, **options)


async def test_runs_in_containers_are_of_one_machine(client: Any) -> None:
    """Random host names, some megabytes, and patches of the kernel and Python do not end a history."""
    for hour in range(12):
        h = f"{hour:032}"
        await describe(
            client,
            h,
            machine_node=CONTAINERS[hour % len(CONTAINERS)],
            ram_total=16000 + 3 * (hour % 2),
            system_info=f"Linux - 6.1.0-{18 + hour}-amd64",
            python_info=f"3.11.{hour} (main)",
        )
        await send(client, f"s{hour:02}", hour, SLOW if hour > 9 else {}, context_h=h)
    found = await compare(client, "s09", "s11")
    assert (found["verdict"], verdict_on(found, "test_3")) == ("regression", "regression")
    assert (found["contexts"][0]["sessions"], found["items"][0]["confidence"]) == (10, "normal")
    assert (found["places"]["differences"], found["places"]["explanation"]) == ([], None)
    place = found["contexts"][0]["place"]
    assert (place["name"], place["rule"], place["python"]) == ("8 x A vendor, 16 GB", "hardware", "3.11")
    assert "the name of a runner of GitHub Actions" in found["places"]["base"][0]["explanation"]
    series = await get(client, f"/items/{found['items'][0]['item_id']}/series")
    assert (len(series["points"]), series["changes"]) == (12, [])
    run = await get(client, "/runs/s11")
    assert run["places"] == [found["places"]["head"][0]]


async def test_unknown_machines_are_never_compared_with_confidence(client: Any) -> None:
    """Reports without a host name and hardware get verdicts of low confidence, and the reason is said once."""
    blank = dict.fromkeys(("cpu_type", "cpu_vendor", "machine_type", "machine_arch", "system_info"), "unknown")
    await describe(client, machine_node="unknown", cpu_count=0, ram_total=0, **blank)
    await _history(client)
    for hour in (10, 11):
        await send(client, f"s{hour}", hour, SLOW)
    found = await compare(client, "s09", "s11")
    assert found["verdict"] == "regression"
    assert {row["confidence"] for row in found["items"]} == {"low"}
    assert "low confidence: it is not known which machine this was" in found["items"][0]["reason"]
    assert "give the session the tag machine=NAME" not in found["items"][0]["reason"]
    assert found["places"]["explanation"].count("give the session the tag machine=NAME") == 1


async def test_a_tag_names_the_machine(client: Any) -> None:
    """Sessions of one runner are compared whatever the machine is called, and not with others of that name."""
    await describe(client, "c" * 32, machine_node="ip-10-0-0-1")
    await describe(client, "d" * 32, machine_node="ip-10-0-0-2")
    for hour in range(11):
        tags = {"runner": "perf"} if hour % 2 else {"machine": "perf"}
        await send(client, f"s{hour:02}", hour, context_h="cd"[hour % 2] * 32, tags=tags)
    await send(client, "other", 12)
    assert (await compare(client, "s09", "s10"))["contexts"][0]["sessions"] == 10
    found = await compare(client, "s09", "other")
    assert found["verdict"] == "unfit"
    assert "different machines: machine perf and ip-10-0-0-1" in found["explanation"]


async def test_different_machines_are_compared_on_purpose_only(client: Any) -> None:
    """The difference is said once; with `across` the verdicts have low confidence."""
    await describe(client)
    await describe(client, "d" * 32, ram_total=32000)
    await _history(client)
    for hour in range(20, 22):
        await send(client, f"t{hour}", hour, SLOW, context_h="d" * 32)
    found = await compare(client, "s09", "t20")
    assert (found["verdict"], found["contexts"]) == ("unfit", [])
    assert "different machines: RAM 16 GB and 32 GB" in found["explanation"]
    assert found["places"]["differences"] == ["RAM 16 GB and 32 GB"]
    assert found["places"]["explanation"].endswith("Compare them nevertheless with --across.")
    for value in ("true", "1"):
        found = await compare(client, "s09", "t20", across=value)
        assert (found["verdict"], found["places"]["across"]) == ("regression", True)
        assert "with low confidence" in found["places"]["explanation"]
        assert {row["confidence"] for row in found["items"]} == {"low"}
    same = await compare(client, "s08", "s09", across="true")
    assert (same["places"]["across"], same["items"][0]["confidence"]) == (False, "normal")
    await get(client, "/compare", 400, base="s09", head="t20", across="maybe")


class TestLinkedHost:
    """Sessions of a machine that does not know its name."""

    @pytest.fixture(name="linked")
    async def _linked(self, with_settings: Any) -> Any:
        """Return a client of a service whose own machine is called rack7."""
        client = await with_settings(hosts=HostsSettings(name="rack7"))
        await describe(client, machine_node="localhost")
        return client

    async def test_a_session_over_loopback_is_of_the_machine_of_the_service(self, linked: Any) -> None:
        """The plugin calls the machine localhost; the run names the host."""
        await send(linked, "s0", 0, start=clock.now())
        (place,) = (await get(linked, "/runs/s0"))["places"]
        assert (place["name"], place["rule"], place["host"]) == ("rack7", "address", "rack7")
        assert (await get(linked, "/runs/"))["runs"][0]["nodes"] == ["localhost"]
        row = (await get(linked, "/items/test_0/history"))["history"][0]
        assert (row["machine_node"], row["machine"]) == ("localhost", "rack7")

    async def test_a_session_through_a_proxy_or_from_a_file_is_not_linked(self, linked: Any) -> None:
        """The address is not that of the machine; the run says how to link it."""
        now = clock.now()
        sent = session("s0", run_date=now.isoformat())
        async with linked.post("/sessions/", json=sent, headers={"X-Forwarded-For": "192.0.2.1"}) as response:
            assert response.status == 201
        await send(linked, "s0", 0, start=now)
        await send(linked, "s1", 0, start=now - timedelta(days=1))
        for name in ("s0", "s1"):
            run = await get(linked, f"/runs/{name}")
            (place,) = run["places"]
            assert (place["rule"], place["host"]) == ("hardware", None), name
            assert "report-host" in place["doubt"]
            assert run["unlinked"].startswith("its machine has no name of its own: give the session the")

    async def test_a_trusted_proxy_tells_the_machine(self, with_settings: Any) -> None:
        """A session and samples that come through a trusted proxy from one address are of one machine."""
        client = await with_settings(hosts=HostsSettings(name="rack7"), trusted_proxy=("127.0.0.1",))
        await describe(client, machine_node="localhost")
        headers = {"Authorization": await register(client, "rack9"), "X-Forwarded-For": "192.0.2.9"}
        now = clock.now()
        async with client.post(
            "/client/rack9", json={"cpu": 5, "unix_time": now.timestamp()}, headers=headers
        ) as answer:
            assert answer.status == 202
        for name, address in (("s0", "192.0.2.9"), ("s1", "192.0.2.8")):
            sent = session(name, run_date=(now + timedelta(seconds=60 if name == "s1" else 0)).isoformat())
            async with client.post("/sessions/", json=sent, headers={"X-Forwarded-For": address}) as answer:
                assert answer.status == 201
            await send(client, name, 0, start=now)
        run = await get(client, "/runs/s0")
        assert (run["places"][0]["name"], run["places"][0]["rule"], run["unlinked"]) == ("rack9", "address", None)
        other = await get(client, "/runs/s1")
        assert (other["places"][0]["rule"], other["unlinked"] is None) == ("hardware", False)

    async def test_a_named_machine_that_does_not_report_is_not_linked(self, client: Any) -> None:
        """The run says how the load of its machine becomes a part of it."""
        await describe(client, machine_node="rack3")
        await send(client, "s0", 0, start=clock.now())
        run = await get(client, "/runs/s0")
        assert (run["places"][0]["rule"], run["unlinked"]) == (
            "host_name",
            "none reported its load as rack3 meanwhile: start `smartmob report-host` there, or give the "
            "session the tag machine=NAME of one that does",
        )

    async def test_a_busy_host_makes_the_run_unfit_that_it_is_linked_to(self, client: Any, settings: Settings) -> None:
        """The load of the host counts, although the report calls it localhost."""
        await describe(client, machine_node="localhost")
        ident = await register(client, "rack9")
        start = clock.now() - timedelta(hours=20)
        for hour in range(8):
            await send(client, f"s{hour:02}", hour, {"test_0": 20.0}, start=start)
            begun = (start + timedelta(hours=hour)).timestamp()
            sample = {"cpu": 95.0 if hour == 7 else 5.0, "unix_time": str(begun + 5)}
            async with client.post("/client/rack9", json=sample, headers={"Authorization": ident}) as response:
                assert response.status == 202
        connection = await asyncpg.connect(settings.database.url)
        await connection.execute("UPDATE test_sessions SET host = 'rack9'")
        await connection.close()
        found = await compare(client, "s06", "s07")
        assert (found["verdict"], found["contexts"][0]["host"]["host"]) == ("unfit", "rack9")
        assert "The processors of rack9 were 95% busy" in found["explanation"]

    async def test_sessions_of_a_former_version_stay_in_the_history(self, client: Any, settings: Settings) -> None:
        """They have no address, so they are of the linked machine in doubt; those of another host are not."""
        await describe(client, machine_node="localhost")
        await _history(client, 12)
        connection = await asyncpg.connect(settings.database.url)
        await connection.execute("UPDATE test_sessions SET host = 'rack9' WHERE session_h = 's11'")
        found = await compare(client, "s10", "s11")
        assert (found["verdict"], found["contexts"][0]["sessions"]) == ("noise", 11)
        assert found["items"][0]["confidence"] == "low"
        assert "give the session the tag machine=NAME" in found["places"]["explanation"]
        assert (await compare(client, "s11", "s10"))["contexts"][0]["place"]["rule"] == "hardware"
        await connection.execute("UPDATE test_sessions SET host = 'rack8' WHERE session_h = 's10'")
        await connection.close()
        found = await compare(client, "s10", "s11")
        assert "different machines: machine rack8 and rack9" in found["explanation"]
