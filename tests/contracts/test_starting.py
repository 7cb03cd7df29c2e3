"""Contracts on starting: what the service and its commands do not load, because each start would pay for it."""

from __future__ import annotations

import ast

from tests.contracts import sources
from tests.contracts.test_architecture import MODULES, PACKAGE

_ONLY_OF_DATACLASSES = {"compare", "hash", "init", "metadata", "repr"}
"""Arguments of a field for which a Struct has nothing."""


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
