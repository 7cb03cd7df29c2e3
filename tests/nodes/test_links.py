"""The links of the connected nodes, and streams that are dialled back or not."""

from __future__ import annotations

from typing import Any

import pytest

from smartmob.errors import NotFound, Unavailable
from smartmob.kernel.runtime import clock
from smartmob.nodes.links import REPLACED, Link, NodeLinks


class Recorded:
    """A WebSocket that remembers what is sent, and with which code it is closed."""

    def __init__(self) -> None:
        self.sent: list[str] = []
        self.code: int | None = None

    async def send_str(self, text: str) -> None:
        """Remember a text."""
        self.sent.append(text)

    async def close(self, *, code: int = 1000, message: bytes = b"") -> None:
        """Remember the code."""
        self.code = code


def _link(name: str = "rack7") -> tuple[Link, Recorded]:
    websocket: Any = Recorded()
    return Link(name, websocket, clock.now()), websocket


async def test_a_node_that_connects_again_replaces_its_link() -> None:
    """The old link is closed with a code of its own, and its end does not remove the new one."""
    links = NodeLinks()
    (old, closed), (new, _) = _link(), _link()
    await links.add(old)
    await links.add(new)
    assert closed.code == REPLACED
    assert not links.remove(old)
    assert links.find("rack7") is new
    assert links.remove(new)
    assert "rack7" not in links


async def test_a_stream_of_a_node_that_is_away_is_refused() -> None:
    """The error names the node."""
    with pytest.raises(Unavailable, match="rack7 is not connected"):
        await NodeLinks().open_stream("rack7")


async def test_a_stream_fails_when_its_node_is_lost() -> None:
    """Its request does not wait for the end of the time to dial."""
    links = NodeLinks()
    link, websocket = _link()
    await links.add(link)
    original = websocket.send_str

    async def lost(text: str) -> None:
        await original(text)
        links.remove(link)

    websocket.send_str = lost  # type: ignore[method-assign]  # the link is lost in the moment of the request
    with pytest.raises(Unavailable, match="was lost"):
        await links.open_stream("rack7")


async def test_a_stream_is_for_its_own_node() -> None:
    """Another node cannot dial it, and a stream that no request has asked for cannot be dialled."""
    links = NodeLinks()
    link, websocket = _link()
    await links.add(link)
    idents: list[str] = []

    async def asked(text: str) -> None:
        ident = text.split('"')[-2]
        with pytest.raises(NotFound):
            links.check_stream(ident, "another")
        links.check_stream(ident, "rack7")
        idents.append(ident)
        links.remove(link)

    websocket.send_str = asked  # type: ignore[method-assign]  # the test looks while the request waits
    with pytest.raises(Unavailable):
        await links.open_stream("rack7")
    with pytest.raises(NotFound):
        links.check_stream(idents[0], "rack7")
