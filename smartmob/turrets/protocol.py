"""The messages between a headquarters and its turrets, over ZeroMQ: JSON, UTF-8, one message a frame. No I/O.

Two dialects share the sockets (PUB for orders, PULL for what turrets say):

*The documented one* (OCT, seed 004): orders `{"command", "msg"}`; statuses; one message for each result.

*Ours on top of it*, which a turret and a headquarters of OCT do not notice. A headquarters that is ours adds the key
`smartmob` (a `Briefing`) to every order. A turret that has seen it adds `smartmob` (a `Report`) to its statuses and
sends slices or numbered results; towards a headquarters that has not said so, it sends the documented keys only.

How our two sides agree:

1. **Orders are a state, not an event.** The headquarters repeats a `status_request` once a second whose briefing says
   what should be: which run there is, in how many seconds it starts (negative: it is under way), how long it fires,
   whether it was stopped. A turret that missed an order, came late, or came back, does what the next one says. `start`
   and `stop` are sent besides for turrets of OCT, with the same briefing. Times are relative, so that clocks do not
   matter: the turret keeps the earliest start that a briefing of the run gave it (the one that travelled fastest).
2. **A turret ends by itself** after `run_time` seconds. If the headquarters falls silent, it goes on firing until
   then. A briefing without the run, or with another one, ends it at once, and what was not acknowledged is thrown away.
3. **Nothing is lost or counted twice.** For each run a turret numbers what it delivers: `sequence` is 1, 2, 3, … over
   its `Slices` and numbered `Result`s. The headquarters stores of each turret only what has the next number; what has a
   lower one is a repetition and is dropped, what has a higher one came after a loss and is dropped, too. It repeats in
   each briefing, for each turret (`acknowledged[uuid]`), the highest number that is committed with all before it. The
   turret keeps what is not acknowledged; if that number stays behind for `REPEAT_SECONDS`, it sends everything behind
   it again. The number must survive a restart of the headquarters (it is a fact of the database, not of the process).
4. **The end is counted.** After its last delivery a turret says `final` in its report, with `sequence` the last number
   that it gave out (0: nothing). The run is complete when every turret of ours said so and `acknowledged` has come to
   that number. A turret goes back to ready when it has seen that, or when the briefing no longer has the run.
"""

from __future__ import annotations

import math
import re
from typing import Annotated, Any, Literal

import msgspec

from smartmob.errors import InvalidInput

PROTOCOL = 1
"""The version of our dialect."""

LONGEST_MESSAGE = 4 * 1024 * 1024
"""Bytes of one message; a turret makes none longer, and a headquarters sets ZMQ_MAXMSGSIZE to it."""

LONGEST_ERROR = 1000
"""Characters of an error text that a turret sends; the rest is cut off."""

ORDER_SECONDS = 1.0
"""The headquarters repeats its orders so often. Never more often: turrets of OCT answer each."""

STATUS_SECONDS = 2.0
"""A turret sends a status at least so often, unasked, too."""

REPEAT_SECONDS = 5.0
"""A turret sends again what was not acknowledged when the acknowledged number has not moved for so long."""

LONGEST_NAME = 300
"""Characters of a name: of a turret, a timer, a uuid."""

LONGEST_TEXT = 10_000
"""Characters that are kept of the error text of one result; the rest is cut off."""

MOST_TURRETS = 10_000
"""Turrets that one headquarters knows at a time; further ones are left out."""

MOST_TIMERS = 1_000
"""Timers of one result and of one run; further ones are left out."""

MOST_SLICES = 1_000
"""Slices of one message."""

LONGEST_HISTOGRAM = 300_000
"""Characters of a histogram: 9 bytes for each of its counters, as base64, are fewer."""

MOST_ERROR_TEXTS = 200
"""Different error texts of one slice."""

Results = Literal["slices", "raw"]

Name = Annotated[str, msgspec.Meta(max_length=LONGEST_NAME)]
Text = Annotated[str, msgspec.Meta(max_length=LONGEST_ERROR)]
Number = Annotated[int, msgspec.Meta(ge=0, le=2**53)]
Users = Annotated[int, msgspec.Meta(ge=0, le=1_000_000)]
Count = Annotated[int, msgspec.Meta(ge=0, le=1_000_000_000)]
Figure = Annotated[float, msgspec.Meta(ge=-1e15, le=1e15)]
"""A number that a peer measured, in seconds or cores."""


