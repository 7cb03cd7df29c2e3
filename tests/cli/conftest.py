"""Fixtures of the tests of commands: the command bound to a service, and programs to run."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from smartmob.client.http import RestClient
from tests.acceptance.commands import run
from tests.cli.terminal import Typed, typed

Command = Callable[..., Awaitable[tuple[int, str, str]]]
Start = Callable[..., AbstractAsyncContextManager[Typed]]


@pytest.fixture(name="address")
def _address(client: Any) -> str:
    """Return the address of a running service."""
    return f"http://127.0.0.1:{client.server.port}"


@pytest.fixture(name="smartmob")
def _smartmob(address: str) -> Command:
    """Return the caller of commands with the address of the service: exit code, output, errors."""
    return partial(run, SMARTMOB_SERVER=address)


@pytest.fixture(name="tests")
def _tests(address: str) -> Command:
    """Return the caller of `smartmob tests` with the address of the service: exit code, output, errors."""
    return partial(run, "tests", SMARTMOB_SERVER=address)


@pytest.fixture(name="start")
def _start(address: str) -> Start:
    """Return the starter of commands with the address of the service, which are watched while they run."""
    return partial(typed, SMARTMOB_SERVER=address)


@pytest.fixture(name="rest")
async def _rest(address: str) -> AsyncIterator[RestClient]:
    """Return a client of the service."""
    async with RestClient(address) as rest:
        yield rest


Program = Callable[..., Path]


@pytest.fixture(name="program")
def _program(tmp_path: Path) -> Program:
    """Return the writer of programs: `program("myapp", "web: ./serve", **files)` returns the folder."""

    def write(name: str, procfile: str | None, **files: str) -> Path:
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        for file, text in {**({} if procfile is None else {"Procfile": procfile}), **files}.items():
            (folder / file.replace("_txt", ".txt")).write_text(text)
        return folder

    return write
