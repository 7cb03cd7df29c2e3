"""Mail addresses, and the address of the mail server."""

from __future__ import annotations

import pytest

from smartmob.alerts.mail_addresses import MailServer, addresses, parse_server
from smartmob.errors import InvalidInput, SettingsError


def test_mail_addresses_are_read() -> None:
    """Several addresses are separated by commas."""
    assert addresses("mailto:ann@example.com,bob+x@example.com") == ["ann@example.com", "bob+x@example.com"]


@pytest.mark.parametrize(
    "text", ["mailto:", "mailto:ann", "mailto:ann@", "mailto:a@b,", "mailto:a@b%0d%0aBcc:c@d", "mailto:Ann <a@b.c>"]
)
def test_a_text_that_is_no_mail_address_is_refused(text: str) -> None:
    """Neither a name without a host, nor one that would add a header."""
    with pytest.raises(InvalidInput, match="is not a mail address"):
        addresses(text)


def test_the_server_of_the_settings_is_read() -> None:
    """Each scheme has its port; the sender has a host name."""
    assert parse_server("smtps://me@mail.example", "", "pw", "lab") == MailServer(
        "smtps", "mail.example", 465, "me", "pw", "smartmob@lab.invalid"
    )
    assert parse_server("smtp://mail.example:2525", "a@b.example", "", "lab").port == 2525


@pytest.mark.parametrize(
    ("text", "sender", "reason"),
    [
        ("mail.example", "", "expected smtps://"),
        ("http://mail.example", "", "expected smtps://"),
        ("smtps://", "", "expected smtps://"),
        ("smtps://mail.example:x", "", "expected smtps://"),
        ("smtps://me:hunter2@mail.example", "", "--alerts-mail-password-file"),
        ("smtps://mail.example", "nobody", "--alerts-mail-from"),
    ],
)
def test_a_server_that_is_none_is_refused(text: str, sender: str, reason: str) -> None:
    """The message names the setting and never the password."""
    with pytest.raises(SettingsError, match=reason) as caught:
        parse_server(text, sender, "", "lab")
    assert "hunter2" not in str(caught.value)
