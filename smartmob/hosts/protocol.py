"""The echo protocol: JSON messages of clients, what the service answers, and what it has to do for them. No I/O.

The messages are those of seed 001. Three are ours, for the reporting agent: `BACKFILL` (many samples in one message),
`CLOCK` (the server's side of an exchange of four timestamps, RFC 5905 section 8) and `CLOCK_OFFSET` (what came of it).

Data that is returned "as sent" is returned byte for byte: it is cut out of the message and never encoded again.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec

from smartmob.errors import InvalidInput
from smartmob.hosts.model import MEGABYTE, SampleData, Snapshot, Storage

DATA_TYPE = "Data type incorrect, please use json"
DATA_SIZE = "incorrect data size"
CREDENTIALS = "incorrect username or password"
COLLISION = "request id collision"

SHORTEST_INTERVAL = 0.1
LONGEST_INTERVAL = 86_400.0
MOST_SUBSCRIPTIONS = 64
MOST_BACKFILL = 1_000
_LONGEST_REQUEST_ID = 256
_GIGABYTE = 2**30

KINDS = ("CPU", "MEM", "STORAGE")


# -- what clients send ------------------------------------------------------------------------------------------------


class Hello(msgspec.Struct, frozen=True, tag="HELLO"):
    """The first message of a client, and of some before each sample."""


class ClientData(msgspec.Struct, frozen=True, tag="CLIENT_DATA"):
    """A sample."""

    data: msgspec.Raw = msgspec.Raw(b"null")
    client_id: str = ""
    interval: Any = None


class Subscribe(msgspec.Struct, frozen=True, tag="SUBSCRIBE"):
    """Asks for the server's own load, at once and then each interval."""

    data: list[str] | str
    interval: float
    request_id: msgspec.Raw
    client_id: str = ""


class Unsubscribe(msgspec.Struct, frozen=True, tag="UNSUBSCRIBE"):
    """Ends a subscription."""

    request_id: msgspec.Raw


class WorkTime(msgspec.Struct, frozen=True, tag="WORK_TIME"):
    """Asks since when the server works."""


class Backfill(msgspec.Struct, frozen=True, tag="BACKFILL"):
    """Samples that could not be sent when they were taken."""

    samples: list[SampleData]
    client_id: str = ""


class Clock(msgspec.Struct, frozen=True, tag="CLOCK"):
    """Asks for the server's time; `sent` is the client's."""

    sent: float


class ReportClockOffset(msgspec.Struct, frozen=True, tag="CLOCK_OFFSET"):
    """Tells how far the client's clock is from the server's, in seconds to add to it."""

    offset: float
    delay: float
    client_id: str = ""


Message = Hello | ClientData | Subscribe | Unsubscribe | WorkTime | Backfill | Clock | ReportClockOffset

# Not strict: a number may stand in quotation marks, as in some clients' intervals.
_MESSAGE = msgspec.json.Decoder(Message, strict=False)
_SAMPLE = msgspec.json.Decoder(SampleData, strict=False)


# -- what is to be done -----------------------------------------------------------------------------------------------


class Send(msgspec.Struct, frozen=True, gc=False):
    """Send `text`."""

    text: str


class Pause(msgspec.Struct, frozen=True, gc=False):
    """Read nothing for so many seconds: the client sends faster than it may."""

    seconds: float


class Store(msgspec.Struct, frozen=True):
    """Store the samples of the machine that `client_id` proves to be, and send `text` once they are committed.

    Without `text` it is the answer to a backfill.
    """

    client_id: str
    samples: Sequence[SampleData]
    text: str | None


class StoreOffset(msgspec.Struct, frozen=True, gc=False):
    """Store how far the clock of a machine is from the server's, then tell it."""

    client_id: str
    offset: float
    delay: float


class Start(msgspec.Struct, frozen=True):
    """Begin a subscription, if the client may have it: send `text` and then events."""

    subscription: Subscription
    client_id: str
    text: str


class Stop(msgspec.Struct, frozen=True, gc=False):
    """End a subscription, if there is one, and send `text`."""

    request_id: bytes
    text: str


class TellWorkTime(msgspec.Struct, frozen=True, gc=False):
    """Tell since when the server works."""


class TellClock(msgspec.Struct, frozen=True, gc=False):
    """Tell the time: when the question was sent (by the client's clock), when it was received, and when this leaves."""

    sent: float
    received: float


Action = Send | Pause | Store | StoreOffset | Start | Stop | TellWorkTime | TellClock


@dataclass(frozen=True, slots=True)
class Subscription:
    """What a client wants to be told, and how often; `request_id` is JSON, as it came."""

    request_id: bytes
    kinds: tuple[str, ...]
    interval: float


# -- what the service sends -------------------------------------------------------------------------------------------


def text(document: Any) -> str:
    return msgspec.json.encode(document).decode()


