"""The echo protocol: each message, each error, and arbitrary input."""

from __future__ import annotations

import inspect
import json
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smartmob.errors import InvalidInput
from smartmob.hosts import protocol
from smartmob.hosts.model import SampleData, sample_row
from smartmob.hosts.protocol import (
    Echo,
    EndSubscription,
    Pause,
    Send,
    SendClock,
    SendWorkTime,
    Start,
    Store,
    StoreOffset,
    Throttle,
)
from tests.hosts.samples import CLIENT_ID, snapshot

DATA_TYPE = {"type": "ERROR", "reason": "Data type incorrect, please use json"}
DATA_SIZE = {"type": "ERROR", "reason": "incorrect data size"}
TYPES = ("HELLO", "CLIENT_DATA", "SUBSCRIBE", "UNSUBSCRIBE", "WORK_TIME", "BACKFILL", "CLOCK", "CLOCK_OFFSET")


def _greeted() -> Echo:
    echo = Echo(0)
    assert _one(echo, {"type": "HELLO"}) == Send(protocol.WELCOME)
    return echo


def _one(echo: Echo, message: Any) -> Any:
    """Return the one action for a message."""
    text = message if isinstance(message, str | bytes) else json.dumps(message)
    (action,) = echo.handle(text, 1.0, 1000.0)
    return action


def _said(echo: Echo, message: Any) -> dict[str, Any]:
    """Return the messages that are sent at once."""
    action = _one(echo, message)
    assert isinstance(action, Send), action
    return dict(json.loads(action.text))


class TestGreeting:
    """HELLO must be the first message."""

    def test_each_hello_gets_the_same_welcome(self) -> None:
        """The answer is the same each time, to the byte: some clients compare the text."""
        echo = Echo(0)
        for _ in range(3):
            assert _one(echo, {"type": "HELLO"}).text == '{"type": "WELCOME", "payload": {"welcome": "WELCOME"}}'

    @pytest.mark.parametrize("kind", TYPES[1:])
    def test_any_message_before_hello_is_refused(self, kind: str) -> None:
        """The error is that of the seed's server, whatever the message contains."""
        message = {"type": kind, "data": {"cpu": 1}, "request_id": 1, "interval": 1, "sent": 1, "samples": []}
        assert _said(Echo(0), message) == DATA_TYPE
        assert _said(Echo(0), {"type": kind}) == DATA_TYPE

    @pytest.mark.parametrize(
        "message",
        [
            *("", "x", "{", "[]", '"HELLO"', "1", "null", "{}", '{"type": null}', '{"type": 1}', '{"type": "HALLO"}'),
            *(
                '{"type": ["HELLO"]}',
                '{"typ": "HELLO"}',
                "[" * 100_000,
                '{"type": "HELLO"',
                b"\xff\xfe",
                b'{"a": "\xff"}',
                b'{"type": "HELLO", "z": "\xff"}',
                b'{"type": "CLIENT_DATA", "data": {"cpu": 1, "x": "\xff"}}',
                b'{"type": "CLIENT_DATA", "data": {"cpu": 1, "\xed\xa0\x80": 1}}',
                b'{"type": "SUBSCRIBE", "request_id": "\xc3", "data": ["CPU"], "interval": 1}',
                b'{"type": "UNSUBSCRIBE", "request_id": "\xc0\x80"}',
                '{"type": "HELLO"}'.encode("utf-16"),
                '{"type": NaN}',
                '{"type": "\\ud800"}',
                '{"type": {"\\ud800": 1}}',
                '{"type": [NaN]}',
            ),
        ],
    )
    def test_an_invalid_message_has_one_error(self, message: str | bytes) -> None:
        """Input that is not a JSON object with a known type gets the same error before and after HELLO."""
        assert _said(Echo(0), message) == DATA_TYPE
        assert _said(_greeted(), message) == DATA_TYPE

    @pytest.mark.parametrize("message", ['{"type": "HELLO"}', '{"type": "HELLO", "at": NaN, "name": "\\ud800"}'])
    def test_a_message_may_be_binary_and_begin_with_a_byte_order_mark(self, message: str) -> None:
        """Text and binary frames are the same, and a byte order mark in front of the JSON is left out."""
        for form in (message, message.encode(), "\ufeff" + message, ("\ufeff" + message).encode()):
            assert _one(Echo(0), form) == Send(protocol.WELCOME)


