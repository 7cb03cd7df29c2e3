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
from smartmob.turrets.hq.live_seconds import LIVE_BYTES
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

    def test_a_result(self) -> None:
        """A message of the documented form is a result, with or without the name of its turret."""
        for further in ({}, {"turret_name": "navigation"}, {"turret_name": None}):
            message = decode(_frame(RESULT | further))
            assert isinstance(message, Result)
            assert (message.elapsed, message.scriptrun_time, message.custom_timers) == (1.5, 0.25, {"a": 0.1})

    def test_an_error_that_speaks_of_a_status_is_a_result(self) -> None:
        """Only the key makes a status, not the word in a text."""
        message = decode(_frame(RESULT | {"error": 'HTTP "status": 500', "custom_timers": {"status": 1.0}}))
        assert isinstance(message, Result)
        assert message.error == 'HTTP "status": 500'

    def test_numbers_may_be_texts(self) -> None:
        """The seed's own example of a status has them so."""
        message = decode(_frame(RESULT | {"elapsed": "1.5", "custom_timers": {"a": "0.1"}}))
        assert isinstance(message, Result)
        assert (message.elapsed, message.custom_timers) == (1.5, {"a": 0.1})
        status = decode(_frame({**STATUS, "rampup": "30", "cannons": "250"}))
        assert isinstance(status, Status)
        assert (status.rampup, status.users) == (30, 250)

    @pytest.mark.parametrize("key", ["cannons", "canons"])
    def test_both_spellings_of_cannons(self, key: str) -> None:
        """The seed writes `canons`, turrets of OCT `cannons`."""
        document = {name: value for name, value in STATUS.items() if name != "cannons"} | {key: 7}
        status = decode(_frame(document))
        assert isinstance(status, Status)
        assert status.users == 7

    def test_a_status_of_few_words(self) -> None:
        """Only the text is needed; who has no uuid is known by the name, and any text is a status."""
        status = decode(_frame({"turret": "n", "status": " Doing FINE "}))
        assert isinstance(status, Status)
        assert (status.identity, status.condition, status.users) == ("n", "doing fine", None)

    def test_slices(self) -> None:
        """What has the key `slices` is a batch of them."""
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
    def test_what_is_no_message(self, frame: bytes) -> None:
        """It is refused with the reason; nothing else can come out."""
        with pytest.raises(InvalidInput, match=r"."):
            decode(frame)

    @given(st.binary(max_size=80) | st.recursive(st.none() | st.text() | st.floats(), st.lists).map(_frame))
    def test_hostile_frames(self, frame: bytes) -> None:
        """Whatever comes is a message or is refused."""
        try:
            assert isinstance(decode(frame), Result | Status | Slices)
        except InvalidInput:
            pass

    def test_what_we_send_to_a_headquarters_of_oct(self) -> None:
        """What is not set does not appear: one key too many costs such a headquarters its run."""
        result = Result(elapsed=1.0, epoch=2.0, scriptrun_time=0.5, turret_name="n")
        assert set(json.loads(protocol.encode(result))) == {*RESULT, "turret_name"}
        assert set(json.loads(protocol.encode(Status(**STATUS)))) == set(STATUS)

    def test_they_survive_the_way(self) -> None:
        """What one side encodes, the other decodes."""
        report = Report(protocol=1, version="1", host="h", run="r", sequence=3, final=True)
        for sent in (
            Status(**STATUS, smartmob=report),
            Slices(slices=[Slice(**PART, errors={"x": 2})], turret="n", uuid="u", run="r", sequence=9),
        ):
            assert decode(protocol.encode(sent)) == sent


class TestOrders:
    """What a headquarters says."""

    def test_the_frame(self) -> None:
        """It begins with the blank behind an empty channel, as turrets of OCT need it, and has the key `msg`."""
        frame = protocol.encode_order(Order(command="status_request"))
        assert frame == b' {"command":"status_request","msg":null}'

    def test_an_order_of_ours(self) -> None:
        """The briefing comes back as it went."""
        run = RunBriefing(id="r", starts_in=2.5, run_time=30, context={"a": [1]})
        brief = Briefing(protocol=1, headquarters="h", run=run, acknowledged={"u": 4})
        channel, order = protocol.decode_order(protocol.encode_order(Order(command="start", msg="x", smartmob=brief)))
        assert (channel, order.command, protocol.briefing(order)) == ("", "start", brief)

    @pytest.mark.parametrize(
        ("frame", "wanted"),
        [(b' {"command": "stop", "msg": "x"}', ""), (b'u-1 {"command": "stop"}', "u-1"), (b'{"command": "stop"}', "")],
    )
    def test_channels(self, frame: bytes, wanted: str) -> None:
        """An order is for everybody or for one turret; one without a channel is for everybody."""
        found, order = protocol.decode_order(frame)
        assert (found, order.command, protocol.briefing(order)) == (wanted, "stop", None)

    @pytest.mark.parametrize(
        "frame", [b"", b" ", b"\xff {}", b" []", b' {"msg": 1}', b' {"command": "x", "smartmob": 1}']
    )
    def test_what_is_no_order(self, frame: bytes) -> None:
        """It is refused."""
        with pytest.raises(InvalidInput):
            protocol.decode_order(frame)

    def test_unset_and_null_are_no_briefing(self) -> None:
        """A headquarters that says nothing of us is not ours."""
        assert protocol.briefing(Order(command="x", smartmob=msgspec.UNSET)) is None


@pytest.mark.parametrize("frame", [b"[" * 20_000, b'{"status": ' + b"[" * 20_000, b'{"slices": [' + b'{"a":' * 20_000])
def test_messages_that_nest_without_end(frame: bytes) -> None:
    """They are no messages, whatever they begin like; nor are such orders."""
    with pytest.raises(InvalidInput):
        decode(frame)
    with pytest.raises(InvalidInput):
        protocol.decode_order(b" " + frame)


def _limit(kind: Any, key: str = "le") -> int:
    """Return the bound that a type of the protocol has."""
    (meta,) = kind.__metadata__
    return int(getattr(meta, key))


def test_the_bounds_are_documented() -> None:
    """The table of the page says what the code holds to."""
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
        "the name of a custom timer of one result": protocol.LONGEST_NAME,
        "different error texts of a slice": protocol.MOST_ERROR_TEXTS,
        "slices of a message": protocol.MOST_SLICES,
        "a histogram": protocol.LONGEST_HISTOGRAM,
        "all histograms of a message": MOST_UNPACKED,
        "custom timers of a result": protocol.MOST_TIMERS,
        "timers of a run": protocol.MOST_TIMERS,
        "turrets of a headquarters": protocol.MOST_TURRETS,
        "a figure": _limit(protocol.Figure),
        "a count of a slice": _limit(protocol.Count),
        "a number": _limit(protocol.Number),
        "`users`": _limit(protocol.Users),
        "how far a second of a slice may be ahead of the run": collector._AHEAD_SECONDS,
        "how often the health of a turret is kept": collector._HEALTH_SECONDS,
        "slices of one second that are kept for the live view": LIVE_BYTES,
    }
