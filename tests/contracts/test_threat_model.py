"""THREAT_MODEL.md is true as far as can be looked up: every row names tests, and each is there and runs."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

from tests.contracts import sources
from tests.security.test_hostile_requests import ATTACKS

ROOT = Path(__file__).parents[2]
MODEL = (ROOT / "THREAT_MODEL.md").read_text(encoding="utf-8")
HEAD = ["What is tried", "What stops it", "Which test"]
SHOWN = "try-list: …"
"""The placeholder of the introduction."""


def _tables() -> list[list[list[str]]]:
    """Return the rows of each table of what is tried, without its head."""
    found = []
    for block in re.findall(r"(?:^\|.*\n?)+", MODEL, re.MULTILINE):
        rows = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in block.splitlines()]
        if rows[0][0] != "Who":
            assert [cell.strip() for cell in rows[0]] == HEAD, rows[0]
            found.append(rows[2:])
    return found


def _rows() -> list[list[str]]:
    return [row for table in _tables() for row in table]


@cache
def _tests(path: Path) -> set[str]:
    """Return what pytest collects of a module and does not skip: functions, classes, and methods behind their class."""
    found = set()
    for node in sources.tree(path).body:
        if isinstance(node, ast.ClassDef) and node.name.startswith("Test"):
            inner = {f"{node.name}::{getattr(item, 'name', '')}" for item in node.body if _is_test(item)}
            found |= {node.name, *inner} if inner else set()
        elif _is_test(node):
            found.add(getattr(node, "name", ""))
    return found


def _is_test(node: ast.stmt) -> bool:
    if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) or not node.name.startswith("test_"):
        return False
    return not any(re.search(r"\b(skip|skipif|xfail)\b", ast.unparse(mark)) for mark in node.decorator_list)


def test_every_section_has_a_table() -> None:
    """No surface is described in words alone; only the introduction is."""
    sections = [part for part in MODEL.split("\n## ")[1:] if not part.startswith("What is protected")]
    assert len(_tables()) == len(sections)
    assert all("| " + " | ".join(HEAD) + " |" in part for part in sections)


def test_every_row_names_a_test_function() -> None:
    """Nothing is said to be stopped without one test, named to the function, or one request of the try-list."""
    rows = _rows()
    assert len(rows) > 70
    for row in rows:
        assert len(row) == 3 and all(row), row
        assert re.search(r"`try-list: [^`]+`|`tests/[^`]+::test_\w+`", row[2]), row


def test_no_row_comes_twice() -> None:
    """Each attack of a section has one row."""
    for table in _tables():
        tried = [row[0] for row in table]
        assert len(set(tried)) == len(tried), [name for name in tried if tried.count(name) > 1]


def test_nothing_else_stands_where_tests_are_named() -> None:
    """The last cell of a row is a list of names, so that no word in it can be taken for a proof."""
    for row in _rows():
        assert re.fullmatch(r"(?:`(?:try-list: |tests/)[^`]+`(?:, )?)+", row[2]), row


def test_every_test_exists() -> None:
    """A test that was renamed, removed or is skipped is noticed."""
    named = re.findall(r"`(tests/[^`]+)`", MODEL)
    assert len(named) > 100
    for module, _, name in (part.partition("::") for part in named):
        path = ROOT / module
        assert path.exists(), module
        assert _tests(path), module
        assert not name or name in _tests(path), (module, name)


def test_every_attack_exists() -> None:
    """The rows of the try-list that are named are there, and there are at least a hundred of them."""
    named = {f"try-list: {name}" for name in re.findall(r"`try-list: ([^`]+?)`", MODEL)} - {SHOWN}
    assert named <= {f"try-list: {name}" for name in ATTACKS}, named - {f"try-list: {name}" for name in ATTACKS}
    assert len(ATTACKS) >= 100
