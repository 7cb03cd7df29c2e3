"""`smartmob import-results`: results of JMeter, k6, Locust and Vegeta become runs like those of `smartmob fire`."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path, PurePath
from typing import Any

import click
import msgspec

from smartmob.cli import printing, report_sources, thresholds
from smartmob.cli.report_sources import NotAReport, PlainFile, ReportCandidate, UnusableFile
from smartmob.cli.run_lookup import RUNS
from smartmob.cli.server_options import as_json, with_rest_client
from smartmob.client.http import ConnectionBroken, RestClient
from smartmob.counts import counted
from smartmob.errors import InvalidInput, RemoteError
from smartmob.tally import Tally
from smartmob.turrets.model import TimerStats
from smartmob.turrets.outcomes import Outcomes
from smartmob.turrets.report.findings import timer_stats
from smartmob.turrets.result_files import locust_tables, result_formats
from smartmob.turrets.result_files.idle_spans import parts_doubt
from smartmob.turrets.result_files.imported_run import (
    LONGEST_NOTE,
    SLICES_OF_LINE,
    GivenDoubt,
    GivenStats,
    ImportHead,
    ImportLine,
)
from smartmob.turrets.result_files.load_sample import CUT_OFF, FileAccount, LoadSample
from smartmob.turrets.result_files.result_formats import ResultFormat
from smartmob.turrets.result_files.sample_slices import SampleSummary, slices
from smartmob.turrets.slices import TRANSACTION

_COMMAND = "smartmob import-results"
_REFUSED_STATUSES = {400, 409, 413, 422}
"""Answers that are about the content of a file: they are printed, and the next file is read."""

_SHORTEST_SECONDS = 0.001  # of a run
_LONGEST_FILE = 300  # characters
_MOST_POINTS_TIMERS = 100
"""The most timers whose points over time are sent: a report shows this many."""


class ImportedFile(msgspec.Struct):
    """The result of one file, or of the tables of one test of Locust; `stored` is None if nothing was sent.

    `title` is the name of its run, and `conditions` are those that the run must not meet.
    """

    name: str
    title: str = ""
    conditions: Sequence[str] = ()
    format: str | None = None
    account: FileAccount = msgspec.field(default_factory=FileAccount)
    transactions: int = 0
    errors: int = 0
    timers: int = 0
    run: str | None = None
    stored: bool | None = None
    error: str | None = None
    stats: Callable[[], dict[str, TimerStats]] = dict

    def timers_found(self) -> dict[str, Any]:
        """Return the statistics that conditions are compared with, as in the summary of a run."""
        return {"timers": msgspec.to_builtins(self.stats())}

    def document(self) -> dict[str, Any]:
        """Return it for JSON."""
        account = self.account
        return {
            **{"file": self.name, "error": self.error, "format": self.format, "run": self.run, "stored": self.stored},
            **{"transactions": self.transactions, "errors": self.errors, "timers": self.timers},
            "left_out": account.left_out.document(),
            "remarks": account.remarks.document(),
            "notes": list(account.notes),
            "doubts": [doubt.what for doubt in account.doubts],
        }


@click.command("import-results")
@click.argument("files", nargs=-1, required=True, metavar="FILE|FOLDER|PATTERN|-...")
@click.option("--format", "forced", type=click.Choice(result_formats.NAMES),
              help="Format of the files, if it is not recognised.")  # fmt: skip
@click.option("--name", default="", help="Name of the run; the default is that of the file.")
@click.option("--fail-if", "conditions", multiple=True, metavar="CONDITION",
              help="End with 1 if a run meets it: 'p99>200ms', 'errors>1%', 'TIMER:avg>1s'; repeatable.")  # fmt: skip
@click.option(
    "--dry-run",
    is_flag=True,
    help="Only read the files and say what would be stored and which conditions are met; no service is used.",
)
@click.option("--strict", is_flag=True, help="End with exit code 1 if anything was not understood.")
@as_json
@with_rest_client
async def command(
    rest: RestClient,
    files: tuple[str, ...],
    forced: str | None,
    name: str,
    conditions: tuple[str, ...],
    dry_run: bool,
    strict: bool,
    as_json: bool,
) -> int:
    """Store results of other load testing tools as runs, which have reports, conditions and comparisons like any run.

    Reads JMeter's JTL (CSV and XML), k6's JSON and CSV, Vegeta's JSON and CSV (of `vegeta encode`), and the tables that
    Locust writes with --csv, which are one run together. Files may be packed with gzip. A file that was imported before
    is not stored again.
    """
    limits = thresholds.parse_all(conditions)
    if dry_run and any(limit.statistic == thresholds.UNTRUSTED for limit in limits):
        raise click.UsageError("--fail-if untrusted needs the verdict of the service: leave out --dry-run.")
    for doubt in filter(None, (limit.doubt() for limit in limits)):
        printing.say(doubt)
    results: list[ImportedFile] = []
    violations: list[str] = []
    passed_over = Tally()
    for group in _groups(report_sources.expand(files)):
        result = ImportedFile(_spoken(group), name, conditions)
        results.append(result)
        try:
            await _import(None if dry_run else rest, group, forced, result)
            if limits and result.run is not None:
                summary = result.timers_found() if dry_run else await rest.get(f"{RUNS}/{result.run}/summary")
                violations += [f"{result.name}: {text}" for limit in limits if (text := limit.violation(summary))]
        except NotAReport as error:
            passed_over.add("passed over", f"{result.name}: {error}")
            results.remove(result)
            continue
        except InvalidInput as error:
            result.error = str(error)
        except OSError as error:
            result.error = f"cannot be read: {error.strerror or error}"
        if result.error is not None or not as_json:
            _say(result)
    if not results:
        results.append(
            ImportedFile(" ".join(files), error=f"no result was found among {counted(passed_over.total, 'file')}")
        )
        _say(results[0])
    elif passed_over.total and not as_json:
        printing.say(f"{counted(passed_over.total, 'other file')} skipped, for example {passed_over.items()[0][2]}")
    if as_json:
        printing.print_json({"files": [result.document() for result in results], "violations": violations})
    for violation in violations:
        printing.say(violation)
    understood = not any(result.account.remarks.total for result in results)
    return int(bool(violations) or any(result.error for result in results) or (strict and not understood))


def _groups(found: Iterable[ReportCandidate | UnusableFile]) -> list[list[ReportCandidate | UnusableFile]]:
    """Return the files by run: the tables of one test of Locust together, each other file alone."""
    groups: dict[str, list[ReportCandidate | UnusableFile]] = {}
    for one in found:
        key = one.name
        if isinstance(one, ReportCandidate):
            for end in _LOCUST_ENDS:
                if one.path.name.removesuffix(".gz").endswith(end):
                    key = str(one.path.with_name(one.path.name.removesuffix(".gz").removesuffix(end))) + "_*"
                    break
        groups.setdefault(key, []).append(one)
    return list(groups.values())


_LOCUST_ENDS = (locust_tables.HISTORY, locust_tables.STATS, locust_tables.FAILURES, locust_tables.EXCEPTIONS)


def _spoken(group: Sequence[ReportCandidate | UnusableFile]) -> str:
    names = ["standard input" if one.name == report_sources.STANDARD_INPUT else one.name for one in group]
    return ", ".join(names)


async def _import(
    rest: RestClient | None, group: Sequence[ReportCandidate | UnusableFile], forced: str | None, result: ImportedFile
) -> None:
    """Read the files of a run and send it; without a client only read it. Raises InvalidInput and OSError."""
    with ExitStack() as stack:
        files: list[PlainFile] = []
        for one in group:
            if isinstance(one, UnusableFile):
                raise InvalidInput(one.reason)
            files.append(stack.enter_context(report_sources.plain_file(one, _COMMAND, may_be_cut=True)))
            if files[-1].cut:
                result.account.remarks.add(CUT_OFF, "the end of the packed file is missing")
        try:
            formats = [_format(file, forced) for file in files]
        except InvalidInput as error:
            if all(isinstance(one, ReportCandidate) and one.in_folder for one in group):
                raise NotAReport(str(error)) from None
            raise
        result.format = formats[0].spoken
        if formats[0].read is None:
            await _import_tables(rest, files, formats, result)
        elif len(files) > 1:
            raise InvalidInput(f"{files[0].name} is not a table of Locust; import it separately")
        else:
            await _import_samples(rest, files[0], formats[0], result)


def _format(file: PlainFile, forced: str | None) -> ResultFormat:
    if (kind := report_sources.packed(file.head)) is not None:
        raise InvalidInput(f"is {kind}; unpack it first")
    with file.path.open("rb") as opened:
        return result_formats.format_of(opened.read(result_formats.HEAD_BYTES), forced)


async def _import_samples(
    rest: RestClient | None, file: PlainFile, format_: ResultFormat, result: ImportedFile
) -> None:
    """Read a file of samples twice: for its span and account, and for its slices."""
    summary = SampleSummary(_samples(file.path, format_, result.account))
    result.transactions, result.errors, result.timers = summary.transactions, summary.errors, len(summary.timers)
    if not summary.transactions:
        first = next(iter(result.account.remarks.items()), None)
        because = "" if first is None else f": {first[1]:,} {first[0]}, the first is {first[2]}"
        raise InvalidInput(f"has no result ({format_.spoken}){because}")
    if summary.all_count:
        result.account.note("The file has no single requests, so its groups of requests count as transactions.")
    result.account.doubts += [*summary.doubts(), *parts_doubt(result.account.parts)]
    head = ImportHead(
        format=format_.spoken,
        digest=file.digest,
        file=_file_name([file]),
        name=result.title,
        started_at=summary.started_at,
        duration=summary.duration,
        notes=_notes(result.account),
        doubts=[GivenDoubt(doubt.level, doubt.what) for doubt in result.account.doubts],
        users=result.account.users.since(summary.started),
        fail_if=list(result.conditions),
    )
    result.stats = lambda: _stats(_samples(file.path, format_, FileAccount()), summary)
    lines = _slice_lines(_samples(file.path, format_, FileAccount()), summary)
    await _send(rest, head, lines, result)


async def _import_tables(
    rest: RestClient | None, files: Sequence[PlainFile], formats: Sequence[ResultFormat], result: ImportedFile
) -> None:
    """Read the tables of a test of Locust."""
    with ExitStack() as stack:
        tables = {}
        for file, format_ in zip(files, formats, strict=True):
            kind = locust_tables.kind_of(file.head.decode("utf-8-sig", "replace"))
            if format_.read is not None or kind is None or kind in tables:
                raise InvalidInput(f"{file.name} is not another table of the same test of Locust; import it separately")
            tables[kind] = stack.enter_context(file.path.open("rb"))
        given = locust_tables.read(tables, result.account)
    result.stats = lambda: given.timers
    whole = next(iter(given.timers.values()))
    result.transactions, result.errors, result.timers = whole.count, whole.errors, len(given.timers) - 1
    if not whole.count:
        raise InvalidInput("has no request")
    given.points = dict(list(given.points.items())[:_MOST_POINTS_TIMERS])
    head = ImportHead(
        format=formats[0].spoken,
        digest=hashlib.blake2b("".join(sorted(file.digest for file in files)).encode(), digest_size=16).hexdigest(),
        file=_file_name(files),
        name=result.title or _test_name(files),
        started_at=given.started_at,
        duration=max(given.duration or 0.0, _SHORTEST_SECONDS),
        notes=_notes(result.account),
        doubts=[GivenDoubt(doubt.level, doubt.what) for doubt in result.account.doubts],
        aggregated=True,
        users=[] if given.started_at is None else result.account.users.since(given.started_at.timestamp()),
        fail_if=list(result.conditions),
    )
    await _send(rest, head, _given_lines(given), result)


def _file_name(files: Sequence[PlainFile]) -> str:
    return ", ".join(sorted(PurePath(file.name).name for file in files))[:_LONGEST_FILE]


def _test_name(files: Sequence[PlainFile]) -> str:
    """Return the prefix that the names of the tables of a test of Locust share, or nothing for other names."""
    name = PurePath(files[0].name).name.removesuffix(".gz")
    return next((name.removesuffix(end)[:200] for end in _LOCUST_ENDS if name.endswith(end)), "")


def _notes(account: FileAccount) -> list[str]:
    """Return what a report says about the file: its notes, and the counts of what was not understood."""
    remarks = (
        f"{count:,} of its rows are left out, {kind}: {example}" for kind, count, example in account.remarks.items()
    )
    return [printing.printable(note)[:LONGEST_NOTE] for note in (*account.notes, *remarks)][:100]


def _samples(path: Path, format_: ResultFormat, account: FileAccount) -> Iterator[LoadSample]:
    assert format_.read is not None
    with path.open("rb") as file:
        yield from format_.read(file, account)


def _stats(samples: Iterable[LoadSample], summary: SampleSummary) -> dict[str, TimerStats]:
    """Return the statistics of each timer, as the service has them after the import."""
    timers = {TRANSACTION: Outcomes()}
    for part in slices(samples, summary):
        timers.setdefault(part.timer, Outcomes()).merge(part)
    return {name or thresholds.ALL: timer_stats(values, summary.duration) for name, values in timers.items()}


def _slice_lines(samples: Iterable[LoadSample], summary: SampleSummary) -> Iterator[ImportLine]:
    held = []
    for part in slices(samples, summary):
        held.append(part)
        if len(held) == SLICES_OF_LINE:
            yield ImportLine(slices=held)
            held = []
    if held:
        yield ImportLine(slices=held)


def _given_lines(given: GivenStats) -> Iterator[ImportLine]:
    for part in given.parts():
        yield ImportLine(given=part)


async def _send(rest: RestClient | None, head: ImportHead, lines: Iterable[ImportLine], result: ImportedFile) -> None:
    """Send a run, and keep its id and whether it is new. Raises InvalidInput if the service refuses it."""
    result.run = str(head.run_id())
    if rest is None:
        return
    stream = _RunLines([ImportLine(head=head)], lines)
    try:
        answer = await rest.send_lines(f"{RUNS}/imports", stream.chunks())
    except RemoteError as error:
        if stream.error is not None:
            raise stream.error from None
        if isinstance(error, ConnectionBroken) or error.status not in _REFUSED_STATUSES:
            raise
        raise InvalidInput(f"the service refuses it: {error}") from None
    result.run, result.stored = str(answer["run"]["id"]), not answer["known"]


class _RunLines:
    """The lines of a request's body. `error` is that of the file, which ends the request too early."""

    def __init__(self, first: Iterable[ImportLine], lines: Iterable[ImportLine]) -> None:
        self._first = first
        self._lines = lines
        self.error: InvalidInput | OSError | None = None

    async def chunks(self) -> AsyncIterator[bytes]:
        """Yield the lines."""
        for line in self._first:
            yield msgspec.json.encode(line) + b"\n"
        try:
            for line in self._lines:
                yield msgspec.json.encode(line) + b"\n"
        except (InvalidInput, OSError) as error:
            self.error = error
            raise


def _say(result: ImportedFile) -> None:
    """Say what came of a file: one line, and one more for each kind of what was left out or not understood."""
    if result.error is not None:
        printing.say(f"{result.name}: {result.error}")
        return
    said = {None: "would be stored as", True: "stored as", False: "already stored as"}[result.stored]
    counts = (result.transactions, "transaction"), (result.errors, "error"), (result.timers, "timer")
    held = ", ".join(counted(*count) for count in counts)
    printing.say(f"{result.name}: {said} run {result.run} ({result.format}, {held})")
    account = result.account
    for kind, count, example in account.left_out.items():
        printing.say(f"  {count} {kind}: {example}")
    for kind, count, example in account.remarks.items():
        printing.say(f"  {count} {kind}: {example}")
    for note in (*account.notes, *(doubt.what for doubt in account.doubts)):
        printing.say(f"  {note}")
