"""Mail, received by a real SMTP server."""

from __future__ import annotations

import asyncio
import email
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from email.message import EmailMessage
from email.policy import default
from pathlib import Path
from typing import Any

import pytest
import trustme
from aiosmtpd.smtp import SMTP, AuthResult

from smartmob.alerts.mail_addresses import MailServer
from smartmob.alerts.mailer import Mailer, compose
from smartmob.alerts.webhook import DeliveryFailed
from tests.alerts.samples import alert, message, receiver

TEAM = receiver("team", "mailto:ann@example.com,bob@example.com", format="mail")


class Mailbox:
    """Records what the server takes. `refused` are recipients with the reply that they get."""

    def __init__(self) -> None:
        self.mails: list[EmailMessage] = []
        self.logins: list[tuple[bytes, bytes]] = []
        self.refused: dict[str, str] = {}
        self.reply = "250 OK"

    async def handle_RCPT(self, _server: Any, _session: Any, envelope: Any, address: str, _options: Any) -> str:
        """Take or refuse a recipient."""
        if address in self.refused:
            return self.refused[address]
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, _server: Any, _session: Any, envelope: Any) -> str:
        """Record a mail."""
        self.mails.append(email.message_from_bytes(envelope.content, policy=default))  # type: ignore[arg-type]  # bytes, as the server decodes nothing
        return self.reply

    def login(self, _server: Any, _session: Any, _envelope: Any, mechanism: str, data: Any) -> AuthResult:
        """Accept one password."""
        self.logins.append((data.login, data.password))
        return AuthResult(success=data.password == b"right", handled=False)


@pytest.fixture(name="mailbox")
def _mailbox() -> Mailbox:
    """Return an empty mailbox."""
    return Mailbox()


Serve = Callable[..., Awaitable[tuple[str, int]]]


@pytest.fixture(name="serve")
async def _serve(mailbox: Mailbox) -> AsyncIterator[Serve]:
    """Return a function that starts a server with options, and returns its host and port."""
    running = []

    async def start(ssl_context: ssl.SSLContext | None = None, **options: Any) -> tuple[str, int]:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(lambda: SMTP(mailbox, loop=loop, **options), "127.0.0.1", 0, ssl=ssl_context)
        running.append(server)
        return "127.0.0.1", server.sockets[0].getsockname()[1]

    yield start
    for server in running:
        server.close()
        await server.wait_closed()


def _server(scheme: str, host: str, port: int, user: str = "", password: str = "") -> MailServer:
    return MailServer(scheme, host, port, user, password, "smartmob@lab.example")


async def test_a_mail_arrives_with_all_its_alerts(serve: Serve, mailbox: Mailbox) -> None:
    """It has one id at each attempt, all recipients, and the text of all alerts."""
    host, port = await serve()
    mailer = Mailer(_server("smtp+plain", host, port), 60.0)
    assert await mailer.send(TEAM, message(alert("a"), alert("b")), "lab", "https://lab.example/") == ""
    [mail] = mailbox.mails
    assert (mail["From"], mail["To"]) == ("smartmob@lab.example", "ann@example.com, bob@example.com")
    assert (mail["Subject"], mail["Message-ID"]) == ("[smartmob] 2 firing", f"<{message().id}@lab.example>")
    assert mail["Auto-Submitted"] == "auto-generated"
    text = mail.get_content()
    assert "  subject   a" in text and "  subject   b" in text and "https://lab.example/" in text


