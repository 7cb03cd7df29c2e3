"""The report of a run, or of two runs side by side, as one page that needs no other file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import cache
from importlib import resources
from typing import Any

import orjson

from smartmob import __version__, duration_text
from smartmob.duration_text import NOTHING
from smartmob.turrets.model import ALL_TRANSACTIONS, Summary, TimerStats
from smartmob.turrets.report import charts
from smartmob.turrets.report.charts import Chart, RunData
from smartmob.turrets.report.findings import Findings
from smartmob.turrets.report.run_comparison import RunComparison
from smartmob.turrets.report.trust import worst
from smartmob.turrets.slices import TRANSACTION

COLUMNS = ("50", "80", "90", "95", "99", "99.9", "99.99")
_MOST_TIMERS = 100  # timers of a report
_LEVELS = {"same": "fine", "faster": "fine", "slower": "bad", "more errors": "bad"}
"""The colour of a verdict on two runs; that of others is `warning`."""
_SAME_SHARE = 0.005
"""Two values that differ by a smaller share count as the same."""


def render(summary: Summary, findings: Findings, health: Sequence[Mapping[str, Any]]) -> str:
    """Return the page of one run."""
    return _page([(summary, findings, health)])


def compare(first: RunData, second: RunData, comparison: RunComparison | None = None) -> str:
    """Return the page of two runs side by side, called A and B, with the verdict of their `comparison`."""
    return _page([first, second], comparison)


def _page(runs: Sequence[RunData], comparison: RunComparison | None = None) -> str:
    names = _timer_names(runs)
    timers = [name or ALL_TRANSACTIONS for name in names]
    drawn: dict[str, Chart] = {"throughput": charts.throughput(runs), "curves": charts.curves(runs)}
    for number, name in enumerate(names):
        drawn[f"latency-{number}"] = charts.latency(name, runs)
    for number, run in enumerate(runs):
        _, findings, health = run
        drawn[f"heat-{number}"] = charts.heat(findings)
        if health:
            drawn[f"cpu-{number}"] = charts.turret_health(run, "busiest", 100.0, "% of a core")
            drawn[f"lag-{number}"] = charts.turret_health(run, "lag", 1000.0, "ms")
            drawn[f"memory-{number}"] = charts.turret_health(run, "memory", 1 / 2**20, "MiB")
    return str(
        _template().render(
            version=__version__,
            summaries=[summary for summary, _, _ in runs],
            has_health=[bool(health) for _, _, health in runs],
            levels=[worst(summary.trust.doubts) for summary, _, _ in runs],
            timers=timers,
            rows={timer: sum(len(summary.intervals.get(timer, ())) for summary, _, _ in runs) for timer in timers},
            columns=COLUMNS,
            comparison=comparison,
            level=_LEVELS.get(comparison.verdict, "warning") if comparison is not None else "",
            plotly=_plotly(),
            charts=as_script(drawn),
            dark=as_script(charts.DARK),
        )
    )


def _timer_names(runs: Sequence[RunData]) -> list[str]:
    found = {name for _, findings, _ in runs for name in findings.timers}
    return [TRANSACTION, *sorted(found - {TRANSACTION})][:_MOST_TIMERS]


def as_script(document: object) -> str:
    """Return a document as JSON that is safe inside a script element, whatever texts it contains."""
    text = orjson.dumps(document).decode()
    for mark in "<>&\u2028\u2029":
        text = text.replace(mark, f"\\u{ord(mark):04x}")
    return text


@cache
def _plotly() -> str:
    """Return plotly's JavaScript from its package, changed so that it is safe inside a script element."""
    text = resources.files("plotly").joinpath("package_data/plotly.min.js").read_text(encoding="utf-8")
    return text.replace("</script", "<\\/script").replace("<!--", "<\\!--")


@cache
def _template() -> Any:
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("smartmob.turrets.report"), autoescape=True, undefined=jinja2.StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    environment.filters |= {
        "seconds": duration_text.seconds, "time": _time, "change": change, "number": _number, "share": _share,
        "stats": _stats, "figure": _figure, "difference": _difference,
    }  # fmt: skip
    return environment.get_template("report.html")


def change(new: float | None, old: float | None) -> str:
    """Return the change of a value in percent, "same" below half a percent, or "" if there is nothing to compare."""
    if new is None or not old:
        return ""
    share = new / old - 1
    return "same" if abs(share) < _SAME_SHARE else f"{share:+.1%}"


def _figure(value: float | None, figure: str) -> str:
    """Return a compared statistic with its unit."""
    if value is None:
        return NOTHING
    return (
        f"{value:.2%}"
        if figure == "errors"
        else f"{value:,.1f}/s"
        if figure == "rate"
        else duration_text.seconds(value)
    )


def _difference(value: float | None, figure: str) -> str:
    """Return the change of a compared statistic: percent, or percentage points of a share of errors."""
    if value is None:
        return NOTHING
    return f"{value * 100:+.2f} points" if figure == "errors" else f"{value:+.1%}"


def _time(moment: datetime | None) -> str:
    return NOTHING if moment is None else f"{moment:%Y-%m-%d %H:%M:%S} UTC"


def _number(value: float) -> str:
    return f"{value:,.0f}" if value == int(value) or abs(value) >= 100 else f"{value:,.2f}"


def _share(part: float, whole: float) -> str:
    return f"{part / whole:.2%}" if whole else NOTHING


def _stats(summary: Summary, timer: str) -> TimerStats | None:
    return summary.timers.get(timer)
