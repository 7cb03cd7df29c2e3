"""How far a clock is off, by an exchange of four timestamps (RFC 5905 section 8) with a service."""

from __future__ import annotations

from collections.abc import Callable

import aiohttp
import msgspec
from yarl import URL

from smartmob.client import trust
from smartmob.errors import RemoteError

_EXCHANGES = 5
_ANSWER_SECONDS = 10.0


def exchange_result(sent: float, received: float, answered: float, back: float) -> tuple[float, float]:
    """Return the delay of an exchange and the offset that it shows, which is to be added to the clock of who asked."""
    delay = (back - sent) - (answered - received)
    return max(0.0, delay), ((received - sent) + (answered - back)) / 2


async def measure(url: str, wall: Callable[[], float]) -> tuple[float, float]:
    """Return the delay and the offset of the quickest exchange with a service; raises RemoteError.

    No token is needed: the clock is told to everybody.
    """
    timeout = aiohttp.ClientTimeout(total=_ANSWER_SECONDS)
    try:
        async with (
            aiohttp.ClientSession(timeout=timeout, trace_configs=[trust.redirects()]) as session,
            session.ws_connect(URL(url) / "echo", max_msg_size=64 * 1024) as socket,
        ):
            await _ask(socket, {"type": "HELLO"})
            return min([await _exchange(socket, wall) for _ in range(_EXCHANGES)])
    except (aiohttp.ClientError, TimeoutError, ValueError, KeyError, TypeError) as error:
        raise RemoteError(f"{url} does not tell its clock ({str(error) or 'no answer in time'})") from None


async def _exchange(socket: aiohttp.ClientWebSocketResponse, wall: Callable[[], float]) -> tuple[float, float]:
    sent = wall()
    told = await _ask(socket, {"type": "CLOCK", "sent": sent})
    return exchange_result(sent, float(told["received"]), float(told["answered"]), wall())


async def _ask(socket: aiohttp.ClientWebSocketResponse, message: dict[str, object]) -> dict[str, float]:
    await socket.send_str(msgspec.json.encode(message).decode())
    answer = await socket.receive_str(timeout=_ANSWER_SECONDS)
    payload: dict[str, float] = msgspec.json.decode(answer)["payload"]
    return payload
