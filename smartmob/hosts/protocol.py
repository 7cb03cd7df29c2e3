"""The echo protocol: a state machine that handles the JSON messages of a client and returns actions. No I/O.

The messages are those of seed 001. Three are added for the reporting agent: `BACKFILL` (many samples in one message),
`CLOCK` (the server's part of an exchange of four timestamps, RFC 5905 section 8) and `CLOCK_OFFSET` (its result).

JSON is read as Python's `json` reads it, because the clients of seed 001 are written in Python: `NaN`, `Infinity` and
lone surrogates are accepted in it. A sample is returned as Python's `json.dumps` writes it: those clients compare it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec

from smartmob.errors import InvalidInput
from smartmob.hosts.fields import MEGABYTE, Snapshot, Storage
from smartmob.hosts.model import SampleData, read_sample

DATA_TYPE = "Data type incorrect, please use json"
DATA_SIZE = "incorrect data size"
CREDENTIALS = "incorrect username or password"
COLLISION = "request id collision"

SHORTEST_INTERVAL = 0.1  # seconds
LONGEST_INTERVAL = 86_400.0  # seconds
MOST_SUBSCRIPTIONS = 64  # of one connection
MOST_BACKFILL = 1_000  # samples of one message
_LONGEST_REQUEST_ID = 256  # bytes of JSON
_GIGABYTE = 2**30  # bytes

KINDS = ("CPU", "MEM", "STORAGE")
"""The kinds of load that a client can subscribe to."""


# -- messages of clients ----------------------------------------------------------------------------------------------


class Hello(msgspec.Struct, frozen=True, tag="HELLO"):
    """The first message of a client; some clients send it before each sample."""


class ClientData(msgspec.Struct, frozen=True, tag="CLIENT_DATA"):
    """A sample."""

    data: msgspec.Raw = msgspec.Raw(b"null")
    client_id: str = ""
    interval: Any = None


class Subscribe(msgspec.Struct, frozen=True, tag="SUBSCRIBE"):
    """A request for the load of the server's machine, at once and then each `interval` seconds."""

    data: list[str] | str
    interval: float
    request_id: msgspec.Raw
    client_id: str = ""


class Unsubscribe(msgspec.Struct, frozen=True, tag="UNSUBSCRIBE"):
    """The end of a subscription."""

    request_id: msgspec.Raw


class WorkTime(msgspec.Struct, frozen=True, tag="WORK_TIME"):
    """A request for the time at which the server started."""


class Backfill(msgspec.Struct, frozen=True, tag="BACKFILL"):
    """Samples that could not be sent when they were read."""

    samples: list[msgspec.Raw]
    client_id: str = ""


class Clock(msgspec.Struct, frozen=True, tag="CLOCK"):
    """A request for the server's time; `sent` is the client's time in seconds since 1970."""

    sent: float


class ReportClockOffset(msgspec.Struct, frozen=True, tag="CLOCK_OFFSET"):
    """The error of the client's clock: seconds to add to it, and the delay of the exchange in seconds."""

    offset: float
    delay: float
    client_id: str = ""


Message = Hello | ClientData | Subscribe | Unsubscribe | WorkTime | Backfill | Clock | ReportClockOffset

# Not strict: numbers may be strings, as the intervals of some clients are.
_MESSAGE = msgspec.json.Decoder(Message, strict=False)


# -- actions ----------------------------------------------------------------------------------------------------------


class Send(msgspec.Struct, frozen=True, gc=False):
    """Send `text`."""

    text: str


class Pause(msgspec.Struct, frozen=True, gc=False):
    """Read nothing for `seconds`: the client exceeds its message rate."""

    seconds: float


class Store(msgspec.Struct, frozen=True):
    """Store samples of the machine that `client_id` authenticates, and send `text` once they are committed.

    Without `text` the answer is that of `backfilled`, with the error texts `refused` of samples that cannot be read.
    """

    client_id: str
    samples: Sequence[SampleData]
    text: str | None
    refused: Sequence[str] = ()


class StoreOffset(msgspec.Struct, frozen=True, gc=False):
    """Store the clock error of a machine, then send `OFFSET_STORED`."""

    client_id: str
    offset: float
    delay: float


class Start(msgspec.Struct, frozen=True):
    """Start a subscription, if the client is authorised: send `text` and then events."""

    subscription: Subscription
    client_id: str
    text: str