class TestClientData:
    """CLIENT_DATA messages."""

    def test_a_sample_is_stored_and_returned_without_its_white_space(self) -> None:
        """The action stores the known fields, names the others, and returns all data as `json.dumps` writes it."""
        raw = '{ "cpu": 18, "mem": 8513,\n "storage": 81720, "unix_time": 1651155333, "more": [1, {"x": "\\u00e9"}] }'
        action = _one(
            _greeted(), f'{{"type": "CLIENT_DATA", "data": {raw}, "interval": 1, "client_id": "{CLIENT_ID}"}}'
        )
        assert action.client_id == CLIENT_ID
        assert action.samples == (
            SampleData(cpu=18.0, mem=8513.0, storage=81720.0, unix_time=1651155333.0, unread=["more"]),
        )
        assert action.text == json.dumps({"type": "DATA_RETURN", "payload": {"data": json.loads(raw)}})

    @pytest.mark.parametrize(
        "raw",
        [
            '{"cpu": 1, "x": "\\ud800", "\\udc00": 1}',
            '{"cpu": 1, "x": "\\u0000\u00fc"}',
            '{"cpu": 1, "x": %s}' % ("9" * 400),
            '{"cpu": 1, "cpu": 2}',
            '{"cpu":1.50,"mem":1e3,"storage":1E-7}',
            '{"cpu": 1e400, "mem": 5}',
            '{"cpu": NaN, "mem": 5}',
            '{"mem": 5, "more": [Infinity, -Infinity]}',
        ],
    )
    def test_json_that_only_python_writes_is_accepted(self, raw: str) -> None:
        """Lone surrogates, NaN, infinite and huge numbers and repeated keys are read and returned as by Python."""
        action = _one(_greeted(), f'{{"type": "CLIENT_DATA", "data": {raw}, "client_id": "x"}}')
        assert isinstance(action, Store)
        assert action.text == json.dumps({"type": "DATA_RETURN", "payload": {"data": json.loads(raw)}})
        assert action.text.isascii()

    def test_a_field_that_is_no_number_leaves_the_others(self) -> None:
        """NaN and infinite figures are unknown and named, in a sample and in each one of a backfill."""
        data = {"time": 5.0, "cpu_load": float("nan"), "mem": 7, "load": float("inf"), "cores": [1.0, float("nan")]}
        expected = SampleData(time=5.0, mem=7.0, unread=["cpu_load", "load", "cores"])
        assert _one(_greeted(), {"type": "CLIENT_DATA", "data": data}).samples == (expected,)
        action = _one(_greeted(), {"type": "BACKFILL", "samples": [data, {"time": 6, "mem": 1}]})
        assert list(action.samples) == [expected, SampleData(time=6.0, mem=1.0)]

    def test_a_time_that_is_no_number_is_refused_for_that_reason(self) -> None:
        """NaN is accepted by the reader of messages, and refused as a time when the sample is stored."""
        action = _one(_greeted(), '{"type": "CLIENT_DATA", "data": {"time": NaN, "mem": 5}}')
        with pytest.raises(InvalidInput, match="time: expected a number"):
            sample_row("a", action.samples[0], 1)

    def test_a_number_of_thousands_of_digits_is_refused(self) -> None:
        """Python's json cannot read it, so the data cannot be returned; the reason says so."""
        said = _said(_greeted(), '{"type": "CLIENT_DATA", "data": {"cpu": 1, "x": %s}}' % ("9" * 5000))
        assert "4,300 digits" in said["reason"]

    def test_one_bad_sample_of_a_backfill_leaves_the_others(self) -> None:
        """Each sample that cannot be read is refused with its reason, and the others are stored."""
        samples = [{"time": 1, "cpu": 1}, {"time": 1, "cpu": []}, 7, {"time": 2, "cpu": "x"}, {"time": 2, "mem": 3}]
        action = _one(_greeted(), {"type": "BACKFILL", "samples": samples})
        assert [data.time for data in action.samples] == [1.0, 2.0]
        assert len(action.refused) == 3
        assert "$.cpu" in action.refused[0]

    @given(
        st.dictionaries(
            st.text(max_size=5),
            st.recursive(
                st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
                lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
                max_leaves=6,
            ),
            min_size=1,
        ),
        st.sampled_from([None, 0, 3]),
        st.booleans(),
    )
    def test_data_is_returned_in_the_form_of_json_dumps(
        self, data: dict[str, Any], indent: int | None, ascii_only: bool
    ) -> None:
        """Whatever the white space and the escapes of the sender, the answer is `json.dumps(json.loads(data))`."""
        raw = json.dumps(data, indent=indent, ensure_ascii=ascii_only)
        action = _one(_greeted(), f'{{"type": "CLIENT_DATA", "data": {raw}}}')
        if isinstance(action, Send):  # a field of a sample has a wrong type
            assert json.loads(action.text)["problem"] == "invalid-input"
            return
        assert action.text == '{"type": "DATA_RETURN", "payload": {"data": ' + json.dumps(json.loads(raw)) + "}}"

    def test_data_is_returned_as_python_writes_it(self) -> None:
        """JSON that Python's json wrote is returned byte for byte."""
        data = {"cpu_load": 25.9, "mem": 6172, "storage": 95888, "time": 1646650624}
        action = _one(_greeted(), {"type": "CLIENT_DATA", "data": data, "client_id": "x"})
        assert action.text == json.dumps({"type": "DATA_RETURN", "payload": {"data": data}})

    @pytest.mark.parametrize("blank", [" ", "\n\t", "\r\n  "])
    def test_white_space_around_data_changes_nothing(self, blank: str) -> None:
        """A client may write its messages on several lines."""
        text = f'{{"type": "CLIENT_DATA", "data":{blank}{{"cpu":{blank}1, "time": 5}}{blank}, "client_id": "x"}}'
        action = _one(_greeted(), text)
        assert isinstance(action, Store)
        assert action.text == '{"type": "DATA_RETURN", "payload": {"data": {"cpu": 1, "time": 5}}}'

    @pytest.mark.parametrize("data", ["{}", "{ \n}", "null", "[]", '""'])
    def test_empty_data_has_the_error_of_the_seed(self, data: str) -> None:
        """Empty data gets the error text of the seed."""
        assert _said(_greeted(), f'{{"type": "CLIENT_DATA", "data": {data}}}') == DATA_SIZE
        assert _said(_greeted(), '{"type": "CLIENT_DATA"}') == DATA_SIZE

    @pytest.mark.parametrize(
        "data", ["[1]", '"x"', "7", "true", '{"mem": "x"}', '{"mem": {}}', '{"time": [1]}', '{"id": -1}']
    )
    def test_invalid_data_is_refused_with_a_reason(self, data: str) -> None:
        """Lists in place of objects and texts in place of numbers get an error that names the field."""
        said = _said(_greeted(), f'{{"type": "CLIENT_DATA", "data": {data}}}')
        assert (said["type"], said["problem"]) == ("ERROR", "invalid-input")
        assert said["reason"].startswith("value error: ")

    def test_numbers_may_be_strings(self) -> None:
        """A string that contains a number is that number."""
        action = _one(_greeted(), {"type": "CLIENT_DATA", "data": {"mem": "6172", "time": "1.5"}})
        assert action.samples == (SampleData(mem=6172.0, time=1.5),)

    def test_a_client_id_that_is_not_a_string_is_named(self) -> None:
        """The error names the field."""
        assert (
            "`$.client_id`" in _said(_greeted(), {"type": "CLIENT_DATA", "data": {"cpu": 1}, "client_id": 5})["reason"]
        )


