"""The real clients, each with the Python of its own environment."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.acceptance import forked
from tests.interop import environments
from tests.interop.children import Suite


@pytest.fixture(scope="session", name="plugin_python")
def _plugin_python() -> Path:
    """Return a Python that has pytest-monitor."""
    return forked.python(environments.python_with(environments.PLUGIN), *environments.PLUGIN_IMPORTS)


@pytest.fixture(scope="session", name="monitor_python")
def _monitor_python() -> Path:
    """Return a Python that has monitor_api."""
    return forked.python(environments.python_with(environments.MONITOR_API), *environments.MONITOR_API_IMPORTS)


@pytest.fixture(scope="session", name="turret_python")
def _turret_python() -> Path:
    """Return a Python that has the turrets of OCT."""
    return environments.python_with(environments.OCT_TURRETS, interpreter=environments.python_311())


@pytest.fixture(scope="session", name="old_turret_python")
def _old_turret_python() -> Path:
    """Return a Python that has turrets of OCT which still say `canons`."""
    return environments.python_with(environments.OLD_OCT_TURRETS, interpreter=environments.python_311())


@pytest.fixture(name="suite")
def _suite(plugin_python: Path, tmp_path: Path) -> Suite:
    """Return an empty suite."""
    return Suite(plugin_python, tmp_path)