class EndSubscription(msgspec.Struct, frozen=True, gc=False):
    """End the subscription with this request id, if there is one, and send `text`."""

    request_id: bytes
    text: str


class SendWorkTime(msgspec.Struct, frozen=True, gc=False):
    """Send the start of the server and its time."""


class SendClock(msgspec.Struct, frozen=True, gc=False):
    """Send the times at which CLOCK was sent (client's clock), received and answered, in seconds since 1970."""

    sent: float
    received: float


Action = Send | Pause | Store | StoreOffset | Start | EndSubscription | SendWorkTime | SendClock


class Subscription(msgspec.Struct, frozen=True):
    """A subscription to `kinds` every `interval` seconds; `request_id` is the JSON as received."""

    request_id: bytes
    kinds: tuple[str, ...]
    interval: float


# -- messages of the service ------------------------------------------------------------------------------------------


def text(document: Any) -> str:
    """Return a document as JSON."""
    return msgspec.json.encode(document).decode()


def failure(reason: str, problem: str | None = None) -> str:
    """Return an ERROR message; `problem` is the HTTP problem type of errors that seed 001 does not define."""
    more = "" if problem is None else f', "problem": {text(problem)}'
    reason = reason.encode(errors="replace").decode()  # it may quote a lone surrogate
    return f'{{"type": "ERROR", "reason": {text(reason)}{more}}}'


WELCOME = '{"type": "WELCOME", "payload": {"welcome": "WELCOME"}}'
ERROR_DATA_TYPE = failure(DATA_TYPE)
ERROR_DATA_SIZE = failure(DATA_SIZE)
ERROR_CREDENTIALS = failure(CREDENTIALS)
ERROR_COLLISION = failure(COLLISION)
_WELCOME_ACTION = (Send(WELCOME),)
_DATA_TYPE_ACTION = (Send(ERROR_DATA_TYPE),)


def work_time(started: datetime, now: datetime) -> dict[str, Any]:
    """Return a WORK_TIME message; the two times have different formats, as in the server of seed 001."""
    payload = {"start_work": f"{started:%a, %d %b %Y %H:%M:%S}", "actual_time": f"{now:%d %b %Y %H:%M:%S}"}
    return {"type": "WORK_TIME", "payload": payload}


def clock(sent: float, received: float, answered: float) -> str:
    """Return the answer to CLOCK."""
    return text({"type": "CLOCK", "payload": {"sent": sent, "received": received, "answered": answered}})


def backfilled(stored: int, refused: Sequence[str]) -> str:
    """Return the answer to BACKFILL: the number of stored samples, and the error text of each refused one."""
    return text({"type": "BACKFILLED", "payload": {"stored": stored, "refused": list(refused)}})


OFFSET_STORED = '{"type": "CLOCK_OFFSET", "payload": {"stored": true}}'


def event_parts(snapshot: Snapshot | None) -> dict[str, str]:
    """Return the parts of an EVENT as JSON by kind; they are encoded once for all subscribers.

    A part that could not be measured is null.
    """
    if snapshot is None:
        return dict.fromkeys(KINDS, "null")
    memory, storage = snapshot.memory, snapshot.storage
    sizes = {
        name: value if name == "percent" else value // MEGABYTE
        for name, value in (msgspec.structs.asdict(memory).items() if memory is not None else ())
    }
    return {
        "CPU": text(snapshot.cpu),
        "MEM": text(sizes or None),
        "STORAGE": text(None if storage is None else storage_in(storage, _GIGABYTE)),
    }


def event(subscription: Subscription, parts: dict[str, str]) -> str:
    """Return an EVENT message with the parts that the subscription asks for."""
    cpu, mem, storage = (parts[kind] if kind in subscription.kinds else "null" for kind in KINDS)
    request = subscription.request_id.decode()
    return f'{{"type": "EVENT", "payload": {{"request": {request}, "cpu": {cpu}, "mem": {mem}, "storage": {storage}}}}}'


def storage_in(storage: Storage, unit: int) -> dict[str, Any]:
    """Return the sizes of a disk in a unit of `unit` bytes, rounded down, as the server of seed 001 does."""
    return {
        "total": storage.total // unit,
        "percent": storage.percent,
        "used": storage.used // unit,
        "free": storage.free // unit,
    }