class TestSubscriptions:
    """SUBSCRIBE, UNSUBSCRIBE and EVENT."""

    def _subscribe(self, **changes: Any) -> dict[str, Any]:
        return {"type": "SUBSCRIBE", "request_id": "1", "data": ["CPU"], "interval": 1} | changes

    @pytest.mark.parametrize("kind", ["SUBSCRIBE", "UNSUBSCRIBE"])
    @pytest.mark.parametrize("request_id", ["1e400", "-1e1000000", "9" * 250 + "e99"])
    def test_a_request_id_that_overflows_is_refused(self, kind: str, request_id: str) -> None:
        """It would be sent back, and clients could not parse the answer."""
        told = _one(_greeted(), f'{{"type": "{kind}", "request_id": {request_id}, "data": ["CPU"], "interval": 1}}')
        assert json.loads(told.text)["reason"] == "request_id: expected a text or a number"

    @pytest.mark.parametrize("request_id", ["1", 'é"', 1, 1.5, -3, ""])
    def test_a_request_id_is_returned_as_sent(self, request_id: Any) -> None:
        """A request id is any text or number, and is returned as it was sent."""
        echo = _greeted()
        start = _one(echo, self._subscribe(request_id=request_id))
        assert json.loads(start.text) == {"type": "SUBSCRIBED", "payload": {"request_id": request_id}}
        event = protocol.event(start.subscription, protocol.event_parts(snapshot()))
        assert json.loads(event)["payload"]["request"] == request_id
        stop = _one(echo, {"type": "UNSUBSCRIBE", "request_id": request_id})
        assert isinstance(stop, EndSubscription)
        assert stop.request_id == start.subscription.request_id
        assert json.loads(stop.text) == {"type": "UNSUBSCRIBED", "payload": {"request_id": request_id}}

    def test_a_request_id_in_use_is_refused(self) -> None:
        """It is refused until its subscription ends or was not granted."""
        echo, message = _greeted(), self._subscribe()
        assert isinstance(_one(echo, message), Start)
        assert _said(echo, message) == {"type": "ERROR", "reason": "request id collision"}
        assert isinstance(_one(echo, self._subscribe(request_id=1)), Start)
        _one(echo, {"type": "UNSUBSCRIBE", "request_id": "1"})
        assert isinstance(_one(echo, message), Start)
        echo.forget(b'"1"')
        assert isinstance(_one(echo, message), Start)

    def test_request_ids_belong_to_one_connection(self) -> None:
        """The same id on two connections is no collision."""
        assert isinstance(_one(_greeted(), self._subscribe()), Start)
        assert isinstance(_one(_greeted(), self._subscribe()), Start)

    @pytest.mark.parametrize(
        ("given", "seconds"),
        [(1, 1.0), ("1", 1.0), (0.5, 0.5), ("2.5", 2.5), (0, 0.1), (-5, 0.1), (0.01, 0.1), (1e9, 86_400.0)],
    )
    def test_an_interval_is_raised_to_the_shortest(self, given: Any, seconds: float) -> None:
        """A text or a fraction is accepted; below 0.1 s it is raised to that."""
        assert _one(_greeted(), self._subscribe(interval=given)).subscription.interval == seconds

    @pytest.mark.parametrize(
        ("data", "kinds"),
        [(["CPU", "MEM", "STORAGE"], ("CPU", "MEM", "STORAGE")), ("MEM", ("MEM",)), ("CPU,MEM", ("CPU", "MEM"))],
    )
    def test_kinds_are_a_list_or_a_text(self, data: Any, kinds: tuple[str, ...]) -> None:
        """A list, or a text as some clients send it."""
        assert _one(_greeted(), self._subscribe(data=data)).subscription.kinds == kinds

    @pytest.mark.parametrize(
        ("changes", "words"),
        [
            ({"data": ["CPU", "X"]}, "there is no 'X'"),
            ({"data": 5}, "value error"),
            ({"data": [1]}, "value error"),
            ({"interval": "soon"}, "value error"),
            ({"interval": None}, "value error"),
            ({"interval": "nan"}, "interval"),
            ({"interval": float("nan")}, "interval"),
            ({"request_id": float("nan")}, "request_id"),
            ({"data": ["CPU", "\ud800"]}, "there is no"),
            ({"request_id": None}, "request_id"),
            ({"request_id": [1]}, "request_id"),
            ({"request_id": {"a": 1}}, "request_id"),
            ({"request_id": True}, "request_id"),
            ({"request_id": "x" * 300}, "request_id"),
        ],
    )
    def test_an_invalid_subscription_is_refused_with_a_reason(self, changes: dict[str, Any], words: str) -> None:
        """The reason names the field, where the server of the seed answers nothing or closes."""
        said = _said(_greeted(), self._subscribe(**changes))
        assert (said["type"], said["problem"]) == ("ERROR", "invalid-input")
        assert words in said["reason"]

    @pytest.mark.parametrize("field", ["interval", "request_id", "data"])
    def test_a_missing_field_is_named(self, field: str) -> None:
        """The reason names the missing field."""
        message = self._subscribe()
        del message[field]
        assert f"`{field}`" in _said(_greeted(), message)["reason"]

    def test_a_subscription_to_nothing_has_the_error_of_the_seed(self) -> None:
        """An empty list gets the error text of the seed."""
        assert _said(_greeted(), self._subscribe(data=[])) == DATA_SIZE

    def test_a_connection_has_a_bounded_number_of_subscriptions(self) -> None:
        """A subscription above the limit is refused."""
        echo = _greeted()
        for number in range(protocol.MOST_SUBSCRIPTIONS):
            assert isinstance(_one(echo, self._subscribe(request_id=number)), Start)
        assert "at most" in _said(echo, self._subscribe(request_id="more"))["reason"]

    def test_an_event_has_the_kinds_of_the_subscription(self) -> None:
        """Eleven values of the memory in MB and four of the disk in GB, rounded down; null for other kinds."""
        parts = protocol.event_parts(snapshot())
        everything = protocol.Subscription(b"7", ("CPU", "MEM", "STORAGE"), 1.0)
        payload = json.loads(protocol.event(everything, parts))["payload"]
        assert payload["cpu"] == 12.5
        assert list(payload["mem"]) == [
            *("total", "available", "percent", "used", "free", "active", "inactive", "buffers", "cached", "shared"),
            "slab",
        ]
        assert (payload["mem"]["total"], payload["mem"]["percent"], payload["mem"]["slab"]) == (8192, 50.0, 0)
        assert payload["storage"] == {"total": 100, "percent": 25.5, "used": 25, "free": 75}
        nothing = json.loads(protocol.event(protocol.Subscription(b'"a"', (), 1.0), parts))["payload"]
        assert nothing == {"request": "a", "cpu": None, "mem": None, "storage": None}