def failure(reason: str, problem: str | None = None) -> str:
    """Return an error; `problem` is the name that the same error has over HTTP, where the protocol has none."""
    more = "" if problem is None else f', "problem": {text(problem)}'
    return f'{{"type": "ERROR", "reason": {text(reason)}{more}}}'


WELCOME = '{"type": "WELCOME", "payload": {"welcome": "WELCOME"}}'
ERROR_DATA_TYPE = failure(DATA_TYPE)
ERROR_DATA_SIZE = failure(DATA_SIZE)
ERROR_CREDENTIALS = failure(CREDENTIALS)
ERROR_COLLISION = failure(COLLISION)
_WELCOME_ACTION = (Send(WELCOME),)
_DATA_TYPE_ACTION = (Send(ERROR_DATA_TYPE),)


def work_time(started: datetime, now: datetime) -> dict[str, Any]:
    """Return a WORK_TIME message; the two texts differ in form, as in the seed's server."""
    payload = {"start_work": f"{started:%a, %d %b %Y %H:%M:%S}", "actual_time": f"{now:%d %b %Y %H:%M:%S}"}
    return {"type": "WORK_TIME", "payload": payload}


def clock(sent: float, received: float, answered: float) -> str:
    """Return the answer to CLOCK."""
    return text({"type": "CLOCK", "payload": {"sent": sent, "received": received, "answered": answered}})


def backfilled(stored: int, refused: Sequence[str]) -> str:
    """Return the answer to BACKFILL: how many samples are stored, and why the others will never be."""
    return text({"type": "BACKFILLED", "payload": {"stored": stored, "refused": list(refused)}})


OFFSET_STORED = '{"type": "CLOCK_OFFSET", "payload": {"stored": true}}'


def event_parts(sweep: Snapshot) -> dict[str, str]:
    """Return the parts of an EVENT as JSON: made once for all subscribers."""
    memory = {
        name: value if name == "percent" else value // MEGABYTE
        for name, value in msgspec.structs.asdict(sweep.memory).items()
    }
    return {"CPU": text(sweep.cpu), "MEM": text(memory), "STORAGE": text(storage_in(sweep.storage, _GIGABYTE))}


def event(subscription: Subscription, parts: dict[str, str]) -> str:
    """Return an EVENT."""
    cpu, mem, storage = (parts[kind] if kind in subscription.kinds else "null" for kind in KINDS)
    request = subscription.request_id.decode()
    return f'{{"type": "EVENT", "payload": {{"request": {request}, "cpu": {cpu}, "mem": {mem}, "storage": {storage}}}}}'


def storage_in(storage: Storage, unit: int) -> dict[str, Any]:
    """Return a disk's figures in a unit, rounded down, as the seed's server does."""
    return {
        "total": storage.total // unit,
        "percent": storage.percent,
        "used": storage.used // unit,
        "free": storage.free // unit,
    }


# -- the conversation -------------------------------------------------------------------------------------------------


class Throttle:
    """Lets `rate` messages a second pass, and as many at once after a rest; 0 lets all pass."""

    def __init__(self, rate: float) -> None:
        self._rate = rate
        self._left = rate
        self._asked = -math.inf

    def take(self, now: float) -> float:
        """Return for how many seconds to rest after a message at `now` (seconds of a clock without steps)."""
        if not self._rate:
            return 0.0
        self._left = min(self._rate, self._left + (now - self._asked) * self._rate) - 1
        self._asked = now
        return -self._left / self._rate if self._left < 0 else 0.0


