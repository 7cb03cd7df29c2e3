"""Runs a test with several values in one go, for tests that start much and change nothing."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

Test = Callable[..., Awaitable[None] | None]


def each(names: str, values: Iterable[Any]) -> Callable[[Test], Test]:
    """Call a test for all values with the same fixtures, and fail with all values that failed.

    It is used like `pytest.mark.parametrize`. No call may leave anything that the next one would notice.
    """
    wanted = [name.strip() for name in names.split(",")]
    rows = [dict(zip(wanted, value if len(wanted) > 1 else (value,), strict=True)) for value in values]

    def decorate(test: Test) -> Test:
        @functools.wraps(test)
        async def run(*arguments: Any, **fixtures: Any) -> None:
            faults = []
            for row in rows:
                try:
                    ended = test(*arguments, **fixtures, **row)
                    if ended is not None:
                        await ended
                except AssertionError as error:
                    faults.append(f"{row}: {error}")
                except Exception as error:
                    error.add_note(f"The values: {row}")
                    raise
            assert rows
            assert not faults, "\n".join(faults)

        given = inspect.signature(test)
        left = [parameter for name, parameter in given.parameters.items() if name not in wanted]
        run.__signature__ = given.replace(parameters=left)  # type: ignore[attr-defined] - pytest reads it
        return run

    return decorate
