"""The charts of a report, as objects for plotly. No I/O.

Only traces that plotly draws as SVG are used: they print sharply, and need no code generated at run time, which the
content security policy of the page forbids.
"""

from __future__ import annotations

import html
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from itertools import pairwise
from typing import Any

from smartmob.turrets.model import ALL_TRANSACTIONS, Member, RunPoint, Summary
from smartmob.turrets.outcomes import OTHER_CODES
from smartmob.turrets.report.findings import Findings, heat_bound
from smartmob.turrets.slices import TRANSACTION

Chart = dict[str, Any]
RunData = tuple[Summary, Findings, Sequence[Mapping[str, Any]]]
"""The summary, the findings and the rows of health of a run."""

_DASHES = ("solid", "dot")
_P50, _P95, _P99, _MAX = "#2a7f62", "#e09f3e", "#c8553d", "#8d99ae"
_RATE, _OK, _ERRORS, _USERS, _PLANNED = "#335c81", "#2a7f62", "#c8553d", "#6c757d", "#8d6e97"
_PALETTE = ("#335c81", "#e09f3e", "#2a7f62", "#c8553d", "#7d5ba6", "#1b998b", "#8d99ae", "#5f0f40")
_INK, _PAPER, _GRID = "#22303c", "#fff", "#e6ebf0"
_PERCENTILE_LINES = (
    *(("p50", _P50, "p50"), ("p95", _P95, "p95"), ("p99", _P99, "p99"), ("max", _MAX, "maximum")),
    *(("failed p50", _PLANNED, "failed_p50"), ("failed p99", "#5f0f40", "failed_p99")),
)
_FAILED_DASHES = ("dash", "dashdot")
_CODES = (_P99, _P95, "#7d5ba6", _RATE, "#1b998b", "#5f0f40", _OK, _MAX)
_LEAST_ROWS = 7
"""The minimum number of rows on the axis of a heat map; those with cells are in the middle."""
_HEAT = ("#eef3f8", "#a9c4de", _RATE, "#11263c")
DARK = {
    **{_INK: "#dde5ec", _PAPER: "#1b2630", _GRID: "#2f3d4a"},
    **{_RATE: "#7fb2e5", _P50: "#5cc8a1", _P95: "#f0bb6a", _P99: "#f08a72", _MAX: "#aab6c8", _USERS: "#9aa8b5"},
    **{_PLANNED: "#c3a5cd", "#7d5ba6": "#b69ae0", "#1b998b": "#4fd1c5", "#5f0f40": "#e07bb0"},
    **{_HEAT[0]: "#22364a", _HEAT[1]: "#3a6590", _HEAT[3]: "#e4f0fb"},
}
"""The colour that replaces each colour if the reader prefers dark pages."""
_DIGITS = 5
"""Significant digits of numbers in a chart; a latency is exact to 0.1 %."""
_LONGEST_LABEL = 40  # characters of a name in a legend
_MOST_TURRETS = 20  # lines of a chart of health
MOST_CURVES = len(_PALETTE)  # lines of the chart of percentiles, for each run
_RAMPUP_STEPS = 20  # points of the planned number of cannons during rampup


def throughput(runs: Sequence[RunData]) -> Chart:
    """Return the chart of transactions per second over time, planned, achieved, OK and failed, and of the cannons."""
    traces, most = [], 0
    for number, (summary, findings, health) in enumerate(runs):
        if not findings.has_times:
            continue
        # Transactions that ended after the end of the run fill only a part of their second.
        steps = [(at, point) for at, point in _steps(TRANSACTION, findings) if at < findings.duration]
        at = [at for at, _ in steps]
        rate, errors = ([getattr(p, name) if p else 0.0 for _, p in steps] for name in ("rate", "error_rate"))
        traces.append(_line(_label("achieved/s", number, runs), at, rate, _RATE, number))
        traces.append(_line(_label("failed/s", number, runs), at, errors, _ERRORS, number))
        if any(errors):
            ok = [whole - failed for whole, failed in zip(rate, errors, strict=True)]
            traces.append(_line(_label("OK/s", number, runs), at, ok, _OK, number))
        if summary.plan is not None and summary.plan.rates:
            corners = _until(findings.duration, summary.plan.rates)
            label = _label("planned/s", number, runs)
            trace = _line(label, [when for when, _ in corners], [planned for _, planned in corners], _PLANNED, number)
            traces.append(trace | {"line": trace["line"] | {"dash": "dash"}})
        source = summary.source
        if users := source.users if source is not None else _users(summary, health):
            most = max(most, *(count for _, count in users))
            times, counts = [at for at, _ in users], [count for _, count in users]
            trace = _line(_label(firing([summary]), number, runs), times, counts, _USERS, number)
            traces.append(trace | {"yaxis": "y2", "line": trace["line"] | {"width": 1, "shape": "hv"}})
    layout = _layout("seconds after the start", "per second", runs)
    if most:
        layout["yaxis2"] = {
            **{
                "title": {"text": firing([summary for summary, _, _ in runs])},
                "overlaying": "y",
                "side": "right",
                "rangemode": "tozero",
            },
            **{"showgrid": False, "tickmode": "linear", "tick0": 0, "dtick": _step(most / 5)},
        }
    return {"data": traces, "layout": layout}


