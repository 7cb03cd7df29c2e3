"""The messages that receivers get: JSON for webhooks and the text of mails. No I/O.

docs/reference/alerts.md describes the JSON document; `VERSION` changes when a receiver could misread it.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from smartmob.alerts.model import Alert, Kind, Message, one_line

VERSION = 1  # of the document
_TEXT_ALERTS = 20  # alerts that a text lists; the document has all
_MAIL_ALERTS = 200  # alerts that a mail lists
_SECRET_PREFIX = "whsec_"  # noqa: S105 - the prefix of a secret in the Standard Webhooks specification, and no secret
_STATES = {"firing": "FIRING", "repeated": "STILL FIRING", "resolved": "RESOLVED", "test": "TEST"}


def document(alert: Alert, kind: Kind) -> dict[str, Any]:
    """Return what is sent of an alert. It is stored with the notification, so each attempt sends the same."""
    return {
        "id": str(alert.id),
        "status": "firing" if kind == "repeated" else kind,
        "repeated": kind == "repeated",
        "rule": alert.rule,
        "subject": alert.subject,
        "cause": alert.cause,
        "condition": alert.condition,
        "severity": alert.severity,
        "summary": alert.summary,
        "value": alert.value,
        "fired_at": _time(alert.fired_at),
        "resolved_at": _time(alert.resolved_at),
        "reason": alert.reason,
    }


def webhook(message: Message, service: str, url: str | None) -> dict[str, Any]:
    """Return the JSON document of a webhook. `text` is understood by Slack, Mattermost, Rocket.Chat and Zulip."""
    statuses = {alert["status"] for alert in message.alerts}
    return {
        "version": VERSION,
        "id": str(message.id),
        "status": statuses.pop() if len(statuses) == 1 else "mixed",
        "service": service,
        "url": url,
        "text": chat_text(message, url),
        "alerts": message.alerts,
    }


def chat_text(message: Message, url: str | None) -> str:
    """Return a message for a chat. The characters of Slack's markup are escaped, so names cannot address people."""
    lines = [_escaped(line(alert)) for alert in message.alerts[:_TEXT_ALERTS]]
    return "\n".join([*lines, *_rest(message.alerts, _TEXT_ALERTS), *([url] if url else [])])


def line(alert: dict[str, Any]) -> str:
    """Return an alert in one line."""
    state = _STATES["repeated" if alert["repeated"] else alert["status"]]
    end = f" ({alert['reason']})" if alert["status"] == "resolved" and alert["reason"] else ""
    return one_line(f"[{state}] {alert['severity']} {alert['rule']}: {alert['summary']}{end}")


def subject(message: Message) -> str:
    """Return the subject line of a mail."""
    if len(message.alerts) == 1:
        return one_line(f"[smartmob] {line(message.alerts[0])}", 200)
    counts: dict[str, int] = {}
    for alert in message.alerts:
        counts[alert["status"]] = counts.get(alert["status"], 0) + 1
    return "[smartmob] " + ", ".join(f"{count} {status}" for status, count in counts.items())


def mail_text(message: Message, service: str, url: str | None) -> str:
    """Return the plain text of a mail."""
    parts = [_paragraph(alert) for alert in message.alerts[:_MAIL_ALERTS]]
    parts += _rest(message.alerts, _MAIL_ALERTS)
    end = [f"Sent by smartmob on {service}.", *([f"See {url}"] if url else []), f"Message {message.id}"]
    return "\n\n".join([*parts, "-- \n" + "\n".join(end)]) + "\n"


def signature(secret: str, ident: str, timestamp: int, body: bytes) -> str:
    """Return the header webhook-signature (Standard Webhooks, "Signature scheme")."""
    signed = f"{ident}.{timestamp}.".encode() + body
    return "v1," + base64.b64encode(hmac.new(secret_key(secret), signed, hashlib.sha256).digest()).decode()


def secret_key(secret: str) -> bytes:
    """Return the bytes of a secret: base64 after `whsec_`, otherwise the text itself. Raises ValueError."""
    if secret.startswith(_SECRET_PREFIX):
        return base64.b64decode(secret.removeprefix(_SECRET_PREFIX), validate=True)
    return secret.encode()


def _rest(alerts: Sequence[dict[str, Any]], listed: int) -> list[str]:
    return [f"… and {len(alerts) - listed} more"] if len(alerts) > listed else []


def _paragraph(alert: dict[str, Any]) -> str:
    times = [f"  fired     {alert['fired_at']}"]
    if alert["resolved_at"]:
        times.append(f"  resolved  {alert['resolved_at']}")
    condition = one_line(f"  rule      {alert['rule']}: {alert['condition']}")
    return "\n".join([line(alert), one_line(f"  subject   {alert['subject']}"), condition, *times])


def _escaped(text: str) -> str:
    """Return a text for Slack, which reads `<!channel>` and `<http://…>` as commands and links."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _time(at: datetime | None) -> str | None:
    return None if at is None else at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
