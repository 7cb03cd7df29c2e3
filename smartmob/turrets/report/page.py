"""The report of a run, or of two runs side by side, as one page that needs no other file.

The chart library and the data of the page are compressed, which reduces the page to a fifth of its size. A script
unpacks them; without scripts, the page still has the verdict, the plan and the first rows of all tables.
"""

from __future__ import annotations

import base64
import gzip
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import orjson

from smartmob import __version__, chart_library, duration_text, verdict_words
from smartmob.turrets.model import ALL_TRANSACTIONS, ErrorText, Summary, TimerStats
from smartmob.turrets.report import charts, page_tables
from smartmob.turrets.report.charts import Chart, RunData
from smartmob.turrets.report.findings import Findings
from smartmob.turrets.report.fired import ReportedLoad
from smartmob.turrets.report.page_tables import ReportTable
from smartmob.turrets.report.run_comparison import RunComparison
from smartmob.turrets.slices import TRANSACTION

LONGEST_PAGE = 1_000_000  # bytes; a longer page is made again with less content
_SHARES = (1.0, 0.5, 0.25, 0.1)
"""The shares of the following limits that are tried in turn until the page is short enough."""
_MOST_CHARTS = 20  # timers with a chart of their own; a browser draws each in up to a tenth of a second
_MOST_CHART_POINTS = 12_000
"""Points of time of all these charts: 20 with 600 each."""
_MOST_INTERVALS = 6_000  # rows of the tables of intervals
_MOST_ERROR_CHARACTERS = 400_000
"""Characters of the error texts of a run; further texts are left out, and the page says how many."""
_LEVELS = {"yes": "fine", "with care": "warning", "no": "bad", "not yet": "warning"}
_VERDICT_LEVELS = {"same": "fine", "faster": "fine", "slower": "bad", "more errors": "bad"}
"""The colour of a verdict on two runs; the colour of other verdicts is `warning`."""


def render(
    summary: Summary, findings: Findings, health: Sequence[Mapping[str, Any]], loads: Sequence[ReportedLoad] = ()
) -> str:
    """Return the page of one run; `loads` has the known facts about its load."""
    return _page([(summary, findings, health)], loads)


def charts_of(run: RunData) -> dict[str, Chart]:
    """Return the charts of the report of a run by their names: of all transactions, and of its turrets' health.

    The number of cannons or users is a chart of its own, `users-0`.
    """
    found = _charts([run], [TRANSACTION], [TRANSACTION])
    users = charts.users(run)
    return found if charts.is_empty(users) else found | {"users-0": users}


def compare(
    first: RunData, second: RunData, comparison: RunComparison | None = None, loads: Sequence[ReportedLoad] = ()
) -> str:
    """Return the page of two runs side by side, called A and B, with the verdict of their `comparison`.

    The first run of the comparison is B, so that its changes are those of A relative to B, as in the tables.

    `loads` has the known facts about the load of each.
    """
    return _page([first, second], loads, comparison)


def _page(runs: Sequence[RunData], loads: Sequence[ReportedLoad], comparison: RunComparison | None = None) -> str:
    """Return the page with as much as fits into `LONGEST_PAGE` bytes."""
    text = ""
    for share in _SHARES:
        text = _page_with(share, runs, loads, comparison)
        if len(text.encode()) <= LONGEST_PAGE:
            break
    return text


