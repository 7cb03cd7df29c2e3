"""Sending to a webhook, and every way in which a receiver can be bad."""

from __future__ import annotations

import asyncio
import gzip
import ssl
from pathlib import Path
from typing import Any

import pytest
import trustme
from aiohttp import web
from aiohttp.test_utils import TestServer

from smartmob.alerts import payloads
from smartmob.alerts.webhook import DeliveryFailed, WebhookSender, check_address, retry_after, shown_address
from smartmob.errors import InvalidInput
from tests.alerts.samples import message, receiver
from tests.alerts.webhooks import Webhook


@pytest.fixture(name="sender")
async def _sender() -> Any:
    """Return a sender that waits for a long time."""
    sender = WebhookSender(60.0)
    yield sender
    await sender.close()


async def _failure(sender: WebhookSender, address: str, **more: Any) -> DeliveryFailed:
    with pytest.raises(DeliveryFailed) as caught:
        await sender.send(receiver(address=address, **more), message(), "lab", None)
    return caught.value


async def test_a_message_is_posted_with_its_id_and_signature(sender: WebhookSender, webhook: Webhook) -> None:
    """A receiver can verify who sent it, and knows a repetition by its id."""
    await sender.send(receiver(address=webhook.url, secret="s3cret"), message(), "lab", None)
    headers, body = webhook.requests[0]
    assert headers["Content-Type"] == "application/json"
    assert headers["webhook-id"] == headers["Idempotency-Key"] == str(message().id)
    expected = payloads.signature("s3cret", headers["webhook-id"], int(headers["webhook-timestamp"]), body)
    assert headers["webhook-signature"] == expected
    assert webhook.documents[0]["service"] == "lab"


async def test_a_receiver_of_texts_gets_only_the_text(sender: WebhookSender, webhook: Webhook) -> None:
    """Services that refuse unknown fields get none."""
    await sender.send(receiver(address=webhook.url, format="slack"), message(), "lab", None)
    assert webhook.documents == [{"text": payloads.chat_text(message(), None)}]
    assert "webhook-signature" not in webhook.requests[0][0]


@pytest.mark.parametrize(
    ("status", "permanent"),
    [(400, True), (401, True), (404, True), (410, True), (408, False), (425, False), (429, False), (500, False),
     (503, False)],
)  # fmt: skip
async def test_a_refusal_is_permanent_or_not(
    sender: WebhookSender, webhook: Webhook, status: int, permanent: bool
) -> None:
    """A wrong request stays wrong; a receiver that is down or busy may be up the next time."""
    webhook.answer = lambda: web.Response(status=status, text="no such\nhook", headers={"Retry-After": "7"})
    error = await _failure(sender, webhook.url)
    assert (error.reason, error.permanent, error.after) == (
        f"the receiver answered {status} no such hook",
        permanent,
        7.0,
    )


async def test_a_redirect_is_not_followed(sender: WebhookSender, webhook: Webhook) -> None:
    """No holder of `control` has set the address that a receiver redirects to, and its path may be secret."""
    target = webhook.url.replace("/hook/", "/other/")
    webhook.answer = lambda: web.Response(status=307, headers={"Location": target})
    error = await _failure(sender, webhook.url)
    assert error.permanent and "a redirect to http://127.0.0.1:" in error.reason and "secret-path" not in error.reason
    assert len(webhook.requests) == 1


async def test_a_huge_answer_is_not_read(sender: WebhookSender) -> None:
    """Of an error page of 64 MiB a bounded number of bytes is read; a success of that size is a success."""
    written = 0

    async def huge(request: web.Request) -> web.StreamResponse:
        nonlocal written
        response = web.StreamResponse(status=int(request.query["status"]))
        await response.prepare(request)
        try:
            for _ in range(1_024):
                await response.write(b"x" * 65_536)
                written += 65_536
        except ConnectionResetError:
            pass
        return response

    app = web.Application()
    app.router.add_post("/", huge)
    async with TestServer(app, host="127.0.0.1") as server:
        error = await _failure(sender, str(server.make_url("/?status=500")))
        assert len(error.reason) <= 200
        await sender.send(receiver(address=str(server.make_url("/?status=200"))), message(), "lab", None)
    assert written < 32 * 2**20


