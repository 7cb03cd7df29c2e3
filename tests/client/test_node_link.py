"""The node's side of a link: keys, refusals, and what it says."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from smartmob.client.node_key import JoinRefused, Membership
from smartmob.client.node_link import LocalServer, NodeLink, Outbox
from smartmob.errors import StartupError
from smartmob.kernel.auth.node_access import make_secret
from smartmob.kernel.journal.journal import Journal
from smartmob.kernel.runtime import clock
from smartmob.kernel.runtime.tasks import TaskRegistry
from tests.waiting import until


def _link(
    member: Membership, said: list[str], wall: Callable[[], float] = clock.epoch, outbox: Outbox | None = None
) -> NodeLink:
    def start(_: str, work: Any) -> asyncio.Task[Any]:
        return asyncio.get_running_loop().create_task(work)

    async def accept(_: Any) -> None:
        raise AssertionError("no stream is asked for")

    return NodeLink(member, LocalServer(start, accept, lambda _: None, make_secret), wall, said.append, outbox)


def _url(client: Any) -> str:
    return f"http://127.0.0.1:{client.server.port}"


async def test_a_key_is_kept_and_used_again(client: Any, tmp_path: Path) -> None:
    """The token is needed once; the file of the key is for the user of the node only."""
    file = tmp_path / "state" / "node.json"

    async def said_with(token: str | None) -> str:
        said: list[str] = []
        running = asyncio.ensure_future(_link(Membership(_url(client), "rack7", file, token=token), said).run())
        await until(lambda: any("connected" in text for text in said))
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        return " ".join(said)

    assert "joined" in await said_with("any")
    assert "joined" not in await said_with(None)
    moved = Membership("http://127.0.0.1:9", "rack7", file)
    with pytest.raises(JoinRefused, match=r"same service under another address, change `url` in .*node\.json"):
        await _link(moved, []).run()
    said: list[str] = []
    renamed = asyncio.ensure_future(_link(Membership(_url(client), "b", file, named=True), said).run())
    await until(lambda: any("connected" in text and "as rack7" in text for text in said))
    assert "is the node rack7 already, so the name b is not used" in said[0]
    renamed.cancel()
    await asyncio.gather(renamed, return_exceptions=True)
    assert file.stat().st_mode & 0o077 == 0


async def test_a_node_without_token_and_key_says_what_it_needs(client: Any, tmp_path: Path) -> None:
    """It does not try again and again."""
    with pytest.raises(JoinRefused, match="smartmob token add NAME --role node"):
        await _link(Membership(_url(client), "rack7", tmp_path / "node.json"), []).run()


async def test_a_taken_name_ends_the_node(client: Any, tmp_path: Path) -> None:
    """The reason of the service is told."""
    async with client.post("/api/v1/nodes/join", json={"name": "rack7"}) as answer:
        assert answer.status == 201
    with pytest.raises(JoinRefused, match="there is a node rack7 already"):
        await _link(Membership(_url(client), "rack7", tmp_path / "node.json", token="any"), []).run()


async def test_a_clock_that_is_set_is_measured_before_the_next_record(client: Any, tmp_path: Path) -> None:
    """A node whose clock is hours wrong, and jumps to another wrong time, delivers the true times of its events."""
    wrong, tasks = [timedelta(hours=3)], TaskRegistry()
    journal = Journal(tmp_path / "journal", ("process_event",))
    await journal.start(tasks)

    def wall() -> float:
        return clock.epoch() + wrong[-1].total_seconds()

    async def put(kind: str) -> None:
        event = {"slug": "a.web.0", "at": datetime.fromtimestamp(wall(), UTC), "kind": kind, "detail": {}}
        await journal.put([("process_event", {"id": uuid4(), "event": event})])

    async def times(count: int) -> list[datetime]:
        async def stored() -> Any:
            async with client.get("/api/v1/nodes/rack7/process-events") as answer:
                events = (await answer.json()).get("events", [])
                return [datetime.fromisoformat(event["at"]) for event in events] if len(events) == count else None

        found: list[datetime] = await until(stored)
        return found

    began = clock.now()
    member = Membership(_url(client), "rack7", tmp_path / "node.json", token="any")
    journal.add_table(_NoTable())
    running = asyncio.ensure_future(_link(member, [], wall, journal).run())
    for number, jump in enumerate((wrong[0], timedelta(hours=-2), timedelta(days=400)), start=1):
        wrong.append(jump)
        await put("started")
        for at in await times(number):
            assert began - timedelta(seconds=5) < at < clock.now() + timedelta(seconds=5)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    await journal.close()
    await tasks.close()


class _NoTable:
    """A table of events that keeps none: they wait in the outbox alone."""

    kinds = ("process_event",)

    def apply(self, kind: str, value: Any) -> None:
        """Keep nothing."""

    def entries(self) -> Any:
        """Yield nothing."""
        return iter(())


async def test_a_removed_node_is_refused(client: Any, tmp_path: Path) -> None:
    """Its link is closed with the reason, and its key is forgotten."""
    file, said = tmp_path / "node.json", list[str]()
    running = asyncio.ensure_future(_link(Membership(_url(client), "rack7", file, token="any"), said).run())
    await until(lambda: any("connected" in text for text in said))
    async with client.delete("/api/v1/nodes/rack7") as answer:
        assert answer.status == 204
    with pytest.raises(JoinRefused, match="was removed"):
        await running
    assert not file.exists()


async def test_a_key_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    """The node does not begin anew by itself, which would need another name."""
    file = tmp_path / "node.json"
    file.write_text("{")
    with pytest.raises(StartupError, match=r"node\.json"):
        _link(Membership("http://127.0.0.1:9", "rack7", file), [])
