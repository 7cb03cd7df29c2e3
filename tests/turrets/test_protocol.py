"""The messages between headquarters and turrets."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from smartmob.errors import InvalidInput
from smartmob.turrets import protocol
from smartmob.turrets.hq import collector, sockets
from smartmob.turrets.hq.live_seconds import LIVE_CHARACTERS
from smartmob.turrets.names import LONGEST_TIMER_NAME
from smartmob.turrets.protocol import Briefing, Order, Report, Result, RunBriefing, Slice, Slices, Status, decode
from smartmob.turrets.slices import MOST_UNPACKED

RESULT: dict[str, Any] = {
    "elapsed": 1.5,
    "epoch": 1700000000.0,
    "scriptrun_time": 0.25,
    "error": "",
    "custom_timers": {"a": 0.1},
}
STATUS: dict[str, Any] = {"turret": "n", "status": "ready", "uuid": "u", "rampup": 0, "script": "s.py", "cannons": 3}
PART: dict[str, Any] = {
    "second": 0,
    "timer": "",
    "count": 1,
    "total": 1,
    "squares": 1,
    "minimum": 1,
    "maximum": 1,
    "histogram": "x",
}
BATCH: dict[str, Any] = {"slices": [PART], "turret": "n", "uuid": "u", "run": "r", "sequence": 1}


def _frame(document: object) -> bytes:
    return json.dumps(document).encode()


class TestWhatTurretsSay:
    """Results, statuses and slices, told apart by their keys."""

    def test_a_message_of_the_documented_form_is_a_result(self) -> None:
        """It may have the name of its turret or not."""
        for further in ({}, {"turret_name": "navigation"}, {"turret_name": None}):
            message = decode(_frame(RESULT | further))
            assert isinstance(message, Result)
            assert (message.elapsed, message.scriptrun_time, message.custom_timers) == (1.5, 0.25, {"a": 0.1})

    def test_an_error_that_speaks_of_a_status_is_a_result(self) -> None:
        """Only the key makes a message a status, not the word in a text."""
        message = decode(_frame(RESULT | {"error": 'HTTP "status": 500', "custom_timers": {"status": 1.0}}))
        assert isinstance(message, Result)
        assert message.error == 'HTTP "status": 500'

    def test_numbers_may_be_texts(self) -> None:
        """The example of a status in the seed has them so."""
        message = decode(_frame(RESULT | {"elapsed": "1.5", "custom_timers": {"a": "0.1"}}))
        assert isinstance(message, Result)
        assert (message.elapsed, message.custom_timers) == (1.5, {"a": 0.1})
        status = decode(_frame({**STATUS, "rampup": "30", "cannons": "250"}))
        assert isinstance(status, Status)
        assert (status.rampup, status.users) == (30, 250)

    @pytest.mark.parametrize("key", ["cannons", "canons"])
    def test_both_spellings_of_cannons_are_read(self, key: str) -> None:
        """The seed has `canons`, turrets of OCT send `cannons`."""
        document = {name: value for name, value in STATUS.items() if name != "cannons"} | {key: 7}
        status = decode(_frame(document))
        assert isinstance(status, Status)
        assert status.users == 7

    def test_a_status_needs_only_its_text(self) -> None:
        """A turret without a uuid is identified by its name."""
        status = decode(_frame({"turret": "n", "status": " Doing FINE "}))
        assert isinstance(status, Status)
        assert (status.identity, status.condition, status.users) == ("n", "doing fine", None)

    def test_a_message_with_the_key_slices_has_slices(self) -> None:
        """They are decoded."""
        message = decode(_frame(BATCH))
        assert isinstance(message, Slices)
        assert message.slices[0] == Slice(**PART)

    @pytest.mark.parametrize(
        "frame",
        [
            b"",
            b"not json",
            b"[]",
            b"\xff\xfe",
            b"{}",
            _frame({"elapsed": 1}),
            _frame(RESULT | {"elapsed": None}),
            _frame(RESULT | {"elapsed": "nan"}),
            _frame(RESULT | {"scriptrun_time": "much"}),
            _frame(RESULT | {"custom_timers": {"a": "inf"}}),
            _frame(RESULT | {"custom_timers": {"a": None}}),
            _frame(RESULT | {"error": 5}),
            _frame(STATUS | {"status": 5}),
            _frame(BATCH | {"sequence": 0}),
            _frame(BATCH | {"slices": [PART | {"second": -1}]}),
            _frame(BATCH | {"slices": [PART | {"count": 0}]}),
            _frame(BATCH | {"slices": [PART | {"total": "inf"}]}),
            _frame(BATCH | {"slices": 1}),
        ],
    )
    def test_wrong_frames_are_refused(self, frame: bytes) -> None:
        """The error has the reason."""
        with pytest.raises(InvalidInput, match=r"."):
            decode(frame)

    @given(st.binary(max_size=80) | st.recursive(st.none() | st.text() | st.floats(), st.lists).map(_frame))
    def test_any_frame_is_a_message_or_refused(self, frame: bytes) -> None:
        """No other error is raised."""
        try:
            assert isinstance(decode(frame), Result | Status | Slices)
        except InvalidInput:
            pass

    def test_unset_keys_are_not_sent(self) -> None:
        """A headquarters of OCT loses its run at an additional key."""
        result = Result(elapsed=1.0, epoch=2.0, scriptrun_time=0.5, turret_name="n")
        assert set(json.loads(protocol.encode(result))) == {*RESULT, "turret_name"}
        assert set(json.loads(protocol.encode(Status(**STATUS)))) == set(STATUS)

    def test_encoded_messages_are_decoded_to_the_same(self) -> None:
        """This holds for statuses with a report and for slices."""
        report = Report(protocol=1, version="1", host="h", run="r", sequence=3, final=True)
        for sent in (
            Status(**STATUS, smartmob=report),
            Slices(slices=[Slice(**PART, errors={"x": 1})], turret="n", uuid="u", run="r", sequence=9),
        ):
            assert decode(protocol.encode(sent)) == sent


class TestOrders:
    """The orders of a headquarters."""

    def test_the_frame_of_an_order_begins_with_a_blank(self) -> None:
        """It is the blank after an empty channel, and the order has the key `msg`: turrets of OCT need both."""
        frame = protocol.encode_order(Order(command="status_request"))
        assert frame == b' {"command":"status_request","msg":null}'

    def test_a_briefing_is_decoded_to_the_same(self) -> None:
        """The order keeps its command."""
        run = RunBriefing(id="r", starts_in=2.5, run_time=30, context={"a": [1]})
        brief = Briefing(protocol=1, headquarters="h", run=run, acknowledged={"u": 4})
        channel, order = protocol.decode_order(protocol.encode_order(Order(command="start", msg="x", smartmob=brief)))
        assert (channel, order.command, protocol.briefing(order)) == ("", "start", brief)

    @pytest.mark.parametrize(
        ("frame", "wanted"),
        [(b' {"command": "stop", "msg": "x"}', ""), (b'u-1 {"command": "stop"}', "u-1"), (b'{"command": "stop"}', "")],
    )
    def test_an_order_is_for_one_turret_or_for_all(self, frame: bytes, wanted: str) -> None:
        """An order without a channel is for all turrets."""
        found, order = protocol.decode_order(frame)
        assert (found, order.command, protocol.briefing(order)) == (wanted, "stop", None)

    @pytest.mark.parametrize(
        "frame", [b"", b" ", b"\xff {}", b" []", b' {"msg": 1}', b' {"command": "x", "smartmob": 1}']
    )
    def test_wrong_orders_are_refused(self, frame: bytes) -> None:
        """The error is InvalidInput."""
        with pytest.raises(InvalidInput):
            protocol.decode_order(frame)

    def test_unset_and_null_are_no_briefing(self) -> None:
        """Such a headquarters is not one of ours."""
        assert protocol.briefing(Order(command="x", smartmob=msgspec.UNSET)) is None


@pytest.mark.parametrize("frame", [b"[" * 20_000, b'{"status": ' + b"[" * 20_000, b'{"slices": [' + b'{"a":' * 20_000])
def test_messages_of_too_many_levels_are_refused(frame: bytes) -> None:
    """Messages of turrets and orders are refused, whatever they begin with."""
    with pytest.raises(InvalidInput):
        decode(frame)
    with pytest.raises(InvalidInput):
        protocol.decode_order(b" " + frame)


def _limit(kind: Any, key: str = "le") -> int:
    """Return the bound that a type of the protocol has."""
    (meta,) = kind.__metadata__
    return int(getattr(meta, key))


def test_the_bounds_are_documented() -> None:
    """The table of the page has the limits of the code."""
    page = (Path(__file__).parents[2] / "docs/reference/turret-protocol.md").read_text()
    table = page.partition("## Bounds")[2].partition("## ")[0]
    rows = [line.strip("| ").split(" | ") for line in table.splitlines() if line.startswith("| ")][1:]
    told = {
        re.split("[,:]", what)[0].removesuffix(" "): float(re.findall(r"\d[\d,.]*", most)[0].replace(",", ""))
        for what, most in rows
    }
    assert told == {
        "a message to the port of results": protocol.LONGEST_MESSAGE,
        "a subscription at the other two ports": sockets._LONGEST_TOPIC_BYTES,
        "a name": protocol.LONGEST_NAME,
        "an error text of a slice": protocol.LONGEST_ERROR,
        "the error text of one result": protocol.LONGEST_TEXT,
        "the name of a custom timer of one result": LONGEST_TIMER_NAME,
        "different error texts of a slice": protocol.MOST_ERROR_TEXTS,
        "slices of a message": protocol.MOST_SLICES,
        "a histogram": protocol.LONGEST_HISTOGRAM,
        "all histograms of a message": MOST_UNPACKED,
        "custom timers of a result": protocol.MOST_TIMERS,
        "timers of a run": protocol.MOST_TIMERS,
        "turrets of a headquarters": protocol.MOST_TURRETS,
        "a figure": _limit(protocol.BoundedNumber),
        "a count of a slice": _limit(protocol.Count),
        "a number": _limit(protocol.Number),
        "`users`": _limit(protocol.Users),
        "how far a second of a slice may be ahead of the run": collector._AHEAD_SECONDS,
        "how often the health of a turret is kept": collector._HEALTH_SECONDS,
        "slices of one second that are kept for the live view": LIVE_CHARACTERS,
    }
