"""The messages between a headquarters and its turrets, over ZeroMQ: JSON, UTF-8, one message a frame. No I/O.

Two dialects share the sockets (PUB for orders, PULL for the messages of turrets):

*The documented dialect* (OCT, seed 004): orders `{"command", "msg"}`; statuses; one message for each result.

*Our extension*, which turrets and headquarters of OCT ignore. A headquarters of smartmob adds the key `smartmob` (a
`Briefing`) to every order. A turret of smartmob that has seen it adds `smartmob` (a `Report`) to its statuses and sends
slices or numbered results. To a headquarters without that key it sends the documented keys only.

The rules of the extension:

1. **Orders are a state, not an event.** Once a second, the headquarters sends a `status_request` whose briefing
   describes the wanted state: the run, in how many seconds it starts (negative: it has started), how long it fires, and
   whether it was stopped. A turret that missed an order, came late or came back follows the next briefing. `start` and
   `stop` are sent, too, for turrets of OCT, with the same briefing. Times are relative, so clocks do not matter: the
   turret keeps the earliest start that the briefings of the run gave it (that of the fastest delivery).
2. **A turret stops by itself** after `run_time` seconds, also when the headquarters is silent. A briefing without the
   run, or with another one, stops it at once, and unacknowledged messages are discarded.
3. **No result is lost or counted twice.** For each run, a turret numbers its `Slices` and numbered `Result`s:
   `sequence` is 1, 2, 3, …. The headquarters stores of each turret only the message with the next number. A lower
   number is a repetition, a higher one follows a loss; both are dropped. Each briefing has for each turret
   (`acknowledged[uuid]`) the highest number that is committed with all before it. The turret keeps the messages after
   that number, and sends them again if it has not changed for `REPEAT_SECONDS`. The number is read from the database
   after a restart of the headquarters.
4. **The end is counted.** After its last message, a turret sends a report with `final` and the last number as
   `sequence` (0: there was no message). The run is complete when every turret of smartmob has done so and all their
   numbers are acknowledged. A turret is ready again when it has seen that, or when the briefing no longer has the run.
"""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

import msgspec

from smartmob.errors import InvalidInput
from smartmob.turrets.names import UNPRINTABLE, by_timer

PROTOCOL = 3
"""The version of our extension."""

DETAILS_PROTOCOL = 2
"""The first version in which slices keep failed values apart, and results have `details`."""

RATES_PROTOCOL = 3
"""The first version in which a briefing can give each turret its rate."""

LONGEST_MESSAGE = 4 * 1024 * 1024
"""Bytes of one message: turrets make none longer, and the headquarters sets ZMQ_MAXMSGSIZE to it."""

LONGEST_ERROR = 1000
"""Characters of an error text that a turret sends; the rest is cut off."""

ORDER_SECONDS = 1.0
"""The time between two repetitions of an order. It is not shorter, since turrets of OCT answer each order."""

STATUS_SECONDS = 2.0
"""The longest time between two statuses of a turret, even without an order."""

REPEAT_SECONDS = 5.0
"""A turret repeats unacknowledged messages when the acknowledged number has not changed for this time."""

LONGEST_NAME = 300
"""Characters of a name that is read: of a turret, a timer, a uuid. Timers are counted by `names.timer_name`."""

LONGEST_CODE = 40
"""Characters of the code of an error: an HTTP status or the name of an errno."""

LONGEST_TEXT = 10_000
"""Characters that are kept of the error text of one result; the rest is cut off."""

MOST_TURRETS = 10_000
"""Turrets that one headquarters knows at a time; further ones are left out."""

MOST_TIMERS = 1_000
"""Timers of one result and of one run; further ones are left out."""

MOST_STAGES = 100
"""Stages of a rate that a turret reports; one with more reports no plan."""

MOST_SLICES = 1_000
"""Slices of one message."""

