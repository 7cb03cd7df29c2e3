"""Mistakes of people: each command answers each with one line and its exit code."""

from __future__ import annotations

import json
import re
import ssl
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import click
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from smartmob import __version__
from smartmob.cli import main
from tests.acceptance.commands import PROGRAMS, run
from tests.certificates import Authority

pytestmark = pytest.mark.timeout(1800)

Leaf = tuple[tuple[str, ...], click.Command]

TOKEN = "a-token-of-32-characters-or-more"

_COMMANDS: tuple[tuple[str, ...], ...] = (
    ("tests", "ls"),
    ("tests", "show", "x"),
    ("tests", "history", "x"),
    ("tests", "trends"),
    ("compare",),
    ("ps",),
    ("logs", "x"),
    ("attach", "x"),
    ("stop", "x"),
    ("run", "program", "--detach"),
    ("hosts", "ls"),
    ("hosts", "watch", "--times", "1"),
    ("exec", "true"),
    ("exec", "--on", "{server}", "true"),
    ("jobs",),
    ("output", "1"),
    ("kill", "1"),
    ("cp", "here", ":there"),
    ("fire", "project"),
    ("report", "last"),
    ("compare-runs", "last", "last"),
    ("mark", "x"),
    ("alerts", "ls"),
    ("token", "ls"),
    ("audit",),
    ("nodes", "ls"),
    ("nodes", "show", "x"),
    ("nodes", "rm", "x"),
)
"""A call of each kind of command that uses a service: lists, single things, streams, WebSockets, uploads."""

_READS = {
    "tests",
    "compare",
    "ps",
    "logs",
    "attach",
    "hosts",
    "jobs",
    "output",
    "report",
    "compare-runs",
    "alerts",
    "nodes",
    "audit",
}
"""Commands that a token with the role read may use."""

_HTTP = re.compile(r"\b(GET|POST|PUT|PATCH|DELETE|HEAD)\b|(?<![\w.:/])/(api|jobs|hosts|commands|openapi|docs)\b|HTTP/")


