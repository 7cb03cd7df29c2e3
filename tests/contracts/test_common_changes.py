"""The list "Eight common changes" of CONTRIBUTING, and the modules that the glossary names."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from tests.contracts import sources

ROOT = Path(__file__).parents[2]
GLOSSARY = (ROOT / "docs" / "reference" / "glossary.md").read_text(encoding="utf-8")

_SECTION = re.search(
    r"^## Eight common changes\n(.+?)^## ", (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8"), re.S | re.M
)
assert _SECTION is not None
ROWS = dict(re.findall(r"^\| ([A-Z].+?) \| (.*`.+) \|$", _SECTION[1], re.M))
"""The files of each change, as written in the table."""

_FILE = re.compile(r"`((?:smartmob|docs|tests)/[^`]+)`(?: \((`[^)]+`)\))?")
_PATH = re.compile(r"`(smartmob/[^`]+)`")


def _defined(path: Path) -> set[str]:
    """Return the names of the classes, functions and constants that a module defines or imports."""
    names: set[str] = set()
    for node in sources.tree(path).body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            names.add(node.name)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names |= {each.id for each in targets if isinstance(each, ast.Name)}
        elif isinstance(node, ast.ImportFrom):
            names |= {each.asname or each.name for each in node.names}
    return names


def _text(path: Path) -> str:
    """Return the text of a file, or of all files of a folder."""
    files = [path] if path.is_file() else sorted(each for each in path.iterdir() if each.is_file())
    return "\n".join(file.read_text(encoding="utf-8") for file in files)


def test_the_list_has_eight_changes() -> None:
    """Each row of the table is read by the other test."""
    assert len(ROWS) == 8


@pytest.mark.parametrize("change", ROWS)
def test_the_files_of_a_change_have_the_named_places(change: str) -> None:
    """Each file exists, and defines or contains the names beside it."""
    files = [
        (ROOT / name, re.findall(r"`([^`]+)`", places))
        for name, places in _FILE.findall(ROWS[change])
        if "*" not in name
    ]
    assert files
    missing = []
    for path, places in files:
        if not path.exists():
            missing.append((path.name, "the file"))
            continue
        is_module = path.suffix == ".py" and "tests" not in path.relative_to(ROOT).parts
        missing += [(path.name, each) for each in places if each not in (_defined(path) if is_module else _text(path))]
    assert missing == []


def test_the_modules_in_the_glossary_exist() -> None:
    """Each term is defined where the glossary says."""
    assert [name for name in _PATH.findall(GLOSSARY) if not (ROOT / name).exists()] == []


def test_the_glossary_is_alphabetical() -> None:
    """Terms stand in alphabetical order, each once."""
    terms = re.findall(r"^\| ([a-z].*?) \| ", GLOSSARY, re.M)
    assert len(terms) > 60
    assert terms == sorted(set(terms), key=str.casefold)
