"""`smartmob tests`: what test suites measured."""

from __future__ import annotations

import codecs
import sqlite3
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import quote

import click
import orjson
from rich.progress import Progress, TaskID

from smartmob.cli import output_files, printing, result_files, trend_list
from smartmob.cli.server_options import with_rest_client
from smartmob.client.http import RestClient
from smartmob.errors import InvalidInput, NotFound, RemoteError
from smartmob.metrics.protocol import CSV_HEADER

API = "/api/v1"
_SHORT = 12  # characters of a hash
_CONFLICT_STATUS = 409
_ATTEMPTS = 5  # to append to a session that others append to
_CHUNK_LINES = 500
CSV = "text/csv"
_CSV_HEAD = ",".join(CSV_HEADER).encode() + b"\r\n"


@click.group("tests")
def command() -> None:
    """Results of test suites: list, show, import, export."""


command.add_command(trend_list.command)
as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@command.command()
@click.option("--limit", default=20, show_default=True, type=click.IntRange(1, 10_000), help="Runs to list.")
@as_json
@with_rest_client
async def ls(rest: RestClient, limit: int, as_json: bool) -> None:
    """List test runs, newest first, and metrics without a session."""
    runs = ((await rest.get(f"{API}/runs/", limit=limit)) or {"runs": []})["runs"]
    orphans = (await rest.get(f"{API}/metrics/orphans", limit=limit))["orphans"]
    if as_json:
        printing.print_json({"runs": runs, "orphans": orphans})
        return
    printing.print_table(
        "Test runs",
        ("Run", "Began", "Commit", "Machine", ">Sessions", ">Tests", ">Time", "Tags"),
        (
            (
                _short(run["id"]),
                printing.local_time(run["started_at"]),
                _short(run["scm_ref"]),
                ", ".join(run["nodes"]),
                len(run["sessions"]),
                run["metrics"],
                printing.seconds(run["total_time"]),
                " ".join(f"{tag['name']}={tag['value']}" for tag in run["tags"]),
            )
            for run in runs
        ),
    )
    if orphans:
        printing.print_table(
            "Metrics without a session",
            ("Session", ">Tests", "First", "Last"),
            (
                (row["session_h"], row["metrics"], printing.local_time(row["first"]), printing.local_time(row["last"]))
                for row in orphans
            ),
        )


_SORTS = {"arrival": None, "time": "total_time", "cpu": "cpu_usage", "memory": "mem_usage"}


@command.command()
@click.argument("ident", metavar="RUN|SESSION")
@click.option(
    "--sort", type=click.Choice(list(_SORTS)), default="arrival", show_default=True, help="Order; the largest first."
)
@as_json
@with_rest_client
async def show(rest: RestClient, ident: str, sort: str, as_json: bool) -> None:
    """Show the time, CPU and memory of the tests of a run or a session; the beginning of its name is enough."""
    run = await _find_run(rest, ident)
    metrics = [metric async for metric in rest.documents(f"{API}/runs/{quote(run['id'], safe='')}/metrics")]
    if (measure := _SORTS[sort]) is not None:
        metrics.sort(key=lambda metric: metric[measure] if metric[measure] is not None else float("-inf"), reverse=True)
    if as_json:
        printing.print_json(run | {"measured": metrics})
        return
    title = f"Run {run['id']} of {printing.local_time(run['started_at'])}, commit {run['scm_ref'] or printing.NOTHING}"
    printing.print_table(
        title,
        ("Test", "Component", ">Time", ">User", ">Kernel", ">CPU", ">Memory"),
        (
            (
                f"{metric['item_path']}::{metric['item_variant'] or metric['item']}",
                metric["component"],
                printing.seconds(metric["total_time"]),
                printing.seconds(metric["user_time"]),
                printing.seconds(metric["kernel_time"]),
                _percent(metric["cpu_usage"]),
                _megabytes(metric["mem_usage"]),
            )
            for metric in metrics
        ),
    )


@command.command()
@click.argument("item", metavar="ITEM")
@click.option("--limit", default=50, show_default=True, type=click.IntRange(1, 10_000), help="Executions to list.")
@as_json
@with_rest_client
async def history(rest: RestClient, item: str, limit: int, as_json: bool) -> None:
    """Show each execution of a test, by its name or its variant, newest first."""
    rows = (await rest.get(f"{API}/items/{quote(item, safe='')}/history", limit=limit))["history"]
    if as_json:
        printing.print_json(rows)
        return
    if not rows:
        raise NotFound(f"no test named {item!r} was measured; the names are those of `smartmob tests show`")
    longest = max(row["total_time"] for row in rows) or 1.0
    printing.print_table(
        f"History of {item}",
        ("Began", "Commit", "Machine", "Variant", ">Time", "", ">CPU", ">Memory"),
        (
            (
                printing.local_time(row["started_at"]),
                _short(row["scm_ref"] or ""),
                row["machine_node"],
                row["item_variant"],
                printing.seconds(row["total_time"]),
                "▇" * max(1, round(20 * row["total_time"] / longest)),
                _percent(row["cpu_usage"]),
                _megabytes(row["mem_usage"]),
            )
            for row in rows
        ),
    )


