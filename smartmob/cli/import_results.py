"""`smartmob tests import`: reports of test and benchmark tools, and databases of pytest-monitor."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable
from datetime import datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import click
import msgspec

from smartmob.cli import import_files, printing, report_rows, report_sources
from smartmob.cli.import_files import FileAnalysis
from smartmob.cli.report_rows import ReportContent
from smartmob.cli.report_sources import NotAReport, ReportCandidate, UnusableFile
from smartmob.cli.server_options import as_json, with_rest_client
from smartmob.client.http import ConnectionBroken, RestClient
from smartmob.counts import counted
from smartmob.errors import InvalidInput, RemoteError
from smartmob.metrics.report_files import formats, metric_lines, run_groups
from smartmob.metrics.report_files.import_summary import ImportSummary, Tally
from smartmob.metrics.report_files.run_groups import ReadReport
from smartmob.metrics.report_files.session_rows import ImportOptions, ReportRows
from smartmob.metrics.session_tags import RUN_TAG

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

API = "/api/v1"
_ATTEMPTS = 5  # to append to a session to which others append
_CONFLICT_STATUS = 409
_REFUSED_STATUSES = {400, _CONFLICT_STATUS, 413, 422}
"""Answers that are about the content of a file: they are printed, and the next file is read."""

_CHUNK_LINES = 500
_FAILED = 1  # exit code


class FileResult(msgspec.Struct):
    """The result of one file. `stored` and `known` are None if nothing was sent."""

    name: str
    summary: ImportSummary | None = None
    sessions: list[str] = msgspec.field(default_factory=list)
    metrics: int = 0
    stored: int | None = None
    known: int | None = None
    error: str | None = None
    run: str | None = None

    def document(self) -> dict[str, Any]:
        """Return it for JSON."""
        found: dict[str, Any] = {"file": self.name, "error": self.error, "sessions": self.sessions, "run": self.run}
        if self.summary is not None:
            found |= {
                "format": self.summary.format_name,
                "suites": self.summary.suites,
                "cases": self.summary.cases,
                "metrics": self.metrics,
                "left_out": self.summary.left_out.document(),
                "remarks": self.summary.remarks.document(),
            }
        return found | {"stored": self.stored, "known": self.known}


def _start_time(_: click.Context, parameter: click.Parameter, value: str | None) -> datetime | None:
    try:
        return None if value is None else datetime.fromisoformat(value)
    except ValueError:
        raise click.BadParameter(
            f"{value!r} is not a date and time such as 2026-11-20T12:00:00Z", param=parameter
        ) from None


@click.command("import")
@click.argument("files", nargs=-1, required=True, metavar="FILE|FOLDER|PATTERN|-...")
@click.option("--format", "forced", type=click.Choice(formats.NAMES), metavar="FORMAT",
              help=f"Format of the files, if it is not recognised: {', '.join(formats.NAMES)}.")  # fmt: skip
@click.option("--scm-ref", default="", metavar="COMMIT", help="Commit that the report is about.")
@click.option("--tag", "tags", multiple=True, metavar="NAME=VALUE", help="Tag of the session; repeatable.")
@click.option("--component", default="", help="Component of the tests.")
@click.option("--machine", default="", metavar="NAME", help="Machine that measured, instead of the one in the report.")
@click.option(
    "--started-at",
    metavar="TIME",
    callback=_start_time,
    help="Start of the run in ISO 8601; local time if it has no offset.",
)
@click.option("--dry-run", is_flag=True, help="Only read the files and say what would be stored; no service is used.")
@click.option("--strict", is_flag=True, help="End with exit code 1 if anything was not understood.")
@as_json
@with_rest_client
async def command(
    rest: RestClient,
    files: tuple[str, ...],
    forced: str | None,
    tags: tuple[str, ...],
    dry_run: bool,
    strict: bool,
    as_json: bool,
    **given: Any,
) -> int:
    """Import test and benchmark reports, and pytest-monitor databases (.pymon).

    Reads JUnit XML, TRX, NUnit, xUnit.net, pytest-benchmark, asv, Google Benchmark, hyperfine, `go test -bench` and
    Criterion; of a folder all reports below it. Consecutive reports of one commit are one run. Metrics that are stored
    already are not imported again, so an interrupted import can be repeated.
    """
    options = ImportOptions(tags=dict(pair(tag) for tag in tags), **given)
    results, passed_over = [], Tally()
    everything = list(report_sources.expand(files))
    analysis = import_files.analysis(everything, forced, options)
    runs = await _runs(None if dry_run else rest, analysis)
    for found in everything:
        result = FileResult(found.name, run=runs.get(found.name))
        try:
            if isinstance(found, UnusableFile):
                raise InvalidInput(found.reason)
            await _import(None if dry_run else rest, found, forced, options, analysis, result)
        except NotAReport as reason:
            passed_over.add("passed over", f"{found.name}: {reason}")
            continue
        except InvalidInput as error:
            result.error = str(error)
        results.append(result)
        if not as_json:
            _say(result)
    if not results:
        results.append(
            FileResult(" ".join(files), error=f"no report was found among {counted(passed_over.total, 'file')}")
        )
        if not as_json:
            _say(results[0])
    if as_json:
        printing.print_json(_document(results, passed_over))
    else:
        _say_totals(results, passed_over)
    understood = all(result.summary is None or result.summary.understood for result in results)
    return _FAILED if any(result.error for result in results) or (strict and not understood) else 0


def pair(text: str) -> tuple[str, str]:
    """Return name and value of a tag. Raises InvalidInput."""
    name, separator, value = text.partition("=")
    if not separator or not name:
        raise InvalidInput(f"--tag {text}: expected NAME=VALUE")
    return name, value


async def _import(
    rest: RestClient | None,
    found: ReportCandidate,
    forced: str | None,
    options: ImportOptions,
    analysis: FileAnalysis,
    result: FileResult,
) -> None:
    """Read a file of a run and send what is not stored yet; without a client only read it. Raises InvalidInput."""
    with (
        report_sources.opened(found, forced) as file,
        report_rows.rows_of(file, options, analysis.rows_of(found, file)) as rows,
    ):
        result.name, result.summary = file.name, rows.summary
        if result.run is not None and isinstance(rows, ReportRows):
            rows.join_run(result.run)
        counts = rows.counts()
        result.sessions, result.metrics = list(counts), sum(counts.values())
        if rest is None:
            return
        with printing.progress() as bar:
            try:
                result.stored = await _send(rest, rows, bar, bar.add_task(file.name, total=result.metrics))
            except RemoteError as error:
                if isinstance(error, ConnectionBroken) or error.status not in _REFUSED_STATUSES:
                    raise
                raise InvalidInput(f"the service refuses it: {error}") from None
        result.known = result.metrics - result.stored


async def _runs(rest: RestClient | None, analysis: FileAnalysis) -> dict[str, str]:
    """Return the runs of the files that form one with others, by the names of the files.

    A run that was imported before keeps its name. Without a client nothing is asked.
    """
    found: dict[str, str] = {}
    for group in analysis.groups:
        name = None if rest is None else await _stored_run(rest, group.values())
        found |= dict.fromkeys(group, name or run_groups.name(group.values()))
    return found


async def _stored_run(rest: RestClient, group: Iterable[ReadReport]) -> str | None:
    """Return the run of the first report that is stored with one."""
    for report in group:
        page = await rest.get(f"{API}/sessions/{report.session_h}")
        for session in page["sessions"] if page else ():
            for tag in session["tags"]:
                if tag["name"] == RUN_TAG:
                    return str(tag["value"])
    return None


async def _send(rest: RestClient, rows: ReportContent, bar: Progress, task: TaskID) -> int:
    """Send the metrics that are not stored yet, and return their number. Raises InvalidInput if no session is valid."""
    remarks = rows.summary.remarks
    for context in rows.contexts():
        if (reason := await _refusal(rest, "contexts", context, metric_lines.check_context)) is not None:
            remarks.add("refused context", f"{context['h']}: {reason}")
    refused = {}
    sessions = list(rows.sessions())
    for session in sessions:
        if (reason := await _refusal(rest, "sessions", session, metric_lines.check_session)) is not None:
            refused[session["session_h"]] = reason
            remarks.add("refused session", f"{session['session_h']}: {reason}")
    if sessions and len(refused) == len(sessions):
        raise InvalidInput(f"the service refuses its session: {reason}")
    stored = 0
    for session_h, total in rows.counts().items():
        if session_h in refused:
            continue
        path = f"{API}/sessions/{quote(session_h, safe='')}/metrics"
        for attempt in range(_ATTEMPTS):
            stored_count = (await rest.get(f"{path}/count"))["count"]
            bar.update(task, advance=min(stored_count, total) if attempt == 0 else 0)
            if stored_count >= total:
                break
            try:
                stream = _Stream(rows.metrics(session_h, stored_count), bar, task)
                stored += (await rest.send_lines(path, stream.chunks(), offset=stored_count))["count"]
                break
            except RemoteError as error:
                if stream.error is not None:
                    raise stream.error from None
                # Another client appends to the same session: count its metrics again.
                if error.status != _CONFLICT_STATUS or attempt == _ATTEMPTS - 1:
                    raise
    return stored


async def _refusal(
    rest: RestClient, collection: str, document: dict[str, Any], check: Callable[[dict[str, Any]], None]
) -> str | None:
    """Send a context or a session; return the reason if it is not valid."""
    try:
        check(document)
        await rest.post(f"{API}/{collection}/", document)
    except InvalidInput as error:
        return str(error)
    except RemoteError as error:
        if isinstance(error, ConnectionBroken) or error.status not in _REFUSED_STATUSES:
            raise
        return str(error)
    return None


class _Stream:
    """The lines of a request's body. `error` is that of the file, which ends the request too early."""

    def __init__(self, lines: Iterable[bytes], bar: Progress, task: TaskID) -> None:
        self._lines = lines
        self._bar = bar
        self._task = task
        self.error: InvalidInput | OSError | None = None

    async def chunks(self) -> AsyncIterator[bytes]:
        """Yield some lines at a time."""
        held: list[bytes] = []
        try:
            for line in self._lines:
                held.append(line)
                if len(held) == _CHUNK_LINES:
                    yield b"".join(held)
                    self._bar.advance(self._task, len(held))
                    held = []
        except (InvalidInput, OSError) as error:
            self.error = error
            raise
        yield b"".join(held)
        self._bar.advance(self._task, len(held))


