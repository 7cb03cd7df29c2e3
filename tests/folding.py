"""All cases of a test that is a table are one test in the workers of a run, which reports each case that failed.

A worker needs 4 ms for each test beside what it does, most of them to report it; a case of a pure function needs a
hundredth of that. So tests of which all arguments are parameters are folded: they use no fixtures, which might be made
anew for each case. Without workers (`pytest tests/test_scale.py`) each case is a test of its own, with its own name.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator, Mapping
from itertools import product
from typing import Any

import pytest

Test = Callable[..., None]
_SHOWN = 300
"""The characters of a case that are shown."""


def folded(test: object, owner: type | None) -> Callable[[], None] | None:
    """Return a test of all cases of a table, or None for another test; `owner` is the class that it is in."""
    if not inspect.isfunction(test) or inspect.iscoroutinefunction(test) or hasattr(test, "is_hypothesis_test"):
        return None
    marks: list[pytest.Mark] = getattr(test, "pytestmark", [])
    if not marks or any(mark.name != "parametrize" or mark.kwargs.keys() - {"ids"} for mark in marks):
        return None
    tables = [_table(mark) for mark in reversed(marks)]
    names = [*(["self"] if owner else []), *(name for table in tables for row in table[:1] for name in row)]
    if not all(tables) or set(inspect.signature(test).parameters) != set(names) or isinstance(test, staticmethod):
        return None

    @functools.wraps(test)
    def run() -> None:
        faults = list(_faults(test, owner, tables))
        if len(faults) == 1:
            raise faults[0]
        if faults:
            raise BaseExceptionGroup(f"{len(faults)} cases failed", faults)

    run.__signature__ = inspect.Signature()  # type: ignore[attr-defined] - pytest reads it
    return run


def _table(mark: pytest.Mark) -> list[dict[str, Any]]:
    """Return the rows of a mark, or none if one has marks of its own."""
    names, values = mark.args
    listed = [name.strip() for name in names.split(",") if name.strip()] if isinstance(names, str) else list(names)
    rows = []
    for value in values:
        if isinstance(value, type(pytest.param())):
            if value.marks:
                return []
            row = value.values
        else:
            row = value if len(listed) > 1 else (value,)
        rows.append(dict(zip(listed, row, strict=True)))
    return rows


def _faults(test: Test, owner: type | None, tables: list[list[dict[str, Any]]]) -> Iterator[BaseException]:
    for rows in product(*tables):
        case: Mapping[str, Any] = {name: value for row in rows for name, value in row.items()}
        try:
            test(*([owner()] if owner else []), **case)
        except (Exception, pytest.fail.Exception) as error:
            error.add_note(f"The case: {repr(case)[:_SHOWN]}")
            yield error
