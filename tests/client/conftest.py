"""Services and connections for the tests of the client."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from smartmob.client.command_client import CommandClient
from smartmob.settings import Settings
from tests.client.servers import Server, Wire, serving, wire_to
from tests.waiting import SECONDS


@pytest.fixture(name="server")
def _server(settings: Settings) -> Iterator[Server]:
    """Return a service in a thread of its own."""
    with serving(settings) as server:
        yield server


@pytest.fixture(name="lab")
async def _lab(client: Any, tmp_path: Path) -> AsyncIterator[CommandClient]:
    """Return a connection to a service; its working directory is the test's own."""
    async with CommandClient(f"http://127.0.0.1:{client.server.port}", timeout=SECONDS) as lab:
        await lab.cd(str(tmp_path))
        yield lab


@pytest.fixture(name="wire")
async def _wire(client: Any) -> AsyncIterator[Wire]:
    """Return a wire before a service."""
    async with wire_to(client.server.port) as wire:
        yield wire