# -- the state machine ------------------------------------------------------------------------------------------------


class Throttle:
    """A token bucket: `rate` messages a second, and a burst of as many. A rate of 0 means no limit."""

    def __init__(self, rate: float) -> None:
        self._rate = rate
        self._left = rate
        self._asked = -math.inf

    def take(self, now: float) -> float:
        """Return how many seconds to pause after a message at `now` (monotonic clock, in seconds)."""
        if not self._rate:
            return 0.0
        self._left = min(self._rate, self._left + (now - self._asked) * self._rate) - 1
        self._asked = now
        return -self._left / self._rate if self._left < 0 else 0.0


class Echo:
    """The state of one connection: whether HELLO was received, and its subscriptions."""

    def __init__(self, rate: float) -> None:
        self._throttle = Throttle(rate)
        self.greeted = False
        self._subscribed: set[bytes] = set()

    def handle(self, message: str | bytes, now: float, wall_time: float) -> Sequence[Action]:
        """Return the actions for a message received at `now` (monotonic clock), which is `wall_time` since 1970."""
        pause = self._throttle.take(now)
        actions = self._answer(message, wall_time)
        return (Pause(pause), *actions) if pause else actions

    def _answer(self, message: str | bytes, wall_time: float) -> Sequence[Action]:
        try:
            # UTF-8 is checked for the whole message: the decoder skips parts that it does not need.
            received = (message if isinstance(message, str) else message.decode()).removeprefix("\ufeff")
            decoded = _decode(received)
        except (msgspec.MsgspecError, ValueError, RecursionError) as failed:
            return self._unreadable(failed)
        if isinstance(decoded, Hello):
            self.greeted = True
            return _WELCOME_ACTION
        if not self.greeted:
            return _DATA_TYPE_ACTION
        if isinstance(decoded, ClientData):
            return _client_data(decoded)
        return self._other(decoded, wall_time)

    def _other(self, message: Message, wall_time: float) -> Sequence[Action]:
        match message:
            case Subscribe():
                return (self._subscribe(message),)
            case Unsubscribe():
                return (self._unsubscribe(message),)
            case WorkTime():
                return (SendWorkTime(),)
            case Backfill():
                return (_backfill(message),)
            case Clock():
                finite = math.isfinite(message.sent)
                return (SendClock(message.sent, wall_time) if finite else _refuse("sent: no number"),)
            case ReportClockOffset():
                return (_store_offset(message),)
            case _:
                return _DATA_TYPE_ACTION

    def forget(self, request_id: bytes) -> None:
        """Release the id of a request whose subscription was refused."""
        self._subscribed.discard(request_id)

    def _unreadable(self, failed: Exception) -> Sequence[Action]:
        # A message with a known type gets the field that is wrong; any other is not a message of this protocol.
        if not self.greeted or not isinstance(failed, _WrongField):
            return _DATA_TYPE_ACTION
        return (_refuse(f"value error: {failed}"),)

    def _subscribe(self, message: Subscribe) -> Action:
        request_id = bytes(message.request_id).strip()
        if not _is_request_id(request_id):
            return _refuse("request_id: expected a text or a number")
        kinds = tuple(message.data.replace(",", " ").split() if isinstance(message.data, str) else message.data)
        if not kinds:
            return Send(ERROR_DATA_SIZE)
        unknown = [kind for kind in kinds if kind not in KINDS]
        if unknown:
            return _refuse(f"data: there is no {unknown[0]!r}; there are {', '.join(KINDS)}")
        if not math.isfinite(message.interval):
            return _refuse("interval: expected a number of seconds")
        if request_id in self._subscribed:
            return Send(ERROR_COLLISION)
        if len(self._subscribed) >= MOST_SUBSCRIPTIONS:
            return _refuse(f"a connection has at most {MOST_SUBSCRIPTIONS} subscriptions")
        self._subscribed.add(request_id)
        interval = min(max(message.interval, SHORTEST_INTERVAL), LONGEST_INTERVAL)
        text = f'{{"type": "SUBSCRIBED", "payload": {{"request_id": {request_id.decode()}}}}}'
        return Start(Subscription(request_id, kinds, interval), message.client_id, text)

    def _unsubscribe(self, message: Unsubscribe) -> Action:
        request_id = bytes(message.request_id).strip()
        if not _is_request_id(request_id):
            return _refuse("request_id: expected a text or a number")
        self._subscribed.discard(request_id)
        return EndSubscription(
            request_id, f'{{"type": "UNSUBSCRIBED", "payload": {{"request_id": {request_id.decode()}}}}}'
        )


