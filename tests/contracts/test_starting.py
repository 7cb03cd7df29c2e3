"""Contracts on starting: what the service and its commands do not load, because each start would pay for it."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import urllib.request
from pathlib import Path

from smartmob.kernel.subprocesses import watchdog
from smartmob.kernel.subprocesses.watchdog import START
from tests.contracts import sources
from tests.contracts.test_architecture import MODULES, PACKAGE
from tests.interop.children import clean_environment
from tests.waiting import SECONDS

_ONLY_OF_DATACLASSES = {"compare", "hash", "init", "metadata", "repr"}
"""Arguments of a field for which a Struct has nothing."""

_NOT_AT_THE_START = {
    # Templates, the text of Prometheus, mails, load tests, folders of the platform and tracebacks in colours.
    *("jinja2", "prometheus_client", "smtplib", "zmq", "platformdirs", "rich.console", "pygments"),
    # Archives of programs and projects, and processes that receive measures.
    *("tarfile", "zipfile", "gzip", "tomllib", "smartmob.worker_app", "smartmob.kernel.workers.pool"),
    # The client of nodes, names that may be meant, other event loops, and readers of packages in archives.
    *("smartmob.client.node_link", "difflib", "greenlet._greenlet", "importlib.resources"),
    # The report of a load test has them, statistics and charts come with other packages.
    *("hdrh", "numpy", "plotly", "scipy", "kubernetes", "smartmob.turrets.report.page", "statistics"),
    # Ports and commands that few services have.
    *("smartmob.commands.conplyent.gateway", "smartmob.turrets.hq.sockets", "smartmob.turrets.conformance"),
}
"""Modules that only some requests and settings need: they are imported in the function that needs them."""
_NOT_FOR_A_WORD = {"aiohttp", "asyncio", "asyncpg", "psutil", "rich", "ssl", "smartmob.settings", "structlog", "zmq"}
"""Modules that no command needs to say its version, or how it is used."""
_NOT_FOR_A_WATCHDOG = {
    *("asyncio", "click", "collections", "contextlib", "enum", "functools", "inspect", "msgspec", "psutil", "re"),
    *("signal", "socket", "subprocess", "typing"),
}
"""Modules that a process which only starts and ends programs does not need."""
_TRUST = {
    "aiohttp.ClientSession": "connector",
    "aiohttp.TCPConnector": "ssl",
}
"""The argument by which a call says which servers it trusts."""
_IMPORTED = re.compile(r"^import time: +\d+ \| +\d+ \| +(\S+)$", re.MULTILINE)
"""A line of `python -X importtime`."""


def test_a_service_imports_what_every_service_needs(database_url: str, tmp_path: Path) -> None:
    """When it answers, nothing has been imported that only some requests and settings need."""
    command = ("serve", "--port", "0", "--log-format", "kv", "--data-dir", str(tmp_path / "data"))
    errors = tmp_path / "errors"
    with errors.open("w") as file:
        service = subprocess.Popen(
            [sys.executable, "-X", "importtime", "-m", "smartmob", *command, "--database-url", database_url],
            env=clean_environment(tmp_path),
            stdout=subprocess.PIPE,
            stderr=file,
            text=True,
        )
    try:
        assert service.stdout is not None
        ports = (re.search(r"event=bind .*port=(\d+)", line) for line in service.stdout)
        port = next(found[1] for found in ports if found)
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=SECONDS) as answer:
            assert answer.status == 200
        imported = set(_IMPORTED.findall(errors.read_text()))
    finally:
        service.terminate()
        service.communicate(timeout=SECONDS)
    assert "smartmob.app" in imported
    assert imported & _NOT_AT_THE_START == set()


def test_commands_that_only_say_something_import_nothing_else(tmp_path: Path) -> None:
    """The version and the help of the command are there without the service and without a client."""
    for words in (("--version",), ("--help",)):
        said = subprocess.run(
            [sys.executable, "-X", "importtime", "-m", "smartmob", *words],
            env=clean_environment(tmp_path),
            capture_output=True,
            text=True,
            check=True,
        )
        imported = set(_IMPORTED.findall(said.stderr))
        assert "smartmob.cli.main" in imported
        assert imported & _NOT_FOR_A_WORD == set(), words


def test_the_processes_above_programs_import_little() -> None:
    """Each service with programs has three or more of them, and `typing` alone would cost each start a megabyte."""
    folder = str(PACKAGE.parent)
    said = subprocess.run(
        [sys.executable, "-I", "-S", "-c", f"{START.rpartition(';')[0]}; print(*sys.modules)", folder],
        capture_output=True,
        text=True,
        check=True,
    )
    imported = set(said.stdout.split())
    assert watchdog.__name__ in imported
    assert imported & _NOT_FOR_A_WATCHDOG == set()


def test_each_connector_says_whom_it_trusts() -> None:
    """The service imports aiohttp without authorities, so a connector without `ssl` would trust no server at all."""
    silent = [
        f"{path.relative_to(PACKAGE)}:{call.lineno}"
        for path in MODULES
        for call in ast.walk(sources.tree(path))
        if isinstance(call, ast.Call)
        and (needed := _TRUST.get(ast.unparse(call.func)))
        and needed not in {argument.arg for argument in call.keywords}
    ]
    assert silent == [], "pass smartmob.authorities.verification()"


def test_data_is_in_structs() -> None:
    """A class of data is a Struct, which is made in 10 µs where a frozen dataclass takes 400; else a field says why."""
    unnecessary = [
        f"{path.relative_to(PACKAGE)}: {made.name}"
        for path in MODULES
        for made in sources.definitions(path)
        if isinstance(made, ast.ClassDef) and _is_dataclass(made) and not _needs_dataclass(made)
    ]
    assert unnecessary == [], "use msgspec.Struct"


def _is_dataclass(made: ast.ClassDef) -> bool:
    return any("dataclass" in ast.unparse(decorator) for decorator in made.decorator_list)


def _needs_dataclass(made: ast.ClassDef) -> bool:
    """Return whether a field is declared as a setting, or is hidden from the text, comparison or constructor."""
    for statement in made.body:
        value = statement.value if isinstance(statement, ast.AnnAssign) else None
        if isinstance(value, ast.Call):
            names = {argument.arg for argument in value.keywords}
            if ast.unparse(value.func) == "setting" or names & _ONLY_OF_DATACLASSES:
                return True
    return False
