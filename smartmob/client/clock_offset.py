"""The offset of this machine's clock, measured by exchanges of four timestamps with a service (RFC 5905 section 8)."""

from __future__ import annotations

from collections.abc import Callable

import aiohttp
import msgspec
from yarl import URL

from smartmob.client import tls_trust
from smartmob.errors import RemoteError

_EXCHANGES = 5
"""The number of exchanges; the fastest one counts."""
_ANSWER_SECONDS = 10.0


def exchange_result(sent: float, received: float, answered: float, back: float) -> tuple[float, float]:
    """Return the delay and the clock offset of an exchange, both in seconds.

    The offset is the service's clock minus the clock of this machine (RFC 5905 section 8).
    """
    delay = (back - sent) - (answered - received)
    return max(0.0, delay), ((received - sent) + (answered - back)) / 2


async def measure(url: str, wall: Callable[[], float]) -> tuple[float, float]:
    """Return the delay and the offset, in seconds, of the fastest exchange with a service; raises RemoteError.

    No token is needed.
    """
    timeout = aiohttp.ClientTimeout(total=_ANSWER_SECONDS)
    try:
        async with (
            aiohttp.ClientSession(
                connector=tls_trust.connector(), timeout=timeout, trace_configs=[tls_trust.redirect_guard()]
            ) as session,
            session.ws_connect(URL(url) / "echo", max_msg_size=64 * 1024) as socket,
        ):
            await _ask(socket, {"type": "HELLO"})
            return min([await _exchange(socket, wall) for _ in range(_EXCHANGES)])
    except (aiohttp.ClientError, TimeoutError, ValueError, KeyError, TypeError) as error:
        raise RemoteError(f"{url} does not answer with its clock ({str(error) or 'no answer in time'})") from None


async def _exchange(socket: aiohttp.ClientWebSocketResponse, wall: Callable[[], float]) -> tuple[float, float]:
    sent = wall()
    answer = await _ask(socket, {"type": "CLOCK", "sent": sent})
    return exchange_result(sent, float(answer["received"]), float(answer["answered"]), wall())


async def _ask(socket: aiohttp.ClientWebSocketResponse, message: dict[str, object]) -> dict[str, float]:
    await socket.send_str(msgspec.json.encode(message).decode())
    answer = await socket.receive_str(timeout=_ANSWER_SECONDS)
    payload: dict[str, float] = msgspec.json.decode(answer)["payload"]
    return payload
