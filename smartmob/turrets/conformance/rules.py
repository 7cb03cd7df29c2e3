"""The rules for the check of a turret, and the finding about each rule."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, NamedTuple

import msgspec

Result = Literal["passed", "failed", "skipped", "not supported"]

LONGEST_FRAME_SHOWN = 300
"""Characters of a wrong frame that are shown."""


class ProtocolRule(NamedTuple):
    """A rule of the turret protocol. A turret need not follow an optional one: it is then `not supported`."""

    name: str
    says: str
    optional: bool = False


RULES = (
    ProtocolRule("announces", "It sends a status when it is ready for a run"),
    ProtocolRule("frames", "Each message is one frame with a JSON object in UTF-8, of 4 MiB at most"),
    ProtocolRule("status-fields", "A status has turret, status, uuid, rampup, script and cannons, each of its type"),
    ProtocolRule("status-values", "The name, the cannons and the rampup in a status are those of the configuration"),
    ProtocolRule("uuid", "The uuid stays the same in a process, and another process has another one"),
    ProtocolRule("documented-keys", "To a headquarters without the key smartmob it sends the documented keys only"),
    ProtocolRule("answers", "It answers each order with a status"),
    ProtocolRule("heartbeat", "It also sends a status every 2 seconds without an order", optional=True),
    ProtocolRule("waits-for-start", "It does no transaction before start"),
    ProtocolRule("starts", "It fires after start"),
    ProtocolRule("running-status", "Its statuses say Running from start to stop"),
    ProtocolRule("rampup", "Its cannons start over rampup seconds"),
    ProtocolRule("cannons", "It fires with the configured number of cannons"),
    ProtocolRule("repeated-start", "start while it fires changes nothing"),
    ProtocolRule("fires-until-stop", "It fires until stop"),
    ProtocolRule("results", "It sends results while it fires"),
    ProtocolRule(
        "result-fields", "A result has elapsed, epoch, scriptrun_time, error and custom_timers, each of its type"
    ),
    ProtocolRule("result-elapsed", "elapsed counts seconds from the start of this run to the end of the transaction"),
    ProtocolRule("result-epoch", "epoch is the time in seconds since 1970"),
    ProtocolRule("result-duration", "scriptrun_time is the duration of the transaction in seconds"),
    ProtocolRule("counts", "There is one result for each transaction"),
    ProtocolRule("stops", "After stop it ends its transactions and is ready again"),
    ProtocolRule("results-before-ready", "It sends all results before it says that it is ready again", optional=True),
    ProtocolRule("spare-stop", "stop changes nothing when it does not fire"),
    ProtocolRule("early-stop", "It follows stop also while its cannons start"),
    ProtocolRule("custom-timers", "Parts of a transaction have timers of their own", optional=True),
    ProtocolRule("context", "The object of set_transaction_context reaches the transactions", optional=True),
    ProtocolRule("unknown-order", "It goes on after an order that it does not know"),
    ProtocolRule("unknown-keys", "It goes on after an order with keys that it does not know"),
    ProtocolRule("broken-orders", "It goes on after an order that cannot be read"),
    ProtocolRule("orders-of-others", "It does not follow the orders for another turret"),
    ProtocolRule("own-orders", "It follows the orders for its own uuid", optional=True),
    ProtocolRule("headquarters-returns", "It announces itself again when the headquarters was away"),
    ProtocolRule("runs-again", "It fires for one run after the other"),
    ProtocolRule("errors", "The result of a transaction that failed has the text of the error"),
    ProtocolRule("survives-errors", "It goes on after transactions that failed"),
    ProtocolRule("returns-while-firing", "It goes on when the headquarters was away while it fired"),
    ProtocolRule("ends-on-sigterm", "It ends on SIGTERM, also while it fires"),
    ProtocolRule("leaves-no-process", "It leaves no process behind"),
    ProtocolRule("briefings", "It fires for a headquarters whose orders have the key smartmob"),
    ProtocolRule("numbered-results", "It numbers its messages, and reports the last number", optional=True),
    ProtocolRule("slices", "It sends slices in place of results", optional=True),
    ProtocolRule("details", "It sends the kinds of errors", optional=True),
    ProtocolRule("curve", "It encrypts with the key in hq_public_key", optional=True),
    ProtocolRule("kill", "It ends on kill", optional=True),
    ProtocolRule("in-time", "The check ends in time"),
)
"""All rules, in the order in which they are reported."""

BY_NAME = {rule.name: rule for rule in RULES}


class RuleResult(msgspec.Struct, frozen=True):
    """The finding about a rule: `why` it was not passed, and the `frame` that shows it, as text."""

    rule: str
    says: str
    result: Result
    optional: bool
    why: str = ""
    frame: str = ""


class RuleFindings:
    """Collects the findings. The first failure of a rule is kept; a rule without any finding was skipped."""

    def __init__(self) -> None:
        self._found: dict[str, RuleResult] = {}

    def passed(self, *names: str) -> None:
        """Record that rules were followed, as far as observed until now."""
        for name in names:
            if not self.has_failed(name):
                self._note(name, "passed", "", b"")

    def failed(self, name: str, why: str, frame: bytes = b"") -> None:
        """Record that a rule was broken; of several failures of a rule, the first one is kept."""
        if not self.has_failed(name):
            self._note(name, "failed", why, frame)

    def unsupported(self, name: str, why: str) -> None:
        """Record that an optional part is not supported."""
        if name not in self._found:
            self._note(name, "not supported", why, b"")

    def skipped(self, names: Iterable[str], why: str) -> None:
        """Record why rules cannot be checked, unless they have a finding already."""
        for name in names:
            if name not in self._found:
                self._note(name, "skipped", why, b"")

    def has_failed(self, name: str) -> bool:
        """Return whether a rule was broken."""
        return name in self._found and self._found[name].result == "failed"

    def checks(self) -> list[RuleResult]:
        """Return the finding about every rule."""
        self.skipped(BY_NAME, "not reached")
        return [self._found[rule.name] for rule in RULES]

    def _note(self, name: str, result: Result, why: str, frame: bytes) -> None:
        rule = BY_NAME[name]
        self._found[name] = RuleResult(name, rule.says, result, rule.optional, why, shown(frame))


def shown(frame: bytes) -> str:
    """Return a frame as text that can be printed, cut if it is long."""
    text = frame[: 4 * LONGEST_FRAME_SHOWN].decode("utf-8", "backslashreplace")
    text = "".join(character if character.isprintable() else ascii(character)[1:-1] for character in text)
    return text if len(text) <= LONGEST_FRAME_SHOWN else text[: LONGEST_FRAME_SHOWN - 1] + "…"
