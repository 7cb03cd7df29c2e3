"""The service that is fuzzed, one for a process of tests, with a database of its own."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator

import pytest

from smartmob.kernel.embedded.roles import ROLE
from tests.conftest import TEMPLATE, execute
from tests.fuzzing.service import Service, running


@pytest.fixture(scope="session", name="fuzzed_url")
def _fuzzed_url(postgres_url: str) -> Iterator[str]:
    name = f"fuzzed_{os.getpid()}"
    asyncio.run(execute(postgres_url, f"CREATE DATABASE {name} OWNER {ROLE} TEMPLATE {TEMPLATE} STRATEGY file_copy"))
    yield postgres_url.format(name)
    asyncio.run(execute(postgres_url, f"DROP DATABASE {name} WITH (FORCE)"))


@pytest.fixture(scope="session", name="service")
def _service(fuzzed_url: str) -> Iterator[Service]:
    """Return the service."""
    with running(fuzzed_url) as service:
        yield service
