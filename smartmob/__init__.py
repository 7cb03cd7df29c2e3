"""A performance lab in one service."""

from __future__ import annotations

TYPE_CHECKING = False  # as type checkers know it: the processes above programs import this package without `typing`
if TYPE_CHECKING:
    from typing import Any

__version__ = "1.0.0rc1"


def __getattr__(name: str) -> Any:
    """Import `serving` when it is used: this package is imported by each command and turret, which start quickly."""
    if name == "serving":
        from importlib import import_module

        return import_module("smartmob.embedded_service").serving
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    """Return the public names."""
    return ["__version__", "serving"]
