"""Log events as records of `logging`."""

from __future__ import annotations

import logging

import pytest

from smartmob.kernel.observability.log import REQUEST_ID
from smartmob.kernel.observability.log_records import LogRecords


@pytest.mark.parametrize(
    ("log_format", "messages"),
    [
        ("kv", ["event=x.odd path=/a request=r1", "event=http.access method=GET path=/ outcome=200"]),
        ("json", ['{"event":"x.odd","path":"/a","request":"r1"}', '{"event":"http.access","method":"GET"']),
    ],
)
def test_an_event_is_a_record_with_its_fields(
    log_format: str, messages: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    """The message has them in the chosen format; the level is the record's, and an exception is kept with it."""
    records = LogRecords(logging.getLogger("smartmob.test"), log_format)
    caplog.set_level(logging.INFO, "smartmob.test")
    token = REQUEST_ID.set("r1")
    records.take("warning", "x.odd", {"path": "/a"})
    REQUEST_ID.reset(token)
    records.access([("GET", "/", 200, 0.5, "r2")])
    records.take("debug", "x.quiet", {})
    records.write({"@timestamp": "now", "level": "error", "event": "x.failed", "reason": "full"})
    try:
        raise ValueError
    except ValueError:
        records.take("error", "x.raised", {"exc_info": True})
    records.close()
    assert [(record.levelname) for record in caplog.records] == ["WARNING", "INFO", "ERROR", "ERROR"]
    assert caplog.records[0].getMessage() == messages[0]
    assert caplog.records[1].getMessage().startswith(messages[1])
    assert "full" in caplog.records[2].getMessage()
    assert caplog.records[3].exc_info is not None