@command.command("import")
@click.argument("files", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--scm-ref", default="", help="Commit of a JUnit file, which does not name it.")
@click.option("--tag", "tags", multiple=True, metavar="NAME=VALUE", help="Tag of a JUnit file's session; repeatable.")
@click.option("--component", default="", help="Component of a JUnit file's tests.")
@with_rest_client
async def import_(
    rest: RestClient, files: tuple[Path, ...], scm_ref: str, tags: tuple[str, ...], component: str
) -> None:
    """Load pytest-monitor databases (.pymon) and JUnit XML.

    Metrics that are stored already are not loaded again, so an import that was cut off can be repeated.
    """
    pairs = dict(_pair(tag) for tag in tags)
    for path in files:
        content = result_files.open_measures(path, scm_ref, pairs, component)
        with printing.progress() as bar:
            stored = await _load(rest, content, bar, bar.add_task(path.name, total=sum(content.counts().values())))
        known = sum(content.counts().values()) - stored
        said = f"{path}: {stored} measures stored, {known} known already"
        printing.say(
            said + (f", {content.skipped} tests left out because they did not pass" if content.skipped else "")
        )


async def _load(rest: RestClient, content: result_files.Measures, bar: Progress, task: TaskID) -> int:
    """Send the metrics that are not stored yet, and return their number."""
    for context in content.contexts():
        await rest.post(f"{API}/contexts/", context)
    for session in content.sessions():
        await rest.post(f"{API}/sessions/", session)
    stored = 0
    for session_h, total in content.counts().items():
        path = f"{API}/sessions/{quote(session_h, safe='')}/metrics"
        for attempt in range(_ATTEMPTS):
            stored_count = (await rest.get(f"{path}/count"))["count"]
            bar.update(task, advance=min(stored_count, total) if attempt == 0 else 0)
            if stored_count >= total:
                break
            try:
                lines = _lines(content.metrics(session_h, stored_count), bar, task)
                stored += (await rest.send_lines(path, lines, offset=stored_count))["count"]
                break
            except RemoteError as error:
                # Another client appends to the same session: count its metrics again.
                if error.status != _CONFLICT_STATUS or attempt == _ATTEMPTS - 1:
                    raise
    return stored


async def _lines(rows: Iterator[dict[str, Any]], bar: Progress, task: TaskID) -> AsyncIterator[bytes]:
    held: list[bytes] = []
    for row in rows:
        held.append(orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE))
        if len(held) == _CHUNK_LINES:
            yield b"".join(held)
            bar.advance(task, len(held))
            held = []
    yield b"".join(held)
    bar.advance(task, len(held))


@command.command()
@click.option(
    "--format", "form", type=click.Choice(("csv", "ndjson", "pymon")), default="csv", show_default=True,
    help="CSV, one JSON object a line, or a pytest-monitor database.",
)  # fmt: skip
@click.option("-o", "--output", "target", type=click.Path(dir_okay=False, path_type=Path), help="File to write.")
@click.option("--force", is_flag=True, help="Replace the file if it exists.")
@click.option("--run", "ident", metavar="RUN|SESSION", help="Only this run or session.")
@with_rest_client
async def export(rest: RestClient, form: str, target: Path | None, force: bool, ident: str | None) -> None:
    """Write metrics as CSV, NDJSON or a pytest-monitor database."""
    run = await _find_run(rest, ident) if ident is not None else None
    path = f"{API}/runs/{quote(run['id'], safe='')}/metrics" if run is not None else f"{API}/metrics/"
    if form == "pymon" and target is None:
        raise InvalidInput("a pytest-monitor database is a file: name it with --output FILE")
    with _replacing(target, force) as file:
        if form == "pymon":
            count = await _export_pymon(rest, path, run, Path(file.name))
        else:
            count = await (_export_lines if form == "ndjson" else _export_csv)(rest, path, file)
    printing.say(f"{count} measures written" + (f" to {target}" if target else ""))


@contextmanager
def _replacing(target: Path | None, force: bool) -> Iterator[BinaryIO]:
    """Yield the file to write to: standard output, or a file that replaces `target` when it is complete."""
    if target is None:
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    if target.exists() and not force:
        raise InvalidInput(f"{target} exists already; replace it with --force")
    with output_files.replacing(target) as file:
        yield file


