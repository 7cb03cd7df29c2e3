"""PostgreSQL's own programs: how they reach the database, and how they are run.

A password reaches them by the environment, which only the same user can read, and never by an argument.
"""

from __future__ import annotations

import asyncio
import os
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit, urlunsplit

from smartmob import settings
from smartmob.errors import DatabaseError
from smartmob.kernel.embedded import binaries
from smartmob.kernel.embedded.account import Account
from smartmob.kernel.maintenance.database_target import DatabaseTarget

_LIBPQ = {
    *("host", "hostaddr", "port", "user", "passfile", "service", "sslmode", "sslcert", "sslkey", "sslrootcert"),
    *("sslcrl", "sslpassword", "sslnegotiation", "ssl_min_protocol_version", "ssl_max_protocol_version"),
    *("target_session_attrs", "krbsrvname", "gsslib", "application_name", "connect_timeout"),
}
_INHERITED = ("HOME", "PATH", "TMPDIR", "SSL_CERT_FILE", "SSL_CERT_DIR")
_LAST_LINES = 5

Hear = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class PostgresTools:
    """Runs the programs of the wheel against one database."""

    folder: Path
    address: str
    env: Mapping[str, str]
    descriptors: tuple[int, ...]

    @asynccontextmanager
    async def run(
        self, name: str, *arguments: str, hear: Hear = lambda _: None, stdin: int = DEVNULL, stdout: int = PIPE
    ) -> AsyncIterator[Process]:
        """Give a running program; `hear` is told each line that it says on standard error.

        When the block ends, the program is waited for; raises DatabaseError when it failed. It is killed when the
        block fails.
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
        said: list[str] = []
        listening = asyncio.gather(_listen(process, said, hear))
        try:
            yield process
            code = await process.wait()
            await listening
        except BaseException:
            killed = False
            if process.returncode is None:
                process.kill()
                killed = True
            await asyncio.gather(process.wait(), listening, return_exceptions=True)
            if not killed and process.returncode:
                # What it said tells more than what became of those that work with it.
                raise _failed(name, process.returncode, said) from None
            raise
        if code:
            raise _failed(name, code, said)


def find(place: DatabaseTarget) -> PostgresTools:
    """Return the programs for a database; raises DatabaseError when they are not installed."""
    # They are run as this very user.
    folder = binaries.find(Account("", os.geteuid(), os.getegid(), ""), ())
    address, secrets = address_of(place.database.target)
    return PostgresTools(folder, address, _environment() | secrets, place.descriptors)


def address_of(target: Mapping[str, str]) -> tuple[str, dict[str, str]]:
    """Return where a database is, as libpq reads it from an argument, and what must not stand there."""
    if "dsn" not in target:
        host = quote(target["host"], safe="")
        return f"postgresql://{target['user']}@/{target['database']}?host={host}", {}
    parts = urlsplit(target["dsn"])
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
            # asyncpg takes any other name for a setting of the server, and libpq for a mistake.
            options.append(f"-c {key}={_escaped(value)}")
    env = {"PGPASSWORD": unquote(password)} if password else {}
    if options:
        env["PGOPTIONS"] = " ".join(options)
    netloc = f"{name}@{host}" if name else host
    return urlunsplit(("postgresql", netloc, database, urlencode(kept, quote_via=quote), "")), env


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace(" ", "\\ ")


def _environment() -> dict[str, str]:
    given = settings.environment()
    kept = {name: value for name, value in given.items() if name in _INHERITED or name.startswith("PG")}
    return kept | {"LC_ALL": "C", "PGCONNECT_TIMEOUT": "10", "PGAPPNAME": "smartmob"}


def _failed(name: str, code: int, said: Sequence[str]) -> DatabaseError:
    return DatabaseError(f"{name} failed ({code}): " + "; ".join(said[-_LAST_LINES:]))


async def _listen(process: Process, said: list[str], hear: Hear) -> None:
    assert process.stderr is not None
    async for line in process.stderr:
        text = line.decode(errors="replace").rstrip()
        said.append(text)
        del said[:-_LAST_LINES]
        hear(text)
