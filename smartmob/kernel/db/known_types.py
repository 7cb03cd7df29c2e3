"""Connections that ask the server for each of PostgreSQL's own types once for all of them.

asyncpg asks each connection for the definition of arrays such as `uuid[]`, which takes 5 ms of the server. They are the
same in all databases. An internal method of asyncpg is overridden: tests/kernel/db/test_known_types.py fails when it
changes.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import asyncpg
import msgspec

if TYPE_CHECKING:
    Base = asyncpg.Connection[asyncpg.Record]
else:
    Base = asyncpg.Connection

_FIRST_GENERATED_OID = 10_000
"""Types with lower numbers are the same in each server (`FirstGenbkiObjectId` in access/transam.h)."""

_known: dict[frozenset[int], list[asyncpg.Record]] = {}


class _NoStatement(msgspec.Struct, frozen=True):
    """The statement that was not necessary; asyncpg reads its name, to know whether it has replaced another one."""

    name: str = "none"


class KnownTypesConnection(Base):
    """A connection that shares the definitions of PostgreSQL's own types with others."""

    __slots__ = ()

    async def _introspect_types(self, typeoids: Iterable[int], timeout: float | None) -> tuple[Any, Any]:
        oids = frozenset(typeoids)
        if (found := _known.get(oids)) is not None:
            return found, _NoStatement()
        types, statement = await super()._introspect_types(oids, timeout)  # type: ignore[misc]  # missing in the stubs
        if max(oids) < _FIRST_GENERATED_OID:
            _known[oids] = types
        return types, statement
