"""Fixtures of the tests of the feature `commands`."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from smartmob.client.command_client import Lab
from tests.commands.features import RunningFeature, feature
from tests.commands.socket_clients import SocketClient
from tests.waiting import SECONDS


@pytest.fixture(name="commands")
async def _commands(database_url: str, tmp_path: Path) -> AsyncIterator[RunningFeature]:
    """Return a running feature."""
    async with feature(database_url, tmp_path) as found:
        yield found


@pytest.fixture(name="lab")
async def _lab(client: Any, tmp_path: Path) -> AsyncIterator[Lab]:
    """Return a client's connection to a running service; its working directory is the test's own."""
    async with Lab(f"http://127.0.0.1:{client.server.port}", timeout=SECONDS) as lab:
        await lab.cd(str(tmp_path))
        yield lab


@pytest.fixture(name="peer")
async def _peer(commands: RunningFeature) -> AsyncIterator[SocketClient]:
    """Return a connected client."""
    client = SocketClient(commands)
    yield client
    client.connection.close()
