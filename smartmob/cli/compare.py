"""`smartmob compare`: the tests that became slower, and the load of the machine meanwhile."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, cast

import click

from smartmob import verdict_words
from smartmob.cli import printing, verdict_formats
from smartmob.cli.base_run import usual_base
from smartmob.cli.number_options import Number
from smartmob.cli.server_options import with_rest_client
from smartmob.client.http import RestClient
from smartmob.errors import RemoteError, SettingsError

PATH = "/api/v1/compare"
_COLOURS = {"regression": "bold red", "suspect": "yellow", "unfit": "magenta", "improvement": "green"}
ALARMS = ("regression", "suspect", "shift", "gone", "unfit")
"""The keys of --fail-on, which takes their words too."""

_WRONG_REQUEST_STATUS = 400
_SHARE = re.compile(r"(\d+(?:\.\d+)?)\s*(%)?")
_FORMATS = ("table", "json", "markdown", "junit")
RESOURCES = ("total_time", "user_time", "kernel_time", "cpu_usage", "mem_usage")


def share(_: click.Context, __: click.Parameter, text: str) -> float:
    """Return a share that was written as `5%` or `0.05`."""
    match = _SHARE.fullmatch(text.strip())
    if match is None:
        raise click.BadParameter(f"{text!r} is not a share; write 5% or 0.05")
    return float(match[1]) * (0.01 if match[2] else 1.0)


def _alarms(_: click.Context, __: click.Parameter, texts: tuple[str, ...]) -> list[str]:
    """Return the keys of --fail-on, whose words may be repeated or separated by commas."""
    words = [word for text in texts for word in text.split(",")]
    keys = [verdict_words.key_of(word) for word in words]
    for word, key in zip(words, keys, strict=True):
        if key not in ALARMS:
            raise click.BadParameter(f"{word.strip()!r} is not one of {', '.join(map(verdict_words.option, ALARMS))}")
    return keys


@click.command("compare")
@click.argument("base", required=False)
@click.argument("head", default="latest")
@click.option("--resource", type=click.Choice(RESOURCES), default="total_time", show_default=True,
              help="The resource to compare.")  # fmt: skip
@click.option("--fail-on", multiple=True, metavar="WORD[,WORD…]", callback=_alarms,
              help="End with 1 on: slower, maybe-slower (or slower), shift (a slower or faster machine), gone (a "
              "missing test), cannot-tell (a test that cannot be judged). Repeatable.")  # fmt: skip
@click.option("--format", "form", type=click.Choice(_FORMATS), default="table", show_default=True,
              help="A table, JSON, Markdown for a pull request, or JUnit XML for CI.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="The same as --format json.")
@click.option("--all", "everything", is_flag=True, help="Also show the tests without a change in the table.")
@click.option("--min-effect", default="5%", show_default=True, metavar="SHARE", callback=share,
              help="Ignore smaller changes.")  # fmt: skip
@click.option(
    "--min-seconds", "--min-change", "min_change", type=Number(0, 1e9),
    help="Also ignore smaller changes in seconds, cores or MB. Default: 0.001 s, 0.05 cores, 1 MB; "
    "for the time and memory of benchmarks 0.",
)  # fmt: skip
@click.option("--across", is_flag=True, help="Compare metrics of different machines, with low confidence.")
@with_rest_client
async def command(
    rest: RestClient,
    base: str | None,
    head: str,
    resource: str,
    fail_on: list[str],
    form: str,
    as_json: bool,
    everything: bool,
    min_effect: float,
    min_change: float | None,
    across: bool,
) -> int:
    """Show which tests became slower from BASE to HEAD, and which only vary as they usually do.

    BASE and HEAD are a run, a commit or the hash of a session, or the beginning of one; a prefix `run:`, `commit:` or
    `session:` states its kind. `latest` is the newest run and `latest~1` the one before. The default of BASE is the
    last run of another commit on the branch of HEAD, which the tag pipeline_branch names. A test must be slower in two
    runs in a row to be called slower; before that it is maybe slower, so run again. Exit codes: 0, 1 if --fail-on
    applies or a run does not exist, 2 for a wrong option or an ambiguous name, 3 if the server does not answer.
    """
    note = None
    if base is None:
        base, note = await usual_base(rest, head)
    query: dict[str, object] = {"base": base, "head": head, "resource": resource, "min_effect": min_effect}
    if min_change is not None:
        query["min_change"] = min_change
    if across:
        query["across"] = "true"
    try:
        found = await rest.get(PATH, **query)
    except RemoteError as error:
        if error.status == _WRONG_REQUEST_STATUS:
            raise SettingsError(str(error)) from None
        raise
    if note is not None:
        printing.say(note)
    failed = [word for word in ALARMS if word in fail_on and word in found["alarms"]]
    if as_json or form == "json":
        printing.print_json(found)
    elif form == "markdown":
        click.echo(verdict_formats.markdown(found, failed), nl=False)
    elif form == "junit":
        click.echo(verdict_formats.junit(found, failed), nl=False)
    else:
        print_comparison(found, everything=everything)
    if failed:
        printing.say(f"--fail-on: {', '.join(map(verdict_words.option, failed))}")
    return int(bool(failed))


def print_comparison(found: Mapping[str, Any], *, everything: bool) -> None:
    """Print the verdict, the tests that are more than "no change", and notes on the load of the machine."""
    colour = _COLOURS.get(found["verdict"], "bold")
    lines = [printing.plain(f"{verdict_formats.verdict(found)}: {found['explanation']}", colour)]
    rows = [row for row in found["items"] if everything or verdict_formats.is_notable(row)]
    shown, repeated = (rows, []) if everything else verdict_formats.without_repetitions(rows)
    if shown:
        printing.print_table(
            verdict_formats.title(found),
            ("Verdict", "Test", ">Base", ">Head", ">Usual", ">Change", ">Varies", "Reason"),
            (_cells(row, found["unit"]) for row in shown),
        )
    else:
        lines.insert(0, printing.plain(verdict_formats.title(found), "bold"))
    said = [*verdict_formats.not_in_headline(repeated, found), *verdict_formats.notes(found)]
    lines += [printing.plain(note) for note in said]
    hidden = found["counts"]["noise"] - sum(1 for row in rows if row["verdict"] == "noise")
    if hidden > 0 and not everything:
        lines.append(printing.plain(_hidden(hidden)))
    printing.print_lines(lines)


def _hidden(count: int) -> str:
    more = "1 more test has" if count == 1 else f"{count} more tests have"
    return f"{more} no change; --all shows {'it' if count == 1 else 'them'}."


def _cells(row: Mapping[str, Any], unit: str) -> Sequence[object]:
    values = (verdict_formats.value(row[name], unit) for name in ("base", "head", "level"))
    return (
        printing.plain(verdict_formats.verdict(row), _COLOURS.get(row["verdict"], "")),
        *(verdict_formats.test_name(row), *values, verdict_formats.change(row, unit), verdict_formats.variation(row)),
        cast(str, row["reason"]),
    )
