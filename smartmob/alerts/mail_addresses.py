"""Mail addresses, and the address of the mail server in the settings. No I/O."""

from __future__ import annotations

from urllib.parse import unquote

import msgspec
from yarl import URL

from smartmob.alerts.model import one_line
from smartmob.errors import InvalidInput, SettingsError

_PORTS = {"smtps": 465, "smtp": 587, "smtp+plain": 25}
"""The ports of implicit TLS and submission (RFC 8314, RFC 6409) and of unencrypted SMTP."""


class MailServer(msgspec.Struct, frozen=True):
    """A mail server. `scheme` is `smtps`, `smtp` (STARTTLS is required) or `smtp+plain`."""

    scheme: str
    host: str
    port: int
    user: str = ""
    password: str = ""
    sender: str = ""


def parse_server(text: str, sender: str, password: str, host_name: str) -> MailServer:
    """Return the server from the setting `alerts_mail_server`; raises SettingsError."""
    try:
        url = URL(text)
        port = url.port
    except ValueError:
        url, port = URL(), None
    if url.scheme not in _PORTS or not url.host:
        raise SettingsError(
            "--alerts-mail-server: expected smtps://USER@HOST or smtp://USER@HOST (with STARTTLS), or smtp+plain://HOST"
        )
    if url.password:
        raise SettingsError("--alerts-mail-server: put the password into a file, and name it in "
                            "--alerts-mail-password-file")  # fmt: skip
    sender = _checked_sender(sender, host_name)
    return MailServer(url.scheme, url.host, port or _PORTS[url.scheme], url.user or "", password, sender)


def _checked_sender(sender: str, host_name: str) -> str:
    """Return the address of the sender, by default one of this host; raises SettingsError."""
    sender = sender or f"smartmob@{host_name if '.' in host_name else host_name + '.invalid'}"
    try:
        addresses(f"mailto:{sender}", "--alerts-mail-from")
    except InvalidInput as error:
        raise SettingsError(str(error)) from None
    return sender


def addresses(text: str, where: str = "$.address") -> list[str]:
    """Return the mail addresses of `mailto:a@b,c@d` (RFC 6068). Raises InvalidInput."""
    from email.errors import MessageError
    from email.headerregistry import Address

    found = [unquote(part).strip() for part in text.removeprefix("mailto:").partition("?")[0].split(",")]
    for address in found:
        try:
            parsed = Address(addr_spec=address)
        except (MessageError, ValueError, IndexError):
            raise InvalidInput.at(where, f"{one_line(address)!r} is not a mail address") from None
        if not parsed.domain or not parsed.username or not address.isascii() or not address.isprintable():
            raise InvalidInput.at(where, f"{one_line(address)!r} is not a mail address")
    return found
