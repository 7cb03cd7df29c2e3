"""`smartmob compare-runs`: load tests side by side, with a verdict for each timer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from xml.etree import ElementTree

import click

from smartmob import verdict_words
from smartmob.cli import printing, run_lookup, thresholds
from smartmob.cli.compare import share
from smartmob.cli.number_options import Number
from smartmob.cli.server_options import with_rest_client
from smartmob.cli.verdict_formats import escaped
from smartmob.client.http import RestClient
from smartmob.counts import counted

_FORMATS = ("table", "json", "markdown", "junit")
WORDS = ("slower", "errors", "rate", "unfit", "incomparable")
"""The keys of --fail-on, which takes their words too."""

_COLOURS = {"slower": "bold red", "more": "red", "fewer": "yellow", "faster": "green", "cannot tell": "magenta"}
_HEAD = ("Verdict", "Timer", "Statistic", ">A", ">B", ">Change", ">95 % interval", "Reason")
"""The columns of Markdown; a table has no reasons, and the timer as its last column if it is wide."""
_NARROW_HEAD = ("Verdict", "Statistic", ">A", ">B", ">Change", ">95 % interval")
_MOST_NAMES = 3  # of statistics that are unfit for the same reason
_WIDE_COLUMNS = 120  # of a terminal

_POINTS = " points"
"""The unit of a difference of shares."""

Document = Mapping[str, Any]


def _words(_: click.Context, __: click.Parameter, texts: tuple[str, ...]) -> list[str]:
    words = [word for text in texts for word in text.split(",")]
    # "slower" is a key of its own here, and a word of tests.
    keys = [word.strip() if word.strip() in WORDS else verdict_words.key_of(word) for word in words]
    for word, key in zip(words, keys, strict=True):
        if key not in WORDS:
            raise click.BadParameter(f"{word.strip()!r} is not one of {', '.join(map(_option, WORDS))}")
    return keys


def _option(key: str) -> str:
    return key if key == "incomparable" else verdict_words.option(key)


@click.command("compare-runs")
@click.argument("first", metavar="A")
@click.argument("others", metavar="B...", nargs=-1, required=True)
@click.option("--skip", type=Number(0, 31 * 86_400), default=0.0, metavar="SECONDS",
              help="Exclude this number of seconds at the start of each run, for its warm-up.")  # fmt: skip
@click.option("--min-effect", default="5%", show_default=True, metavar="SHARE", callback=share,
              help="Ignore smaller changes of latencies and rates.")  # fmt: skip
@click.option("--fail-on", multiple=True, metavar="WORD[,WORD…]", callback=_words,
              help="End with 1 on: slower, errors (more of them), rate (a lower one), cannot-tell (nothing can be "
              "judged), incomparable. Repeatable.")  # fmt: skip
@click.option("--format", "form", type=click.Choice(_FORMATS), default="table", show_default=True,
              help="A table, JSON, Markdown for a pull request, or JUnit XML for CI.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="The same as --format json.")
@click.option("--all", "everything", is_flag=True, help="Also show the rows without a change in the table.")
@with_rest_client
async def command(
    rest: RestClient,
    first: str,
    others: tuple[str, ...],
    skip: float,
    min_effect: float,
    fail_on: list[str],
    form: str,
    as_json: bool,
    everything: bool,
) -> int:
    """Compare each of the load tests B... with A (ids of runs, or "last").

    Latencies of successes, rate and errors are judged by batch means, timer by timer: one value for each span of
    consecutive seconds, because single seconds are not independent measurements. Exit codes: 0, 1 if --fail-on applies
    or a run does not exist, 2 for a wrong option or the same run twice, 3 if the server does not answer.
    """
    base = await run_lookup.find_run(rest, first)
    found = []
    runs = [await run_lookup.find_run(rest, other) for other in others]
    for number, run in enumerate(runs):
        if run in (base, *runs[:number]):
            raise click.UsageError(f"{others[number]} is a run that is given twice: name different runs.")
        path = f"{run_lookup.RUNS}/{base}/comparison"
        found.append(await rest.get(path, against=run, skip=skip, min_effect=min_effect))
    form = "json" if as_json else form
    if form == "json":
        printing.print_json(found[0] if len(found) == 1 else {"comparisons": found})
    elif form == "markdown":
        click.echo("\n".join(markdown(each) for each in found))
    elif form == "junit":
        click.echo(junit(found, fail_on))
    else:
        for number, each in enumerate(found):
            if number:
                click.echo()
            show(each, printing.console().width, everything=everything)
    failed = [key for key in WORDS if key in fail_on and any(applies(key, each) for each in found)]
    if failed:
        printing.say(f"--fail-on: {', '.join(map(_option, failed))}")
    return int(bool(failed))


def applies(key: str, found: Document) -> bool:
    """Return whether a key of --fail-on applies to a comparison. Of runs that cannot be compared nothing is judged."""
    if key == "incomparable" or found["verdict"] == "incomparable":
        return bool(key == found["verdict"])
    if key == "unfit":
        return bool(found["verdict"] == "unfit")
    wanted = {"slower": ("slower", None), "errors": ("more", "errors"), "rate": ("fewer", "rate")}[key]
    return any(row["verdict"] == wanted[0] and wanted[1] in (None, row["figure"]) for _, row in _rows(found))


def _rows(found: Document) -> list[tuple[str, Document]]:
    return [(timer["timer"], row) for timer in found["timers"] for row in timer["figures"]]


def title(found: Document) -> str:
    """Return the two runs in one line: by their names, and by their ids too where these are the same."""
    runs = found["first"], found["second"]
    same = runs[0]["name"] == runs[1]["name"]
    names = [f"{run['name']} ({run['id']})" if same and run["name"] else run["name"] or run["id"] for run in runs]
    return f"B {names[1]} against A {names[0]}"


def _notes(found: Document) -> list[str]:
    """Return notes on what the table does not show."""
    notes = list(found.get("notes") or ())
    for name, timers in (("A", found["only_first"]), ("B", found["only_second"])):
        if timers:
            shown = ", ".join(timer or thresholds.ALL for timer in timers[:10])
            notes.append(f"Only {name} has: {shown}{' …' if len(timers) > 10 else ''}")
    if found["left_out"]:
        are = "is" if found["left_out"] == 1 else "are"
        notes.append(f"{counted(found['left_out'], 'rarer timer')} {are} left out.")
    return notes


def _reasons(rows: Sequence[tuple[str, Document]]) -> list[str]:
    """Return why statistics are unfit, a line for each reason."""
    found: dict[str, list[str]] = {}
    for timer, row in rows:
        if row["reason"]:
            found.setdefault(row["reason"], []).append(f"{row['figure']} of {timer}")
    return [
        f"{', '.join(names[:_MOST_NAMES])}{' …' if len(names) > _MOST_NAMES else ''}: {reason}."
        for reason, names in found.items()
    ]


def _cells(timer: str, row: Document) -> tuple[str, ...]:
    return (
        verdict_words.word(row["verdict"]),
        timer,
        row["figure"],
        *(_value(row["figure"], row[side]) for side in ("first", "second")),
        _change(row["figure"], row["change"]),
        _interval(row),
        row["reason"],
    )


def _value(statistic: str, value: float | None) -> str:
    if value is None:
        return printing.NOTHING
    return (
        f"{value:.2%}"
        if statistic == "errors"
        else printing.rate(value)
        if statistic == "rate"
        else printing.seconds(value)
    )


def _change(statistic: str, value: float | None) -> str:
    if value is None:
        return printing.NOTHING
    return f"{value * 100:+.2f}{_POINTS}" if statistic == "errors" else f"{value:+.1%}"


def _interval(row: Document) -> str:
    """Return the confidence interval of a change, with its unit once."""
    if row["p"] is None:
        return ""
    low, high = (_change(row["figure"], row[side]) for side in ("low", "high"))
    return f"{low.removesuffix(_POINTS)} … {high}"


def show(found: Document, columns: int, *, everything: bool) -> None:
    """Print the verdict, the statistics that changed, and their reasons and notes, for `columns` columns."""
    rows = [(timer, row) for timer, row in _rows(found) if everything or row["verdict"] not in ("same", "unfit")]
    verdict = verdict_words.word(found["verdict"])
    printing.print_lines([printing.plain(f"{title(found)}: {verdict}: {found['reason']}.", "bold")])
    if columns >= _WIDE_COLUMNS:
        if rows:
            printing.print_table("", (*_NARROW_HEAD, "Timer"), ((*_line(timer, row), timer) for timer, row in rows))
    else:
        for timer in dict.fromkeys(timer for timer, _ in rows):
            printing.print_table(timer, _NARROW_HEAD, (_line(name, row) for name, row in rows if name == timer))
    lines = [*_reasons(rows), *_notes(found)]
    hidden = len(_rows(found)) - len(rows)
    if hidden:
        have, them = ("has", "it") if hidden == 1 else ("have", "them")
        lines.append(f"{counted(hidden, 'statistic')} {have} no change or cannot be judged; --all shows {them}.")
    printing.print_lines([printing.plain(line) for line in lines])


def _line(timer: str, row: Document) -> list[object]:
    """Return the cells of the columns `_NARROW_HEAD`."""
    verdict, _, *rest, _ = _cells(timer, row)
    return [printing.plain(verdict, _COLOURS.get(verdict, "")), *rest]


def markdown(found: Document) -> str:
    """Return a comparison as a comment on a pull request."""
    parts = [f"### {escaped(title(found))}: {escaped(verdict_words.word(found['verdict']))}", escaped(found["reason"])]
    rows = [_cells(timer, row) for timer, row in _rows(found) if row["verdict"] != "same"]
    if rows:
        head = [name.removeprefix(">") for name in _HEAD]
        lines = [head, ["---"] * len(head), *([escaped(cell) for cell in row] for row in rows)]
        parts.append("\n".join(f"| {' | '.join(line)} |" for line in lines))
    parts += [escaped(note) for note in _notes(found)]
    return "\n\n".join(parts) + "\n"


def _sentence(row: Document) -> str:
    """Return a statistic of two runs in one line."""
    statistic = row["figure"]
    first, second = (_value(statistic, row[side]) for side in ("first", "second"))
    said = f"{verdict_words.word(row['verdict'])}: {first} became {second}"
    if row["p"] is not None:
        said += f", {_change(statistic, row['change'])}, 95 % interval {_interval(row)}"
    return f"{said}, {row['reason']}" if row["reason"] else said


def junit(comparisons: Sequence[Document], fail_on: Sequence[str]) -> str:
    """Return comparisons as JUnit XML: a statistic of a timer is a case, which fails if --fail-on names its verdict."""
    suites = ElementTree.Element("testsuites")
    for found in comparisons:
        suite = ElementTree.SubElement(suites, "testsuite", name=printing.printable(title(found)))
        cases = []
        for timer, row in _rows(found):
            one = {**found, "timers": [{"timer": timer, "figures": [row]}]}
            failing = any(applies(key, one) for key in fail_on if key in ("slower", "errors", "rate"))
            cases.append((timer, row["figure"], _sentence(row), failing, row["verdict"] == "unfit"))
        whole = any(applies(key, found) for key in fail_on if key in ("unfit", "incomparable"))
        text = f"{verdict_words.word(found['verdict'])}: {found['reason']}"
        cases.append(("smartmob.compare-runs", "verdict", text, whole, False))
        suite.set("tests", str(len(cases)))
        suite.set("failures", str(sum(case[3] for case in cases)))
        suite.set("skipped", str(sum(case[4] and not case[3] for case in cases)))
        for timer, statistic, text, failing, unfit in cases:
            case = ElementTree.SubElement(
                suite, "testcase", classname=printing.printable(timer), name=statistic, time="0"
            )
            if failing or unfit:
                kind = "failure" if failing else "skipped"
                ElementTree.SubElement(case, kind, message=printing.printable(text))
    ElementTree.indent(suites)
    return '<?xml version="1.0" encoding="utf-8"?>\n' + ElementTree.tostring(suites, encoding="unicode")
