"""`smartmob tests trends`: the tests whose level changed over the history of each machine."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import click

from smartmob.cli import printing, verdict_formats
from smartmob.cli.compare import RESOURCES, share
from smartmob.cli.durations import duration_seconds
from smartmob.cli.server_options import as_json, with_rest_client
from smartmob.cli.stored_runs import newest_tests, test_like
from smartmob.client.http import RestClient
from smartmob.counts import counted
from smartmob.errors import InvalidInput, NotFound, SettingsError
from smartmob.kernel.runtime import clock

PATH = "/api/v1/trends"
_SHORT = 12  # characters of a hash
_DURATION = re.compile(r"[0-9.]+[smhd]")


@click.command("trends")
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option("--since", metavar="TIME", help="Only runs since 2026-11-01, since a time, or 90d for the last 90 days.")
@click.option("--branch", help="The tag pipeline_branch of the runs. Default: the one with the most runs.")
@click.option("--resource", type=click.Choice(RESOURCES), default="total_time", show_default=True,
              help="The resource to examine.")  # fmt: skip
@click.option("--min-effect", default="5%", show_default=True, metavar="SHARE", callback=share,
              help="Ignore smaller changes.")  # fmt: skip
@click.option("--limit", default=50, show_default=True, type=click.IntRange(1, 10_000), help="Changes to list.")
@as_json
@with_rest_client
async def command(
    rest: RestClient,
    names: tuple[str, ...],
    since: str | None,
    branch: str | None,
    resource: str,
    min_effect: float,
    limit: int,
    as_json: bool,
) -> None:
    """List the tests whose level changed over the history of each machine, with the time and both levels.

    NAME is a part of the name of tests, such as test_login or tests/test_api.py::. A step needs at least three runs of
    the new level. A drift is a slow change from the first run to the last one.
    """
    query: dict[str, object] = {"resource": resource, "min_effect": min_effect, "limit": limit}
    if names:
        query["name"] = list(names)
    if since is not None:
        query["since"] = _moment(since).isoformat()
    if branch is not None:
        query["branch"] = branch
    found = await rest.get(PATH, **query)
    if not found["trends"]:
        for name in names:
            await _check_known(rest, name)
    if as_json:
        printing.print_json(found)
        return
    print_trends(found)


async def _check_known(rest: RestClient, part: str) -> None:
    """Raise NotFound for a part that is in the name of no test of the newest run, and in that of no test at all."""
    tests = await newest_tests(rest)
    if tests and not any(part in name for name in tests) and await test_like(rest, part.rpartition("::")[2]) is None:
        raise NotFound(f"no test has {part} in its name")


def print_trends(found: Mapping[str, Any]) -> None:
    """Print the trends as a table, and in words what was searched."""
    lines = [printing.plain(found["explanation"], "bold")]
    if found["trends"]:
        several = len(found["places"]) > 1
        printing.print_table(
            "",
            (
                "Since",
                "Commit",
                "Test",
                *(("Machine",) if several else ()),
                ">From",
                ">To",
                ">Change",
                "Confidence",
                "Now",
            ),
            (_cells(row, found["unit"], several=several) for row in found["trends"]),
        )
        hidden = found["found"] - len(found["trends"])
        if hidden > 0:
            lines.append(
                printing.plain(
                    f"{counted(hidden, 'more change')} {'is' if hidden == 1 else 'are'} not shown; --limit shows more."
                )
            )
    for place in found["places"]:
        branch = f", branch {place['branch']}" if place["branch"] else ""
        lines.append(
            printing.plain(
                f"{place['machine_node'] or 'unknown machine'}, {place['python_info'].partition(' ')[0]}{branch}: "
                f"{counted(place['runs'], 'run')} of {counted(place['tests'], 'test')} since "
                f"{printing.local_time(place['first'])}."
            )
        )
    printing.print_lines(lines)


def _cells(row: Mapping[str, Any], unit: str, *, several: bool) -> Sequence[object]:
    together = row["item_id"] is None and not row["path"]
    name = row["item"] if together else verdict_formats.test_name(row)
    before, after = (
        (f"{row['before']:.2f}", f"{row['after']:.2f}")
        if together
        else (verdict_formats.value(row["before"], unit), verdict_formats.value(row["after"], unit))
    )
    worse = "larger" if unit == "MB" else "slower"
    better = "smaller" if unit == "MB" else "faster"
    now = (worse if row["direction"] == "more" else better) if row["still"] else "over"
    commit = row["scm_ref"][:_SHORT] or row["run"][:_SHORT]
    return (
        printing.local_time(row["started_at"]),
        f"drift from {commit}" if row["change"] == "drift" else commit,
        name,
        *((row["machine_node"],) if several else ()),
        before,
        after,
        _change(row, unit),
        f"{min(row['confidence'], 0.9999):.2%}",
        printing.plain(now, "bold red" if now == worse else ""),
    )


def _change(row: Mapping[str, Any], unit: str) -> str:
    ratio = row["ratio"]
    if ratio is not None:
        return f"x{ratio:.2f}" if ratio >= 2 else f"{ratio - 1:+.1%}"
    difference = row["after"] - row["before"]
    return f"{'+' if difference >= 0 else '-'}{verdict_formats.value(abs(difference), unit)}"


def _moment(text: str) -> datetime:
    """Return the time that --since names; raises SettingsError. A time without a zone is one of this machine."""
    try:
        if _DURATION.fullmatch(text):
            # Whole minutes, so that a repeated command has the same request, whose answer the service keeps.
            now = clock.now().replace(second=0, microsecond=0)
            return now - timedelta(seconds=duration_seconds("--since", text))
        return datetime.fromisoformat(text).astimezone(UTC)
    except (ValueError, OverflowError, InvalidInput):
        raise SettingsError(
            f"--since {text}: expected a date such as 2026-11-01, a time, or a duration such as 90d"
        ) from None