class Echo:
    """One client's conversation."""

    def __init__(self, rate: float) -> None:
        self._throttle = Throttle(rate)
        self.greeted = False
        self._subscribed: set[bytes] = set()

    def handle(self, message: str | bytes, now: float, wall: float) -> Sequence[Action]:
        """Return what to do about a message that came at `now` (a clock without steps), which is `wall` since 1970."""
        rest = self._throttle.take(now)
        actions = self._answer(message, wall)
        return (Pause(rest), *actions) if rest else actions

    def _answer(self, message: str | bytes, wall: float) -> Sequence[Action]:
        try:
            decoded = _MESSAGE.decode(message)
        except (msgspec.MsgspecError, UnicodeError, RecursionError) as failed:
            return self._unreadable(message, failed)
        kind = type(decoded)
        if kind is Hello:
            self.greeted = True
            return _WELCOME_ACTION
        if not self.greeted:
            return _DATA_TYPE_ACTION
        if kind is ClientData:
            return _client_data(decoded)
        return self._other(decoded, wall)

    def _other(self, message: Message, wall: float) -> Sequence[Action]:
        match message:
            case Subscribe():
                return (self._subscribe(message),)
            case Unsubscribe():
                return (self._unsubscribe(message),)
            case WorkTime():
                return (TellWorkTime(),)
            case Backfill():
                return (_backfill(message),)
            case Clock():
                return (TellClock(message.sent, wall) if math.isfinite(message.sent) else _refuse("sent: no number"),)
            case ReportClockOffset():
                fine = math.isfinite(message.offset) and math.isfinite(message.delay) and message.delay >= 0
                if not fine:
                    return (_refuse("offset and delay are seconds, and delay is not negative"),)
                return (StoreOffset(message.client_id, message.offset, message.delay),)
            case _:
                return _DATA_TYPE_ACTION

    def forget(self, request_id: bytes) -> None:
        """Let a request id be used again: its subscription was refused."""
        self._subscribed.discard(request_id)

    def _unreadable(self, message: str | bytes, failed: Exception) -> Sequence[Action]:
        said = str(failed)
        # What has a known type gets to know which of its fields is wrong; what has none is not of this protocol.
        if not self.greeted or not isinstance(failed, msgspec.ValidationError) or not _has_type(message):
            return _DATA_TYPE_ACTION
        return (_refuse(f"value error: {said}"),)

    def _subscribe(self, asked: Subscribe) -> Action:
        request_id = bytes(asked.request_id).strip()
        if not _is_request_id(request_id):
            return _refuse("request_id: expected a text or a number")
        kinds = tuple(asked.data.replace(",", " ").split() if isinstance(asked.data, str) else asked.data)
        if not kinds:
            return Send(ERROR_DATA_SIZE)
        unknown = [kind for kind in kinds if kind not in KINDS]
        if unknown:
            return _refuse(f"data: there is no {unknown[0]!r}; there are {', '.join(KINDS)}")
        if not math.isfinite(asked.interval):
            return _refuse("interval: expected a number of seconds")
        if request_id in self._subscribed:
            return Send(ERROR_COLLISION)
        if len(self._subscribed) >= MOST_SUBSCRIPTIONS:
            return _refuse(f"a connection has at most {MOST_SUBSCRIPTIONS} subscriptions")
        self._subscribed.add(request_id)
        interval = min(max(asked.interval, SHORTEST_INTERVAL), LONGEST_INTERVAL)
        text = f'{{"type": "SUBSCRIBED", "payload": {{"request_id": {request_id.decode()}}}}}'
        return Start(Subscription(request_id, kinds, interval), asked.client_id, text)

    def _unsubscribe(self, asked: Unsubscribe) -> Action:
        request_id = bytes(asked.request_id).strip()
        if not _is_request_id(request_id):
            return _refuse("request_id: expected a text or a number")
        self._subscribed.discard(request_id)
        return Stop(request_id, f'{{"type": "UNSUBSCRIBED", "payload": {{"request_id": {request_id.decode()}}}}}')


def _client_data(message: ClientData) -> Sequence[Action]:
    raw = bytes(message.data)
    try:
        data = _SAMPLE.decode(raw)
    except msgspec.ValidationError as failed:
        if not raw.startswith(b"{"):
            return (Send(ERROR_DATA_SIZE) if raw in _NOTHING else _refuse("value error: data is an object"),)
        return (_refuse(f"value error: {failed}"),)
    if raw[1:-1].isspace() or raw == b"{}":
        return (Send(ERROR_DATA_SIZE),)
    returned = f'{{"type": "DATA_RETURN", "payload": {{"data": {raw.decode()}}}}}'
    return (Store(message.client_id, (data,), returned),)


_NOTHING = (b"null", b"[]", b'""', b"0", b"false")


def _backfill(message: Backfill) -> Action:
    if not message.samples:
        return Send(ERROR_DATA_SIZE)
    if len(message.samples) > MOST_BACKFILL:
        return _refuse(f"samples: a message has at most {MOST_BACKFILL}")
    return Store(message.client_id, message.samples, None)


def _refuse(reason: str) -> Send:
    return Send(failure(reason, "invalid-input"))


def refusal(failed: InvalidInput) -> str:
    """Return the error for a sample that cannot be taken."""
    return failure(str(failed), "invalid-input")


def _is_request_id(text: bytes) -> bool:
    if not 0 < len(text) <= _LONGEST_REQUEST_ID:
        return False
    # A number beyond all is sent back, and many clients could not read that.
    return text[:1] == b'"' or ((text[:1] == b"-" or text[:1].isdigit()) and math.isfinite(float(text)))


def _has_type(message: str | bytes) -> bool:
    try:
        found = _TYPE.decode(message)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return False
    return found.type in _TYPES


class _Type(msgspec.Struct):
    type: str


_TYPE = msgspec.json.Decoder(_Type)
_TYPES = {
    str(kind.__struct_config__.tag)
    for kind in (Hello, ClientData, Subscribe, Unsubscribe, WorkTime, Backfill, Clock, ReportClockOffset)
}
