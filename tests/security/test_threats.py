"""What THREAT_MODEL.md says can be looked up: each test that it names is there, and so is each row of the try-list."""

from __future__ import annotations

import ast
import re
from pathlib import Path

from tests.security.test_hostile_requests import ATTACKS

ROOT = Path(__file__).parents[2]
MODEL = (ROOT / "THREAT_MODEL.md").read_text(encoding="utf-8")


def _rows() -> list[list[str]]:
    """Return the rows of the tables of what is tried."""
    lines = [line.strip("|").split(" | ") for line in MODEL.splitlines() if line.startswith("| ")]
    heads = [number for number, line in enumerate(lines) if line[0].strip() == "What is tried"]
    return [line for line in lines[heads[0] :] if line[0].strip() != "What is tried"]


def _names(path: Path) -> set[str]:
    """Return the tests of a module, those of a class behind its name."""
    found = set()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            found.add(node.name)
        elif isinstance(node, ast.ClassDef):
            inner = {item.name for item in node.body if isinstance(item, ast.FunctionDef | ast.AsyncFunctionDef)}
            found |= {node.name} | {f"{node.name}::{name}" for name in inner}
    return found


def test_every_row_has_a_test() -> None:
    """Nothing is said to be stopped without a test that shows it."""
    rows = _rows()
    assert len(rows) > 40
    for row in rows:
        assert len(row) == 3, row
        assert re.search(r"`(?:tests/|try-list: )", row[2]), row


def test_every_test_exists() -> None:
    """A test that was renamed or removed is noticed."""
    for module, _, name in (part.partition("::") for part in re.findall(r"`(tests/[^`]+)`", MODEL)):
        path = ROOT / module
        assert path.exists(), module
        assert not name or name in _names(path), (module, name)


def test_every_attack_exists() -> None:
    """The rows of the try-list that are named are there, and there are at least forty of them."""
    named = set(re.findall(r"`try-list: ([^`]+?)`", MODEL)) - {"…"}
    assert named <= set(ATTACKS), named - set(ATTACKS)
    assert len(ATTACKS) >= 40


def test_no_pickle_is_loaded_elsewhere() -> None:
    """Nothing of the service loads a pickle: the one module that writes them takes no more of `pickle` than `dumps`."""
    users = {
        (str(path.relative_to(ROOT)), found)
        for path in (ROOT / "smartmob").rglob("*.py")
        for found in re.findall(
            r"\b(?:import|from)\s+_?(?:pickle|pickletools|marshal|shelve|dill)\b.*", path.read_text(encoding="utf-8")
        )
    }
    assert users == {("smartmob/commands/stock/pickles.py", "from pickle import dumps")}
