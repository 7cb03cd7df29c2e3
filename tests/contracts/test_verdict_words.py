"""Contracts on the words of verdicts: keys of the code do not appear in texts for people."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from tests.contracts import sources
from tests.contracts.test_language import PACKAGE, PAGES, ROOT, SOURCES

_KEY = re.compile(r"\b(noise|noisy|unfit|suspect(s|ed)?|regressions?|regressed|improvements?)\b", re.IGNORECASE)
_CODE = re.compile(r"```.*?^```|`[^`]*`|<!--.*?-->", re.DOTALL | re.MULTILINE)
_TITLES = ("hunt for performance regressions*",)
"""Titles of papers that have such a word."""

_SYNTAX = {
    "smartmob/metrics/report_files/outcome_words.py": "words of reports of other tools, which are read",
    "smartmob/alerts/conditions.py": "the condition `regression` of a rule, which stored rules have",
}


def _texts(path: str, tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Yield the texts of a module that people may read: strings of several words, and the help of commands."""
    docstrings = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and node.body:
            first = node.body[0]
            is_help = path.startswith("smartmob/cli/") and bool(getattr(node, "decorator_list", ()))
            if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and not is_help:
                docstrings.add(first.value)
        elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            docstrings.add(node.value)  # the description of a constant or an attribute
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node not in docstrings:
            yield node.lineno, _CODE.sub("", node.value)


def _is_sentence(text: str) -> bool:
    return " " in text.strip()


def test_messages_and_help_have_words_and_no_keys() -> None:
    """Messages, help, routes and templates say slower, maybe slower, faster, no change and cannot tell."""
    wrong = []
    for path in SOURCES:
        name = str(path.relative_to(ROOT))
        if name in _SYNTAX or not _KEY.search(sources.text(path)):
            continue
        wrong += [
            f"{name}:{line}: {text}"
            for line, text in _texts(name, sources.tree(path))
            if _is_sentence(text) and _KEY.search(text)
        ]
    for path in sorted([*PACKAGE.rglob("*.html"), *(PACKAGE / "console/static").glob("*.js")]):
        name = str(path.relative_to(ROOT))
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            # A key alone in quotes or as the name of a property is none that people see.
            shown = re.sub(r"""(["'`])[a-z]+\1|\b[a-z]+:|[.][a-z]+\b|^\s*//.*""", "", line)
            if _KEY.search(shown):
                wrong.append(f"{name}:{number}: {line.strip()}")
    assert wrong == []


def test_pages_have_words_and_no_keys() -> None:
    """The documentation has keys as code only; a page says the words otherwise."""
    wrong = []
    for path in PAGES:
        if "CHANGES" in path.parts or path.name == "THREAT_MODEL.md":
            continue
        text = _CODE.sub(lambda match: "\n" * match[0].count("\n"), path.read_text(encoding="utf-8"))
        for title in _TITLES:
            text = text.replace(title, "")
        lines = enumerate(text.splitlines(), 1)
        wrong += [f"{path.relative_to(ROOT)}:{number}: {line}" for number, line in lines if _KEY.search(line)]
    assert wrong == []