async def _export_csv(rest: RestClient, path: str, file: BinaryIO) -> int:
    """Write the table that the server sends, and return its rows; raises RemoteError when it is malformed."""
    head, begun, last, lines = b"", False, b"", 0
    shown = printing.printable if file.isatty() else str
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    async for chunk in rest.chunks(path, CSV):
        lines += chunk.count(b"\n")
        last = chunk or last
        if not begun:
            head += chunk
            begun = head.startswith(_CSV_HEAD)
            if not begun and (len(head) >= len(_CSV_HEAD) or not _CSV_HEAD.startswith(head)):
                break
            chunk = head if begun else b""
        file.write(shown(decoder.decode(chunk)).encode())
    if not begun:
        raise RemoteError("the server's table has other columns than measures have")
    if not last.endswith(b"\n"):
        raise RemoteError("the server's table ends within a line")
    return lines - 1


async def _export_lines(rest: RestClient, path: str, file: BinaryIO) -> int:
    """Write the documents that the server sends, and return their number; raises RemoteError."""
    count = 0
    async for line in rest.lines(path):
        if not isinstance(orjson.loads(line), dict):
            raise RemoteError("the server sent a line that is not a metric")
        file.write(printing.escaped(line.decode().rstrip("\n")).encode() + b"\n")
        count += 1
    return count


async def _export_pymon(rest: RestClient, path: str, run: dict[str, Any] | None, target: Path) -> int:
    with closing(sqlite3.connect(target)) as database:
        try:
            return await _fill_pymon(rest, path, run, database)
        except sqlite3.Error as error:
            raise RemoteError(f"the server's measures fit into no database: {error}") from None


async def _fill_pymon(rest: RestClient, path: str, run: dict[str, Any] | None, database: sqlite3.Connection) -> int:
    with database:
        for statement in result_files.CREATE:
            database.execute(statement)
        columns = ", ".join(result_files.METRIC_COLUMNS.values())
        marks = ", ".join(f":{name}" for name in result_files.METRIC_COLUMNS)
        count, contexts = 0, set()
        async for line in rest.lines(path):
            metric = orjson.loads(line)
            contexts.add(metric["context_h"])
            database.execute(f"INSERT INTO TEST_METRICS ({columns}) VALUES ({marks})", metric)  # noqa: S608  # our own names
            count += 1
        await _export_contexts(rest, database, contexts if run is not None else None)
        await _export_sessions(rest, database, {row["session_h"] for row in run["sessions"]} if run else None)
    return count


async def _export_contexts(rest: RestClient, database: sqlite3.Connection, wanted: set[str] | None) -> None:
    columns = ", ".join(result_files.CONTEXT_COLUMNS.values())
    marks = ", ".join(f":{name}" for name in result_files.CONTEXT_COLUMNS)
    async for context in rest.rows(f"{API}/contexts/", "contexts"):
        if wanted is None or context["h"] in wanted:
            database.execute(f"INSERT INTO EXECUTION_CONTEXTS ({columns}) VALUES ({marks})", context)  # noqa: S608


async def _export_sessions(rest: RestClient, database: sqlite3.Connection, wanted: set[str] | None) -> None:
    async for session in rest.rows(f"{API}/sessions/", "sessions"):
        if wanted is None or session["session_h"] in wanted:
            tags = orjson.dumps({tag["name"]: tag["value"] for tag in session["tags"]}).decode()
            database.execute(
                "INSERT INTO TEST_SESSIONS (SESSION_H, RUN_DATE, SCM_ID, RUN_DESCRIPTION) VALUES (?, ?, ?, ?)",
                (session["session_h"], session["run_date"], session["scm_ref"], tags),
            )


async def _find_run(rest: RestClient, ident: str) -> dict[str, Any]:
    """Return the run of that name, or of the one session whose hash begins with it."""
    try:
        return dict(await rest.get(f"{API}/runs/{quote(ident, safe='')}"))
    except RemoteError as error:
        if error.status != 404:
            raise
    page = await rest.get(f"{API}/sessions/{quote(ident, safe='')}")
    hashes = [session["session_h"] for session in page["sessions"]] if page is not None else []
    if not hashes:
        raise NotFound(f"there is no run or session {ident}; `smartmob tests ls` lists them")
    if len(hashes) > 1:
        raise InvalidInput(f"{ident} is the beginning of {len(hashes)} sessions; give more of the name")
    return dict(await rest.get(f"{API}/runs/{quote(hashes[0], safe='')}"))


def _pair(text: str) -> tuple[str, str]:
    name, sign, value = text.partition("=")
    if not sign or not name:
        raise InvalidInput(f"--tag {text}: expected NAME=VALUE")
    return name, value


def _short(text: str) -> str:
    return text[:_SHORT]


def _percent(share: float | None) -> str:
    return printing.NOTHING if share is None else f"{share * 100:.0f} %"


def _megabytes(value: float | None) -> str:
    return printing.NOTHING if value is None else f"{value:.1f} MB"