def users(run: RunData) -> Chart:
    """Return the chart of the cannons that fired, or of the users of another tool, over time."""
    summary, _, health = run
    source = summary.source
    counts = source.users if source is not None else _users(summary, health)
    name = firing([summary])
    layout = _layout("seconds after the start", name, [run])
    layout["yaxis"] |= {"tickmode": "linear", "tick0": 0, "dtick": _step(max((n for _, n in counts), default=1) / 5)}
    trace = _line(name, [at for at, _ in counts], [count for _, count in counts], _USERS, 0)
    trace["line"]["shape"] = "hv"
    return {"data": [trace] if counts else [], "layout": layout}


def is_empty(chart: Chart) -> bool:
    """Return whether no line of a chart has a value, so that its axes would be invented."""
    rows = (trace["z"] if trace["type"] == "heatmap" else [trace["y"]] for trace in chart["data"])
    return not any(value is not None for trace in rows for row in trace for value in row)


def firing(summaries: Sequence[Summary]) -> str:
    """Return the name of what fires: cannons of turrets, users of other tools, or nothing if no number is known."""
    sources = [summary.source for summary in summaries if summary.source is not None]
    if len(sources) == len(summaries) and not any(source.users for source in sources):
        return ""
    imported = [summary.source is not None for summary in summaries]
    return "users" if all(imported) else "cannons and users" if any(imported) else "cannons"


def codes(run: RunData) -> Chart:
    """Return the chart of failed transactions per second over time, stacked by code, or by kind without one."""
    findings = run[1]
    steps = _steps(TRANSACTION, findings)
    totals: Counter[str] = Counter()
    for _, point in steps:
        totals.update(point.codes if point else {})
    # Points and this chart use the same name for the codes that they leave out.
    listed = [code for code, _ in totals.most_common() if code != OTHER_CODES][: len(_PALETTE) - 1]
    counts = [_listed(point.codes if point else {}, listed) for _, point in steps]
    names = listed + ([OTHER_CODES] if any(OTHER_CODES in found for found in counts) else [])
    traces = []
    for name, color in zip(names, _CODES, strict=False):
        values = [found.get(name, 0) / findings.step for found in counts]
        trace = _line(name, [at for at, _ in steps], values, color, 0)
        traces.append(trace | {"stackgroup": "codes", "line": {"color": color, "width": 1, "shape": "hv"}})
    return {"data": traces, "layout": _layout("seconds after the start", "failed per second", [run])}


def _listed(counts: Mapping[str, int], listed: Sequence[str]) -> dict[str, int]:
    """Return the counts of the listed codes, and those of all others together."""
    found = {code: count for code, count in counts.items() if code in listed}
    if (others := sum(counts.values()) - sum(found.values())) > 0:
        found[OTHER_CODES] = others
    return found


def latency(name: str, runs: Sequence[RunData]) -> Chart:
    """Return the chart of the percentiles of a timer over time: those of successes, and those of failures."""
    traces = []
    for number, (_, findings, _) in enumerate(runs):
        steps = _steps(name, findings)
        at = [at for at, _ in steps]
        for label, color, column in _PERCENTILE_LINES:
            seconds = [getattr(point, column) if point else None for _, point in steps]
            values = [None if value is None else value * 1000 for value in seconds]
            failed = column.startswith("failed")
            if all(value is None for value in values):
                continue
            trace = _line(_label(label, number, runs), at, values, color, number)
            traces.append(trace | ({"line": trace["line"] | {"dash": _FAILED_DASHES[number]}} if failed else {}))
    return {"data": traces, "layout": _layout("seconds after the start", "ms", runs)}


