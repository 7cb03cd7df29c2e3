"""Loads the SQL of a feature: `queries.sql` in its folder, in blocks that begin with `-- name: some_name`."""

from __future__ import annotations

import pkgutil
import re
from collections.abc import Mapping
from functools import cache
from types import MappingProxyType

_BLOCK = re.compile(r"^-- name: *(\w+) *\n", re.MULTILINE)


@cache
def load(package: str) -> Mapping[str, str]:
    """Return the named queries of the feature `package`; raises ValueError when a name is used twice."""
    # Not by importlib.resources, which imports readers of zip archives: half a megabyte.
    data = pkgutil.get_data(package, "queries.sql")
    assert data is not None  # None only for a loader that cannot read files
    text = data.decode().replace("\r\n", "\n")
    _, *parts = _BLOCK.split(text)
    queries: dict[str, str] = {}
    for name, body in zip(parts[::2], parts[1::2], strict=True):
        if name in queries:
            raise ValueError(f"{package}: two queries are named {name}")
        queries[name] = body.strip().rstrip(";")
    return MappingProxyType(queries)
