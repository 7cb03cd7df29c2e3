"""Loads the SQL of a feature: `queries.sql` in its folder, in blocks that begin with `-- name: some_name`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from importlib import resources
from types import MappingProxyType

_BLOCK = re.compile(r"^-- name: *(\w+) *\n", re.MULTILINE)


@cache
def load(package: str) -> Mapping[str, str]:
    """Return the named queries of the feature `package`; raises ValueError when a name is used twice."""
    text = resources.files(package).joinpath("queries.sql").read_text(encoding="utf-8")
    _, *parts = _BLOCK.split(text)
    queries: dict[str, str] = {}
    for name, body in zip(parts[::2], parts[1::2], strict=True):
        if name in queries:
            raise ValueError(f"{package}: two queries are named {name}")
        queries[name] = body.strip().rstrip(";")
    return MappingProxyType(queries)