def heat(run: RunData, *, failed: bool = False) -> Chart:
    """Return the heat map of the transactions that succeeded, or of those that failed, by time and latency."""
    found = run[1].failed_heat if failed else run[1].heat
    step = run[1].step
    columns = list(range(0, max(found) + step, step)) if found else []
    rows = sorted({row for counts in found.values() for row in counts})
    rows = list(range(rows[0], rows[-1] + 1)) if rows else []
    z = [[found[column].get(row, 0) or None if column in found else None for column in columns] for row in rows]
    trace = {
        "type": "heatmap",
        # The edges of the cells, one more than there are cells: plotly would take as many values for their centres.
        "x": [*columns, columns[-1] + step] if columns else [],
        "y": [_short(heat_bound(row) * 1000) for row in (*rows, rows[-1] + 1)] if rows else [],
        "z": z,
        # The scale begins at 0: otherwise plotly would draw equal cells in a middle colour, and label fractions of one.
        "zmin": 0,
        "zmax": (most := max((count for counts in found.values() for count in counts.values()), default=1)),
        "colorscale": [*zip((0, 0.15, 0.5, 1), _HEAT, strict=True)],
        "colorbar": {"title": {"text": "transactions"}, "thickness": 12, "tick0": 0, "dtick": _step(most / 5)},
        "hovertemplate": "around %{x} s, about %{y} ms: %{z}<extra></extra>",
    }
    layout = _layout("seconds after the start", "ms", [run])
    layout["yaxis"]["type"] = "log"
    del layout["yaxis"]["rangemode"]
    if rows:
        # The cells of equal durations would fill the whole chart, which would then look empty.
        spare = max(_LEAST_ROWS - len(rows), 0)
        edges = rows[0] - (spare + 1) // 2, rows[-1] + 1 + spare // 2
        layout["yaxis"]["range"] = [_short(math.log10(heat_bound(edge) * 1000)) for edge in edges]
        layout["xaxis"]["range"] = [0, _short(max(columns[-1] + step, run[1].duration))]
    return {"data": [trace], "layout": layout}


def curves(names: Sequence[str], runs: Sequence[RunData]) -> Chart:
    """Return the chart of latency by percentile of the first timers; its axis is stretched towards the high ones.

    Durations are those of successes; the transactions that failed have a line of their own.
    """
    traces = []
    for number, (_, findings, _) in enumerate(runs):
        for index, name in enumerate(names[:MOST_CURVES]):
            label = _label(name or ALL_TRANSACTIONS, number, runs)
            traces.append(_curve(findings.curve(name), label, _PALETTE[index], number))
        if failed := findings.curve(TRANSACTION, failed=True):
            trace = _curve(failed, _label(f"{ALL_TRANSACTIONS}, failed", number, runs), _PLANNED, number)
            traces.append(trace | {"line": trace["line"] | {"dash": _FAILED_DASHES[number]}})
    layout = _layout("percentile", "ms")
    layout["xaxis"] |= {
        "type": "log",
        "tickvals": [2, 10, 100, 1_000, 10_000],
        "ticktext": ["50", "90", "99", "99.9", "99.99"],
        "tickangle": 0,
        "range": [0.28, 4.02],
    }
    return {"data": traces, "layout": layout}


def _curve(found: Iterable[tuple[float, float]], label: str, color: str, number: int) -> dict[str, Any]:
    values = [(share, value) for share, value in found if 50 <= share <= 99.99]
    x, y = [1 / (1 - share / 100) for share, _ in values], [value * 1000 for _, value in values]
    trace = _line(label, x, y, color, number)
    return trace | {"customdata": [share for share, _ in values], "hovertemplate": _CURVE_HOVER}


_CURVE_HOVER = "p%{customdata}: %{y:.3f} ms<extra>%{fullData.name}</extra>"


def turret_health(run: RunData, column: str, factor: float, unit: str) -> Chart:
    """Return the chart of one column of the health of each turret over time."""
    summary, _, rows = run
    names = {member.uuid: member.name for member in summary.turrets}
    by_turret: dict[str, list[tuple[float, float]]] = {}
    for row in rows:
        by_turret.setdefault(row["uuid"], []).append((_since(summary, row["at"]), row[column] * factor))
    traces = []
    for index, (uuid, values) in enumerate(list(by_turret.items())[:_MOST_TURRETS]):
        name = f"{names.get(uuid, '?')} {uuid[:8]}"
        color = _PALETTE[index % len(_PALETTE)]
        traces.append(_line(name, [at for at, _ in values], [value for _, value in values], color, 0))
    return {"data": traces, "layout": _layout("seconds after the start", unit, [run])}


def _planned_moments(planned: Sequence[Member], duration: float) -> set[float]:
    """Return the moments in seconds at which the planned numbers of cannons are drawn."""
    moments = {0.0, duration} if planned else set[float]()
    for member in planned:
        rampup = min(member.rampup or 0.0, duration)
        moments |= {step * rampup / _RAMPUP_STEPS for step in range(_RAMPUP_STEPS + 1)}
    return moments


def _users(summary: Summary, health: Iterable[Mapping[str, Any]]) -> list[tuple[float, int]]:
    """Return the number of firing cannons over time: reported by turrets of smartmob, planned for turrets of OCT."""
    reported = sorted((_since(summary, row["at"]), row["uuid"], row["users"]) for row in health)
    planned = [member for member in summary.turrets if not member.ours and member.cannons]
    latest: dict[str, int] = {}
    found, index = [], 0
    moments = {max(at, 0.0) for at, _, _ in reported}
    for at in sorted(moments | _planned_moments(planned, summary.duration)):
        while index < len(reported) and reported[index][0] <= at:
            latest[reported[index][1]] = reported[index][2]
            index += 1
        planned_sum = sum(_planned(member, at) for member in planned) if at < summary.duration else 0
        found.append((at, sum(latest.values()) + planned_sum))
    return found


