"""The words of `smartmob serve` on a terminal."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from smartmob import __version__
from smartmob.cli import service_words
from smartmob.settings import DatabaseSettings, Settings
from tests.acceptance.commands import run
from tests.cli.terminal import typed


@pytest.mark.parametrize(
    ("event", "line"),
    [
        ({"event": "bind", "level": "info", "port": 1}, ""),
        ({"event": "database.migrated", "level": "info"}, ""),
        ({"event": "database.started", "level": "info", "pid": 7}, "09:14:07  the database is running"),
        (
            {"event": "http.access", "level": "info", "method": "GET", "path": "/", "outcome": 200, "duration": 0.0031},
            "09:14:07  GET / -> 200 in 3.1 ms",
        ),
        (
            {"event": "writer.waiting", "level": "warning", "seconds_left": 3},
            "09:14:07  warning: writer waiting: seconds left 3",
        ),
        (
            {"event": "http.failed", "level": "error", "path": "/\x1b[2J", "exception": "Traceback\n  x"},
            "09:14:07  error: http failed: path /\ufffd[2J\nTraceback\n  x",
        ),
        ({"event": "job.ended", "level": "info", "job": 3}, "09:14:07  job ended: job 3"),
    ],
)
def test_events_are_sentences(event: dict[str, object], line: str) -> None:
    """An event has its time and its fields in words; what the start has said is left out, control characters too."""
    assert service_words.sentence({"@timestamp": "2026-11-23T09:14:07.000Z", **event}) == line


def test_the_state_of_the_token() -> None:
    """It is said whether a token is needed, where it comes from, and who can connect."""
    plain = Settings(data_dir=Path("/data"))
    assert "this machine" in service_words.started(plain, "127.0.0.1", 1, None, loopback=True)
    assert "ANY machine" in service_words.started(plain, "0.0.0.0", 1, None, loopback=False)
    secret = replace(plain, token="t", token_file=Path("/token"))
    said = service_words.started(secret, "::1", 1, None, loopback=True)
    assert "required, the one of /token" in said
    assert "http://[::1]:1" in said
    said = service_words.started(secret, "0.0.0.0", 1, "SMARTMOB_TOKEN", loopback=False)
    assert "the one of SMARTMOB_TOKEN; other machines can connect with it" in said


def test_the_password_of_the_database_is_not_shown() -> None:
    """The address of the database has no secret."""
    own = Settings(data_dir=Path("/data"), database=DatabaseSettings(url="postgresql://u:secret@db/x"))
    said = service_words.started(own, "127.0.0.1", 1, None, loopback=True)
    assert "secret" not in said
    assert "@db/x" in said


async def test_on_a_terminal_and_in_a_pipe(tmp_path: Path, database_url: str) -> None:
    """A terminal shows the address and how to stop, and then words; a pipe gets lines of key=value."""
    words = ("serve", "--port", "0", "--data-dir", tmp_path / "data", "--database-url", database_url)
    async with typed(*words, terminal=True, SMARTMOB_TOKEN="from-the-environment") as command:
        await command.says("CTRL-C stops.")
        lines = command.text.splitlines()
        assert lines[0] == f"smartmob {__version__} is starting ..."
        assert [line.split("  ")[1] for line in lines if line.startswith("  ")] == [
            "address", "data folder", "database", "token"
        ]  # fmt: skip
        assert "the one of SMARTMOB_TOKEN" in command.text
        assert "event=" not in command.text
        assert await command.interrupt() == 0
        assert "stopping after SIGINT" in command.text
    async with typed(*(*words, "--host", "0.0.0.0"), SMARTMOB_TOKEN="from-the-environment") as command:
        await command.says("event=bind")
        assert "event=token.from_environment host=0.0.0.0 variable=SMARTMOB_TOKEN" in command.errors
        assert "CTRL-C" not in command.output
        assert await command.interrupt() == 0
    code, output, _ = await run("serve", "--help")
    assert (code, "words on terminals, else kv" in " ".join(output.split())) == (0, True)
