"""`smartmob cp` as a command: streams of a shell, kinds, and what is told."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from smartmob.cli.file_copies import _remote
from smartmob.client.http import RestClient
from tests.acceptance.commands import QUICK_PROGRAMS, environment


async def test_paths(client: Any) -> None:
    """A path with a colon is on this machine if it begins as a path."""
    service = f"http://127.0.0.1:{client.server.port}"
    async with RestClient(service) as rest:
        assert await _remote("h:a", rest) == ("http://h:8080", "a")
        assert await _remote(":a", rest) == (service, "a")
        assert [await _remote(path, rest) for path in ("./h:a", "/h:a", "a", "-", "../h:a")] == [None] * 5


@pytest.fixture(name="shell")
def _shell(client: Any, tmp_path: Path) -> Any:
    """Return the caller of a line of bash, in which `cp` is `smartmob cp`: exit code, output, errors.

    `installed_cp` is not forked, so that it gets other streams than the standard ones, and closed ones.
    """
    env = environment(SMARTMOB_SERVER=f"http://127.0.0.1:{client.server.port}")

    async def run(line: str) -> tuple[int, bytes, str]:
        forked = f'cp() {{ {QUICK_PROGRAMS / "smartmob"} cp "$@"; }}'
        line = f'{forked}; installed_cp() {{ "{sys.executable}" -m smartmob cp "$@"; }}; {line}'
        done = await asyncio.to_thread(
            lambda: subprocess.run(["bash", "-c", line], cwd=tmp_path, env=env, capture_output=True, check=False)
        )
        return done.returncode, done.stdout, done.stderr.decode()

    return run


async def test_streams_of_a_shell(shell: Any, tmp_path: Path) -> None:
    """`-`, /dev/stdin, /dev/stdout and process substitution are read and written, in both directions."""
    code, output, errors = await shell(
        f"""set -e
        installed_cp <(echo substituted) :{tmp_path}/a
        echo dash | cp - :{tmp_path}/b
        echo stdin | cp /dev/stdin :{tmp_path}/c
        cp :{tmp_path}/a - ; cp :{tmp_path}/b /dev/stdout | cat; cp :{tmp_path}/c /dev/null
        installed_cp :{tmp_path}/c >(cat > d); wait $!
        cp - :{tmp_path}/empty </dev/null
        """
    )
    assert (code, output, errors) == (0, b"substituted\ndash\n", "")
    assert (tmp_path / "c").read_text() == (tmp_path / "d").read_text() == "stdin\n"
    assert (tmp_path / "empty").read_bytes() == b""
    code, _, errors = await shell(f"installed_cp - :{tmp_path}/closed <&-")
    assert (code, errors, (tmp_path / "closed").exists()) == (1, "smartmob: a standard stream is closed\n", False)


async def test_what_is_left_out_is_told(shell: Any, tmp_path: Path) -> None:
    """One line for each, a summary, and exit code 1; a single error is one line."""
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "file").write_text("x")
    with socket.socket(socket.AF_UNIX) as unix, socket.socket(socket.AF_UNIX) as second:
        unix.bind(os.path.relpath(tmp_path / "tree" / "one"))
        second.bind(os.path.relpath(tmp_path / "tree" / "two"))
        code, _, errors = await shell(f"cp tree :{tmp_path}/there")
    assert (code, errors.splitlines()) == (
        1,
        [
            "smartmob: one was not copied: it is a socket",
            "smartmob: two was not copied: it is a socket",
            "smartmob: 2 were copied, 2 were not",
        ],
    )
    assert (tmp_path / "there" / "file").read_text() == "x"
    code, _, errors = await shell(f"cp tree/file :{tmp_path}/there/file/below")
    assert (code, len(errors.splitlines())) == (1, 1)