def _planned(member: Member, at: float) -> int:
    cannons, rampup = member.cannons or 0, member.rampup or 0.0
    return cannons if rampup <= 0 or at >= rampup else max(1, int(cannons * at / rampup))


def _steps(name: str, findings: Findings) -> list[tuple[float, RunPoint | None]]:
    """Return the points of a timer, with None where no transaction ended: a frozen target appears as a gap."""
    points = {point.at: point for point in (findings.timers[name].points if name in findings.timers else ())}
    ends = (int(findings.duration), *(int(at) + 1 for at in points))
    return [(at, points.get(at)) for at in range(0, max(ends), findings.step)]


def _until(end: float, corners: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Return the corners of a line up to a time, and the point of the line at that time."""
    found = [corner for corner in corners if corner[0] <= end]
    for (at, first), (until, last) in pairwise(corners):
        if at < end < until:
            found.append((end, first + (last - first) * (end - at) / (until - at)))
    return found


def _step(at_least: float) -> int:
    """Return the first of 1, 2, 5, 10, 20, 50, … that is not less than `at_least`."""
    step = 1
    while step < at_least:
        step = step * 5 // 2 if str(step).startswith("2") else step * 2
    return step


def _since(summary: Summary, moment: datetime) -> float:
    return (moment - summary.started_at).total_seconds() if summary.started_at is not None else 0.0


def _label(label: str, number: int, runs: Sequence[RunData]) -> str:
    """Return a label with A or B if there are two runs."""
    return label if len(runs) == 1 else f"{label} {'AB'[number]}"


def _line(name: str, x: Sequence[float], y: Sequence[float | None], color: str, number: int) -> dict[str, Any]:
    # A point between two gaps is drawn as a marker, since no line leads to it.
    around = [None, *y, None]
    lone = [around[index] is None and around[index + 2] is None for index in range(len(y))]
    return {
        "type": "scatter",
        "mode": "lines+markers" if any(lone) else "lines",
        # Plotly interprets some tags in texts, and names come from the author of the test.
        "name": html.escape(_short_name(name), quote=False),
        "x": [_short(value) for value in x],
        "y": [None if value is None else _short(value) for value in y],
        "line": {"color": color, "width": 1.6, "dash": _DASHES[number % len(_DASHES)]},
        "marker": {"color": color, "size": [5 * alone for alone in lone]},
    }


def _short_name(name: str) -> str:
    """Return a name that fits into the legend of a chart; the tables have the whole one."""
    half = _LONGEST_LABEL // 2
    return name if len(name) <= _LONGEST_LABEL else f"{name[:half]}…{name[-half:]}"


def _short(value: float) -> float:
    """Return a number with as many digits as a chart can show; a whole one as an integer, which is shorter in JSON."""
    short = float(f"{value:.{_DIGITS}g}")
    return int(short) if short.is_integer() else short


def _layout(x: str, y: str, runs: Sequence[RunData] = ()) -> dict[str, Any]:
    """Return a layout; with `runs` over time, their warm-ups are marked."""
    warm_ups = sorted({findings.warm_up for _, findings, _ in runs if findings.warm_up})
    return {
        "shapes": [
            {
                "type": "rect",
                "xref": "x",
                "yref": "paper",
                "x0": 0,
                "x1": end,
                "y0": 0,
                "y1": 1,
                "layer": "below",
                "fillcolor": _USERS,
                "opacity": 0.18,
                "line": {"width": 0},
            }
            for end in warm_ups
        ],
        "annotations": [
            {
                "text": "warm-up",
                "xref": "x",
                "yref": "paper",
                "x": 0,
                "y": 1,
                "xanchor": "left",
                "yanchor": "top",
                "showarrow": False,
                "font": {"size": 11, "color": _INK},
            }
            for _ in warm_ups[:1]
        ],
        "margin": {"l": 60, "r": 60, "t": 10, "b": 45},
        "height": 300,
        "font": {"family": "system-ui, sans-serif", "size": 12, "color": _INK},
        "paper_bgcolor": _PAPER,
        "plot_bgcolor": _PAPER,
        "hovermode": "x unified",
        "hoverlabel": {"bgcolor": _PAPER, "font": {"color": _INK}},
        "showlegend": True,
        "legend": {"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom"},
        "xaxis": {"title": {"text": x}, "gridcolor": _GRID, "zeroline": False},
        "yaxis": {"title": {"text": y}, "gridcolor": _GRID, "zeroline": False, "rangemode": "tozero"},
    }
