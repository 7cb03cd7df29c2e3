"""Files that are on their way in: one attempt at a time for each, the last one of the same client."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path


class Transfers:
    """Knows which task writes which file."""

    def __init__(self) -> None:
        self._writing: dict[Path, tuple[str | None, asyncio.Task[object]]] = {}

    @asynccontextmanager
    async def only(self, path: Path, transfer: str | None) -> AsyncIterator[None]:
        """Be the one that writes `path`.

        An attempt of the same transfer, whose client has lost it, is ended first; one that ends already is waited for.
        """
        before = self._writing.get(path)
        if before is not None:
            if not before[1].cancelling() and transfer is not None and before[0] == transfer:
                before[1].cancel()
            if before[1].cancelling():
                await asyncio.wait({before[1]})
        own = asyncio.current_task()
        assert own is not None
        entry = self._writing.setdefault(path, (transfer, own))
        try:
            yield
        finally:
            if entry[1] is own:
                self._writing.pop(path, None)
