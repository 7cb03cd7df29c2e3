"""The texts and the trees of source files, each read and parsed once for all contracts of a process."""

from __future__ import annotations

import ast
import gc
from collections.abc import Iterator
from functools import cache
from pathlib import Path

Definition = ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


@cache
def text(path: Path) -> str:
    """Return the text of a file."""
    return path.read_text(encoding="utf-8")


@cache
def tree(path: Path) -> ast.Module:
    """Return the tree of a source file.

    Two thirds of the time of parsing would go into the search for garbage, of which a tree has none.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        return ast.parse(text(path))
    finally:
        if was_enabled:
            gc.enable()


@cache
def definitions(path: Path) -> list[Definition]:
    """Return the classes and functions of a source file, those inside of others too."""
    return [node for node in statements(path) if isinstance(node, Definition)]


def statements(path: Path) -> Iterator[ast.AST]:
    """Yield the statements of a source file and the parts that contain some; no expression has a definition inside."""
    return within(tree(path))


def within(part: ast.AST) -> Iterator[ast.AST]:
    """Yield a part of a source file and the statements in it."""
    waiting = [part]
    while waiting:
        node = waiting.pop()
        yield node
        for part in ("body", "orelse", "handlers", "finalbody", "cases"):
            inside = getattr(node, part, ())
            waiting += inside if isinstance(inside, list) else ()
