"""What the commands that talk to a service have in common: where it is, with which token, and how they run."""

from __future__ import annotations

import asyncio
import os
import shlex
import sys
from collections.abc import Awaitable, Callable
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar

import click

from smartmob.client import failures
from smartmob.client.http import RestClient
from smartmob.errors import RemoteError, SmartmobError
from smartmob.options import PREFIX
from smartmob.processes.protocol import shown_address
from smartmob.settings import environment, secret

DEFAULT_SERVER = "http://127.0.0.1:8080"

_LONGEST_SAID = 1_000
_MISUNDERSTOOD = (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, EOFError, RecursionError)
"""Errors of reading a document whose types or fields differ from those of this version."""

T = TypeVar("T")


as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


def with_server_options(command: Callable[..., Awaitable[T]]) -> Callable[..., T | None]:
    """Make an async command that is given an address, a token and authorities into one with options for them."""

    @click.option(
        "--server",
        metavar="URL",
        envvar=PREFIX + "SERVER",
        default=DEFAULT_SERVER,
        show_default=True,
        help="Address of the service (also SMARTMOB_SERVER).",
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
        async def connected() -> T:
            return await command(server, token_of(token_file), ca_file, *args, **kwargs)

        try:
            return asyncio.run(connected())
        except SmartmobError:
            raise  # some of them are errors of Python's own, too
        except BrokenPipeError as error:
            if failures.is_remote(error):
                raise RemoteError(_said(error)) from None
            # The reader of our output has seen enough; click would take it for a failure. What is still held back
            # goes nowhere.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return None
        except OSError as error:
            raise SmartmobError(_said(error)) from None
        except _MISUNDERSTOOD as error:
            if failures.is_remote(error):
                raise RemoteError(_said(error)) from None
            raise RemoteError(
                f"{server} answered something that is not understood ({type(error).__name__}: {_said(error)}). "
                "Is it a smartmob service of this version?"
            ) from error

    return run


def _said(error: BaseException) -> str:
    """Return in one line of bounded length what an exception says."""
    return " ".join(str(error).split())[:_LONGEST_SAID] or type(error).__name__


def with_rest_client(command: Callable[..., Awaitable[T]]) -> Callable[..., T | None]:
    """Make an async command that is given a Lab into one with the options --server, --token-file and --ca-file."""

    @with_server_options
    @wraps(command)
    async def run(server: str, token: str | None, ca_file: Path | None, *args: Any, **kwargs: Any) -> T:
        async with RestClient(server, token, ca_file) as rest:
            return await command(rest, *args, **kwargs)

    return run


def token_of(token_file: Path | None) -> str | None:
    """Return the token, which is in a file or in the environment."""
    return secret(token_file, "--token-file") if token_file else environment().get(PREFIX + "TOKEN")


def connect(server: str, token_file: Path | None, ca_file: Path | None = None) -> RestClient:
    """Return the client for a service; the token is in a file or in the environment."""
    return RestClient(server, token_of(token_file), ca_file)


def again(rest: RestClient, *words: str) -> str:
    """Return the command line of a further command to the same service, for a person to type."""
    usual = environment().get(PREFIX + "SERVER", DEFAULT_SERVER).rstrip("/")
    server = () if rest.url == usual else ("--server", shown_address(rest.url))
    return shlex.join(("smartmob", *words, *server))