# -- what is said ---------------------------------------------------------------------------------------------------


def _say(result: FileResult) -> None:
    """Print the outcome of a file: one line, and one more for each kind of case that was left out or not understood."""
    summary = result.summary
    if result.error is not None or summary is None:
        printing.say(f"{result.name}: {result.error}")
        return
    if result.stored is None:
        said = f"{counted(result.metrics, 'metric')} would be stored"
    else:
        said = f"{counted(result.stored, 'metric')} stored, {result.known} already stored"
    held = f"{counted(summary.suites, 'suite')}, {counted(summary.cases, 'case')}"
    printing.say(f"{result.name}: {said} ({summary.format_name}, {held})")
    for kind, count, example in summary.left_out.items():
        printing.say(f"  {count} left out, {kind}: {example}")
    for kind, count, example in summary.remarks.items():
        printing.say(f"  {count} {kind}: {example}")


def _say_totals(results: list[FileResult], passed_over: Tally) -> None:
    for _, count, example in passed_over.items():
        printing.say(f"{counted(count, 'other file')} skipped, for example {example}")
    if len(results) > 1:
        found = _totals(results)
        stored = "" if found["stored"] is None else f", {found['stored']} stored, {found['known']} already stored"
        runs = sorted({result.run for result in results if result.run is not None})
        stored += (
            f", in the run {runs[0]}" if len(runs) == 1 else f", in {len(runs)} runs of several files" if runs else ""
        )
        held = f"{counted(found['cases'], 'case')}, {counted(found['metrics'], 'metric')}"
        said = f"{counted(found['files'], 'file')}: {held}{stored}"
        printing.say(said + (f", {counted(found['errors'], 'file')} not read" if found["errors"] else ""))


def _totals(results: list[FileResult]) -> dict[str, Any]:
    summaries = [result.summary for result in results if result.summary is not None]
    sent = [result for result in results if result.stored is not None]
    return {
        "files": len(results),
        "errors": sum(result.error is not None for result in results),
        "suites": sum(summary.suites for summary in summaries),
        "cases": sum(summary.cases for summary in summaries),
        "metrics": sum(result.metrics for result in results),
        "stored": sum(result.stored or 0 for result in sent) if sent else None,
        "known": sum(result.known or 0 for result in sent) if sent else None,
        "left_out": _merged(summary.left_out for summary in summaries),
        "remarks": _merged(summary.remarks for summary in summaries),
    }


def _merged(tallies: Iterable[Tally]) -> dict[str, int]:
    found: dict[str, int] = {}
    for tally in tallies:
        for kind, count, _ in tally.items():
            found[kind] = found.get(kind, 0) + count
    return found


def _document(results: list[FileResult], passed_over: Tally) -> dict[str, Any]:
    other = {"count": passed_over.total, "example": next((row[2] for row in passed_over.items()), None)}
    return {"files": [result.document() for result in results], "passed_over": other, "totals": _totals(results)}