class RunBriefing(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a turret must know about a run. `starts_in` counts from the sending of the order, in seconds.

    `run_time` is how many seconds it fires; `stopped` ends it now, in the regular way (results are still delivered).
    `context` is given to the transactions, as that of `set_transaction_context`.
    """

    id: str
    starts_in: float
    run_time: float
    stopped: bool = False
    results: Results = "slices"
    context: dict[str, Any] = {}


class Briefing(msgspec.Struct, frozen=True, kw_only=True):
    """The key `smartmob` of an order: the headquarters is ours, and this is what should be.

    `headquarters` is any text that names the service (the same after a restart). `run` is null while there is none.
    `acknowledged` has for each uuid the highest number of this run that is committed with all before it.
    """

    protocol: int
    headquarters: str
    run: RunBriefing | None = None
    acknowledged: dict[str, int] = {}


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """An order. `msg` is a text, an object for `set_transaction_context`, and may be null for `status_request`.

    Turrets of OCT need the key `msg` in each order, and an object in that of `set_transaction_context`.
    """

    command: str
    msg: Any = None
    smartmob: Briefing | msgspec.UnsetType = msgspec.UNSET


class Health(msgspec.Struct, frozen=True, kw_only=True):
    """How a turret does, over the time since its last report.

    `cpu`: cores that its processes used (1.0 is one core); `busiest`: the same of its busiest process; `cores`: how
    many the machine gives it. `lag`: the longest time that its event loop kept a due call waiting, in seconds.
    `memory`: bytes of all its processes.
    """

    cpu: Figure
    busiest: Figure
    cores: Count
    lag: Figure
    memory: Number
    processes: Count = 1


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """The key `smartmob` of a status, towards a headquarters that is ours. Counts are those of the run.

    `sequence`: the last number given out; `acknowledged`: the last one that the turret knows to be committed; `final`:
    nothing more will be numbered. `users`: cannons that fire now. `late_starts`: transactions of the open model that
    began later than intended by more than 10 ms, `lateness` the longest such delay in seconds; `never_started`: those
    that were due before the end and found no free cannon. `dropped`: results that could not be kept. `paused`: seconds
    for which firing had to wait since too much was not acknowledged. `reason`: why it was aborted.
    """

    protocol: Count
    version: Name
    host: Name
    run: Name | None
    sequence: Number = 0
    acknowledged: Number = 0
    final: bool = False
    users: Users = 0
    transactions: Number = 0
    errors: Number = 0
    late_starts: Number = 0
    lateness: Figure = 0.0
    never_started: Number = 0
    dropped: Number = 0
    paused: Figure = 0.0
    reason: Text = ""
    health: Health | None = None


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """A status of a turret. The seed writes `canons`, turrets of OCT 0.2.4 and later `cannons`: see `users`.

    Known texts of `status` are those of `Condition`, in any case; any other text is possible.
    """

    turret: Name = ""
    status: Name
    uuid: Name = ""
    rampup: Figure | None = None
    script: Text | None = None
    cannons: Figure | msgspec.UnsetType | None = msgspec.UNSET
    canons: Figure | msgspec.UnsetType | None = msgspec.UNSET
    smartmob: Report | msgspec.UnsetType = msgspec.UNSET

    @property
    def identity(self) -> str:
        """Return the uuid; a turret that does not send one is known by its name."""
        return self.uuid or self.turret

    @property
    def condition(self) -> str:
        """Return the status in lower case: `ready`, `running`, …"""
        return self.status.strip().lower()

    @property
    def users(self) -> int | None:
        """Return the number of cannons, under either spelling, if it was sent."""
        for value in (self.cannons, self.canons):
            if isinstance(value, float) and math.isfinite(value):
                return int(value)
        return None


class Condition:
    """The status texts of OCT."""

    INITIALIZED = "Initialized"
    READY = "ready"
    RUNNING = "Running"
    ABORTED = "Aborted"
    KILLED = "Killed"


class Result(msgspec.Struct, kw_only=True, gc=False):
    """The result of one transaction.

    `elapsed`: seconds from the start of the run to the end of the transaction; `epoch`: its time in seconds since 1970
    (whole ones from turrets of OCT); `scriptrun_time`: how long it took, in seconds (in the open model from the
    intended start); `error`: "" or the text of the exception; `custom_timers`: seconds by name. The last three are
    there where both sides are ours and the run has `"results": "raw"`.
    """

    elapsed: Figure
    epoch: Figure
    scriptrun_time: Figure
    error: str | None = ""
    custom_timers: Annotated[dict[str, Figure], msgspec.Meta(max_length=MOST_TIMERS)] | None = {}
    turret_name: str | msgspec.UnsetType | None = msgspec.UNSET
    uuid: Name | msgspec.UnsetType = msgspec.UNSET
    run: Name | msgspec.UnsetType = msgspec.UNSET
    sequence: Number | msgspec.UnsetType = msgspec.UNSET


class Slice(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What one timer of one turret measured in one second of a run.

    `second`: whole seconds since the start of the run, by the end of the transaction; `timer`: its name, "" for the
    transaction itself. `count` values with the sum `total` and the sum of squares `squares` (seconds), from `minimum`
    to `maximum`. `histogram`: an HdrHistogram of whole microseconds, in the V2 compressed format as base64 (see
    `slices`). Only with the timer "": `errors` (how often each text) and `late` (late starts of the open model).
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


class Slices(msgspec.Struct, frozen=True, kw_only=True):
    """Slices of one turret under one number: some timers of some seconds. A second may come in several parts."""

    slices: Annotated[list[Slice], msgspec.Meta(max_length=MOST_SLICES)]
    turret: Name
    uuid: Name
    run: Name
    sequence: Number


class _Incoming(Result, kw_only=True, gc=False):
    """Reads a result, which is most of what comes, and tells the other kinds by their keys in the same pass."""

    elapsed: Figure = math.nan
    epoch: Figure = math.nan
    scriptrun_time: Figure = math.nan
    status: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    slices: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


_UNPRINTABLE = re.compile("[\\x00-\\x1f\\x7f-\\x9f\\u200b-\\u200f\\u2028-\\u202e\\u2060-\\u206f\\ufeff]")


# Not strict: numbers may come as texts.
_INCOMING = msgspec.json.Decoder(_Incoming, strict=False)
_STATUS = msgspec.json.Decoder(Status, strict=False)
_SLICES = msgspec.json.Decoder(Slices, strict=False)
_ORDER = msgspec.json.Decoder(Order, strict=False)
_ENCODER = msgspec.json.Encoder()


def decode(frame: bytes) -> Result | Status | Slices:
    """Return what a turret sent. A status is what has the key `status`, whatever its texts say.

    Raises InvalidInput, with the reason, for what is no message: not JSON, a missing key, a number that is none.
    """
    try:
        message = _INCOMING.decode(frame)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        return _other(frame, error)
    if message.status is not msgspec.UNSET or message.slices is not msgspec.UNSET:
        return _other(frame, None)
    # A number that is missing, infinite or none at all makes the sum something that is not finite.
    if not math.isfinite(message.elapsed + message.epoch + message.scriptrun_time):
        raise InvalidInput("elapsed, epoch and scriptrun_time must be there and be finite numbers")
    if message.custom_timers:
        if not math.isfinite(sum(message.custom_timers.values())):
            raise InvalidInput("the values of custom_timers must be finite numbers")
        message.custom_timers = {printable(name): value for name, value in message.custom_timers.items()}
    if message.error:
        message.error = message.error[:LONGEST_TEXT]
    if isinstance(message.turret_name, str):
        message.turret_name = printable(message.turret_name)
    return message


def printable(name: str) -> str:
    """Return a name as it is shown: not too long, and with a mark in the place of what is no printable character."""
    name = name[:LONGEST_NAME]
    return name if name.isprintable() else _UNPRINTABLE.sub("\ufffd", name)


def _other(frame: bytes, error: Exception | None) -> Status | Slices:
    """Return a status or slices: also what is no result since a key that it shares with one has another type."""
    try:
        keys = msgspec.json.decode(frame, type=dict[str, msgspec.Raw])
        if "status" in keys:
            return _finite(_STATUS.decode(frame))
        if "slices" in keys:
            return _checked(_SLICES.decode(frame))
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as failure:
        raise InvalidInput(str(failure)) from None
    raise InvalidInput(str(error))


def _finite(status: Status) -> Status:
    """Return the status if its numbers are some; their bounds let through what is not a number."""
    numbers: list[object] = [status.rampup, status.cannons, status.canons]
    if isinstance(report := status.smartmob, Report):
        numbers += [report.lateness, report.paused]
        if (health := report.health) is not None:
            numbers += [health.cpu, health.busiest, health.lag]
    if any(isinstance(number, float) and not math.isfinite(number) for number in numbers):
        raise InvalidInput("numbers of a status must be finite")
    return status


def _checked(batch: Slices) -> Slices:
    """Return the batch if its numbers can be."""
    if batch.sequence < 1:
        raise InvalidInput.at("$.sequence", "numbers begin with 1")
    for index, part in enumerate(batch.slices):
        if part.second < 0 or part.count < 1:
            raise InvalidInput.at(f"$.slices[{index}]", "second must be 0 or more, count 1 or more")
        if not math.isfinite(part.total + part.squares + part.minimum + part.maximum):
            raise InvalidInput.at(f"$.slices[{index}]", "total, squares, minimum and maximum must be finite numbers")
    return batch


def decode_order(frame: bytes) -> tuple[str, Order]:
    """Return the channel of an order ("": for everybody; else a uuid) and the order; raises InvalidInput."""
    channel, _, text = (b"", b"", frame) if frame.startswith(b"{") else frame.partition(b" ")
    try:
        return channel.decode(), _ORDER.decode(text)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidInput(f"an order that cannot be read: {error}") from None


def encode_order(order: Order) -> bytes:
    """Return the frame of an order to everybody, the only ones that turrets of OCT survive: it begins with a blank."""
    return b" " + _ENCODER.encode(order)


def encode(message: Status | Result | Slices) -> bytes:
    """Return the frame of what a turret says; what is not set is left out."""
    return _ENCODER.encode(message)


def briefing(order: Order) -> Briefing | None:
    """Return the briefing of an order, or None when the headquarters is not ours."""
    return order.smartmob if isinstance(order.smartmob, Briefing) else None