class TestAdditions:
    """The messages for the reporting agent, and WORK_TIME."""

    def test_backfill_takes_a_bounded_number_of_samples(self) -> None:
        """Many samples in one message are stored together; too many are refused, and none is the error of the seed."""
        action = _one(
            _greeted(), {"type": "BACKFILL", "client_id": "x", "samples": [{"cpu": 1, "time": 5, "id": 3}] * 2}
        )
        assert isinstance(action, Store)
        assert (action.text, len(action.samples), action.samples[0].id) == (None, 2, 3)
        assert _said(_greeted(), {"type": "BACKFILL", "samples": []}) == DATA_SIZE
        many = {"type": "BACKFILL", "samples": [{"time": 1}] * (protocol.MOST_BACKFILL + 1)}
        assert "at most" in _said(_greeted(), many)["reason"]
        assert json.loads(protocol.backfilled(1, ["why"])) == {
            "type": "BACKFILLED",
            "payload": {"stored": 1, "refused": ["why"]},
        }

    def test_clock_is_answered_with_the_time_of_receipt(self) -> None:
        """The time of receipt is taken before the message is handled."""
        assert _one(_greeted(), {"type": "CLOCK", "sent": 12.5}) == SendClock(12.5, 1000.0)
        assert json.loads(protocol.clock(1.5, 2.5, 3.5))["payload"] == {"sent": 1.5, "received": 2.5, "answered": 3.5}
        assert _said(_greeted(), {"type": "CLOCK", "sent": "nan"})["type"] == "ERROR"

    def test_a_valid_clock_offset_is_stored(self) -> None:
        """A finite offset with a delay from 0 is stored, others are refused."""
        message = {"type": "CLOCK_OFFSET", "offset": -0.5, "delay": 0.25, "client_id": "x"}
        assert _one(_greeted(), message) == StoreOffset("x", -0.5, 0.25)
        for wrong in ({"delay": -1}, {"offset": "inf"}, {"delay": "nan"}, {"offset": None}):
            assert _said(_greeted(), message | wrong)["problem"] == "invalid-input"

    def test_work_time_has_two_formats(self) -> None:
        """The two times are texts of different formats."""
        assert isinstance(_one(_greeted(), {"type": "WORK_TIME"}), SendWorkTime)
        moment = datetime(2022, 11, 11, 9, 25, 21, tzinfo=UTC)
        assert protocol.work_time(moment, moment)["payload"] == {
            "start_work": "Fri, 11 Nov 2022 09:25:21",
            "actual_time": "11 Nov 2022 09:25:21",
        }

    def test_an_invalid_sample_has_the_problem_type_of_http(self) -> None:
        """The error has the problem type that it has over HTTP."""
        assert json.loads(protocol.refusal(InvalidInput.at("time", "is wrong"))) == {
            **{"type": "ERROR", "reason": "time: is wrong"},
            "problem": "invalid-input",
        }


