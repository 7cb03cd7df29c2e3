"""The options of commands that use a service (its address, token and authorities), and their error handling."""

from __future__ import annotations

import asyncio
import errno
import os
import re
import shlex
import sys
from collections.abc import Awaitable, Callable
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import unquote

import click

from smartmob.cli.number_options import Number
from smartmob.client import failures
from smartmob.client.http import RestClient
from smartmob.client.http_connection import Origin
from smartmob.client.limits import LIMITS
from smartmob.client.reservation import SHOWN
from smartmob.environment import environment
from smartmob.errors import RemoteError, SmartmobError, message_of
from smartmob.options import PREFIX

DEFAULT_SERVER = "http://127.0.0.1:8080"
_PORT = 8080

_RESERVATION_ID = re.compile(r"[0-9a-fA-F-]{32,36}")
_LONGEST_REASON = 1_000  # characters
_PARSE_ERRORS = (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, EOFError, RecursionError)
"""Errors of reading a document whose types or fields differ from those of this version."""

T = TypeVar("T")


as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


def _set_answer_timeout(_: click.Context, __: click.Parameter, seconds: float) -> None:
    LIMITS.answer_seconds = seconds


def address(host: str) -> str:
    """Return the address of a service for `name`, `name:port` or a whole address; raises UsageError."""
    url = host
    if "://" not in host:
        name = f"[{host}]" if host.count(":") > 1 and not host.startswith("[") else host
        url = f"http://{name}" if name.rpartition("]")[2].count(":") else f"http://{name}:{_PORT}"
    if Origin.parsed(url) is None:
        raise click.UsageError(
            f"{host!r} is not the address of a service, such as HOST:PORT or https://HOST (ports go up to 65535)"
        )
    return url


def _server(_: click.Context, __: click.Parameter, given: str) -> str:
    return address(given.strip())


with_answer_timeout = click.option(
    "--answer-timeout",
    type=Number(min=0.01, max=86_400),
    metavar="SECONDS",
    envvar=PREFIX + "ANSWER_TIMEOUT",
    default=LIMITS.answer_seconds,
    show_default=True,
    expose_value=False,
    callback=_set_answer_timeout,
    help="Seconds within which the service must accept a command; an accepted one may run for any time.",
)
"""The option of commands that call commands of a service."""


def with_server_options(command: Callable[..., Awaitable[T]]) -> Callable[..., T | None]:
    """Add the options of a server to an async command that takes its address, a token and a file of authorities."""

    @click.option(
        "--server",
        metavar="URL",
        envvar=PREFIX + "SERVER",
        default=DEFAULT_SERVER,
        show_default=True,
        callback=_server,
        help="Address of the service: URL or HOST:PORT (also SMARTMOB_SERVER).",
    )
    @click.option(
        "--token-file", type=click.Path(path_type=Path), envvar=PREFIX + "TOKEN_FILE",
        help="File that holds the token (or set SMARTMOB_TOKEN).",
    )  # fmt: skip
    @click.option(
        "--ca-file", type=click.Path(path_type=Path), envvar=PREFIX + "CA_FILE",
        help="File of the certificates to trust for https:// (also SMARTMOB_CA_FILE).",
    )  # fmt: skip
    @wraps(command)
    def run(*args: Any, server: str, token_file: Path | None, ca_file: Path | None, **kwargs: Any) -> T | None:
        SHOWN.id = _reservation()

        async def connected() -> T:
            return await command(server, token_of(token_file), ca_file, *args, **kwargs)

        try:
            return asyncio.run(connected())
        except SmartmobError:
            raise  # some of them are also built-in exceptions, which are handled below
        except BrokenPipeError as error:
            if failures.is_remote(error):
                raise RemoteError(_reason_of(error)) from None
            # The reader of our output has closed it, which click would report as a failure. Buffered output is
            # discarded.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return None
        except OSError as error:
            try:
                sys.stdout.flush()
            except OSError:
                sys.stdout = None  # what is buffered cannot be written either
            closed = error.errno == errno.EBADF and error.filename is None
            raise SmartmobError("a standard stream is closed" if closed else _reason_of(error)) from None
        except _PARSE_ERRORS as error:
            if failures.is_remote(error):
                raise RemoteError(_reason_of(error)) from None
            versions = asyncio.run(_versions(server, token_of(token_file), ca_file))
            raise RemoteError(
                f"{server} sent an answer that is not understood ({type(error).__name__}: {_reason_of(error)}). "
                f"Is it a smartmob service of this version{versions}?"
            ) from error
        except Exception as error:
            if failures.is_remote(error):
                raise RemoteError(_reason_of(error)) from None
            raise

    return run