@pytest.fixture(name="folder")
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the working directory of the commands, with a file, a program and a project."""
    (tmp_path / "here").write_text("x")
    (tmp_path / "program").mkdir()
    (tmp_path / "program" / "Procfile").write_text("web: true\n")
    (tmp_path / "project" / "test_scripts").mkdir(parents=True)
    (tmp_path / "project" / "test_scripts" / "v_user.py").write_text("pass\n")
    (tmp_path / "project" / "config.json").write_text('{"run_time": 1, "turrets": []}')
    monkeypatch.chdir(tmp_path)
    return tmp_path


async def _faults(server: str, code: int, part: str, commands: Any = _COMMANDS, **variables: str) -> list[Any]:
    """Return the commands that do not end with the code and one line that contains a part."""

    async def call(words: tuple[str, ...]) -> Any:
        given = [word.replace("{server}", server) for word in words]
        found, output, errors = await run(*given, SMARTMOB_SERVER=server, **variables)
        lines = errors.strip().splitlines()
        good = found == code and len(lines) == 1 and part in errors and not _HTTP.search(errors)
        return None if good else (words, found, output[-300:], errors[-1000:])

    return [fault for words in commands if (fault := await call(words)) is not None]


async def test_a_missing_and_a_wrong_token_are_distinguished(with_settings: Any, folder: Path) -> None:
    """A missing token and a wrong one are told apart, and a token whose role may not do this is named."""
    client = await with_settings(token=TOKEN)
    server = f"http://127.0.0.1:{client.server.port}"
    assert await _faults(server, 3, "requires a token: give --token-file") == []
    assert await _faults(server, 3, "wrong token", SMARTMOB_TOKEN="another-token") == []
    code, token, _ = await run("token", "add", "wall", "--role", "read", SMARTMOB_SERVER=server, SMARTMOB_TOKEN=TOKEN)
    assert code == 0
    changing = [words for words in _COMMANDS if words[0] not in (*_READS, "stop")]
    assert await _faults(server, 3, "role read", changing, SMARTMOB_TOKEN=token.strip()) == []


@pytest.mark.long
async def test_an_address_where_nothing_listens_is_named(folder: Path) -> None:
    """A port on which nothing listens is named, and so is a name that does not exist."""
    assert await _faults("127.0.0.1:1", 3, "cannot connect to http://127.0.0.1:1") == []
    assert await _faults("no-such-machine.invalid:80", 3, "cannot connect to", _COMMANDS[:1]) == []


@asynccontextmanager
async def _others(folder: Path) -> AsyncIterator[dict[str, str]]:
    """Give the addresses of other servers: web servers of other kinds, other versions, and TLS."""

    async def page(_: web.Request) -> web.Response:
        return web.Response(text="<html>hello</html>", content_type="text/html")

    async def missing(_: web.Request) -> web.Response:
        return web.Response(text="<h1>404</h1>", status=404, content_type="text/html")

    async def older(request: web.Request) -> web.Response:
        headers = {"Server": "smartmob"}
        if request.path == "/health":
            return web.json_response({"status": "ok", "version": "0.9.0"}, headers=headers)
        detail = "There is nothing at this address; GET /docs lists all addresses."
        return web.json_response({"detail": detail, "request_id": "r-1"}, status=404, headers=headers)

    certificate = Authority(folder / "authority").issue()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate.cert, certificate.key)
    async with AsyncExitStack() as stack:
        found = {}
        for name, handler in (("page", page), ("missing", missing), ("older", older)):
            app = web.Application()
            app.router.add_route("*", "/{path:.*}", handler)
            server = await stack.enter_async_context(TestServer(app))
            found[name] = f"http://127.0.0.1:{server.port}"
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", page)
        server = TestServer(app, scheme="https")
        await server.start_server(ssl=context)
        stack.push_async_callback(server.close)
        found["tls"] = f"http://127.0.0.1:{server.port}"
        yield found


async def test_another_web_server_and_a_wrong_scheme_are_recognised(folder: Path) -> None:
    """Another web server, another version, https at http and http at https are recognised, and the way on is told."""
    async with _others(folder) as others:
        assert await _faults(others["page"], 3, "is not a smartmob") == []
        assert await _faults(others["missing"], 3, "is not a smartmob") == []
        versions = f"server 0.9.0, client {__version__}"
        assert await _faults(others["older"], 3, versions) == []
        assert await _faults(others["tls"], 3, "give --server https://") == []
        assert await _faults(others["page"].replace("http:", "https:"), 3, "give --server http://") == []


async def test_an_unknown_name_ends_with_1_and_one_line(client: Any, folder: Path) -> None:
    """A name that does not exist ends with 1 and one line; a mistyped one with the name that was meant."""
    server = f"127.0.0.1:{client.server.port}"
    names = [words for words in _COMMANDS if words[-1] == "x" and words[0] not in ("mark",)]
    names += [("hosts", "show", "x"), ("output", "7"), ("kill", "7"), ("report", "0192")]
    names += [("results-to-csv", "0192", "x.csv"), ("token", "revoke", "x"), ("restart", "x"), ("compare", "x", "y")]
    names += [("tests", "rm", "x"), ("compare-runs", "last", "x"), ("rebuild-results", "x")]
    names += [("nodes", "drain", "x"), ("nodes", "label", "x", "a=b"), ("alerts", "rm", "x"), ("alerts", "test", "x")]
    names += [
        ("alerts", "receiver", "rm", "x"),
        ("alerts", "silence", "--end", "x"),
        ("exec", "--on", "rack=x", "true"),
    ]
    assert await _faults(server, 1, "", names) == []
    code, output, _ = await run("hosts", "ls", "--json", SMARTMOB_SERVER=server)
    assert code == 0
    name = json.loads(output)[0]["name"]
    code, _, errors = await run("hosts", "show", f"{name}x", SMARTMOB_SERVER=server)
    assert (code, f"did you mean {name}?" in errors) == (1, True)


def _leaves(command: click.Command, context: click.Context, words: tuple[str, ...] = ()) -> Iterator[Leaf]:
    if not isinstance(command, click.Group):
        yield words, command
        return
    for name in command.list_commands(context):
        child = command.get_command(context, name)
        assert child is not None
        yield from _leaves(child, click.Context(child, info_name=name, parent=context), (*words, name))


_SAID_BEFORE = ("does not exist", "invalid value for", "missing option", "missing argument")
"""Parts of messages about other words of the same call; a command may report those first."""


def _said(words: Sequence[str], capfd: pytest.CaptureFixture[str]) -> tuple[int, str]:
    """Return the exit code and what a call writes to standard error, as the program does it."""
    code = main._run(lambda: main.group(list(words), prog_name="smartmob", standalone_mode=False))
    return code, capfd.readouterr().err


def _wrong_values(option: click.Option) -> Iterator[str]:
    """Yield a value that the type of an option refuses, if its type refuses any."""
    if option.is_flag or option.count:
        return
    if isinstance(option.type, click.Choice):
        yield "no-such-word"
    elif isinstance(option.type, (click.types.IntParamType, click.types.FloatParamType)):
        yield "soon"


def test_each_command_refuses_wrong_words_with_one_line(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Each command answers a wrong option, a wrong value and a missing or further argument with one line and 2."""
    faults = []
    for words, command in _leaves(main.group, click.Context(main.group, info_name="smartmob")):
        needed = [argument for argument in command.params if isinstance(argument, click.Argument) and argument.required]
        rest = ["x"] * len(needed)
        wrong: list[tuple[list[str], str]] = [(["--no-such-option", *rest], "there is no option --no-such-option")]
        wrong += [
            ([option.opts[-1], value, *rest], option.opts[-1])
            for option in command.params
            if isinstance(option, click.Option)
            for value in _wrong_values(option)
        ]
        if needed:
            wrong.append(([], "missing "))
        if all(argument.nargs == 1 for argument in command.params if isinstance(argument, click.Argument)):
            arguments = [argument for argument in command.params if isinstance(argument, click.Argument)]
            wrong.append((["x"] * (len(arguments) + 1), "unexpected extra argument"))
        for given, part in wrong:
            code, errors = _said([*words, *given], capfd)
            said = any(text in errors for text in (part, *_SAID_BEFORE))
            brackets = "[" in errors.partition("(see")[0]
            if code != 2 or errors.count("\n") != 1 or _HTTP.search(errors) or brackets or not said:
                faults.append((words, given, code, errors))
    assert faults == []


async def test_a_command_without_standard_streams_ends_in_order(client: Any, folder: Path) -> None:
    """Without standard input, output or errors a command ends in order: no traceback, and the right code."""
    server = f"127.0.0.1:{client.server.port}"
    # Each stream alone is closed in the tests of commands.
    for words in ("tests show x 2>&-", "tests ls <&- >&- 2>&-", "tests show x <&- >&- 2>&-"):
        code, output, errors = await run(
            "-c", f'"$0" {words}', PROGRAMS / "smartmob", program="/bin/sh", SMARTMOB_SERVER=server
        )
        assert code in (0, 1), (words, code, errors)
        assert "Traceback" not in output + errors, (words, errors)
        assert errors.count("\n") <= 1, (words, errors)
