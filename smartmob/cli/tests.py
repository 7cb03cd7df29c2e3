"""`smartmob tests`: the stored results of test suites."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import click

from smartmob import case_names
from smartmob.cli import printing
from smartmob.cli.command_group import CommandGroup
from smartmob.cli.server_options import as_json, with_rest_client
from smartmob.cli.stored_runs import API, find_run, test_like
from smartmob.client.http import RestClient
from smartmob.errors import NotFound

_SHORT = 12  # characters of a hash


_LAZY = {
    "Commands": {
        "import": (
            "smartmob.cli.import_results:command",
            "Import test and benchmark reports, and .pymon files.",
        ),
        "export": ("smartmob.cli.export_results:command", "Write metrics as CSV, NDJSON or a pytest-monitor database."),
        "rm": ("smartmob.cli.change_results:remove", "Remove runs with all their sessions and metrics."),
        "retag": ("smartmob.cli.change_results:retag", "Change the tags and the commit of a run."),
        "trends": ("smartmob.cli.trend_list:command", "List the tests whose level changed over time."),
    }
}


@click.group("tests", cls=CommandGroup, lazy=_LAZY)
def command() -> None:
    """Results of test suites: list, show, import, export, change, remove."""


@command.command()
@click.option("--limit", default=20, show_default=True, type=click.IntRange(1, 10_000), help="Runs to list.")
@as_json
@with_rest_client
async def ls(rest: RestClient, limit: int, as_json: bool) -> None:
    """List test runs, newest first, and metrics without a session."""
    runs = ((await rest.get(f"{API}/runs/", limit=limit)) or {"runs": []})["runs"]
    orphans = (await rest.get(f"{API}/metrics/orphans", limit=limit))["orphans"]
    if as_json:
        printing.print_json({"runs": runs, "orphans": orphans})
        return
    printing.print_table(
        "Test runs",
        ("Run", "Began", "Commit", "Machine", ">Sessions", ">Tests", ">Time", "Tags"),
        (
            (
                _short(run["id"]),
                printing.local_time(run["started_at"]),
                _short(run["scm_ref"]),
                printing.machines(run),
                len(run["sessions"]),
                run["metrics"],
                printing.seconds(run["total_time"]),
                " ".join(f"{tag['name']}={tag['value']}" for tag in run["tags"]),
            )
            for run in runs
        ),
    )
    printing.print_lines(printing.plain(f"{_short(run['id'])}: {run['clock']}.") for run in runs if run.get("clock"))
    if orphans:
        printing.print_table(
            "Metrics without a session",
            ("Session", ">Tests", "First", "Last"),
            (
                (row["session_h"], row["metrics"], printing.local_time(row["first"]), printing.local_time(row["last"]))
                for row in orphans
            ),
        )


_SORTS = {"arrival": None, "time": "total_time", "cpu": "cpu_usage", "memory": "mem_usage"}


@command.command()
@click.argument("ident", metavar="RUN|SESSION")
@click.option(
    "--sort", type=click.Choice(list(_SORTS)), default="arrival", show_default=True, help="Order; the largest first."
)
@as_json
@with_rest_client
async def show(rest: RestClient, ident: str, sort: str, as_json: bool) -> None:
    """Show the time, CPU and memory of the tests of a run or a session; the beginning of its name is enough."""
    run = await find_run(rest, ident)
    metrics = [metric async for metric in rest.documents(f"{API}/runs/{quote(run['id'], safe='')}/metrics")]
    if (measure := _SORTS[sort]) is not None:
        metrics.sort(key=lambda metric: metric[measure] if metric[measure] is not None else float("-inf"), reverse=True)
    if as_json:
        printing.print_json(run | {"measured": metrics})
        return
    title = f"Run {run['id']} of {printing.local_time(run['started_at'])}, commit {run['scm_ref'] or printing.NOTHING}"
    printing.print_table(
        title,
        ("Test", "Component", ">Time", ">User", ">Kernel", ">CPU", ">Memory"),
        (
            (
                _test_name(metric),
                metric["component"],
                printing.seconds(metric["total_time"]),
                printing.seconds(metric["user_time"]),
                printing.seconds(metric["kernel_time"]),
                _percent(metric["cpu_usage"]),
                _megabytes(metric["mem_usage"]),
            )
            for metric in metrics
        ),
    )
    lines = [line for place in run.get("places", ()) for line in _place_lines(place)]
    if run.get("unlinked") and not any(place["doubt"] for place in run["places"]):
        lines.append(f"Not linked to a machine that reports its load: {run['unlinked']}.")
    lines += [merged] if (merged := case_names.merged_names(metrics)) else []
    printing.print_lines(
        printing.plain(line) for line in [*lines, *([f"Time: {run['clock']}."] if run.get("clock") else [])]
    )


def _place_lines(place: dict[str, Any]) -> list[str]:
    """Return in words on which machine and Python tests ran, and why this is so."""
    python = f", Python {place['python']}" if place["python"] else ""
    doubt = [f"In doubt: {place['doubt']}."] if place["doubt"] else []
    return [f"Machine: {place['name']}{python} ({place['explanation']}).", *doubt]


@command.command()
@click.argument("item", metavar="ITEM")
@click.option("--limit", default=50, show_default=True, type=click.IntRange(1, 10_000), help="Executions to list.")
@as_json
@with_rest_client
async def history(rest: RestClient, item: str, limit: int, as_json: bool) -> None:
    """Show each execution of a test, newest first, by its name, its variant, or a part of its name."""
    rows = (await rest.get(f"{API}/items/{quote(item, safe='')}/history", limit=limit))["history"]
    if not rows and (name := await test_like(rest, item)) is not None:
        item = name
        rows = (await rest.get(f"{API}/items/{quote(item, safe='')}/history", limit=limit))["history"]
    if as_json:
        printing.print_json(rows)
        return
    if not rows:
        raise NotFound(f"no test named {item!r} was measured; the names are those of `smartmob tests show`")
    longest = max((row["total_time"] or 0.0 for row in rows), default=0.0) or 1.0
    printing.print_table(
        f"History of {item}",
        ("Began", "Commit", "Machine", "Variant", ">Time", "", ">CPU", ">Memory"),
        (
            (
                printing.local_time(row["started_at"]),
                _short(row["scm_ref"] or ""),
                row.get("machine") or row["machine_node"],
                row["item_variant"],
                printing.seconds(row["total_time"]),
                "" if row["total_time"] is None else "▇" * max(1, round(20 * row["total_time"] / longest)),
                _percent(row["cpu_usage"]),
                _megabytes(row["mem_usage"]),
            )
            for row in rows
        ),
    )


def _test_name(metric: dict[str, Any]) -> str:
    variant = case_names.variant_with_class(metric["item_fs_loc"], metric["item"], metric["item_variant"])
    name = variant or metric["item"]
    return f"{metric['item_path']}::{name}" if metric["item_path"] else str(name)


def _short(text: str) -> str:
    return text[:_SHORT]


def _percent(share: float | None) -> str:
    return printing.NOTHING if share is None else f"{share * 100:.0f} %"


def _megabytes(value: float | None) -> str:
    return printing.NOTHING if value is None else f"{value:.1f} MB"
