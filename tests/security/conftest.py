"""The two attacked services; each module of tests starts its own, and no idle one goes on until the end of a run."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.security.services import TOKEN, Target, attacked


@pytest.fixture(scope="module", name="guarded")
def _guarded() -> Iterator[Target]:
    """Return a service with a token."""
    with attacked(TOKEN) as target:
        yield target


@pytest.fixture(scope="module", name="open_one")
def _open_one() -> Iterator[Target]:
    """Return a service without a token."""
    with attacked(None) as target:
        yield target
