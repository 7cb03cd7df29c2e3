"""`smartmob hosts`: machines and their load."""

from __future__ import annotations

import asyncio
import difflib
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import click

from smartmob.cli import printing
from smartmob.cli.command_group import CommandGroup
from smartmob.cli.durations import duration_seconds
from smartmob.cli.number_options import Number
from smartmob.cli.server_options import with_rest_client
from smartmob.cli.suggestions import did_you_mean
from smartmob.cli.table_layout import columns_of
from smartmob.client.http import RestClient
from smartmob.errors import NotFound, RemoteError
from smartmob.hosts.fields import FIELDS, MEGABYTE, NAMES, Container, SampleField, Unit, container_text
from smartmob.kernel.runtime import clock

if TYPE_CHECKING:
    from rich.table import Table

_NOT_FOUND_STATUS = 404
_FEWEST_COLUMNS = 3  # of the live table
_BAR_WIDTH = 20  # columns
_SILENT_SECONDS = 10.0
_SPARKS = " ▁▂▃▄▅▆▇█"
_SHOWN_POINTS = 60


@click.group("hosts", cls=CommandGroup)
def command() -> None:
    """Machines and their load: list, show, watch."""


as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@command.command()
@as_json
@with_rest_client
async def ls(rest: RestClient, as_json: bool) -> None:
    """List machines with their newest sample."""
    hosts = await _hosts(rest)
    if as_json:
        printing.print_json(hosts)
        return
    printing.print_table("Machines", _COLUMNS, (_row(host, clock.epoch()) for host in hosts))


@command.command()
@click.argument("name")
@click.option("--last", default="1h", show_default=True, metavar="SPAN", help="How far back: 90s, 15m, 6h or 14d.")
@as_json
@with_rest_client
async def show(rest: RestClient, name: str, last: str, as_json: bool) -> None:
    """Show the load of a machine over time."""
    end = clock.epoch()
    path = f"/hosts/{quote(name, safe='')}"
    try:
        host = await rest.get(path)
    except RemoteError as error:
        if error.status != _NOT_FOUND_STATUS:
            raise
        known = [str(each["name"]) for each in await _hosts(rest)]
        hint = did_you_mean(name, known, "`smartmob hosts ls` lists them")
        raise NotFound(f"there is no machine {name}{hint}") from None
    span = {"from": f"{end - duration_seconds('--last', last):.3f}", "to": f"{end:.3f}", "points": _SHOWN_POINTS}
    history = await rest.get(f"{path}/samples", **span)
    if as_json:
        printing.print_json({"host": host, "history": history})
        return
    printing.print_table("Machine", _COLUMNS, [_row(host, end)])
    printing.print_lines(printing.plain(line) for line in _remarks(host))
    printing.print_table(
        f"The last {last}", ("", ">Least", ">Mean", ">Most", "Over time"), _statistics(history["points"])
    )


@command.command()
@click.option("--interval", default=1.0, show_default=True, type=Number(0.2, 60), help="Seconds between updates.")
@click.option("--times", type=click.IntRange(1), help="Number of updates; without it, until CTRL-C.")
@with_rest_client
async def watch(rest: RestClient, interval: float, times: int | None) -> None:
    """Watch the load of all machines: a live table on a terminal, otherwise a line for each machine and update."""
    if printing.terminal_width() is None:
        await _repeat(rest, interval, times, _print_lines)
        return
    from rich.live import Live

    console = printing.console()
    with Live(console=console, auto_refresh=False, transient=False) as live:
        await _repeat(rest, interval, times, lambda hosts: live.update(_table(hosts, console.width), refresh=True))


async def _repeat(
    rest: RestClient, interval: float, times: int | None, show: Callable[[list[dict[str, Any]]], object]
) -> None:
    """Show the machines each `interval` seconds, `times` times, or without end."""
    updates = 0
    while True:
        show(await _hosts(rest))
        updates += 1
        if updates == times:
            return
        await asyncio.sleep(interval)


async def _hosts(rest: RestClient) -> list[dict[str, Any]]:
    return [host async for host in rest.rows("/hosts/", "hosts")]


_LISTED = tuple(field for field in FIELDS if field.listed)
_COLUMNS = ("Machine", "Last sample", *(f">{field.title}" for field in _LISTED), "Clock off by")


def _row(host: dict[str, Any], now: float) -> tuple[object, ...]:
    latest = host["latest"] or {}
    offset = host["clock"]["offset"] if host["clock"] else None
    return (
        host["name"] + (" (this service)" if host["own"] else ""),
        _ago(latest.get("time"), now),
        *(_value(field, latest) for field in _LISTED),
        None if offset is None else printing.seconds(offset),
    )


def _print_lines(hosts: Sequence[dict[str, Any]]) -> None:
    """Print a line for each machine, which the reader of a pipe gets at once."""
    now = clock.epoch()
    for host in hosts:
        latest = host["latest"] or {}
        values = (f"{field.title} {value}" for field in _LISTED if (value := _value(field, latest)) is not None)
        age = _ago(latest.get("time"), now)
        line = "  ".join((printing.now(), str(host["name"]), age or printing.NOTHING, *values))
        printing.print_lines([printing.plain(line)])


