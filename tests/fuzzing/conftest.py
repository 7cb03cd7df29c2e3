"""The service that is fuzzed, one for a module of tests, with a database of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from tests.databases import Databases
from tests.fuzzing.service import Service, running


@pytest.fixture(scope="module", name="fuzzed_url")
def _fuzzed_url(postgres_url: str, databases: Databases) -> Iterator[str]:
    """Return the URL of the database of the service."""
    name = asyncio.run(databases.take())
    yield postgres_url.format(name)
    asyncio.run(databases.drop(name))


@pytest.fixture(scope="module", name="service")
def _service(fuzzed_url: str) -> Iterator[Service]:
    """Return the service."""
    with running(fuzzed_url) as service:
        yield service
