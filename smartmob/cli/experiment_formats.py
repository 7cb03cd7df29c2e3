"""The report of an experiment as a table, as a JSON document, as Markdown for a pull request, and as JUnit XML."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any
from xml.etree import ElementTree

import click
import msgspec

from smartmob.cli import printing
from smartmob.cli.table_layout import StyledText
from smartmob.cli.verdict_formats import escaped
from smartmob.counts import counted
from smartmob.experiments.model import ExperimentReport, VerdictOnTest

_COLOURS = {"slower": "bold red", "faster": "green", "undecided": "yellow", "unfit": "magenta"}
_ORDER = ("slower", "faster", "unfit", "undecided", "same")
_ICONS = {"slower": "🔴", "faster": "🟢", "unfit": "⚪", "undecided": "🟡", "same": "✅"}
_MOST_ROWS = 100

FORMATS = ("table", "json", "markdown", "junit")
"""The formats of a report."""


def show(report: ExperimentReport, form: str, *, everything: bool) -> None:
    """Print the report in one of the formats."""
    if form == "json":
        printing.print_json(document(report))
    elif form == "markdown":
        click.echo(markdown(report), nl=False)
    elif form == "junit":
        click.echo(junit(report), nl=False)
    else:
        print_report(report, everything=everything)


def styled(verdict: str) -> StyledText:
    """Return a verdict in its colour."""
    return printing.plain("same" if verdict == "same" else word(verdict, 0.0), _COLOURS.get(verdict, ""))


def document(report: ExperimentReport) -> dict[str, Any]:
    """Return the report as a document of JSON."""
    found: dict[str, Any] = msgspec.to_builtins(report)
    return found


def word(verdict: str, min_effect: float) -> str:
    """Return a verdict as people read it."""
    if verdict == "same":
        return f"the same within {min_effect:.1%}".replace(".0%", "%")
    return {"unfit": "machine busy"}.get(verdict, verdict)


def failed(report: ExperimentReport, alarms: Sequence[str]) -> list[str]:
    """Return those words of --fail-on that apply."""
    found: set[str] = {test.verdict for test in report.tests}
    if any(test.memory is not None and test.memory.verdict == "more" for test in report.tests):
        found.add("memory")
    if "unfit" in found:
        found.add("busy")
    return [alarm for alarm in dict.fromkeys(alarms) if alarm in found]


def ratio(test: VerdictOnTest) -> str:
    """Return the ratio of the times with its interval."""
    if test.ratio is None:
        return printing.NOTHING
    low = f"{test.low:.3f}" if test.low is not None else "?"
    high = f"{test.high:.3f}" if test.high is not None else "?"
    return f"{test.ratio:.3f} ({low} to {high})"


def instructions(test: VerdictOnTest) -> str:
    """Return the verdict of the instruction counts, in a few words."""
    found = test.instructions
    if found is None or found.ratio is None:
        return printing.NOTHING if found is None else found.verdict
    if found.verdict == "varies":
        spread = "" if found.spread is None else f" by {found.spread:.1%}"
        return f"vary{spread}"
    if found.verdict == "not confirmed":
        return f"{found.ratio - 1:+.1%}, not confirmed"
    if found.verdict == "equal":
        return "equal" if found.base == found.head else f"{found.ratio - 1:+.2%}"
    return f"{abs(found.ratio - 1):.1%} {found.verdict}"


def remark(test: VerdictOnTest) -> str:
    """Return the witness that decided, and the verdict of the other one."""
    parts = []
    if test.witness == "instructions":
        said = "by instructions; the clock cannot tell"
        parts.append(said)
    elif test.witness == "clock":
        parts.append("by the clock")
    if test.memory is not None and test.memory.verdict in ("more", "less"):
        parts.append(f"{printing.size(abs(test.memory.difference))} {test.memory.verdict} memory")
    if test.set_aside:
        parts.append(f"{counted(test.set_aside, 'pair')} set aside")
    return "; ".join([*parts, *([test.reason] if test.reason else [])])


def headline(report: ExperimentReport) -> str:
    """Return the verdict on the experiment in a sentence."""
    counts: Counter[str] = Counter(test.verdict for test in report.tests)
    parts = [f"{counts[name]} {word(name, report.min_effect)}" for name in _ORDER if counts[name]]
    return f"{report.base.given} → {report.head.given}: {', '.join(parts) or 'no tests'}"


def closing(report: ExperimentReport) -> str:
    """Return how the experiment went in a sentence."""
    pairs = "1 pair" if len(report.pairs) == 1 else f"{len(report.pairs)} pairs"
    return f"{pairs} in {printing.span(report.seconds)}; {report.ended}; intervals of {report.confidence:.0%}"


def busy(report: ExperimentReport) -> str:
    """Return the programs that took the processors meanwhile, or nothing."""
    used: Counter[str] = Counter()
    for pair in report.pairs:
        used.update(pair.others)
    number = max(1, len(report.pairs))
    shown = [f"{name} {total / number:.1f}" for name, total in used.most_common(3) if total / number >= 0.1]
    return f"other programs used CPU (processors on average): {', '.join(shown)}" if shown else ""


def _notable(report: ExperimentReport) -> list[VerdictOnTest]:
    ordered = sorted(report.tests, key=lambda test: _ORDER.index(test.verdict))
    return [test for test in ordered if test.verdict != "same" or (test.memory and test.memory.verdict == "more")]


def print_report(report: ExperimentReport, *, everything: bool) -> None:
    """Print the verdicts as a table; tests without a change are left out unless `everything` is wanted."""
    shown = sorted(report.tests, key=lambda test: _ORDER.index(test.verdict)) if everything else _notable(report)
    if shown:
        printing.print_table(
            headline(report),
            ("Verdict", "Test", ">Base", ">Head", ">Ratio of times", ">Instructions", ">Pairs", "Remark"),
            (_cells(test, report.min_effect) for test in shown),
        )
    lines = [] if shown else [headline(report)]
    lines += [f"{closing(report)}.", *filter(None, [busy(report)]), *report.notes]
    printing.print_lines(printing.plain(line) for line in lines)


def _cells(test: VerdictOnTest, min_effect: float) -> tuple[object, ...]:
    return (
        printing.plain(word(test.verdict, min_effect), _COLOURS.get(test.verdict, "")),
        *(test.name, printing.seconds(test.base_seconds), printing.seconds(test.head_seconds), ratio(test)),
        *(instructions(test), test.pairs, remark(test)),
    )


def markdown(report: ExperimentReport) -> str:
    """Return the report as a comment on a pull request."""
    parts = [f"### {_ICONS[report.verdict]} {escaped(headline(report))}"]
    rows = _notable(report)
    if rows:
        lines = [
            "| | Test | Base | Head | Ratio of times | Instructions | Pairs | |",
            "|---|---|---:|---:|---:|---:|---:|---|",
        ]
        for test in rows[:_MOST_ROWS]:
            cells = (
                *(f"{_ICONS[test.verdict]} {word(test.verdict, report.min_effect)}", escaped(test.name)),
                *(printing.seconds(test.base_seconds), printing.seconds(test.head_seconds), ratio(test)),
                *(instructions(test), str(test.pairs), escaped(remark(test))),
            )
            lines.append(f"| {' | '.join(cells)} |")
        parts.append("\n".join(lines))
        if len(rows) > _MOST_ROWS:
            parts.append(f"{len(rows) - _MOST_ROWS} more are left out.")
    notes = [f"{closing(report)}.", *filter(None, [busy(report)]), *report.notes]
    parts.append("\n".join(f"> {escaped(note)}  " for note in notes))
    return "\n\n".join(parts) + "\n"


def junit(report: ExperimentReport) -> str:
    """Return the report as JUnit XML: a slower test is a failure, an undecided one is skipped."""
    counts = Counter(test.verdict for test in report.tests)
    suite = ElementTree.Element(
        "testsuite",
        name=printing.printable(f"{report.base.given} to {report.head.given}"),
        tests=str(len(report.tests)),
        failures=str(counts["slower"]),
        errors="0",
        skipped=str(counts["undecided"] + counts["unfit"]),
    )
    for test in report.tests:
        path, _, name = test.name.partition("::")
        case = ElementTree.SubElement(
            suite,
            "testcase",
            classname=printing.printable(path),
            name=printing.printable(name or path),
            time=f"{test.head_seconds or 0.0:.6f}",
        )
        message = f"{word(test.verdict, report.min_effect)}: ratio {ratio(test)}, instructions {instructions(test)}"
        message = printing.printable("; ".join(filter(None, [message, remark(test)])))
        if test.verdict == "slower":
            ElementTree.SubElement(case, "failure", message=message, type="slower")
        elif test.verdict in ("undecided", "unfit"):
            ElementTree.SubElement(case, "skipped", message=message)
        else:
            ElementTree.SubElement(case, "system-out").text = message
    suites = ElementTree.Element("testsuites")
    suites.append(suite)
    ElementTree.indent(suites)
    return '<?xml version="1.0" encoding="utf-8"?>\n' + ElementTree.tostring(suites, encoding="unicode") + "\n"
