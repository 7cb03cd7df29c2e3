"""The messages of the link."""

from __future__ import annotations

import msgspec
import pytest

from smartmob.nodes import protocol
from smartmob.nodes.model import NodeFacts


@pytest.mark.parametrize(
    "message",
    [
        protocol.Facts(NodeFacts(version="1", cpus=2), "a-secret-of-a-link"),
        protocol.Clock(1.5),
        protocol.Account("ab" * 32),
        protocol.Records("j", [], 1),
    ],
)
def test_a_message_of_a_node_is_read_as_it_was_written(message: protocol.FromNode) -> None:
    """All fields survive."""
    assert protocol.read_from_node(protocol.write(message)) == message


@pytest.mark.parametrize(
    "message",
    [
        *(protocol.Welcome("rack7", "1"), protocol.Open("id"), protocol.ClockAnswer(1.0, 2.0, 3.0)),
        *(protocol.ReportedHost("rack7"), protocol.Stored(7)),
    ],
)
def test_a_message_of_a_service_is_read_as_it_was_written(message: protocol.FromService) -> None:
    """All fields survive."""
    assert protocol.read_from_service(protocol.write(message)) == message


def test_unknown_types_are_ignored() -> None:
    """A later version may send more."""
    assert protocol.read_from_node('{"type": "later", "x": 1}') is None
    assert protocol.read_from_service('{"type": "later", "x": 1}') is None


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", "null", '{"type": 1}', '{"type": "clock"}', '{"type": "clock", "sent": "1"}']
)
def test_rubbish_is_refused(text: str) -> None:
    """The reader raises one kind of error for all of it."""
    with pytest.raises(msgspec.DecodeError):
        protocol.read_from_node(text)


@pytest.mark.parametrize(
    "text",
    [
        '{"type": "facts", "facts": {"clock_offset": 1e300}, "secret": "a-secret-of-a-link"}',
        '{"type": "facts", "facts": {"machine": "a\\u0000b"}, "secret": "a-secret-of-a-link"}',
        '{"type": "facts", "facts": {"system": "' + "x" * 201 + '"}, "secret": "a-secret-of-a-link"}',
        '{"type": "facts", "facts": {"cpus": -1}, "secret": "a-secret-of-a-link"}',
        '{"type": "facts", "facts": {}, "secret": "short"}',
        '{"type": "facts", "facts": {}, "secret": "a-secret-of-a-link control\\r\\nX: y"}',
        '{"type": "account", "password": "short"}',
        '{"type": "records", "journal": "", "records": []}',
        '{"type": "records", "journal": "j", "records": [{"number": 0, "kind": "job", "value": {}}]}',
        '{"type": "records", "journal": "j", "records": [{"number": 9999999999999999999, "kind": "job", "value": {}}]}',
        '{"type": "records", "journal": "j", "records": [], "dropped": -1}',
    ],
)
def test_values_that_no_node_sends_are_refused(text: str) -> None:
    """Numbers, names and counts have bounds, so that nothing is stored that cannot be shown."""
    with pytest.raises(msgspec.DecodeError):
        protocol.read_from_node(text)


def test_unknown_fields_are_ignored() -> None:
    """A later version may describe more."""
    read = protocol.read_from_node('{"type": "facts", "secret": "a-secret-of-a-link", "facts": {"gpus": 2}, "more": 1}')
    assert read == protocol.Facts(NodeFacts(), "a-secret-of-a-link")
