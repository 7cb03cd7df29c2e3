"""The charts of a report as plotly takes them: plain objects. No I/O.

Only traces that plotly draws as SVG are used: they print sharply, and need no program made at run time.
"""

from __future__ import annotations

import html
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from smartmob.turrets.model import TRANSACTION, Summary
from smartmob.turrets.report.findings import Findings, heat_bound
from smartmob.turrets.slices import TRANSACTION as OWN

Chart = dict[str, Any]
Found = tuple[Summary, Findings, Sequence[Mapping[str, Any]]]

_DASHES = ("solid", "dot")
_P50, _P95, _P99, _MAX = "#2a7f62", "#e09f3e", "#c8553d", "#8d99ae"
_RATE, _ERRORS, _USERS = "#335c81", "#c8553d", "#6c757d"
_PALETTE = ("#335c81", "#e09f3e", "#2a7f62", "#c8553d", "#7d5ba6", "#1b998b", "#8d99ae", "#5f0f40")
_DIGITS = 6
_MOST_TURRETS = 20


def throughput(runs: Sequence[Found]) -> Chart:
    """Return transactions and errors a second over time, and how many cannons fired."""
    traces = []
    for number, (summary, findings, health) in enumerate(runs):
        points = findings.timers[OWN].points if OWN in findings.timers else []
        at = [point.at for point in points]
        traces.append(_line(_of("transactions/s", number, runs), at, [p.rate for p in points], _RATE, number))
        traces.append(_line(_of("errors/s", number, runs), at, [p.error_rate for p in points], _ERRORS, number))
        users = _users(summary, health)
        if users:
            trace = _line(_of("cannons", number, runs), [at for at, _ in users], [n for _, n in users], _USERS, number)
            traces.append(trace | {"yaxis": "y2", "line": {"color": _USERS, "width": 1, "shape": "hv"}})
    layout = _layout("seconds after the start", "per second")
    layout["yaxis2"] = {"title": {"text": "cannons"}, "overlaying": "y", "side": "right", "rangemode": "tozero"}
    return {"data": traces, "layout": layout}


def latency(name: str, runs: Sequence[Found]) -> Chart:
    """Return the percentiles of a timer over time."""
    traces = []
    for number, (_, findings, _) in enumerate(runs):
        points = findings.timers[name].points if name in findings.timers else []
        at = [point.at for point in points]
        for label, color, values in (
            ("p50", _P50, [point.p50 for point in points]),
            ("p95", _P95, [point.p95 for point in points]),
            ("p99", _P99, [point.p99 for point in points]),
            ("max", _MAX, [point.maximum for point in points]),
        ):
            traces.append(_line(_of(label, number, runs), at, [value * 1000 for value in values], color, number))
    return {"data": traces, "layout": _layout("seconds after the start", "ms")}


def heat(findings: Findings) -> Chart:
    """Return how many transactions took how long when."""
    columns = sorted(findings.heat)
    rows = sorted({row for counts in findings.heat.values() for row in counts})
    rows = list(range(rows[0], rows[-1] + 1)) if rows else []
    z = [[findings.heat[column].get(row, 0) or None for column in columns] for row in rows]
    trace = {
        "type": "heatmap",
        "x": columns,
        "y": [round(heat_bound(row) * 1000, _DIGITS) for row in rows],
        "z": z,
        "colorscale": [[0, "#eef3f8"], [0.15, "#a9c4de"], [0.5, "#335c81"], [1, "#11263c"]],
        "colorbar": {"title": {"text": "transactions"}, "thickness": 12},
        "hovertemplate": "after %{x} s, from %{y} ms: %{z}<extra></extra>",
    }
    layout = _layout("seconds after the start", "ms")
    layout["yaxis"]["type"] = "log"
    del layout["yaxis"]["rangemode"]
    return {"data": [trace], "layout": layout}


