"""Runs PostgreSQL's own programs, pg_dump and pg_restore, on a database.

They get a password in the environment, which only the same user can read, and never as an argument.
"""

from __future__ import annotations

import asyncio
import os
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit, urlunsplit

import msgspec

from smartmob.environment import environment
from smartmob.errors import DatabaseError
from smartmob.kernel.embedded import binaries
from smartmob.kernel.embedded.account import DatabaseUser
from smartmob.kernel.maintenance.database_target import DatabaseTarget

_LIBPQ = {
    *("host", "hostaddr", "port", "user", "passfile", "service", "sslmode", "sslcert", "sslkey", "sslrootcert"),
    *("sslcrl", "sslpassword", "sslnegotiation", "ssl_min_protocol_version", "ssl_max_protocol_version"),
    *("target_session_attrs", "krbsrvname", "gsslib", "application_name", "connect_timeout"),
}
_INHERITED = ("HOME", "PATH", "TMPDIR", "SSL_CERT_FILE", "SSL_CERT_DIR")
_LAST_LINES_COUNT = 5  # of standard error in the message of a failure

OnLine = Callable[[str], None]
"""Called with each line on standard error."""


class PostgresTools(msgspec.Struct, frozen=True):
    """The programs of the wheel, with all that they need to reach one database."""

    folder: Path
    address: str
    env: Mapping[str, str]
    descriptors: tuple[int, ...]

    @asynccontextmanager
    async def run(
        self, name: str, *arguments: str, on_line: OnLine = lambda _: None, stdin: int = DEVNULL, stdout: int = PIPE
    ) -> AsyncIterator[Process]:
        """Run a program while the block runs; `on_line` is called with each line on its standard error.

        The end of the block waits for the program, and raises DatabaseError if it failed. An exception in the block
        kills the program.
        """
        process = await asyncio.create_subprocess_exec(
            self.folder / name,
            *arguments,
            stdin=stdin,
            stdout=stdout,
            stderr=PIPE,
            env=self.env,
            pass_fds=self.descriptors,
        )
        last_lines: list[str] = []
        reading = asyncio.gather(_read_errors(process, last_lines, on_line))
        try:
            yield process
            code = await process.wait()
            await reading
        except BaseException:
            killed = False
            if process.returncode is None:
                process.kill()
                killed = True
            # While the reading of a pipe is paused, the end of its program is not noticed, so the rest of the output is
            # read.
            rest = [process.stdout.read()] if process.stdout is not None else []
            await asyncio.gather(process.wait(), reading, *rest, return_exceptions=True)
            if not killed and process.returncode:
                # The program's own message explains more than the exception of the block, which was caused by the
                # program's end.
                raise _failed(name, process.returncode, last_lines) from None
            raise
        if code:
            raise _failed(name, code, last_lines)


def find(target: DatabaseTarget) -> PostgresTools:
    """Return the programs for a database; raises DatabaseError when they are not installed."""
    # The programs run as the user of this process.
    folder = binaries.find(DatabaseUser("", os.geteuid(), os.getegid(), ""), ())
    address, secrets = address_of(target.database.connect_arguments)
    return PostgresTools(folder, address, _environment() | secrets, target.descriptors)


def address_of(arguments: Mapping[str, str]) -> tuple[str, dict[str, str]]:
    """Return the URL of a database for libpq without secrets, and the environment variables with the secrets.

    `arguments` are those of asyncpg: `dsn`, or `host`, `user` and `database`.
    """
    if "dsn" not in arguments:
        host = quote(arguments["host"], safe="")
        return f"postgresql://{arguments['user']}@/{arguments['database']}?host={host}", {}
    parts = urlsplit(arguments["dsn"])
    user, _, host = parts.netloc.rpartition("@")
    name, _, password = user.partition(":")
    kept, options = [], []
    database = parts.path
    for key, value in parse_qsl(parts.query, keep_blank_values=True):
        if key == "password":
            password = quote(value, safe="")
        elif key in ("database", "dbname"):
            database = "/" + quote(value, safe="")
        elif key in _LIBPQ:
            kept.append((key, value))
        else:
            # asyncpg takes any other name as a setting of the server, but for libpq it is an error.
            options.append(f"-c {key}={_escaped(value)}")
    if "target_session_attrs" in arguments:
        kept.append(("target_session_attrs", arguments["target_session_attrs"]))
    env = {"PGPASSWORD": unquote(password)} if password else {}
    if options:
        env["PGOPTIONS"] = " ".join(options)
    netloc = f"{name}@{host}" if name else host
    return urlunsplit(("postgresql", netloc, database, urlencode(kept, quote_via=quote), "")), env


def _escaped(value: str) -> str:
    """Return the value of a setting as PGOPTIONS needs it."""
    return value.replace("\\", "\\\\").replace(" ", "\\ ")


def _environment() -> dict[str, str]:
    """Return the environment of the programs, without secrets of the service."""
    given = environment()
    kept = {name: value for name, value in given.items() if name in _INHERITED or name.startswith("PG")}
    return kept | {"LC_ALL": "C", "PGCONNECT_TIMEOUT": "10", "PGAPPNAME": "smartmob"}


def _failed(name: str, code: int, last_lines: Sequence[str]) -> DatabaseError:
    return DatabaseError(f"{name} failed ({code}): " + "; ".join(last_lines[-_LAST_LINES_COUNT:]))


async def _read_errors(process: Process, last_lines: list[str], on_line: OnLine) -> None:
    """Read standard error to its end, and keep its last lines."""
    assert process.stderr is not None
    async for line in process.stderr:
        text = line.decode(errors="replace").rstrip()
        last_lines.append(text)
        del last_lines[:-_LAST_LINES_COUNT]
        on_line(text)
