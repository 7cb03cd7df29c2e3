"""The messages that receivers get."""

from __future__ import annotations

import base64
import hashlib
import hmac
from datetime import timedelta

import pytest

from smartmob.alerts import payloads
from tests.alerts.samples import NOW, alert, message


def test_the_document_of_a_webhook_has_the_documented_fields() -> None:
    """docs/reference/alerts.md describes them; a receiver may rely on each."""
    firing = alert()
    document = payloads.webhook(message(firing), "lab", "https://lab.example/console/alerts")
    assert {key: value for key, value in document.items() if key not in ("text", "alerts")} == {
        "version": 1,
        "id": "0193579e-0000-7000-8000-000000000001",
        "status": "firing",
        "service": "lab",
        "url": "https://lab.example/console/alerts",
    }
    assert document["alerts"] == [
        {
            "id": str(firing.id),
            "status": "firing",
            "repeated": False,
            "rule": "busy",
            "subject": "rack7",
            "cause": "",
            "condition": "cpu > 90",
            "severity": "warning",
            "summary": "rack7: cpu is 97.0 %",
            "value": 97.0,
            "fired_at": "2026-11-23T09:00:00.000Z",
            "resolved_at": None,
            "reason": "",
        }
    ]


def test_the_text_says_what_fires_and_what_is_over() -> None:
    """A message of several alerts has a line for each, and a status of its own."""
    ended = alert("b", resolved_at=NOW + timedelta(minutes=5), reason="recovered")
    both = message(alert("a"))
    both.alerts.append(payloads.document(ended, "resolved"))
    both.alerts.append(payloads.document(alert("c"), "repeated"))
    document = payloads.webhook(both, "lab", None)
    assert document["status"] == "mixed"
    assert document["text"].splitlines() == [
        "[FIRING] warning busy: a: cpu is 97.0 %",
        "[RESOLVED] warning busy: b: cpu is 97.0 % (recovered)",
        "[STILL FIRING] warning busy: c: cpu is 97.0 %",
    ]


def test_a_name_cannot_address_people_or_add_lines() -> None:
    """A machine named `<!channel>` notifies no channel, and a test with a line break stays in its line."""
    text = payloads.webhook(message(alert("<!channel> & co\nFIRING")), "lab", None)["text"]
    assert text == "[FIRING] warning busy: &lt;!channel&gt; &amp; co FIRING: cpu is 97.0 %"
    assert "\n" not in payloads.subject(message(alert("a\r\nBcc: everyone@example.com")))


def test_a_text_lists_some_alerts_and_the_document_all() -> None:
    """A hundred silent machines make a message that can be read."""
    document = payloads.webhook(message(*(alert(f"m{number}") for number in range(50))), "lab", None)
    assert len(document["alerts"]) == 50
    assert len(document["text"].splitlines()) == 21
    assert document["text"].endswith("… and 30 more")


def test_a_mail_has_all_alerts() -> None:
    """The subject counts them, the text has a paragraph for each."""
    many = message(*(alert(f"m{number}") for number in range(30)))
    assert payloads.subject(many) == "[smartmob] 30 firing"
    text = payloads.mail_text(many, "lab", "https://lab.example/console/alerts")
    assert all(f"  subject   m{number}\n" in text for number in range(30))
    assert "Sent by smartmob on lab.\nSee https://lab.example/console/alerts\n" in text


@pytest.mark.parametrize(
    ("secret", "key"), [("plain", b"plain"), ("whsec_" + base64.b64encode(b"\0\1key").decode(), b"\0\1key")]
)
def test_a_signature_is_that_of_standard_webhooks(secret: str, key: bytes) -> None:
    """The signed content is `id.timestamp.body`."""
    expected = base64.b64encode(hmac.new(key, b"msg_1.1700000000.{}", hashlib.sha256).digest()).decode()
    assert payloads.signature(secret, "msg_1", 1_700_000_000, b"{}") == f"v1,{expected}"


def test_a_mail_about_many_machines_counts_those_that_it_does_not_list() -> None:
    """A network that fails makes one mail that can be read."""
    text = payloads.mail_text(message(*(alert(f"m{number}") for number in range(250))), "lab", None)
    assert text.count("subject   m") == 200 and "… and 50 more" in text