_TOO_MANY_DIGITS = "value error: a whole number has more than 4,300 digits"
"""The only JSON that the decoder of messages accepts and Python's `json` does not (sys.set_int_max_str_digits)."""


_DECODER = json.JSONDecoder()
"""Reads as `json.loads`, but only a value without blanks around it, as `Raw` has it."""
_ENCODER = json.JSONEncoder(check_circular=False)
"""Writes as `json.dumps`; a document that was read from JSON has no circles."""


def _client_data(message: ClientData) -> Sequence[Action]:
    try:
        document, _ = _DECODER.raw_decode(bytes(message.data).decode())
    except ValueError:
        return (_refuse(_TOO_MANY_DIGITS),)
    if not document:
        return (Send(ERROR_DATA_SIZE),)
    if not isinstance(document, dict):
        return (_refuse("value error: data is an object"),)
    try:
        data = read_sample(document)
    except InvalidInput as failed:
        return (_refuse(str(failed)),)
    returned = f'{{"type": "DATA_RETURN", "payload": {{"data": {_ENCODER.encode(document)}}}}}'
    return (Store(message.client_id, (data,), returned),)


def _backfill(message: Backfill) -> Action:
    if not message.samples:
        return Send(ERROR_DATA_SIZE)
    if len(message.samples) > MOST_BACKFILL:
        return _refuse(f"samples: a message has at most {MOST_BACKFILL}")
    samples, refused = [], []
    for raw in message.samples:
        try:
            samples.append(read_sample(json.loads(bytes(raw))))
        except InvalidInput as failed:
            refused.append(str(failed))
        except ValueError:
            refused.append(_TOO_MANY_DIGITS)
    return Store(message.client_id, samples, None, refused)


def _refuse(reason: str) -> Send:
    return Send(failure(reason, "invalid-input"))


def refusal(failed: InvalidInput) -> str:
    """Return the ERROR message for an invalid sample."""
    return failure(str(failed), "invalid-input")


def _is_request_id(text: bytes) -> bool:
    if not 0 < len(text) <= _LONGEST_REQUEST_ID:
        return False
    # An overflowing number would be sent back unchanged, and many JSON parsers cannot read it.
    return text[:1] == b'"' or ((text[:1] == b"-" or text[:1].isdigit()) and math.isfinite(float(text)))


class _WrongField(ValueError):
    """A field of a message with a known type is wrong."""


def _decode(text: str) -> Message:
    """Return a message; raises _WrongField, or another ValueError if the text is not a message of the protocol."""
    try:
        return _MESSAGE.decode(text)
    except msgspec.ValidationError as failed:
        if _has_type(text):
            raise _WrongField(str(failed)) from None
        raise ValueError("no type") from None
    except msgspec.DecodeError:
        pass
    # Not strict JSON, but possibly JSON as Python's json writes it.
    document = json.loads(text)
    kind = document.get("type") if isinstance(document, dict) else None
    if not isinstance(kind, str) or kind not in _TYPES:
        raise ValueError("no type")
    for key in ("request_id", "data") if kind != "SUBSCRIBE" else ("request_id",):
        if key in document:
            document[key] = _raw(document[key])
    if isinstance(document.get("samples"), list):
        document["samples"] = [_raw(sample) for sample in document["samples"]]
    try:
        converted: Message = msgspec.convert(document, Message, strict=False)
        return converted
    except (msgspec.ValidationError, UnicodeError) as failed:
        raise _WrongField(str(failed)) from None


def _raw(value: object) -> msgspec.Raw:
    return msgspec.Raw(json.dumps(value).encode())


def _has_type(message: str) -> bool:
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


def _store_offset(message: ReportClockOffset) -> Action:
    if not (math.isfinite(message.offset) and math.isfinite(message.delay) and message.delay >= 0):
        return _refuse("offset and delay are seconds, and delay is not negative")
    return StoreOffset(message.client_id, message.offset, message.delay)
