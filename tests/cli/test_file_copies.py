"""`smartmob cp` as a command: streams of a shell, kinds, and what is told."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from smartmob.cli.file_copies import _is_stream, _remote
from smartmob.client.http import RestClient
from tests.acceptance.commands import QUICK_PROGRAMS, environment
from tests.waiting import until


async def test_a_path_with_a_colon_may_be_on_this_machine(client: Any) -> None:
    """A path with a colon is on this machine if it begins as a path."""
    service = f"http://127.0.0.1:{client.server.port}"
    async with RestClient(service) as rest:
        assert await _remote("h:a", rest) == ("http://h:8080", "a")
        assert await _remote(":a", rest) == (service, "a")
        assert [await _remote(path, rest) for path in ("./h:a", "/h:a", "a", "-", "../h:a")] == [None] * 5


@pytest.mark.parametrize(
    ("path", "is_stream"),
    [("-", True), ("/dev/stdin", True), ("/dev/fd/63", True), ("/dev/shm/a", False), ("devices", False)],
)
def test_files_in_memory_are_no_streams(path: str, is_stream: bool) -> None:
    """A copy from or to /dev/shm tells what was copied, as one of other files does."""
    assert _is_stream(path) == is_stream


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


async def test_a_copy_that_is_stopped_tells_how_far_it_came(start: Any, tmp_path: Path) -> None:
    """TERM ends a copy with the exit code of a shell, and a line that tells how to go on."""
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "large").write_bytes(b"")
    os.truncate(tmp_path / "folder" / "large", 2**33)
    (tmp_path / "there").mkdir()
    async with start("cp", f":{tmp_path}/folder", tmp_path / "there") as command:
        await until(lambda: any(path.stat().st_size for path in (tmp_path / "there").rglob("*.smartmob-part")))
        command.process.send_signal(signal.SIGTERM)
        assert await command.wait() == 143
        told = "smartmob: stopped: 1 of 2 were copied; the same command again copies the rest\n"
        assert command.errors.endswith(told)


async def test_a_folder_is_made_only_if_it_is_asked_for(shell: Any, tmp_path: Path) -> None:
    """A missing folder is one line and the exit code 1; --mkpath creates it."""
    (tmp_path / "file").write_text("x")
    code, _, errors = await shell(f"cp file :{tmp_path}/new/x")
    expected = f"smartmob: there is no folder {tmp_path}/new: create it first, or let --mkpath create it\n"
    assert (code, errors) == (1, expected)
    code, _, errors = await shell(f"cp --mkpath file :{tmp_path}/new/x && cp :{tmp_path}/new/x {'x' * 300}")
    assert code == 1
    assert errors.splitlines()[-1] == f"smartmob: {'x' * 300}: File name too long"
    assert (tmp_path / "new" / "x").read_text() == "x"
