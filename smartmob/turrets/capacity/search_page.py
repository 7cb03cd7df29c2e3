"""The report of a capacity search, as a page that needs no other file, and its chart as SVG. No I/O."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from html import escape
from urllib.parse import quote

import msgspec

from smartmob import duration_text
from smartmob.turrets.capacity.attribution import shown
from smartmob.turrets.capacity.model import SearchStep, StoredSearch

_WIDTH, _HEIGHT = 760, 420  # of the chart, in units of the SVG
_LEFT, _RIGHT, _TOP, _SPLIT, _BOTTOM = 90, 20, 30, 260, 50  # margins; `_SPLIT` is the bottom of the upper part
_COLOURS = {"held": "#2a7f62", "broken": "#c8553d", "saturated": "#8d99ae"}
_SAID = {"held": "conditions met", "broken": "conditions not met", "saturated": "generator at its limit"}
_STYLE = """
svg { font: 12px system-ui, sans-serif; } text { fill: #22303c; } .axis { stroke: #8d99ae; } .grid { stroke: #e6ebf0; }
.band { fill: #e09f3e; opacity: .25; } .line { fill: none; stroke: #335c81; stroke-width: 1.6; }
@media (prefers-color-scheme: dark) { text { fill: #dde5ec; } .grid { stroke: #2f3d4a; } .line { stroke: #7fb2e5; } }
@media (max-width: 500px) { svg { font-size: 17px; } .second { display: none; } }
"""
_PAGE_STYLE = """
:root { color-scheme: light dark; } body { font: 15px/1.45 system-ui, sans-serif; margin: 0 auto; max-width: 1100px;
padding: 20px; } svg { width: 100%; height: auto; } table { border-collapse: collapse; font-size: 13.5px; }
th, td { text-align: right; padding: 4px 8px; border-bottom: 1px solid #8d99ae55; } .text { text-align: left;
overflow-wrap: anywhere; min-width: 9em; } .wide { overflow-x: auto; } h1, p { overflow-wrap: anywhere; }
@media screen and (max-width: 760px) {
  body { padding: 12px; } table, tbody { display: block; } thead { display: none; }
  tr { display: grid; grid-template-columns: repeat(auto-fill, minmax(86px, 1fr)); gap: 4px 10px; padding: 8px 0;
    border-bottom: 1px solid #8d99ae55; }
  td { border: 0; padding: 0; text-align: left; min-width: 0; } td.text { grid-column: 1 / -1; }
  td[data-name]::before { content: attr(data-name); display: block; opacity: .75; font-size: 11.5px; }
}
@media print {
  body { max-width: none; padding: 0; font-size: 11px; } table { font-size: 9px; } svg { max-height: 90mm; }
}
"""
_LABEL_WIDTH = 52  # units of the SVG that the label of a rate takes


def render_search(search: StoredSearch) -> str:
    """Return the report of a search as a page."""
    result, settings = search.result, search.settings
    words = result.words if result is not None else "the search has not ended"
    facts = [
        f"Conditions: {', '.join(settings.conditions)}.",
        f"Rates from {shown(settings.start_rate)} to {shown(settings.max_rate)}, times {settings.growth:g} until the "
        f"conditions break, then by bisection to {100 * settings.resolution:.3g}% of the rate.",
        f"Each step: {settings.warm_up:g} s of warm-up and {settings.step_time:g} s, then {settings.cool_down:g} s "
        f"without load; {settings.repeats} at the rate that is reported.",
    ]
    limit = f"<p>Limit: {escape(result.limit)}.</p>" if result is not None else ""
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>Capacity of {escape(search.name)}</title><style>{_PAGE_STYLE}</style></head><body><main>"
        f"<h1>Capacity of {escape(search.name)}</h1>"
        f"<p>{search.created_at:%Y-%m-%d %H:%M:%S} UTC</p><p><b>{escape(words)}.</b></p>{limit}"
        f"<h2>Latency and errors by rate</h2>{knee(search)}"
        f"<h2>Steps</h2>{_table(search.steps)}"
        f"<h2>How it was searched</h2>{''.join(f'<p>{escape(fact)}</p>' for fact in facts)}</main></body></html>\n"
    )


def knee(search: StoredSearch) -> str:
    """Return the chart of a search: the p99 and the share of errors of each step by rate, and the bracket."""
    steps = sorted(search.steps, key=lambda step: step.rate)
    rates = [step.rate for step in steps if step.rate > 0]
    if not rates:
        return _svg("<text x='380' y='210' text-anchor='middle'>No step has ended yet.</text>")
    low, high = math.log(min(rates) / 1.2), math.log(max(rates) * 1.2)

    def x(rate: float) -> float:
        return _LEFT + (math.log(rate) - low) / (high - low) * (_WIDTH - _LEFT - _RIGHT)

    parts = [*_band(search, x), *_rate_axis(rates, x)]
    latencies = [(step, step.p99) for step in steps if step.p99 is not None]
    top = max((value for _, value in latencies), default=0.0) * 1.1 or 1.0
    upper = _Panel("p99", duration_text.seconds(top), _TOP, _SPLIT)
    parts += upper.drawn([(x(step.rate), value / top, step) for step, value in latencies])
    worst = max(step.errors for step in steps) or 0.01
    lower = _Panel("errors", f"{worst:.2%}", _SPLIT + 30, _HEIGHT - _BOTTOM)
    parts += lower.drawn([(x(step.rate), step.errors / worst, step) for step in steps])
    parts += [
        f"<circle cx='{_LEFT + 150 * number}' cy='12' r='4' fill='{_COLOURS[kind]}'/>"
        f"<text x='{_LEFT + 150 * number + 8}' y='16'>{said}</text>"
        for number, (kind, said) in enumerate(_SAID.items())
    ]
    return _svg("".join(parts))


def _svg(inside: str) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" '
        f'aria-label="Latency and errors by rate"><style>{_STYLE}</style>{inside}</svg>'
    )


def _band(search: StoredSearch, x: Callable[[float], float]) -> Iterator[str]:
    """Yield the band between the highest rate that held and the lowest that did not."""
    result = search.result
    if result is None or not result.held or not result.refused:
        return
    left, right = x(result.held), x(result.refused)
    yield (
        f'<rect class="band" x="{left:.1f}" y="{_TOP}" width="{max(right - left, 1):.1f}" '
        f'height="{_HEIGHT - _BOTTOM - _TOP}"><title>from {shown(result.held)}, which met the conditions, '
        f"to {shown(result.refused)}, which did not</title></rect>"
    )


def _rate_axis(rates: Sequence[float], x: Callable[[float], float]) -> Iterator[str]:
    """Yield the lines and labels of the axis of the rate; a label that would overlap the one before is left out."""
    last, labels = -math.inf, 0
    for rate in sorted(set(rates)):
        at = x(rate)
        if at - last >= _LABEL_WIDTH:
            last, labels = at, labels + 1
            kind = ' class="second"' if labels % 2 == 0 else ""  # left out of a narrow chart
            yield f'<line class="grid" x1="{at:.1f}" y1="{_TOP}" x2="{at:.1f}" y2="{_HEIGHT - _BOTTOM}"/>'
            position = f'x="{at:.1f}" y="{_HEIGHT - _BOTTOM + 18}"'
            yield f'<text{kind} {position} text-anchor="middle">{shown(rate)}</text>'
    yield f'<text x="{_WIDTH / 2}" y="{_HEIGHT - 10}" text-anchor="middle">planned rate</text>'


class _Panel(msgspec.Struct, frozen=True):
    """A part of the chart: the label of its axis, the value at its top, and the positions of its top and bottom."""

    label: str
    highest: str
    top: float
    bottom: float

    def drawn(self, points: Sequence[tuple[float, float, SearchStep]]) -> Iterator[str]:
        """Yield the axis, a line through the points, and the points; heights are shares of the highest value."""
        yield f'<line class="axis" x1="{_LEFT}" y1="{self.top}" x2="{_LEFT}" y2="{self.bottom}"/>'
        yield f'<line class="axis" x1="{_LEFT}" y1="{self.bottom}" x2="{_WIDTH - _RIGHT}" y2="{self.bottom}"/>'
        for text, y in ((self.highest, self.top + 10), ("0", self.bottom), (self.label, (self.top + self.bottom) / 2)):
            yield f'<text x="{_LEFT - 8}" y="{y}" text-anchor="end">{text}</text>'
        coordinates = [(x, self.bottom - share * (self.bottom - self.top), step) for x, share, step in points]
        line = " ".join(f"{x:.1f},{y:.1f}" for x, y, _ in coordinates)
        yield f'<polyline class="line" points="{line}"/>'
        for x, y, step in coordinates:
            step_text = f"{shown(step.rate)}: {_SAID[step.outcome]}, p99 {duration_text.seconds(step.p99)}"
            yield (
                f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{_COLOURS[step.outcome]}">'
                f"<title>{step_text}, {step.errors:.2%} errors</title></circle>"
            )


def _table(steps: Sequence[SearchStep]) -> str:
    head = ("Rate", "Fired", "p50", "p95", "p99", "Errors", "CPU of the target")
    rows = []
    for step in steps:
        cpu = "-" if step.target_cpu is None else f"{step.target_cpu:.0f}%"
        cells = (shown(step.rate), shown(step.achieved), *map(duration_text.seconds, (step.p50, step.p95, step.p99)))
        run = f'<a href="/turret-runs/{quote(step.run, safe="")}/report">{_SAID[step.outcome]}</a>'
        rows.append(
            f'<tr><td class="text">{run}</td>'
            + "".join(
                f'<td data-name="{name}">{escape(cell)}</td>'
                for name, cell in zip(head, (*cells, f"{step.errors:.2%}", cpu), strict=True)
            )
            + f'<td class="text">{escape("; ".join(step.reasons))}</td></tr>'
        )
    heads = "".join(f"<th>{name}</th>" for name in head)
    return (
        f'<div class="wide"><table><thead><tr><th class="text">Run</th>{heads}<th class="text">Reason</th></tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div>"
    )
