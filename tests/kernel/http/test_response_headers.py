"""The headers that every answer carries."""

from __future__ import annotations

from typing import Any

import pytest

from smartmob.kernel.http.response_headers import add_security_headers
from tests.kernel.raw import Wire


async def test_every_answer_forbids_to_guess_its_type(serving: Any) -> None:
    """Answers of every kind have `nosniff`, and without TLS no Strict-Transport-Security."""
    client, _, _ = await serving()
    paths = ("/hello", "/size/200000", "/plain", "/stream", "/unknown", "/raise/not-found", "/raise/bug")
    for path in paths:
        response = await client.get(path)

        assert response.headers["X-Content-Type-Options"] == "nosniff", path
        assert "Strict-Transport-Security" not in response.headers


async def test_the_answer_to_malformed_http_has_the_headers_too(line: Wire) -> None:
    """A request that cannot be read gets an answer with `nosniff`."""
    line.send("GET /hello HTTP/1.1\nHost: localhost\nContent-Length: -1\n\n")

    reply = await line.reply()

    assert (reply.status, reply.headers["X-Content-Type-Options"]) == (400, "nosniff")


@pytest.mark.parametrize("secure", [False, True])
def test_only_an_answer_over_tls_demands_tls(secure: bool) -> None:
    """Strict-Transport-Security is sent over TLS only (RFC 6797, section 7.2)."""
    headers: dict[str, str] = {}
    add_security_headers(headers, secure)
    assert ("Strict-Transport-Security" in headers) is secure