def curves(runs: Sequence[Found]) -> Chart:
    """Return the latency of each timer at each percentile; the axis stretches what lies above 90, 99 and 99.9 %."""
    traces = []
    for number, (_, findings, _) in enumerate(runs):
        names = [OWN, *sorted(name for name in findings.timers if name != OWN)][: len(_PALETTE)]
        for index, name in enumerate(names):
            values = [(share, value) for share, value in findings.curve(name) if share < 100]
            label = _of(name or TRANSACTION, number, runs)
            x, y = [1 / (1 - share / 100) for share, _ in values], [value * 1000 for _, value in values]
            trace = _line(label, x, y, _PALETTE[index], number)
            traces.append(trace | {"customdata": [share for share, _ in values], "hovertemplate": _CURVE_HOVER})
    layout = _layout("percentile", "ms")
    layout["xaxis"] |= {
        "type": "log",
        "tickvals": [1, 2, 10, 100, 1_000, 10_000, 100_000],
        "ticktext": ["0", "50", "90", "99", "99.9", "99.99", "99.999"],
    }
    return {"data": traces, "layout": layout}


_CURVE_HOVER = "p%{customdata}: %{y:.3f} ms<extra>%{fullData.name}</extra>"


def turret_health(found: Found, column: str, factor: float, unit: str) -> Chart:
    """Return one figure of the health of each turret over time."""
    summary, _, rows = found
    names = {member.uuid: member.name for member in summary.turrets}
    by_turret: dict[str, list[tuple[float, float]]] = {}
    for row in rows:
        by_turret.setdefault(row["uuid"], []).append((_since(summary, row["at"]), row[column] * factor))
    traces = []
    for index, (uuid, values) in enumerate(list(by_turret.items())[:_MOST_TURRETS]):
        name = f"{names.get(uuid, '?')} {uuid[:8]}"
        color = _PALETTE[index % len(_PALETTE)]
        traces.append(_line(name, [at for at, _ in values], [value for _, value in values], color, 0))
    return {"data": traces, "layout": _layout("seconds after the start", unit)}


def _users(summary: Summary, health: Iterable[Mapping[str, Any]]) -> list[tuple[float, int]]:
    """Return how many cannons fired at each time: as turrets of ours told, and as stock ones were told to."""
    latest: dict[str, int] = {}
    found: list[tuple[float, int]] = []
    for row in health:
        latest[row["uuid"]] = row["users"]
        found.append((_since(summary, row["at"]), sum(latest.values())))
    planned = [member for member in summary.turrets if not member.ours and member.cannons]
    if found or not planned:
        return found
    moments = {0.0, summary.duration}
    for member in planned:
        moments |= {step * (member.rampup or 0.0) / 20 for step in range(21)}
    return [
        (at, sum(_planned(member.cannons or 0, member.rampup or 0.0, at) for member in planned))
        for at in sorted(moments)
    ]


def _planned(cannons: int, rampup: float, at: float) -> int:
    return cannons if rampup <= 0 or at >= rampup else max(1, int(cannons * at / rampup))


def _since(summary: Summary, moment: datetime) -> float:
    return (moment - summary.started_at).total_seconds() if summary.started_at is not None else 0.0


def _of(label: str, number: int, runs: Sequence[Found]) -> str:
    return label if len(runs) == 1 else f"{label} {'AB'[number]}"


def _line(name: str, x: Sequence[float], y: Sequence[float], color: str, number: int) -> dict[str, Any]:
    return {
        "type": "scatter",
        "mode": "lines" if len(x) > 1 else "markers",
        # Plotly takes some tags in texts for formatting, and names come from whoever wrote the test.
        "name": html.escape(name, quote=False),
        "x": [round(value, _DIGITS) for value in x],
        "y": [round(value, _DIGITS) for value in y],
        "line": {"color": color, "width": 1.6, "dash": _DASHES[number % len(_DASHES)]},
        "marker": {"color": color},
    }


def _layout(x: str, y: str) -> dict[str, Any]:
    return {
        "margin": {"l": 60, "r": 60, "t": 10, "b": 45},
        "height": 300,
        "font": {"family": "system-ui, sans-serif", "size": 12, "color": "#22303c"},
        "paper_bgcolor": "#fff",
        "plot_bgcolor": "#fff",
        "hovermode": "x unified",
        "legend": {"orientation": "h", "y": 1.12},
        "xaxis": {"title": {"text": x}, "gridcolor": "#e6ebf0", "zeroline": False},
        "yaxis": {"title": {"text": y}, "gridcolor": "#e6ebf0", "rangemode": "tozero"},
    }