def remote_reason(error: Exception) -> str | None:
    """Return in one line what a server has done wrong or said, or None for an error that is not its own."""
    if failures.is_remote(error):
        return _reason_of(error)
    if isinstance(error, OSError):
        return _reason_of(error)
    if isinstance(error, _PARSE_ERRORS):
        return f"it sent an answer that is not understood ({type(error).__name__}: {_reason_of(error)})"
    return None


async def _versions(server: str, token: str | None, ca_file: Path | None) -> str:
    """Return the versions of a service and of this command in parentheses, where they differ."""
    async with RestClient(server, token, ca_file) as rest:
        versions = await rest.versions()
    return f" ({versions})" if versions else ""


def _reason_of(error: BaseException) -> str:
    """Return the message of an exception in one line of bounded length."""
    return " ".join(message_of(error).split())[:_LONGEST_REASON] or type(error).__name__


def with_rest_client(command: Callable[..., Awaitable[T]]) -> Callable[..., T | None]:
    """Add the options --server, --token-file and --ca-file to an async command that takes a RestClient."""
    return with_server_options(with_rest(command))


def with_rest(command: Callable[..., Awaitable[T]]) -> Callable[..., Awaitable[T]]:
    """Return a command that takes server, token and authorities, for one that takes a RestClient."""

    @wraps(command)
    async def run(server: str, token: str | None, ca_file: Path | None, *args: Any, **kwargs: Any) -> T:
        async with RestClient(server, token, ca_file) as rest:
            return await command(rest, *args, **kwargs)

    return run


def token_of(token_file: Path | None) -> str | None:
    """Return the token from a file or from the environment, or None."""
    if token_file is None:
        return environment().get(PREFIX + "TOKEN")
    from smartmob.settings import secret

    return secret(token_file, "--token-file")


def connect(server: str, token_file: Path | None, ca_file: Path | None = None) -> RestClient:
    """Return a client of a service, with the token from a file or from the environment."""
    SHOWN.id = _reservation()
    return RestClient(server, token_of(token_file), ca_file)


def _reservation() -> str:
    """Return the id of the reservation that this command shows, or an empty text; raises UsageError."""
    given = environment().get(PREFIX + "RESERVATION", "").strip()
    if given and _RESERVATION_ID.fullmatch(given) is None:
        raise click.UsageError("SMARTMOB_RESERVATION is not the id that `smartmob reserve` has printed")
    return given


def command_line(rest: RestClient, *words: str) -> str:
    """Return the command line of another command for the same service, for a person to type."""
    return command_line_at(rest.url, *words)


def command_line_at(url: str, *words: str) -> str:
    """Return the command line of another command for the service at `url`, which may be that of a node."""
    from smartmob.processes.protocol import shown_address

    lab, node = node_of(url)
    usual = environment().get(PREFIX + "SERVER", DEFAULT_SERVER).rstrip("/")
    server = () if lab == usual else ("--server", shown_address(lab))
    return shlex.join(("smartmob", *words, *(("--on", node) if node else ()), *server))


def node_of(url: str) -> tuple[str, str]:
    """Return the service and the node of the address of a node's service; no node for another address."""
    lab, _, rest = url.rstrip("/").partition("/api/v1/nodes/")
    node, separator, more = rest.partition("/service")
    return (lab, unquote(node)) if node and separator and not more else (url.rstrip("/"), "")