def _table(hosts: Sequence[dict[str, Any]], width: int) -> Table:
    """Return the live table. Columns that do not fit into `width` are left out, the last ones first."""
    from rich.table import Table

    heads = ["Machine", "Last sample", *dict.fromkeys(field.live for field in FIELDS if field.live is not None)]
    now = clock.epoch()
    rows = []
    for host in hosts:
        latest = host["latest"] or {}
        cells = (host["name"], _ago(latest.get("time"), now), *(_live(column, latest) for column in heads[2:]))
        silent = not latest or now - _epoch(latest["time"]) > _SILENT_SECONDS
        rows.append(([printing.plain(cell) for cell in cells], silent))
    widths = [
        max(columns_of(text) for text in (head, *(cells[column].plain for cells, _ in rows)))
        for column, head in enumerate(heads)
    ]
    shown = len(heads)
    while shown > _FEWEST_COLUMNS and sum(widths[:shown]) + 2 * shown > width:
        shown -= 1
    table = Table(box=None, pad_edge=False, header_style="bold")
    for head, least in zip(heads[:shown], widths, strict=False):
        table.add_column(head, no_wrap=True, min_width=least)
    for texts, silent in rows:
        table.add_row(*texts[:shown], style="dim" if silent else None)
    return table


def _statistics(points: Sequence[dict[str, Any]]) -> Iterator[tuple[object, ...]]:
    for field in FIELDS:
        # Weighted by samples, because a point at the edge of the time span has fewer.
        aggregates = [(point[field.name], point["samples"]) for point in points if point[field.name] is not None]
        if not aggregates:
            continue
        total = sum(samples for _, samples in aggregates)
        mean = sum(aggregate["avg"] * samples for aggregate, samples in aggregates) / total
        least, most = min(each["min"] for each, _ in aggregates), max(each["max"] for each, _ in aggregates)
        top = 100.0 if field.unit is Unit.PERCENT else most
        text = _FORMATS[field.unit]
        yield field.title, text(least), text(mean), text(most), _sparkline([each["avg"] for each, _ in aggregates], top)


def _sparkline(values: Sequence[float], top: float) -> str:
    return "".join(_SPARKS[round((len(_SPARKS) - 1) * min(1.0, value / top))] if top else " " for value in values)


def _bar(percent: float | None) -> str | None:
    if percent is None:
        return None
    filled = round(_BAR_WIDTH * min(100.0, percent) / 100)
    return f"{'█' * filled}{'·' * (_BAR_WIDTH - filled)} {percent:5.1f} %"


def _live(column: str, latest: dict[str, Any]) -> str | None:
    """Return the cell of a column of the live table: a bar for a percentage, else the values of its fields."""
    fields = [field for field in FIELDS if field.live == column]
    if fields[0].unit is Unit.PERCENT:
        return _bar(latest.get(fields[0].name)) or _value(fields[0], latest)
    values = [value for field in fields if (value := _value(field, latest)) is not None]
    return " / ".join(values) if len(values) == len(fields) else None


def _rate(value: float) -> str:
    return f"{printing.size(value)}/s"


_FORMATS: dict[Unit, Callable[[float], str]] = {
    Unit.PERCENT: "{:.1f} %".format,
    Unit.MEGABYTES: lambda value: printing.size(value * MEGABYTE),
    Unit.BYTES_PER_SECOND: _rate,
    Unit.NONE: "{:.2f}".format,
}


def _value(field: SampleField, latest: dict[str, Any]) -> str | None:
    """Return the value of a field in the newest sample as text, or None without one; one that is old says so."""
    value = latest.get(field.name)
    if value is not None:
        return _FORMATS[field.unit](value)
    stale = latest.get("stale", {}).get(field.name)
    if stale is None:
        return None
    if stale["value"] is None:
        return "not measured"
    return f"{_FORMATS[field.unit](stale['value'])} ({printing.span(stale['age'])} old)"


def _remarks(host: dict[str, Any]) -> Iterator[str]:
    """Yield remarks on the newest sample of a machine: fields that are old, and fields left out."""
    latest = host["latest"] or {}
    titles = {field.name: field.title for field in FIELDS}
    for name, stale in latest.get("stale", {}).items():
        since = "" if stale["age"] is None else f" for {printing.span(stale['age'])}"
        why = f": {stale['reason']}" if stale["reason"] else ""
        yield f"{titles.get(name, name)} was not measured{since}{why}"
    if (container := latest.get("container")) is not None:
        text = container_text(Container(**container))
        yield f"{text[:1].upper()}{text[1:]}."
    yield from map(_unread_remark, latest.get("unread", ()))


def _unread_remark(name: str) -> str:
    """Return why a field of a sample was not stored, with the name that was probably meant."""
    if name in _KEYS or name.startswith("temperatures."):
        return f"{name} is sent but not stored: it is not a number."
    # `cpu_percent` has a known key in it; `mme` is close to one.
    inside = sorted((key for key in _KEYS if key in name.lower()), key=len, reverse=True)
    near = inside or difflib.get_close_matches(name, _KEYS, 1)
    known = f"did you mean {near[0]}?" if near else f"there are {', '.join(NAMES)}."
    return f"{name} is sent but not stored: there is no such field; {known}"


_KEYS = ("time", "unix_time", *(key for field in FIELDS for key in (*field.aliases, field.name)))


def _ago(time: str | None, now: float) -> str | None:
    if time is None:
        return None
    seconds = now - _epoch(time)
    return "now" if seconds < 3 else f"{printing.span(seconds)} ago"


def _epoch(time: str) -> float:
    return datetime.fromisoformat(time).timestamp()
