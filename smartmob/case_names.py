"""Names of tests for people: with the class of a method, if its client has sent the class."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any


def class_of(location: str, item: str, variant: str) -> str:
    """Return the class in a location of pytest such as `tests/test_a.py::TestLogin::test_ok`, or ""."""
    file, separator, inner = location.partition("[")[0].partition("::")
    if not separator or not file.endswith(".py"):
        return ""
    parts = inner.split("::")
    return "::".join(parts[:-1] if parts[-1] in (item, variant.partition("[")[0]) else parts)


def variant_with_class(location: str, item: str, variant: str) -> str:
    """Return the variant of a test, with its class in front if the location has one and the variant has not."""
    owner = class_of(location, item, variant)
    name = variant or item
    return variant if not owner or name.startswith((f"{owner}::", f"{owner}.")) else f"{owner}::{name}"


def merged_names(metrics: Iterable[Mapping[str, Any]]) -> str:
    """Return in a sentence which metrics of a run share a name in one session, "" if none do.

    pytest-monitor sends the name of a method without its class, so methods of several classes have one name.
    """
    counts = Counter(
        (metric["session_h"], metric["item_path"], _shown(metric))
        for metric in metrics
        if metric.get("kind", "function") == "function"
    )
    repeated: dict[str, int] = {}
    for (_, path, name), number in counts.items():
        if number > 1:
            repeated[f"{name} of {path}"] = max(number, repeated.get(f"{name} of {path}", 0))
    if not repeated:
        return ""
    first, number = next(iter(repeated.items()))
    names = "1 test name was" if len(repeated) == 1 else f"{len(repeated)} test names were"
    return (
        f"{names} executed several times in one session, for example {first} ({number} times): either repetitions, or "
        "methods of the same name in several classes, which pytest-monitor sends without their class. The smallest "
        "value counts; give them different names to separate them."
    )


def _shown(metric: Mapping[str, Any]) -> str:
    item, variant = metric["item"], metric["item_variant"]
    return variant_with_class(metric["item_fs_loc"], item, variant) or str(item)
