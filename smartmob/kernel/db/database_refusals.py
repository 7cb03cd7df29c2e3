"""The reasons why a database cannot be used with its present setup, each in one line that says what to do."""

from __future__ import annotations

import os
import re
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import parse_qsl, urlsplit

import asyncpg

from smartmob.errors import DatabaseError

_FILE_OPTIONS = ("sslrootcert", "sslcert", "sslkey", "sslcrl")
"""Options of a database URL that name a file, without which no connection can be made."""

_ENCODINGS = ("UTF8", "SQL_ASCII")
"""Encodings in which each text can be stored; SQL_ASCII stores the bytes of UTF-8 as they come."""

_PASSING_TLS_ERRORS = (ssl.SSLEOFError, ssl.SSLZeroReturnError, ssl.SSLSyscallError)
"""TLS errors that are raised when a connection is cut."""

_SOURCE_POSITION = re.compile(r"^\[[^]]*\] ?| \([^()]*\.c:\d+\)$")
"""The position in the source of OpenSSL, in the message of an error."""

_ADVICE = (
    (asyncpg.InsufficientPrivilegeError, "make its role the owner of the database, or grant it CREATE on the schema"),
    (asyncpg.InvalidSchemaNameError, "make the schema that search_path names"),
    (asyncpg.ReadOnlySQLTransactionError, "name the primary server, and leave default_transaction_read_only off"),
)


def check_files(url: str) -> None:
    """Raise DatabaseError if a file that a database URL names cannot be read."""
    try:
        options = dict(parse_qsl(urlsplit(url).query))
    except ValueError:
        return  # the driver refuses it
    for name in _FILE_OPTIONS:
        path = options.get(name)
        if path is not None and not os.access(path, os.R_OK):
            raise DatabaseError(f"the file {path} cannot be read, which the database URL names as {name}")


def names_several_servers(url: str) -> bool:
    """Return whether a database URL has several hosts, but does not ask for the one that can be written."""
    try:
        parts = urlsplit(url)
        options = dict(parse_qsl(parts.query))
    except ValueError:
        return False
    return "target_session_attrs" not in options and "," in (parts.netloc.rpartition("@")[2] + options.get("host", ""))


def check_server(reported: object, name: str) -> None:
    """Raise DatabaseError for a database that cannot be written, or whose encoding lacks characters.

    `reported` are the settings that the server reports to each client, as asyncpg keeps them.
    """
    encoding = getattr(reported, "server_encoding", "UTF8")
    if encoding not in _ENCODINGS:
        raise DatabaseError(
            f"the database {name} has the encoding {encoding}, which cannot store all texts: make one with "
            "CREATE DATABASE … ENCODING 'UTF8' TEMPLATE template0"
        )
    if getattr(reported, "in_hot_standby", "off") == "on":
        raise DatabaseError(f"the server of the database {name} is a standby, which is read-only: name the primary")


def is_parameter(error: BaseException) -> bool:
    """Return whether a connection pooler refuses a setting of the server in the database URL."""
    return isinstance(error, asyncpg.ProtocolViolationError) and "unsupported startup parameter" in str(error)


def of_connection(error: BaseException) -> str | None:
    """Return why a server or the driver refuses to connect, or None where another attempt may succeed."""
    if isinstance(error, ConnectionError) and "rejected SSL upgrade" in str(error):
        return "the server offers no TLS, which sslmode in the database URL demands"
    if isinstance(error, ssl.SSLError) and not isinstance(error, _PASSING_TLS_ERRORS):
        return f"TLS: {tls_text(error)}"
    if is_parameter(error):
        return f"{_first_line(error)}: leave it out of the database URL, and set it with ALTER ROLE … SET"
    if isinstance(error, asyncpg.UndefinedObjectError | asyncpg.CantChangeRuntimeParamError):
        return f"{_first_line(error)}: leave that option out of the database URL"
    if isinstance(error, asyncpg.PostgresError | asyncpg.ClientConfigurationError):
        return _first_line(error)
    return None


def of_migration(error: asyncpg.PostgresError) -> DatabaseError:
    """Return the exception that says why the tables cannot be made or changed."""
    advice = next((f": {text}" for kind, text in _ADVICE if isinstance(error, kind)), "")
    return DatabaseError(f"the tables of the service cannot be brought up to date ({_first_line(error)}){advice}")


@contextmanager
def in_one_line() -> Iterator[None]:
    """Turn an error of the server during migrations into the exception of `of_migration`."""
    try:
        yield
    except asyncpg.PostgresError as error:
        raise of_migration(error) from error


def tls_text(error: ssl.SSLError) -> str:
    """Return in one line why a TLS connection failed, without the position in the source of OpenSSL."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the certificate of the server was refused ({error.verify_message})"
    return _SOURCE_POSITION.sub("", str(error.args[-1])) if error.args else "it failed"


def _first_line(error: BaseException) -> str:
    return str(error).split("\n", 1)[0]
