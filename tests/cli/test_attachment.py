"""The connection between a job and this command: standard input that cannot be read, and exit codes."""

from __future__ import annotations

import asyncio
import os
from typing import Any

import pytest

from smartmob.cli import attachment
from smartmob.errors import RemoteError
from tests.acceptance.commands import QUICK_PROGRAMS, environment
from tests.cli.conftest import Command


async def test_input_that_cannot_be_read_is_one_line(address: str) -> None:
    """It ends the job and the command, instead of being the end of the input."""
    memory = os.open("/proc/self/mem", os.O_RDONLY)  # its first page cannot be read
    command = await asyncio.create_subprocess_exec(
        *(QUICK_PROGRAMS / "smartmob", "exec", "cat"), stdin=memory, stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE, env=environment(SMARTMOB_SERVER=address),
    )  # fmt: skip
    os.close(memory)
    output, errors = await command.communicate()
    assert (command.returncode, output) == (1, b"")
    assert errors == b"smartmob: standard input cannot be read: Input/output error\n"


async def test_both_streams_stay_apart(smartmob: Command) -> None:
    """Output and errors of the program are output and errors of the command."""
    assert await smartmob("exec", "-n", "echo out; echo err >&2; exit 3") == (3, "out\n", "err\n")
    assert await smartmob("exec", "-n", "-t", "echo err >&2") == (0, "err\r\n", "")


@pytest.mark.parametrize(("given", "code"), [(0, 0), (7, 7), (-9, 137), (256, 1), (None, 3)])
def test_a_signal_is_128_and_its_number_as_exit_code(given: Any, code: int) -> None:
    """A signal is 128 and its number, and no failure becomes 0."""
    assert attachment.exit_code(given) == code


def test_an_impossible_exit_code_is_refused() -> None:
    """No program has it, so the server is wrong."""
    with pytest.raises(RemoteError):
        attachment.exit_code(-1000)