class TestThrottle:
    """The limit of messages a second."""

    def test_a_burst_is_followed_by_the_rate(self) -> None:
        """A second's worth of messages passes at once, then each has to wait; after a pause there is a new burst."""
        throttle = Throttle(10)
        assert [throttle.take(5.0) for _ in range(10)] == [0.0] * 10
        assert throttle.take(5.0) == pytest.approx(0.1)
        assert throttle.take(5.0) == pytest.approx(0.2)
        assert throttle.take(100.0) == 0.0

    def test_a_message_above_the_rate_is_handled_after_a_pause(self) -> None:
        """It is handled like others, after a pause."""
        echo = Echo(2)
        actions = [echo.handle('{"type": "HELLO"}', 1.0, 0.0) for _ in range(3)]
        assert actions[0] == actions[1] == (Send(protocol.WELCOME),)
        assert isinstance(actions[2][0], Pause)
        assert actions[2][1:] == (Send(protocol.WELCOME),)

    def test_a_rate_of_zero_means_no_limit(self) -> None:
        """Any number of messages passes."""
        throttle = Throttle(0)
        assert not any(throttle.take(0.0) for _ in range(1000))


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
_FIELDS = ("data", "request_id", "interval", "client_id", "samples", "sent", "offset", "delay")
_MESSAGES = st.builds(
    lambda kind, fields: fields | {"type": kind},
    st.sampled_from(TYPES),
    st.dictionaries(st.sampled_from(_FIELDS), _JSON),
).map(json.dumps)


