"""Conditions on the summary of a load test: `p99>200ms`, `errors>1%`, `login:avg>0.5s`, `rate<1000`, `untrusted`."""

from __future__ import annotations

import operator
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from smartmob.cli import printing
from smartmob.errors import SettingsError

ALL = "All transactions"
UNTRUSTED = "untrusted"
_FORM = re.compile(
    r"(?:(?P<timer>.+):)?\s*(?P<figure>p\d+(?:\.\d+)?|[a-z]+)\s*(?P<sign>>=|<=|>|<)\s*"
    r"(?P<number>\d+(?:\.\d+)?)\s*(?P<unit>us|ms|s|m|%)?"
)
_SIGNS = {">": operator.gt, ">=": operator.ge, "<": operator.lt, "<=": operator.le}
_TIMES = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0}
_COUNTS = ("count", "errors", "late", "rate", "transactions")
_DURATIONS = ("avg", "max", "min", "stdev")


@dataclass(frozen=True, slots=True)
class Threshold:
    """A condition: a statistic of a timer, compared with a number (seconds, a count, or a share of all)."""

    text: str
    timer: str
    figure: str
    sign: str
    number: float
    share: bool

    def violation(self, summary: Mapping[str, Any]) -> str | None:
        """Return in one line how a summary meets the condition, or None when it does not."""
        if self.figure == UNTRUSTED:
            return f"{self.text}: {summary['trust']['verdict']}" if summary["trust"]["verdict"] != "yes" else None
        figures = summary["timers"].get(self.timer)
        if figures is None or not figures["count"]:
            return f"{self.text}: there are no figures of {self.timer}"
        value = self._value(figures)
        if value is None:
            known = ", ".join(f"p{share}" for share in figures["percentiles"])
            return f"{self.text}: {self.figure} is not among the percentiles that are kept ({known})"
        return f"{self.text}: it is {self._shown(value)}" if _SIGNS[self.sign](value, self.number) else None

    def _value(self, figures: Mapping[str, Any]) -> float | None:
        if self.figure.startswith("p"):
            share = f"{float(self.figure[1:]):g}"
            found: float | None = figures["percentiles"].get(share)
            return found
        value = float(figures["count" if self.figure == "transactions" else self.figure])
        return value / figures["count"] if self.share else value

    def _shown(self, value: float) -> str:
        if self.share:
            return f"{value:.2%}"
        return f"{value:,.10g}" if self.figure in _COUNTS else printing.seconds(value)


def parse(text: str) -> Threshold:
    """Return the condition in `text`; raises SettingsError that says how to write one."""
    if text.strip() == UNTRUSTED:
        return Threshold(text, ALL, UNTRUSTED, ">", 0.0, share=False)
    match = _FORM.fullmatch(text.strip())
    if match is None:
        raise _unknown(text)
    figure, unit = match["figure"], match["unit"]
    is_time = figure in _DURATIONS or re.fullmatch(r"p[\d.]+", figure) is not None
    if not is_time and figure not in _COUNTS:
        raise _unknown(text)
    if is_time and unit not in _TIMES:
        raise SettingsError(f"--fail-if {text!r}: {figure} is a time; give it a unit (us, ms, s, m)")
    if not is_time and unit in _TIMES:
        raise SettingsError(f"--fail-if {text!r}: {figure} is no time")
    if unit == "%" and figure not in ("errors", "late"):
        raise SettingsError(f"--fail-if {text!r}: only errors and late can be a share of all")
    factor = _TIMES[unit] if is_time else 0.01 if unit == "%" else 1.0
    number = float(match["number"]) * factor
    return Threshold(text, (match["timer"] or ALL).strip(), figure, match["sign"], number, share=unit == "%")


def _unknown(text: str) -> SettingsError:
    return SettingsError(
        f"--fail-if {text!r} is no condition; write FIGURE>NUMBER or TIMER:FIGURE>NUMBER, such as 'p99>200ms', "
        f"'errors>1%' or 'login:avg>0.5s'. Figures: p50 and other percentiles, {', '.join((*_DURATIONS, *_COUNTS))}, "
        f"and the word {UNTRUSTED}"
    )
