"""Conditions on the summary of a load test: `p99>200ms`, `errors>1%`, `login:avg>0.5s`, `rate<1000`, `untrusted`."""

from __future__ import annotations

import operator
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from smartmob.cli import printing
from smartmob.errors import SettingsError
from smartmob.turrets.model import PERCENTILES
from smartmob.turrets.names import ALL_TRANSACTIONS, counted_name

ALL = ALL_TRANSACTIONS
UNTRUSTED = "untrusted"
_FORM = re.compile(
    r"(?:(?P<timer>.+):)?\s*(?P<figure>p\d+(?:\.\d+)?|[a-z]+)\s*(?P<sign>>=|<=|>|<)\s*"
    r"(?P<number>\d+(?:\.\d+)?)\s*(?P<unit>us|ms|s|m|%)?"
)
_SIGNS = {">": operator.gt, ">=": operator.ge, "<": operator.lt, "<=": operator.le}
_TIMES = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0}
_COUNTS = ("count", "errors", "late", "rate", "transactions")
_DURATIONS = ("avg", "max", "min", "stdev")
_SHARES = ("errors", "late")
_KEPT = tuple(f"p{share:g}" for share in PERCENTILES)
_MOST_NAMES_SHOWN = 10  # timers that an error names


@dataclass(frozen=True, slots=True)
class Threshold:
    """A condition: a statistic of a timer, compared with a number (seconds, a count, or a share of all).

    Durations are those of the transactions that succeeded. What cannot be evaluated counts as met, so that the command
    fails: a run in which nothing succeeded says nothing about the latency.
    """

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
            names = ", ".join([name for name, each in summary["timers"].items() if each["count"]][:_MOST_NAMES_SHOWN])
            return f"{self.text}: there are no figures of {self.timer}; timers of this run: {names or 'none'}"
        if self.figure == "errors" and self.timer != ALL and summary["timers"][ALL].get("mixed"):
            return f"{self.text}: turrets of an earlier version do not tell which timer failed"
        value = self._value(figures)
        if value is None:
            return f"{self.text}: all {figures['count']:,} failed, so there is no {self.figure} of a success"
        return f"{self.text}: it is {self._shown(value)}" if _SIGNS[self.sign](value, self.number) else None

    def _value(self, figures: Mapping[str, Any]) -> float | None:
        if self.figure not in _COUNTS and figures["errors"] >= figures["count"]:
            return None  # turrets of an earlier version send durations of failures as if they were of successes
        if self.figure.startswith("p"):
            found: float | None = figures["percentiles"].get(self.figure[1:])
            return found
        value = figures["count" if self.figure == "transactions" else self.figure]
        if value is None:
            return None
        return float(value) / figures["count"] if self.share else float(value)

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
    is_percentile = re.fullmatch(r"p[\d.]+", figure) is not None
    if is_percentile:
        figure = f"p{float(figure[1:]):g}"
        if figure not in _KEPT:
            further = "; p100 is max, p0 is min" if figure in ("p100", "p0") else ""
            raise SettingsError(f"--fail-if {text!r}: percentiles are {', '.join(_KEPT)}{further}")
    is_time = is_percentile or figure in _DURATIONS
    if not is_time and figure not in _COUNTS:
        raise _unknown(text)
    if is_time and unit not in _TIMES:
        raise SettingsError(f"--fail-if {text!r}: {figure} is a time; give it a unit (us, ms, s, m)")
    if not is_time and unit in _TIMES:
        raise SettingsError(f"--fail-if {text!r}: {figure} is no time")
    if unit == "%" and figure not in _SHARES:
        raise SettingsError(f"--fail-if {text!r}: only errors and late can be a share of all")
    factor = _TIMES[unit] if is_time else 0.01 if unit == "%" else 1.0
    number = float(match["number"]) * factor
    most = 1.0 if unit == "%" else float("inf")
    if (match["sign"] == "<" and number == 0) or (match["sign"] == ">" and number >= most) or number > most:
        raise SettingsError(
            f"--fail-if {text!r} can never be met: {figure} is never less than 0{' or more than 100%' * (unit == '%')}"
        )
    if match["sign"] == ">=" and number == 0:
        raise SettingsError(f"--fail-if {text!r} is always met: {figure} is never less than 0")
    timer = (match["timer"] or ALL).strip() or ALL
    timer = timer if timer == ALL else counted_name(timer)
    return Threshold(text, timer, figure, match["sign"], number, share=unit == "%")


def parse_all(texts: Iterable[str]) -> list[Threshold]:
    """Return the conditions in `texts`; raises SettingsError, also for two that compare the same statistic alike."""
    found: dict[tuple[str, str, str, bool], Threshold] = {}
    for text in texts:
        each = parse(text)
        figure = "count" if each.figure == "transactions" else each.figure
        key = each.timer, figure, each.sign[0], each.share
        if key in found:
            raise SettingsError(f"--fail-if {text!r} repeats {found[key].text!r}: give one of them")
        found[key] = each
    return list(found.values())


def _unknown(text: str) -> SettingsError:
    return SettingsError(
        f"--fail-if {text!r} is no condition; write FIGURE>NUMBER or TIMER:FIGURE>NUMBER, such as 'p99>200ms', "
        f"'errors>1%' or 'login:avg>0.5s'. Figures: {', '.join((*_KEPT, *_DURATIONS, *_COUNTS))}, "
        f"and the word {UNTRUSTED}"
    )
