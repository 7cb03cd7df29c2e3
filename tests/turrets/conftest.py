"""The fixtures of the tests of load tests: a headquarters, and turrets that a test controls."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import Any

import pytest

from smartmob.feature_settings import TurretsSettings
from tests import free_ports
from tests.turrets.scripted import OctTurret, OwnTurret, connected, where
from tests.turrets.stored import Store, opened

QUICK = TurretsSettings(
    hq=True,
    hq_publish_port=0,
    hq_rc_port=0,
    hq_external_port=0,
    lost_after=3.0,
    quiet=1.0,
    drain=10.0,
    wait=20.0,
)
"""The settings of a headquarters on free ports with short timeouts."""


def restartable() -> TurretsSettings:
    """Return these settings with ports that the next service on them can have again."""
    return replace(QUICK, hq_publish_port=free_ports.single_port(), hq_rc_port=free_ports.single_port())


@pytest.fixture(name="lab")
async def _lab(with_settings: Callable[..., Awaitable[Any]]) -> Any:
    """Return a client of a service that is a headquarters."""
    return await with_settings(turrets=QUICK)


Recruit = Callable[..., Awaitable[Any]]


@pytest.fixture(name="recruit")
async def _recruit() -> AsyncIterator[Recruit]:
    """Return the maker of turrets: `await recruit(client)` is one of OCT, `await recruit(client, OwnTurret)` ours."""
    async with AsyncExitStack() as stack:

        async def make(client: Any, kind: type[OctTurret] | type[OwnTurret] = OctTurret, **options: Any) -> Any:
            return await stack.enter_async_context(connected(kind(*await where(client), **options)))

        yield make


@pytest.fixture(name="store")
async def _store(database_url: str) -> AsyncIterator[Store]:
    """Return the open tables of a database of the test's own."""
    async with opened(database_url) as store:
        yield store
