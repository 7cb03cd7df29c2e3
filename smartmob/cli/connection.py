"""What the commands that talk to a service have in common: where it is, with which token, and how they run."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar

import click

from smartmob.client.http import Lab
from smartmob.settings import PREFIX, environment, secret

DEFAULT_SERVER = "http://127.0.0.1:8080"

T = TypeVar("T")


def has_server(command: Callable[..., Awaitable[T]]) -> Callable[..., T]:
    """Make an async command that is given an address and a token into one with --server and --token-file."""

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
    @wraps(command)
    def run(*args: Any, server: str, token_file: Path | None, **kwargs: Any) -> T:
        token = secret(token_file, "--token-file") if token_file else environment().get(PREFIX + "TOKEN")

        async def connected() -> T:
            return await command(server, token, *args, **kwargs)

        return asyncio.run(connected())

    return run


def talks_to_server(command: Callable[..., Awaitable[T]]) -> Callable[..., T]:
    """Make an async command that is given a Lab into one with the options --server and --token-file."""

    @has_server
    @wraps(command)
    async def run(server: str, token: str | None, *args: Any, **kwargs: Any) -> T:
        async with Lab(server, token) as lab:
            return await command(lab, *args, **kwargs)

    return run