def _page_with(
    share: float, runs: Sequence[RunData], loads: Sequence[ReportedLoad], comparison: RunComparison | None
) -> str:
    """Return the page with a share of the charts of single timers, of their intervals and of error texts."""
    summaries = [summary for summary, _, _ in runs]
    names = _timer_names(runs)
    by_time = sorted(names, key=lambda name: (name != TRANSACTION, -_whole_time(name, runs)))
    points = max((findings.duration / findings.step for _, findings, _ in runs), default=1.0)
    charted = by_time[: max(1, int(share * min(_MOST_CHARTS, _MOST_CHART_POINTS / max(points, 1.0) / len(runs))))]
    errors = [_errors(summary, findings, int(share * _MOST_ERROR_CHARACTERS)) for summary, findings, _ in runs]
    shown = [name or ALL_TRANSACTIONS for name in names]
    drawn = _charts(runs, by_time, charted)
    found = {
        "timers": page_tables.timers(summaries, shown),
        "failures": page_tables.failures(summaries, shown),
        **{f"errors-{number}": table for number, (table, _) in enumerate(errors)},
        **{
            f"turrets-{number}": page_tables.turrets(summary.turrets, ended=summary.trust.verdict != "not yet")
            for number, summary in enumerate(summaries)
        },
    }
    details = _intervals(summaries, charted, int(share * _MOST_INTERVALS))
    with_content = _with_content(charted, drawn, details)
    data = {
        "charts": drawn,
        "dark": charts.DARK,
        "tables": {key: table.document() for key, table in (found | details).items()},
    }
    return str(
        _template().render(
            version=__version__,
            summaries=summaries,
            loads=loads,
            has_health=[bool(health) for _, _, health in runs],
            levels=[_LEVELS[summary.trust.verdict] for summary in summaries],
            charted=with_content,
            uncharted=len(names) - len(with_content),
            heats=[_heats(number, drawn) for number in range(len(runs))],
            missing=[text for number, run in enumerate(runs) if (text := _missing(run, number, len(runs)))],
            firing=charts.firing(summaries),
            uncurved=len(names) - charts.MOST_CURVES,
            left_out=[left for _, left in errors],
            tables=found,
            charts=drawn,
            details=details,
            library=base64.b64encode(chart_library.packed()).decode(),
            data=packed(data),
            comparison=comparison,
            mixed=any(_own(summary).mixed for summary in summaries),
            given=all(summary.source is not None and summary.source.aggregated for summary in summaries),
            level=_VERDICT_LEVELS.get(comparison.verdict, "warning") if comparison is not None else "",
        )
    )


def _charts(runs: Sequence[RunData], by_time: Sequence[str], charted: Sequence[str]) -> dict[str, Chart]:
    drawn: dict[str, Chart] = {"throughput": charts.throughput(runs), "curves": charts.curves(by_time, runs)}
    for number, name in enumerate(charted):
        drawn[f"latency-{number}"] = charts.latency(name, runs)
    for number, run in enumerate(runs):
        drawn[f"heat-{number}"] = charts.heat(run)
        if run[1].failed_heat:
            drawn[f"failed-heat-{number}"] = charts.heat(run, failed=True)
        if run[0].errors:
            drawn[f"codes-{number}"] = charts.codes(run)
        if run[2]:
            drawn[f"cpu-{number}"] = charts.turret_health(run, "busiest", 100.0, "% of a core")
            drawn[f"lag-{number}"] = charts.turret_health(run, "lag", 1000.0, "ms")
            drawn[f"memory-{number}"] = charts.turret_health(run, "memory", 1e-6, "MB")
    return {name: chart for name, chart in drawn.items() if not charts.is_empty(chart)}


def _with_content(
    charted: Sequence[str], drawn: Mapping[str, Chart], details: Mapping[str, ReportTable]
) -> list[tuple[int, str]]:
    """Return the numbers and names of the timers that have a chart or a table of intervals."""
    tables = {key.rsplit("-", 1)[0] for key in details}
    return [
        (number, name or ALL_TRANSACTIONS)
        for number, name in enumerate(charted)
        if f"latency-{number}" in drawn or f"intervals-{number}" in tables
    ]


def _heats(number: int, drawn: Mapping[str, Chart]) -> list[tuple[str, str]]:
    """Return the heat maps of a run: the name of the chart and what it shows."""
    found = ((f"heat-{number}", "OK"), (f"failed-heat-{number}", "failed"))
    return [(key, words) for key, words in found if key in drawn]


