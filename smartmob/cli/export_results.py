"""`smartmob tests export`: metrics as CSV, NDJSON or a pytest-monitor database."""

from __future__ import annotations

import codecs
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import quote

import click
import orjson

from smartmob.cli import output_files, printing
from smartmob.cli.server_options import with_rest_client
from smartmob.cli.stored_runs import API, find_run
from smartmob.client.http import RestClient
from smartmob.counts import counted
from smartmob.errors import InvalidInput, RemoteError
from smartmob.metrics.protocol import CSV_HEADER
from smartmob.metrics.report_files import pymon

CSV = "text/csv"
_CSV_HEAD = ",".join(CSV_HEADER).encode() + b"\r\n"


@click.command("export")
@click.option(
    "--format", "form", type=click.Choice(("csv", "ndjson", "pymon")), default="csv", show_default=True,
    help="CSV, one JSON object a line, or a pytest-monitor database.",
)  # fmt: skip
@click.option("-o", "--output", "target", type=click.Path(dir_okay=False, path_type=Path), help="File to write.")
@click.option("--force", is_flag=True, help="Replace the file if it exists.")
@click.option("--run", "ident", metavar="RUN|SESSION", help="Only this run or session.")
@with_rest_client
async def command(rest: RestClient, form: str, target: Path | None, force: bool, ident: str | None) -> None:
    """Write metrics as CSV, NDJSON or a pytest-monitor database."""
    run = await find_run(rest, ident) if ident is not None else None
    path = f"{API}/runs/{quote(run['id'], safe='')}/metrics" if run is not None else f"{API}/metrics/"
    if form == "pymon" and target is None:
        raise InvalidInput("a pytest-monitor database is a file: name it with --output FILE")
    with _replacing(target, force) as file:
        if form == "pymon":
            count = await _export_pymon(rest, path, run, Path(file.name))
        else:
            count = await (_export_lines if form == "ndjson" else _export_csv)(rest, path, file)
    printing.say(f"{counted(count, 'metric')} written" + (f" to {target}" if target else ""))


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
        raise RemoteError("the columns of the server's table are not those of metrics")
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
            raise RemoteError(f"the server's metrics cannot be stored in a database: {error}") from None


async def _fill_pymon(rest: RestClient, path: str, run: dict[str, Any] | None, database: sqlite3.Connection) -> int:
    with database:
        for statement in pymon.CREATE:
            database.execute(statement)
        columns = ", ".join(pymon.METRIC_COLUMNS.values())
        placeholders = ", ".join(f":{name}" for name in pymon.METRIC_COLUMNS)
        count, contexts = 0, set()
        async for line in rest.lines(path):
            metric = orjson.loads(line)
            contexts.add(metric["context_h"])
            database.execute(f"INSERT INTO TEST_METRICS ({columns}) VALUES ({placeholders})", metric)  # noqa: S608  # our own names
            count += 1
        await _export_contexts(rest, database, contexts if run is not None else None)
        await _export_sessions(rest, database, {row["session_h"] for row in run["sessions"]} if run else None)
    return count


async def _export_contexts(rest: RestClient, database: sqlite3.Connection, wanted: set[str] | None) -> None:
    columns = ", ".join(pymon.CONTEXT_COLUMNS.values())
    placeholders = ", ".join(f":{name}" for name in pymon.CONTEXT_COLUMNS)
    async for context in rest.rows(f"{API}/contexts/", "contexts"):
        if wanted is None or context["h"] in wanted:
            database.execute(f"INSERT INTO EXECUTION_CONTEXTS ({columns}) VALUES ({placeholders})", context)  # noqa: S608  # own names


async def _export_sessions(rest: RestClient, database: sqlite3.Connection, wanted: set[str] | None) -> None:
    async for session in rest.rows(f"{API}/sessions/", "sessions"):
        if wanted is None or session["session_h"] in wanted:
            tags = orjson.dumps({tag["name"]: tag["value"] for tag in session["tags"]}).decode()
            database.execute(
                "INSERT INTO TEST_SESSIONS (SESSION_H, RUN_DATE, SCM_ID, RUN_DESCRIPTION) VALUES (?, ?, ?, ?)",
                (session["session_h"], session["run_date"], session["scm_ref"], tags),
            )
