"""Contracts on names: texts for people have one word for each thing, which the glossary defines."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from smartmob.console.pages import NAVIGATION

ROOT = Path(__file__).parent.parent.parent
OTHER_WORDS = re.compile(r"\b(hosts?|process(es)?|notes?)\b", re.IGNORECASE)
"""Words that stand for a machine, a program and a mark in options, routes and keys only."""


def test_commands_are_described_by_the_words_of_the_glossary() -> None:
    """The list of commands says machine, program, job and mark."""
    source = (ROOT / "smartmob/cli/main.py").read_text(encoding="utf-8")
    texts = [node.value for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Constant)]
    said = [text for text in texts if isinstance(text, str) and re.fullmatch(r"[A-Z].* .*[.]", text)]
    assert len(said) > 20
    assert [text for text in said if OTHER_WORDS.search(text)] == []


def test_the_console_is_labelled_by_the_words_of_the_glossary() -> None:
    """The navigation, headings and fields of pages say machine, program, job and mark."""
    assert [entry.name for entry in NAVIGATION if OTHER_WORDS.search(entry.name)] == []
    wrong = []
    for path in sorted((ROOT / "smartmob/console/templates").glob("*.html")):
        text = re.sub(r"<[^>]*>|{[%{].*?[%}]}", " ", path.read_text(encoding="utf-8"))
        wrong += [f"{path.name}: {match[0]}" for match in OTHER_WORDS.finditer(text.replace("Process type", ""))]
    assert wrong == []


@pytest.mark.parametrize("term", ["machine", "program", "job", "command", "mark", "run", "host", "process"])
def test_the_glossary_defines_each_term(term: str) -> None:
    """Each of these words has its line in the glossary."""
    text = (ROOT / "docs/reference/glossary.md").read_text(encoding="utf-8")
    assert f"\n| {term} | " in text