@pytest.mark.parametrize(
    "answer",
    [
        b"noise\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * 20_000 + b"\r\n\r\n",
        b"HTTP/1.1 404 Not Found\r\nConnection: close\r\n\r\n/hook/secret path?key=secret%2Fvalue is not here",
        b"HTTP/1.1 404 Not Found\r\nConnection: close\r\n\r\n<p>/hook/secret%20path, key secret/value</p>",
        b"HTTP/1.1 404 Not Found\r\nConnection: close\r\n\r\nno hook named secret path for secret-user",
        b"HTTP/1.1 302 Found\r\nLocation: /hook/secret%20path\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 500 Error\r\nContent-Length: 99\r\n\r\n/hook/secret%20path",
        b"HTTP/1.1 500 Error\r\nContent-Encoding: gzip\r\nContent-Length: 5\r\n\r\nnoise",
    ],
    ids=["no HTTP", "no length", "long header", "decoded", "raw", "parts", "redirect", "cut off", "gzip"],
)
async def test_no_error_shows_the_secret_parts_of_an_address(sender: WebhookSender, answer: bytes) -> None:
    """The reason of a failed delivery, which the role `read` and the log get, has no path, query or password."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        address = f"http://secret-user:secret-word@127.0.0.1:{port}/hook/secret%20path?key=secret%2Fvalue"
        error = await _failure(sender, address)
    assert "secret" not in error.reason


async def test_a_packed_answer_is_not_unpacked(sender: WebhookSender, webhook: Webhook) -> None:
    """A small answer that would unpack to much is read as the bytes that it consists of."""
    packed = gzip.compress(b"unpacked " * 2**20)
    webhook.answer = lambda: web.Response(status=500, body=packed, headers={"Content-Encoding": "gzip"})
    assert "unpacked" not in (await _failure(sender, webhook.url)).reason


async def test_a_slow_receiver_ends_the_attempt(webhook: Webhook) -> None:
    """An answer that does not come in time is a failure that is tried again."""
    sender, asked, release = WebhookSender(0.2), asyncio.Event(), asyncio.Event()

    async def wait() -> web.Response:
        asked.set()
        await release.wait()
        return web.Response()

    webhook.answer = wait
    error = await _failure(sender, webhook.url)
    assert (error.reason, error.permanent) == ("no answer within 0.2 s", False)
    release.set()
    await sender.close()


async def test_a_receiver_that_is_down(sender: WebhookSender, unused_tcp_port: int) -> None:
    """Nothing listens, or the name is unknown: tried again."""
    assert (
        await _failure(sender, f"http://127.0.0.1:{unused_tcp_port}/")
    ).reason == "no connection: Connection refused"
    assert "is unknown" in (await _failure(sender, "http://no-such-host.invalid/")).reason


async def test_addresses_of_secrets_are_refused(sender: WebhookSender) -> None:
    """A receiver cannot make the service ask the metadata service of a cloud."""
    assert "metadata services" in (await _failure(sender, "http://169.254.169.254/latest/")).reason


async def test_private_addresses_are_refused_if_that_is_set(webhook: Webhook) -> None:
    """A chat of a lab is private, so it is allowed unless the setting says otherwise."""
    sender = WebhookSender(60.0, public_only=True)
    assert "--alerts-public-only" in (await _failure(sender, webhook.url)).reason
    assert webhook.requests == []
    await sender.close()


async def test_a_certificate_is_verified(tmp_path: Path) -> None:
    """An unknown certificate is refused unless the settings name its authority."""
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    ca_file = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(ca_file)
    webhook = Webhook()
    app = web.Application()
    app.router.add_post("/", webhook.handle)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context)
    await site.start()
    address = f"https://127.0.0.1:{runner.addresses[0][1]}/"
    careful, trusting = WebhookSender(60.0), WebhookSender(60.0, ca_file=ca_file)
    assert "no secure connection" in (await _failure(careful, address)).reason
    await trusting.send(receiver(address=address), message(), "lab", None)
    assert len(webhook.requests) == 1
    for sender in (careful, trusting):
        await sender.close()
    await runner.cleanup()


@pytest.mark.parametrize(
    "address",
    ["ftp://x", "x", "", "http://", "https:///path", "http://a b/", "http://x/\n", "http://[::1", "file:///e"],
)
def test_an_address_that_is_none_is_refused(address: str) -> None:
    """Only http and https, with a host."""
    with pytest.raises(InvalidInput, match=r"\$\.address"):
        check_address(address)


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("https://hooks.example.com/services/T0/B0/xyz", "https://hooks.example.com/…"),
        ("https://user:pass@chat.example.com:8443/?token=x", "https://chat.example.com:8443/…"),
        ("http://127.0.0.1:8080/", "http://127.0.0.1:8080/"),
        ("http://[::1]:80/x", "http://[::1]/…"),
        ("mailto:a@example.com", "mailto:a@example.com"),
    ],
)
def test_an_address_is_shown_without_its_secrets(address: str, shown: str) -> None:
    """The path of a webhook is its password."""
    assert shown_address(address) == shown


@pytest.mark.parametrize(
    ("header", "seconds"),
    [("", None), ("120", 120.0), ("999999", 3600.0), ("-5", None), ("soon", None),
     ("Fri, 31 Dec 1999 23:59:59 GMT", 0.0), ("Fri, 31 Dec 2199 23:59:59 GMT", 3600.0)],
)  # fmt: skip
def test_retry_after_is_read_in_both_forms(header: str, seconds: float | None) -> None:
    """Seconds or a date; at most an hour, so that a wrong clock stops nothing for long."""
    assert retry_after(header) == seconds
