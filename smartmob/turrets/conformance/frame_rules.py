"""Reads the frames of a turret, and finds the faults of each single frame. No I/O."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import msgspec

from smartmob.turrets.conformance.rules import RuleFindings
from smartmob.turrets.protocol import FIRING, LONGEST_MESSAGE, TERMINATED

STATUS_KEYS = frozenset(("turret", "status", "uuid", "rampup", "script", "cannons", "canons"))
RESULT_KEYS = frozenset(("turret_name", "elapsed", "epoch", "scriptrun_time", "error", "custom_timers"))


class Configured(NamedTuple):
    """The values of the turret's configuration that its messages repeat; `rampup` is in seconds."""

    name: str
    cannons: int
    rampup: float


class BrokenRule(NamedTuple):
    """A broken rule, with one line that describes the fault."""

    rule: str
    why: str


class ReceivedFrame(msgspec.Struct, frozen=True):
    """A frame of a turret, received `at` seconds of the steady clock and `wall` seconds since 1970.

    `content` is its JSON object; it is empty when the frame has none.
    """

    frame: bytes
    at: float
    wall: float
    content: Mapping[str, Any] = msgspec.field(default_factory=dict)

    @property
    def is_status(self) -> bool:
        """Return whether it is a status: only the key `status` decides."""
        return "status" in self.content

    @property
    def is_result(self) -> bool:
        """Return whether it is a result of one transaction."""
        return bool(self.content) and not self.is_status and "slices" not in self.content

    @property
    def condition(self) -> str:
        """Return the text of a status in lower case."""
        return str(self.content.get("status", "")).strip().lower()

    @property
    def fires(self) -> bool:
        """Return whether it is the status of a turret that fires."""
        return self.is_status and self.condition in FIRING

    @property
    def is_idle(self) -> bool:
        """Return whether it is a status of a turret that could begin to fire."""
        return self.is_status and self.condition not in (*FIRING, *TERMINATED)

    def number(self, key: str) -> float:
        """Return a number, which may be sent as a text; NaN if there is none."""
        found = as_number(self.content.get(key))
        return math.nan if found is None else found


def read(frame: bytes, at: float, wall: float) -> tuple[ReceivedFrame, BrokenRule | None]:
    """Return the message in a frame, and a fault of the frame as a whole, or None."""
    if len(frame) > LONGEST_MESSAGE:
        return ReceivedFrame(frame, at, wall), BrokenRule("frames", f"the message has {len(frame):,} bytes")
    try:
        content = msgspec.json.decode(frame)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        return ReceivedFrame(frame, at, wall), BrokenRule("frames", f"the frame is not JSON in UTF-8: {error}")
    if not isinstance(content, dict) or not content:
        return ReceivedFrame(frame, at, wall), BrokenRule("frames", "the frame has no JSON object with keys")
    return ReceivedFrame(frame, at, wall, content), None


def as_number(value: object) -> float | None:
    """Return a finite number that was sent as a number or as a text, or None."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) and abs(number) <= 1e15 else None


def status_faults(message: ReceivedFrame, configured: Configured, *, extended: bool) -> Iterator[BrokenRule]:
    """Yield the faults of a status; `extended` is whether the headquarters has sent the key `smartmob`."""
    content = message.content
    for key in ("turret", "status", "uuid", "script"):
        value = content.get(key)
        if not isinstance(value, str) or not value.strip():
            yield BrokenRule("status-fields", f"{key} must be a text that is not empty, not {_kind(content, key)}")
        elif len(value) > (1000 if key == "script" else 300):
            yield BrokenRule("status-fields", f"{key} has {len(value)} characters")
    cannons = "canons" if "canons" in content and "cannons" not in content else "cannons"
    for key in ("rampup", cannons):
        if as_number(content.get(key)) is None:
            yield BrokenRule("status-fields", f"{key} must be a number, not {_kind(content, key)}")
    if isinstance(content.get("turret"), str) and content["turret"] not in ("", configured.name):
        yield BrokenRule("status-values", f"turret is {content['turret']!r}, but name is {configured.name!r}")
    for key, wanted in (("rampup", configured.rampup), (cannons, configured.cannons)):
        number = as_number(content.get(key))
        if number is not None and number != wanted:
            yield BrokenRule("status-values", f"{key} is {number:g}, but {wanted:g} is configured")
    if not extended and (further := sorted(set(content) - STATUS_KEYS)):
        yield BrokenRule("documented-keys", f"the status has the further key {further[0]}")


def result_faults(message: ReceivedFrame, configured: Configured, *, extended: bool) -> Iterator[BrokenRule]:
    """Yield the faults of a result; `extended` is whether the headquarters has sent the key `smartmob`."""
    content = message.content
    for key in ("elapsed", "epoch", "scriptrun_time"):
        number = as_number(content.get(key))
        if number is None:
            yield BrokenRule("result-fields", f"{key} must be a number of seconds, not {_kind(content, key)}")
        elif number < 0:
            yield BrokenRule("result-fields", f"{key} is {number:g}, and must not be negative")
    if not isinstance(content.get("error"), str):
        yield BrokenRule("result-fields", f'error must be a text ("" without an error), not {_kind(content, "error")}')
    timers = content.get("custom_timers")
    if not isinstance(timers, dict):
        yield BrokenRule("result-fields", f"custom_timers must be an object, not {_kind(content, 'custom_timers')}")
    else:
        for name, seconds in timers.items():
            number = as_number(seconds)
            if number is None or number < 0:
                yield BrokenRule("result-fields", f"the custom timer {name!r} must be seconds, not {seconds!r:.40}")
                break
    if content.get("turret_name") not in (None, configured.name):
        yield BrokenRule(
            "result-fields", f"turret_name is {content['turret_name']!r:.40}, but name is {configured.name!r}"
        )
    if not extended and (further := sorted(set(content) - RESULT_KEYS)):
        yield BrokenRule("documented-keys", f"the result has the further key {further[0]}")


def judge_frame(message: ReceivedFrame, configured: Configured, findings: RuleFindings, *, extended: bool) -> None:
    """Record the faults of a single message; slices are read by the check of the extension."""
    if message.is_status:
        faults = status_faults(message, configured, extended=extended)
        seen = ["status-fields", "status-values"]
    elif message.is_result:
        faults = result_faults(message, configured, extended=extended)
        seen = ["result-fields"]
    else:
        return
    for fault in faults:
        findings.failed(fault.rule, fault.why, message.frame)
    findings.passed(*seen, *([] if extended else ["documented-keys"]))


def _kind(content: Mapping[str, Any], key: str) -> str:
    return f"{content[key]!r:.40}" if key in content else "missing"
