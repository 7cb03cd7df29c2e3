"""The options of `smartmob db`, and the connection to the database that they name."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import click

from smartmob.cli.serve import flag
from smartmob.environment import environment
from smartmob.settings import OPTIONS, Settings, load

_REPLICA = ("database_read_url", "database_read_url_file", "database_read_lag")
_NAMES = ("data_dir", "database_url", "database_url_file", "database_wait", *_REPLICA)
_OPTIONS = tuple(option for option in OPTIONS if option.name in _NAMES)

Use = Callable[[Any], Awaitable[int | None]]


def has_database(function: Any) -> Any:
    """Add the options of the database to a command; they are those of `smartmob serve`."""
    for option in reversed(_OPTIONS):
        function = flag(option)(function)
    config = click.option("--config", type=click.Path(path_type=Path), help="File of settings, in TOML.")
    return config(function)


def settings_of(config: Path | None, flags: dict[str, Any]) -> Settings:
    """Return the settings that `smartmob serve` would have with the same options."""
    given = {name: value for name, value in flags.items() if value is not None and value != ()}
    return load(given, environment(), config)


def run(config: Path | None, flags: dict[str, Any], use: Use, *, make: bool = False) -> int:
    """Connect to the database, call `use` with it, and return the exit code."""
    from smartmob.kernel.db import migrations
    from smartmob.kernel.maintenance.database_target import reach
    from smartmob.kernel.observability import log
    from smartmob.kernel.subprocesses import umask
    from smartmob.stored_features import MIGRATED_FEATURES

    umask.make_private()
    settings = settings_of(config, flags)

    async def use_it() -> int:
        async with reach(settings, migrations.collect(MIGRATED_FEATURES), make=make) as target:
            return await use(target) or 0

    logs = log.configure("kv", settings.utc, "file:///dev/null")
    try:
        return asyncio.run(use_it())
    finally:
        logs.close()