@pytest.mark.parametrize("scheme", ["smtps", "smtp"])
async def test_a_mail_is_encrypted_and_the_login_is_sent(
    scheme: str, serve: Serve, mailbox: Mailbox, tmp_path: Path
) -> None:
    """With implicit TLS and with STARTTLS; the certificate is verified."""
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    ca_file = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(ca_file)
    options: dict[str, Any] = {"authenticator": mailbox.login}
    if scheme == "smtps":
        options |= {"ssl_context": context, "auth_require_tls": False}
    else:
        options |= {"tls_context": context, "require_starttls": True}
    host, port = await serve(**options)
    server = _server(scheme, host, port, "smartmob", "right")
    await Mailer(server, 60.0, ca_file).send(TEAM, message(), "lab", None)
    assert len(mailbox.mails) == 1 and mailbox.logins == [(b"smartmob", b"right")]

    wrong = _server(scheme, host, port, "smartmob", "wrong")
    with pytest.raises(DeliveryFailed, match="535") as caught:
        await Mailer(wrong, 60.0, ca_file).send(TEAM, message(), "lab", None)
    assert not caught.value.permanent
    with pytest.raises(DeliveryFailed, match=r"(?i)certificate verify failed"):
        await Mailer(server, 60.0).send(TEAM, message(), "lab", None)
    assert len(mailbox.mails) == 1


async def test_no_password_is_sent_without_encryption(serve: Serve, mailbox: Mailbox) -> None:
    """A server that offers no STARTTLS gets neither login nor mail."""
    host, port = await serve()
    with pytest.raises(DeliveryFailed, match="STARTTLS"):
        await Mailer(_server("smtp", host, port, "smartmob", "right"), 60.0).send(TEAM, message(), "lab", None)
    assert mailbox.mails == [] and mailbox.logins == []


async def test_a_refused_recipient_does_not_keep_the_mail_from_the_others(serve: Serve, mailbox: Mailbox) -> None:
    """The refused addresses are noted; the mail failed only if all were."""
    host, port = await serve()
    mailer = Mailer(_server("smtp+plain", host, port), 60.0)
    mailbox.refused["ann@example.com"] = "550 no such user"
    assert await mailer.send(TEAM, message(), "lab", None) == "refused: ann@example.com"
    mailbox.refused["bob@example.com"] = "450 try later"
    with pytest.raises(DeliveryFailed, match="550 no such user") as caught:
        await mailer.send(TEAM, message(), "lab", None)
    assert not caught.value.permanent
    mailbox.refused["bob@example.com"] = "550 no such user"
    with pytest.raises(DeliveryFailed) as caught:
        await mailer.send(TEAM, message(), "lab", None)
    assert caught.value.permanent


@pytest.mark.parametrize(("reply", "permanent"), [("451 try later", False), ("554 spam", True)])
async def test_only_a_temporary_refusal_of_a_mail_is_tried_again(
    serve: Serve, mailbox: Mailbox, reply: str, permanent: bool
) -> None:
    """A temporary reply is tried again, a permanent one is not."""
    host, port = await serve()
    mailbox.reply = reply
    with pytest.raises(DeliveryFailed, match=f"the mail server answered {reply}") as caught:
        await Mailer(_server("smtp+plain", host, port), 60.0).send(TEAM, message(), "lab", None)
    assert caught.value.permanent == permanent


async def test_a_server_that_is_down(unused_tcp_port: int) -> None:
    """It is tried again; without a server in the settings the reason says which one is missing."""
    with pytest.raises(DeliveryFailed, match="Connection refused"):
        await Mailer(_server("smtps", "127.0.0.1", unused_tcp_port), 60.0).send(TEAM, message(), "lab", None)
    with pytest.raises(DeliveryFailed, match="--alerts-mail-server"):
        await Mailer(None, 60.0).send(TEAM, message(), "lab", None)


@pytest.mark.parametrize(
    "subject", ["a\r\nBcc: eve@example.com", "a\nSubject: other", "a\u2028b", "ünïcode 本番", "x" * 900]
)
def test_no_name_adds_a_header(subject: str) -> None:
    """The name of a machine or a test cannot change who gets the mail, and any script survives in the text."""
    mail = compose(message(alert(subject)), _server("smtps", "h", 1), ["ann@example.com"], "lab", None)
    parsed = email.message_from_bytes(bytes(mail), policy=default)
    assert set(parsed.keys()) == set(mail.keys())
    assert parsed["To"] == "ann@example.com" and parsed["Bcc"] is None
    body = parsed.get_body()
    assert body is not None and subject.isprintable() == (subject[:400] in body.get_content().replace("\n", ""))
