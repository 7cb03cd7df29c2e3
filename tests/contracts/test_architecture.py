"""The house: directions of imports, sizes, names, and a test module for each module."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
PACKAGE = ROOT / "smartmob"
MODULES = sorted(path for path in PACKAGE.rglob("*.py") if "demo_suite" not in path.parts)
ROOMS = ("commands", "console", "hosts", "marks", "metrics", "processes", "turrets")

LONGEST_MODULE = 500
LONGEST_FUNCTION = 60
MOST_POSITIONAL = 6

VOCABULARY = {
    *("__init__", "events", "machine", "migrations", "model", "protocol", "room", "routes", "service", "store"),
}
"""What a module of a room may be called: one meaning for each name, in every room."""

ROLES = {
    "commands": {
        "builtin",
        "call",
        "checked",
        "failures",
        "program",
        "registry",
        "session",
        "spool",
        "stock",
        "supervisor",
        "transfers",
    },
    # It has no tables: pages, what they load, and what they ask the rooms for.
    "console": {"assets", "changes", "live", "pages", "peers", "rooms", "static", "templates", "timeline"},
    "hosts": {"guardian", "sampler", "session"},
    "metrics": {
        # What became slower: the rule, its words, what it is applied to, and who gathers and remembers that.
        *("comparison", "verdicts", "points", "machines", "sides", "occasions", "comparer", "memory"),
        "runs",
    },
    "turrets": {
        # The headquarters: its machine, what stands at its sockets, gathers, keeps, folds and shows.
        *(
            "hq",
            "hq_events",
            "hq_machine",
            "channel",
            "authenticator",
            "claims",
            "live",
            "collector",
            "batch",
            "rows",
            "keeper",
            "folding",
            "viewers",
        ),
        *("project", "report", "slices", "turret", "turret_machine", "scripting", "machines"),
    },
    "processes": {
        *("channel", "preparer", "recorder", "sampler", "session", "supervisor"),
        # What the preparer is made of, from the source's address to the command.
        *("archive", "command", "download", "envfile", "environments", "flight", "folders", "ports", "procfile"),
        "releases",
    },
}
"""The nouns of a room for what does its work, and the formats that only it reads."""

FORBIDDEN_NAMES = {"utils", "util", "helpers", "common", "base", "manager", "misc"}


def _name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def _functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def test_imports_go_in_the_agreed_directions() -> None:
    """The contracts of setup.cfg hold."""
    result = subprocess.run(
        [Path(sys.executable).parent / "lint-imports", "--no-cache"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout


@pytest.mark.parametrize("path", MODULES, ids=_name)
def test_modules_stay_small(path: Path) -> None:
    """A module can be read in one sitting, and so can a function; many arguments want to be one value."""
    assert len(path.read_text(encoding="utf-8").splitlines()) <= LONGEST_MODULE
    for function in _functions(path):
        assert (function.end_lineno or 0) - function.lineno < LONGEST_FUNCTION, function.name
        positional = [argument.arg for argument in function.args.args if argument.arg not in ("self", "cls")]
        # Commands of the command line get their options by name.
        if "cli" not in path.parts:
            assert len(positional) <= MOST_POSITIONAL, function.name


@pytest.mark.parametrize("path", MODULES, ids=_name)
def test_modules_say_what_they_are_for(path: Path) -> None:
    """Each begins with a sentence, except the empty ones that only make a folder a package."""
    text = path.read_text(encoding="utf-8")
    assert not text or ast.get_docstring(ast.parse(text))


@pytest.mark.parametrize("room", ROOMS)
def test_rooms_keep_to_the_vocabulary(room: str) -> None:
    """The same name means the same thing in every room; a folder of that name is the same thing in parts."""
    modules = {path.stem for path in (PACKAGE / room).glob("*.py")}
    folders = {path.name for path in (PACKAGE / room).iterdir() if path.is_dir() and path.name != "__pycache__"}
    assert modules | folders <= VOCABULARY | ROLES.get(room, set())


@pytest.mark.parametrize("path", MODULES, ids=_name)
def test_names_say_something(path: Path) -> None:
    """No module is a drawer for odds and ends."""
    assert path.stem not in FORBIDDEN_NAMES


def test_every_module_has_its_tests() -> None:
    """`a/b.py` is tested by `tests/a/test_b.py`, and a part of `a/routes` by `tests/a/test_routes.py`."""
    missing = []
    for path in MODULES:
        inner = path.relative_to(PACKAGE)
        if not path.read_text(encoding="utf-8") or path.stem in ("__init__", "__main__", *_TESTED_ELSEWHERE):
            continue
        parts = [inner, inner.parent] if inner.parent.name in VOCABULARY else [inner]
        if not any((ROOT / "tests" / part.parent / f"test_{part.stem}.py").exists() for part in parts):
            missing.append(str(inner))
    assert missing == []


_TESTED_ELSEWHERE = {
    "events": "a room's events are tested by its service",
    "room": "a room is put together by the tests of its routes",
    "rooms": "what holds the services of the rooms, or starts them, is tested by those that use it",
    "hq_events": "what a machine takes and gives is tested by the machine",
}


def test_the_composition_root_stays_short() -> None:
    """It can be read from top to bottom."""
    assert len((PACKAGE / "app.py").read_text(encoding="utf-8").splitlines()) <= 200
