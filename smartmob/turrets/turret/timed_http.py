"""The HTTP client whose requests are timers of the transaction, with a timer for each of their parts."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from smartmob.turrets.turret.failure import failure_of
from smartmob.turrets.turret.http_client import Answer, Http, HttpError


class TimedHttp(Http):
    """The connections of one user, whose requests are timers of `transaction`.

    The timer of a request has its `name`, by default the method and the path, such as "GET /cart"; set one for a path
    that contains an id. Its parts are the timers "NAME connect" and "NAME tls", which only a request on a new
    connection has, and "NAME first byte". A request without an answer, and an answer that `expect` refuses, is a
    failure of its timer. When one `run` makes two requests with the same name, the timer has the second one. The
    arguments and errors are those of `Http`.
    """

    def __init__(self, transaction: Any, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._transaction = transaction

    async def get(self, url: str, headers: Mapping[str, str] | None = None, name: str = "") -> Answer:
        """Send a GET request, record its timers and return the response."""
        return await self.request("GET", url, headers=headers, name=name)

    async def post(
        self,
        url: str,
        body: bytes | str = b"",
        document: Any = None,
        headers: Mapping[str, str] | None = None,
        name: str = "",
    ) -> Answer:
        """Send a POST request with a body or a document, record its timers and return the response."""
        body, headers = self.encoded(body, document, headers)
        return await self.request("POST", url, body, headers, name)

    async def request(
        self,
        method: str,
        url: str,
        body: bytes | str = b"",
        headers: Mapping[str, str] | None = None,
        name: str = "",
    ) -> Answer:
        """Send a request, record its timers and return the response."""
        timer = name or f"{method} {urlsplit(url).path or '/'}"
        timers, begun = self._transaction.custom_timers, time.perf_counter()
        try:
            answer = await super().request(method, url, body, headers)
        except HttpError as error:
            timers[timer] = time.perf_counter() - begun
            self._fail(timer, error)
            raise
        timers[timer] = answer.total
        timers[f"{timer} first byte"] = answer.first_byte
        if answer.connect:
            timers[f"{timer} connect"] = answer.connect
        if answer.tls:
            timers[f"{timer} tls"] = answer.tls
        answer.subscribe(lambda error: self._fail(timer, error))
        return answer

    def _fail(self, timer: str, error: HttpError) -> None:
        self._transaction.failed_timers[timer] = failure_of(error)
