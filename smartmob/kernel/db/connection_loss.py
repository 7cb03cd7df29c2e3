"""Ending a COPY when its connection is lost.

While PostgreSQL reads more slowly than rows are sent, asyncpg waits until it may write again. If the connection is lost
in that time, it waits without an end (asyncpg 0.32, `writing_allowed` in protocol.pyx).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from smartmob.kernel.db.database import Connection


@asynccontextmanager
async def ended_with(connection: Connection) -> AsyncIterator[None]:
    """Raise ConnectionResetError in the block as soon as the connection is lost."""
    loop = asyncio.get_running_loop()
    lost = ended = False
    try:
        async with asyncio.timeout(None) as limit:

            def end(_: object) -> None:
                nonlocal lost
                if not ended:  # asyncpg calls this in the next turn of the loop
                    lost = True
                    limit.reschedule(loop.time())

            connection.add_termination_listener(end)
            try:
                yield
            finally:
                ended = True
                connection.remove_termination_listener(end)
    except TimeoutError:
        if lost:
            raise ConnectionResetError("the connection to the database was lost") from None
        raise