@given(st.lists(_MESSAGES | st.text() | st.binary(max_size=30) | _JSON.map(json.dumps), max_size=6))
def test_each_message_has_exactly_one_answer(messages: list[str | bytes]) -> None:
    """Arbitrary messages get one action each, and every text that is sent is JSON with a type."""
    echo = _greeted()
    for message in messages:
        action = _one(echo, message)
        text = getattr(action, "text", None)
        if text is not None:
            assert json.loads(text)["type"] in {
                *("WELCOME", "ERROR", "DATA_RETURN", "SUBSCRIBED", "UNSUBSCRIBED"),
            }


PAGE = Path(__file__).parents[2] / "docs" / "reference" / "echo.md"


def test_the_reference_lists_all_messages_and_errors() -> None:
    """The table of messages has each message with its fields and its reply; the other one has each error text."""
    text = PAGE.read_text(encoding="utf-8")
    rows = re.findall(r"(?m)^\| `([A-Z_]+)` \| (.*?) ?\| `([A-Z_]+)` (.*) \|$", text)
    kinds = {str(kind.__struct_config__.tag): kind for kind in get_args(protocol.Message)}
    assert [name for name, *_ in rows] == list(kinds)
    source = inspect.getsource(protocol)
    for name, columns, reply, _ in rows:
        assert {word for word in re.findall(r"`(\w+)`", columns) if word.islower()} == set(
            kinds[name].__struct_fields__
        )
        assert f'"type": "{reply}"' in source
    for error in (protocol.DATA_TYPE, protocol.DATA_SIZE, protocol.CREDENTIALS, protocol.COLLISION):
        assert f"| `{error}` |" in text
    assert f"at most {protocol.MOST_SUBSCRIPTIONS} subscriptions" in text
    assert f"below {protocol.SHORTEST_INTERVAL} s" in text
    assert f"up to {protocol.MOST_BACKFILL:,}" in text
