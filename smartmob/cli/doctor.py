"""`smartmob doctor`: checks the requirements of a service on this machine, and tells what to do."""

from __future__ import annotations

import asyncio
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
import msgspec

from smartmob.cli import printing
from smartmob.cli.db_options import settings_of
from smartmob.cli.serve import with_settings
from smartmob.cli.server_options import as_json
from smartmob.embedded_service import check_installed
from smartmob.errors import SettingsError

_STYLES = {"good": "green", "warning": "yellow", "bad": "bold red"}


@click.command("doctor")
@click.option("--server", metavar="URL", help="A service whose clock is compared with that of this machine.")
@click.option("--config", type=click.Path(path_type=Path), help="File of settings, in TOML.")
@click.option(
    "--on",
    metavar="MACHINES",
    multiple=True,
    help="Check nodes of the service instead: NAME,... or label=KEY[=VALUE],... or all; repeatable.",
)
@as_json
@with_settings
def command(server: str | None, config: Path | None, on: tuple[str, ...], as_json: bool, **flags: Any) -> int:
    """Check whether a service can run here, and say what to do if it cannot.

    Takes the options of `smartmob serve`, and checks with them: ports, data directory, disk, files of secrets,
    database, programs, file descriptors, clock. It changes nothing. Ends with 1 when something is bad.

    With --on it checks nodes, as the service of --server or SMARTMOB_SERVER sees them: whether they are connected and
    answer, their versions, their clocks.
    """
    if on:
        from smartmob.cli.node_checks import check

        checked = asyncio.run(check(server, flags["token_file"], flags.get("join_ca_file"), on))
        if as_json:
            printing.print_json(checked)
        else:
            _print_nodes(checked)
        return 1 if any(one["level"] == "bad" for found in checked.values() for one in found) else 0
    settings = settings_of(config, flags)
    check_installed(embedded=settings.database.url is None)

    from smartmob.client import clock_offset
    from smartmob.kernel.db import migrations
    from smartmob.kernel.maintenance import checks
    from smartmob.kernel.observability import log
    from smartmob.kernel.runtime import clock
    from smartmob.stored_features import MIGRATED_FEATURES

    async def run_checks() -> list[checks.CheckResult]:
        found = await checks.every(settings, migrations.collect(MIGRATED_FEATURES))
        if settings.turrets.hq_turret_keys is not None:
            found.append(_turret_keys(settings.turrets.hq_turret_keys))
        if server is not None:
            found.append(await checks.clock_offset(server, lambda: clock_offset.measure(server, clock.epoch)))
        return found

    logs = log.configure("kv", settings.utc, "file:///dev/null")
    try:
        found = asyncio.run(run_checks())
    finally:
        logs.close()
    if as_json:
        printing.print_json(msgspec.to_builtins(found))
    else:
        _print(found)
    return 1 if any(finding.level == "bad" for finding in found) else 0


def _turret_keys(path: Path) -> Any:
    """Check that the list of turret keys can be read, contains keys, and can be written by its owner only."""
    from smartmob.kernel.maintenance.checks import CheckResult
    from smartmob.turrets.hq.key_list import read_keys

    name = "keys of turrets"
    try:
        keys = read_keys(path)
        mode = path.stat().st_mode
    except SettingsError as error:
        return CheckResult(name, "bad", str(error), "Correct it, or make a new one: smartmob keys allow FILE KEY NAME.")
    if mode & (stat.S_IWGRP | stat.S_IWOTH):
        return CheckResult(name, "bad", f"{path}: others may add turrets", f"chmod go-w {path}")
    if not keys:
        advice = f"Add the key of each turret: smartmob keys allow {path} KEY NAME."
        return CheckResult(name, "warning", f"{path} holds no key, so no turret can connect", advice)
    return CheckResult(name, "good", f"{path} holds {len(keys)}")


def _print_nodes(checked: Mapping[str, Any]) -> None:
    """Print the findings of nodes, and a line for each node and a total."""
    rows = (
        (name, printing.plain(one["level"], _STYLES[one["level"]]), one["name"], one["said"])
        for name, found in checked.items()
        for one in found
    )
    printing.print_table("", ("Node", "", "Check", "Found"), rows)
    bad = 0
    for name, found in checked.items():
        wrong = [one for one in found if one["level"] == "bad"]
        bad += bool(wrong)
        for one in found:
            if one["advice"]:
                printing.say(f"{name}: {one['name']}: {one['advice']}")
    printing.say(f"{len(checked)} machine{'s' if len(checked) != 1 else ''}: {len(checked) - bad} ok, {bad} failed")


def _print(found: list[Any]) -> None:
    rows = ((printing.plain(one.level, _STYLES[one.level]), one.name, one.said) for one in found)
    printing.print_table("", ("", "Check", "Found"), rows)
    advised = [one for one in found if one.advice]
    for one in advised:
        printing.say(f"\n{one.name}: {one.advice}")