LONGEST_HISTOGRAM = 300_000
"""Characters of a histogram: 9 bytes for each of its 23,552 counters take fewer as base64."""

MOST_ERROR_TEXTS = 200
"""The maximum number of different error texts in one slice."""

Results = Literal["slices", "raw"]

Name = Annotated[str, msgspec.Meta(max_length=LONGEST_NAME)]
Text = Annotated[str, msgspec.Meta(max_length=LONGEST_ERROR)]
Code = Annotated[str, msgspec.Meta(max_length=LONGEST_CODE)]
Number = Annotated[int, msgspec.Meta(ge=0, le=2**53)]
Users = Annotated[int, msgspec.Meta(ge=0, le=1_000_000)]
Count = Annotated[int, msgspec.Meta(ge=0, le=1_000_000_000)]
ArrivalRate = Annotated[float, msgspec.Meta(ge=0, le=10_000_000)]
"""Transactions that start per second."""
BoundedNumber = Annotated[float, msgspec.Meta(ge=-1e15, le=1e15)]
"""A number that a peer measured, in seconds or cores. NaN is outside any bounds, so it is refused like infinity."""


class RunBriefing(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The run in a briefing. `starts_in` is in seconds from the sending of the order; negative after the start.

    `run_time` is the time for which it fires, in seconds; `stopped` stops it now (its results are still delivered).
    `context` is passed to the transactions, like that of `set_transaction_context`. `rates` has the arrivals per second
    of each turret by its uuid, in place of its own rate; a turret that is not in it starts no transactions. Without
    `rates`, each turret keeps its own rate.
    """

    id: str
    starts_in: float
    run_time: float
    stopped: bool = False
    results: Results = "slices"
    context: dict[str, Any] = {}
    rates: dict[str, ArrivalRate] | None = None

    def rate_of(self, uuid: str) -> float | None:
        """Return the rate that the briefing sets for a turret, or None if the turret keeps its own."""
        return None if self.rates is None else self.rates.get(uuid, 0.0)


class Briefing(msgspec.Struct, frozen=True, kw_only=True):
    """The key `smartmob` of an order: the state that a headquarters of smartmob wants.

    `headquarters` names the service (the same after a restart). `run` is null while there is none. `acknowledged` has
    for each uuid the highest number of this run that is committed with all before it.
    """

    protocol: int
    headquarters: str
    run: RunBriefing | None = None
    acknowledged: dict[str, int] = {}


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """An order. `msg` is a text; it is an object for `set_transaction_context` and may be null for `status_request`.

    Turrets of OCT need the key `msg` in each order, and an object in `set_transaction_context`.
    """

    command: str
    msg: Any = None
    smartmob: Briefing | msgspec.UnsetType = msgspec.UNSET


class Health(msgspec.Struct, frozen=True, kw_only=True):
    """The health of a turret since its last report.

    `cpu`: cores used by its processes (1.0 is one core); `busiest`: cores used by its busiest process; `cores`: those
    that it may use. `lag`: the longest delay of a due call of its event loop, in seconds. `memory`: bytes of all its
    processes.
    """

    cpu: BoundedNumber
    busiest: BoundedNumber
    cores: Count
    lag: BoundedNumber
    memory: Number
    processes: Count = 1


class RateStage(msgspec.Struct, frozen=True):
    """A stage of a planned rate: `seconds` from the rate `first` to the rate `last`, in transactions per second.

    After the last stage its rate `last` holds to the end of the run.
    """

    seconds: BoundedNumber
    first: BoundedNumber
    last: BoundedNumber


class TurretPlan(msgspec.Struct, frozen=True, kw_only=True):
    """The plan by which a turret starts transactions: `stages` of the rate (open model), or null (closed model)."""

    stages: Annotated[list[RateStage], msgspec.Meta(min_length=1, max_length=MOST_STAGES)] | None = None


class TurretCounts(msgspec.Struct, kw_only=True):
    """The counts of a turret, or of one of its processes, in a run; `Report` explains them."""

    users: Users = 0
    transactions: Number = 0
    errors: Number = 0
    late_starts: Number = 0
    lateness: BoundedNumber = 0.0
    never_started: Number = 0
    paused: BoundedNumber = 0.0
    joined: BoundedNumber = 0.0
    sent: Number = 0
    received: Number = 0

    def add(self, other: TurretCounts) -> None:
        """Add the counts of another process; of delays, the longest one is kept."""
        for name in TurretCounts.__struct_fields__:
            mine, its = getattr(self, name), getattr(other, name)
            setattr(self, name, max(mine, its) if name in ("lateness", "paused", "joined") else mine + its)


class Report(TurretCounts, kw_only=True):
    """The key `smartmob` of a status, sent to a headquarters of smartmob. Counts are those of the run.

    `sequence`: the last used number; `acknowledged`: the last number that the turret knows to be committed; `final`: no
    further message will get a number. `users`: cannons that fire now. `late_starts`: transactions of the open model
    that began more than 10 ms after their intended start; `lateness`: the longest such delay in seconds;
    `never_started`: those that were due before the end and found no free cannon. `dropped`: results that could not be
    kept. `paused`: seconds for which firing was paused because too many messages were not acknowledged. `joined`: how
    many seconds after the start of the run the turret began; arrivals before that are left out. `sent` and `received`:
    bytes of HTTP by our own client. `reason`: why the turret was aborted. `script_digest`: the SHA-256 of its script.
    `plan`: how it starts transactions.
    """

    protocol: Count
    version: Name
    host: Name
    run: Name | None
    sequence: Number = 0
    acknowledged: Number = 0
    final: bool = False
    dropped: Number = 0
    reason: Text = ""
    script_digest: Name = ""
    health: Health | None = None
    plan: TurretPlan | None = None


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """A status of a turret. The seed has the key `canons`, turrets of OCT 0.2.4 and later send `cannons`: see `users`.

    `status` is mostly one of the texts of `Condition`, in upper or lower case; any other text is possible.
    """

    turret: Name = ""
    status: Name
    uuid: Name = ""
    rampup: BoundedNumber | None = None
    script: Text | None = None
    cannons: BoundedNumber | msgspec.UnsetType | None = msgspec.UNSET
    canons: BoundedNumber | msgspec.UnsetType | None = msgspec.UNSET
    smartmob: Report | msgspec.UnsetType = msgspec.UNSET

    @property
    def identity(self) -> str:
        """Return the uuid, or the name of a turret that sends no uuid."""
        return self.uuid or self.turret

    @property
    def condition(self) -> str:
        """Return the status in lower case: `ready`, `running`, …"""
        return self.status.strip().lower()

    @property
    def users(self) -> int | None:
        """Return the number of cannons, under either spelling, if it was sent."""
        for value in (self.cannons, self.canons):
            if isinstance(value, float):
                return int(value)
        return None


class Condition:
    """The status texts of OCT."""

    INITIALIZED = "Initialized"
    READY = "ready"
    RUNNING = "Running"
    ABORTED = "Aborted"
    KILLED = "Killed"


FIRING = ("running", "runing")
"""The conditions of a turret that fires: its status in lower case. The second spelling is that of seed 004."""

TERMINATED = ("aborted", "killed")
"""The conditions of a turret whose process ends. With any other condition, a turret can begin to fire."""


class ErrorKind(msgspec.Struct, frozen=True, omit_defaults=True):
    """The kind of an error (the class of the exception) and its code (an HTTP status or the name of an errno)."""

    kind: Name = ""
    code: Code = ""


class TimerError(ErrorKind, frozen=True, kw_only=True, omit_defaults=True):
    """The error with which the part of a transaction failed that a timer measured."""

    error: Text


class ResultDetails(ErrorKind, frozen=True, kw_only=True, omit_defaults=True):
    """The key `details` of a result, between a turret and a headquarters of smartmob.

    `untimed`: the transaction failed outside of `run`, so that its duration means nothing. `timers`: the errors of the
    timers that failed; without `details`, all timers of a failed transaction count as failed.
    """

    untimed: bool = False
    timers: Annotated[dict[Name, TimerError], msgspec.Meta(max_length=MOST_TIMERS)] = {}


class Result(msgspec.Struct, kw_only=True, gc=False):
    """The result of one transaction.

    `elapsed`: seconds from the start of the run to the end of the transaction; `epoch`: its time in seconds since 1970
    (whole seconds from turrets of OCT); `scriptrun_time`: its duration in seconds (in the open model from the intended
    start); `error`: "" or the text of the exception; `custom_timers`: seconds by name. `uuid`, `run`, `sequence` and
    `details` are sent when both sides are ours and the run has `"results": "raw"`.
    """

    elapsed: BoundedNumber
    epoch: BoundedNumber
    scriptrun_time: BoundedNumber
    error: str | None = ""
    custom_timers: Annotated[dict[str, BoundedNumber], msgspec.Meta(max_length=MOST_TIMERS)] | None = {}
    turret_name: str | msgspec.UnsetType | None = msgspec.UNSET
    uuid: Name | msgspec.UnsetType = msgspec.UNSET
    run: Name | msgspec.UnsetType = msgspec.UNSET
    sequence: Number | msgspec.UnsetType = msgspec.UNSET
    details: ResultDetails | msgspec.UnsetType = msgspec.UNSET


class Slice(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The values of one timer of one turret in one second of a run.

    `second`: whole seconds from the start of the run to the end of the transaction; `timer`: its name, "" for the
    transaction itself. `count` values with the sum `total` and the sum of squares `squares` (seconds), from `minimum`
    to `maximum`. `histogram`: an HdrHistogram of whole microseconds, in the V2 compressed format as base64 (see
    `slices`). `late` (only with the timer ""): late starts of the open model.

    The values that failed have a slice of their own with `failed`. Its `errors` has the count of each text, `kinds` the
    kind of each. `untimed` failures have no duration and are not in `count`, which may be 0 then, with an empty
    histogram. In version 1, one slice has all values, and `errors` only with the timer "".
    """

    second: Count
    timer: Name
    count: Count
    total: Annotated[float, msgspec.Meta(ge=0, le=1e18)]
    squares: Annotated[float, msgspec.Meta(ge=0, le=1e27)]
    minimum: Annotated[float, msgspec.Meta(ge=0, le=1e9)]
    maximum: Annotated[float, msgspec.Meta(ge=0, le=1e9)]
    histogram: Annotated[str, msgspec.Meta(max_length=LONGEST_HISTOGRAM)]
    errors: Annotated[dict[Text, Count], msgspec.Meta(max_length=MOST_ERROR_TEXTS)] = {}
    late: Count = 0
    failed: bool = False
    untimed: Count = 0
    kinds: Annotated[dict[Text, ErrorKind], msgspec.Meta(max_length=MOST_ERROR_TEXTS)] = {}

    @property
    def total_count(self) -> int:
        """Return the number of counted transactions or parts of them, with and without a duration."""
        return self.count + self.untimed


class Slices(msgspec.Struct, frozen=True, kw_only=True):
    """Slices of one turret with one number: some timers of some seconds. A second may come in several messages."""

    slices: Annotated[list[Slice], msgspec.Meta(max_length=MOST_SLICES)]
    turret: Name
    uuid: Name
    run: Name
    sequence: Number


class _Incoming(Result, kw_only=True, gc=False):
    """A result, which most messages are, with the keys by which the other kinds are recognised in the same pass."""

    elapsed: BoundedNumber = math.nan
    epoch: BoundedNumber = math.nan
    scriptrun_time: BoundedNumber = math.nan
    status: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    slices: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


# Not strict: numbers may be sent as texts.
_INCOMING = msgspec.json.Decoder(_Incoming, strict=False)
_STATUS = msgspec.json.Decoder(Status, strict=False)
_SLICES = msgspec.json.Decoder(Slices, strict=False)
_ORDER = msgspec.json.Decoder(Order, strict=False)
_ENCODER = msgspec.json.Encoder()


def decode(frame: bytes) -> Result | Status | Slices:
    """Return the message in a frame of a turret. Only the key `status` makes a message a status, not a word in a text.

    Raises InvalidInput, with the reason, if it is not JSON, a key is missing or a value is not of its type.
    """
    try:
        message = _INCOMING.decode(frame)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        return _other(frame, error)
    if message.status is not msgspec.UNSET or message.slices is not msgspec.UNSET:
        return _other(frame, None)
    # NaN stands for a missing number, and makes the sum NaN; the sender's numbers are finite.
    if math.isnan(message.elapsed + message.epoch + message.scriptrun_time):
        raise InvalidInput("elapsed, epoch and scriptrun_time must be there")
    if message.custom_timers:
        message.custom_timers = by_timer(message.custom_timers)
    if message.error:
        message.error = message.error[:LONGEST_TEXT]
    if isinstance(message.details, ResultDetails) and message.details.timers:
        named = by_timer(message.details.timers)
        message.details = msgspec.structs.replace(message.details, timers=named)
    if isinstance(message.turret_name, str):
        message.turret_name = printable(message.turret_name)
    return message


def printable(name: str) -> str:
    """Return a name for display: cut off after 300 characters, with U+FFFD in place of unprintable characters."""
    name = name[:LONGEST_NAME]
    return name if name.isprintable() else UNPRINTABLE.sub("\ufffd", name)


def _other(frame: bytes, error: Exception | None) -> Status | Slices:
    """Return a message that is not a result, as a status or slices; `error` is why it is not a result."""
    try:
        keys = msgspec.json.decode(frame, type=dict[str, msgspec.Raw])
        if "status" in keys:
            return _STATUS.decode(frame)
        if "slices" in keys:
            return _checked(_SLICES.decode(frame))
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as failure:
        raise InvalidInput(str(failure)) from None
    raise InvalidInput(str(error))


def _checked(batch: Slices) -> Slices:
    """Return the batch if its numbers are in their ranges."""
    if batch.sequence < 1:
        raise InvalidInput.at("$.sequence", "numbers begin with 1")
    for index, part in enumerate(batch.slices):
        if part.second < 0 or part.total_count < 1:
            raise InvalidInput.at(f"$.slices[{index}]", "second must be 0 or more, count 1 or more")
        failures = sum(part.errors.values())
        if part.failed and failures != part.total_count:
            raise InvalidInput.at(f"$.slices[{index}]", "errors must count each of the values that failed")
        if not part.failed and (part.untimed or failures > part.count):
            raise InvalidInput.at(f"$.slices[{index}]", "there are more errors than values")
    return batch


def decode_order(frame: bytes) -> tuple[str, Order]:
    """Return the channel of an order ("": all turrets; else a uuid) and the order. Raises InvalidInput."""
    channel, _, text = (b"", b"", frame) if frame.startswith(b"{") else frame.partition(b" ")
    try:
        return channel.decode(), _ORDER.decode(text)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidInput(f"the order cannot be read: {error}") from None


def encode_order(order: Order) -> bytes:
    """Return the frame of an order to all turrets: the empty channel, a blank and JSON.

    An order with a channel makes turrets of OCT end with an error.
    """
    return b" " + _ENCODER.encode(order)


def encode(message: Status | Result | Slices) -> bytes:
    """Return the frame of a message of a turret, without the keys that are not set."""
    return _ENCODER.encode(message)


def briefing(order: Order) -> Briefing | None:
    """Return the briefing of an order, or None when the headquarters is not ours."""
    return order.smartmob if isinstance(order.smartmob, Briefing) else None