def _missing(run: RunData, number: int, count: int) -> str:
    """Return why charts of a run are left out, or an empty text."""
    summary, findings, _ = run
    own = _own(summary)
    label = f"{'AB'[number]}: " if count > 1 else ""
    if not own.count:
        return f"{label}There is no result, so there is nothing to draw."
    if summary.source is not None and summary.source.aggregated:
        ending = "" if findings.has_times else ", and no times"
        return f"{label}The file has statistics instead of samples: it has no distribution over time{ending}."
    return "" if own.samples else f"{label}No transaction succeeded, so there is no latency of a success to draw."


def _timer_names(runs: Sequence[RunData]) -> list[str]:
    found = {name for _, findings, _ in runs for name in findings.timers}
    return [TRANSACTION, *sorted(found - {TRANSACTION})]


def _whole_time(name: str, runs: Sequence[RunData]) -> float:
    """Return the seconds that all values of a timer take together."""
    found = (findings.timers[name].whole for _, findings, _ in runs if name in findings.timers)
    return sum(whole.ok.total + whole.failed.total for whole in found)


def _intervals(summaries: Sequence[Summary], charted: Sequence[str], most_rows: int) -> dict[str, ReportTable]:
    """Return the tables of intervals of the first timers, as many tables as have at most `most_rows` rows together."""
    found: dict[str, ReportTable] = {}
    rows = 0
    for position, name in enumerate(charted):
        for number, summary in enumerate(summaries):
            intervals = summary.intervals.get(name or ALL_TRANSACTIONS, [])
            rows += len(intervals)
            if intervals and rows <= most_rows:
                found[f"intervals-{position}-{number}"] = page_tables.intervals(intervals)
    return found


def _errors(summary: Summary, findings: Findings, most_characters: int) -> tuple[ReportTable, tuple[int, int]]:
    """Return the table of errors, and the numbers of texts and errors that are left out because of their size."""
    shown: list[tuple[str, ErrorText]] = []
    characters = 0
    errors = [(name, error) for name, texts in findings.all_errors().items() for error in texts]
    errors.sort(key=lambda found: -found[1].count)
    for name, error in errors:
        characters += len(name) + len(error.kind) + len(error.code) + len(error.text) + 10
        if characters > most_characters:
            break
        shown.append((name, error))
    left = errors[len(shown) :]
    counts = {name: stats.count for name, stats in summary.timers.items()}
    return page_tables.errors(shown, counts), (len(left), sum(error.count for _, error in left))


def packed(document: object) -> str:
    """Return a document as JSON, compressed with gzip, as base64: safe in a script element, whatever texts it has."""
    return base64.b64encode(gzip.compress(orjson.dumps(document), 9, mtime=0)).decode()


@cache
def _template() -> Any:
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("smartmob.turrets.report"), autoescape=True, undefined=jinja2.StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    environment.filters |= {
        "seconds": duration_text.seconds, "time": page_tables.time_text, "number": page_tables.number_text,
        "size": page_tables.size_text, "share": _share, "own": _own, "statistic_value": _statistic_value,
        "difference": _difference, "word": verdict_words.word,
    }  # fmt: skip
    return environment.get_template("report.html")


def _statistic_value(value: float | None, statistic: str) -> str:
    """Return a compared statistic with its unit."""
    if value is None:
        return duration_text.NOTHING
    return (
        f"{value:.2%}"
        if statistic == "errors"
        else f"{value:,.1f}/s"
        if statistic == "rate"
        else duration_text.seconds(value)
    )


def _difference(value: float | None, statistic: str) -> str:
    """Return the change of a compared statistic: percent, or percentage points of a share of errors."""
    if value is None:
        return duration_text.NOTHING
    return f"{value * 100:+.2f} points" if statistic == "errors" else f"{value:+.1%}"


def _share(part: float, whole: float) -> str:
    return f"{part / whole:.2%}" if whole else duration_text.NOTHING


def _own(summary: Summary) -> TimerStats:
    """Return the statistics of the transactions themselves."""
    return summary.timers[ALL_TRANSACTIONS]
