"""Sends a message as a mail, by the standard library's smtplib in a thread.

smtplib blocks, which is good enough for one mail at a time for each message. The timeout limits each step of the
conversation, so the thread always ends. No further dependency is needed.
"""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path
from typing import TYPE_CHECKING

from smartmob.alerts import payloads
from smartmob.alerts.mail_addresses import MailServer, addresses
from smartmob.alerts.model import Message, Receiver, one_line
from smartmob.alerts.webhook import DeliveryFailed
from smartmob.kernel.runtime import clock

if TYPE_CHECKING:
    import smtplib
    from email.message import EmailMessage

_AUTHENTICATION_STATUS = range(530, 540)
"""Replies about authentication (RFC 4954): a person can correct it, so the message is tried again."""


def compose(message: Message, server: MailServer, to: list[str], service: str, url: str | None) -> EmailMessage:
    """Return the mail of a message. Names of machines and tests are printable by then, so no header can be added."""
    from email.message import EmailMessage
    from email.policy import SMTP
    from email.utils import format_datetime

    mail = EmailMessage(policy=SMTP)
    mail["Subject"] = payloads.subject(message)
    mail["From"] = server.sender
    mail["To"] = ", ".join(to)
    mail["Date"] = format_datetime(clock.now())
    mail["Message-ID"] = f"<{message.id}@{server.sender.rpartition('@')[2]}>"
    mail["Auto-Submitted"] = "auto-generated"  # RFC 3834: vacation programs do not answer
    mail.set_content(payloads.mail_text(message, service, url))
    return mail


class Mailer:
    """Sends mails through one server; `server` is None if the settings name none. `timeout` is in seconds."""

    def __init__(self, server: MailServer | None, timeout: float, ca_file: Path | None = None) -> None:
        self._server = server
        self._timeout = timeout
        self._ca_file = ca_file

    async def send(self, receiver: Receiver, message: Message, service: str, url: str | None) -> str:
        """Send a message; return the refused addresses if only some were refused. Raises DeliveryFailed."""
        import smtplib

        server = self._server
        if server is None:
            raise DeliveryFailed("the service has no mail server; set --alerts-mail-server")
        mail = compose(message, server, addresses(receiver.address), service, url)
        try:
            refused = await asyncio.to_thread(self._deliver, server, mail)
        except smtplib.SMTPException as error:
            raise _failure(error) from None
        except (OSError, ValueError) as error:
            raise DeliveryFailed(one_line(f"{server.host}: {error}")) from None
        return f"refused: {', '.join(refused)}" if refused else ""

    def _deliver(self, server: MailServer, mail: EmailMessage) -> list[str]:
        import smtplib

        context = ssl.create_default_context()
        if self._ca_file is not None:
            context.load_verify_locations(self._ca_file)
        if server.scheme == "smtps":
            client: smtplib.SMTP = smtplib.SMTP_SSL(server.host, server.port, timeout=self._timeout, context=context)
        else:
            client = smtplib.SMTP(server.host, server.port, timeout=self._timeout)
        with client:
            if server.scheme == "smtp":
                client.starttls(context=context)
            if server.user:
                client.login(server.user, server.password)
            return list(client.send_message(mail))


def _failure(error: smtplib.SMTPException) -> DeliveryFailed:
    """Return the failure that a reply of the server means: 5yz is permanent, unless it is about the login."""
    import smtplib

    match error:
        case smtplib.SMTPRecipientsRefused():
            replies = list(error.recipients.values())
            texts = [f"{name}: {code} {_text(reply)}" for name, (code, reply) in error.recipients.items()]
            permanent = all(500 <= code < 600 for code, _ in replies)
            return DeliveryFailed(one_line("; ".join(texts)), permanent=permanent)
        case smtplib.SMTPResponseException():
            code = error.smtp_code
            permanent = 500 <= code < 600 and code not in _AUTHENTICATION_STATUS
            return DeliveryFailed(one_line(f"the mail server answered {code} {_text(error.smtp_error)}"), permanent)
        case smtplib.SMTPNotSupportedError():
            return DeliveryFailed(one_line(f"{error}; smtp:// needs STARTTLS"))
    return DeliveryFailed(one_line(str(error) or type(error).__name__))


def _text(reply: bytes | str) -> str:
    return reply.decode(errors="replace") if isinstance(reply, bytes) else reply
