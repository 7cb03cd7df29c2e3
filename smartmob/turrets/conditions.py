"""Conditions that a load test must not meet: `p99>200ms`, `errors>1%`, `login:avg>0.5s`, `rate<1000`, `untrusted`.

They come from `fail_if` of a project's configuration and from the command line. No I/O.
"""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec
from msgspec.structs import replace

from smartmob import duration_text
from smartmob.counts import counted
from smartmob.errors import SettingsError
from smartmob.turrets.model import ABORTED, PERCENTILES, ConditionConfig, ConditionResult
from smartmob.turrets.names import ALL_TRANSACTIONS, counted_name

ALL = ALL_TRANSACTIONS
OPTION = "--fail-if"
"""The option of the command line for conditions."""
KEY = "fail_if"
"""The key of a project's configuration that has its conditions."""
UNTRUSTED = "untrusted"
_FORM = re.compile(
    r"(?:(?P<timer>.+):)?\s*(?P<statistic>p\d+(?:\.\d+)?|[a-z]+)\s*(?P<operator>>=|<=|>|<)\s*"
    r"(?P<number>\d+(?:\.\d+)?)\s*(?P<unit>us|ms|s|m|%)?"
)
_OPERATORS = {">": operator.gt, ">=": operator.ge, "<": operator.lt, "<=": operator.le}
_TIMES = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0}
_COUNTS = ("count", "errors", "late", "rate", "transactions")
_DURATIONS = ("avg", "max", "min", "stdev")
_SHARES = ("errors", "late")
_KEPT = tuple(f"p{share:g}" for share in PERCENTILES)
RATE_SECONDS = 15.0
"""Seconds after the start and the rampup of all turrets before a condition on the rate is decided."""
_MOST_NAMES_SHOWN = 10  # timers that an error names
_REQUIRED = {">": "<=", ">=": "<", "<": ">=", "<=": ">"}
"""The comparison that must hold, by the one that must not."""
LEAST_SAMPLES = 10
"""The smallest number of values with which a statistic may abort a run."""
_SMALLEST_SHARE = 0.005
"""A smaller distance would be shown as 0 %."""
_MOST_SAMPLES = 10_000
"""More values are never waited for: a tenth of p99.99, and a share of 0.01 %."""


class RunCondition(msgspec.Struct, frozen=True):
    """A condition: a statistic of a timer, compared with a number (seconds, a count, or a share of all).

    Durations are those of the transactions that succeeded. A condition that cannot be evaluated counts as met, so that
    the command fails: a run without successes says nothing about the latency.
    """

    text: str
    timer: str
    statistic: str
    operator: str
    number: float
    share: bool

    def violation(self, summary: Mapping[str, Any]) -> str | None:
        """Return in one line how a summary meets the condition, or None when it does not."""
        if self.statistic == UNTRUSTED:
            return f"{self.text}: {summary['trust']['verdict']}" if summary["trust"]["verdict"] != "yes" else None
        stats = summary["timers"].get(self.timer)
        if stats is None or not stats["count"]:
            names = ", ".join([name for name, each in summary["timers"].items() if each["count"]][:_MOST_NAMES_SHOWN])
            return f"{self.text}: there are no statistics of {self.timer}; timers of this run: {names or 'none'}"
        if self.statistic == "late" and summary.get("source") is not None:
            return f"{self.text}: it cannot be evaluated, since imported results do not state which starts were late"
        if self.statistic == "errors" and self.timer != ALL and summary["timers"][ALL].get("mixed"):
            return f"{self.text}: turrets of an earlier version do not state which timer failed"
        value = self._value(stats)
        if value is None and stats["errors"] < stats["count"]:
            return f"{self.text}: {self.timer} has no {self.statistic} in this run"
        if value is None:
            return f"{self.text}: all {stats['count']:,} failed, so there is no {self.statistic} of a success"
        return f"{self.text}: it is {self._shown(value)}" if _OPERATORS[self.operator](value, self.number) else None

    def result(self, summary: Mapping[str, Any]) -> ConditionResult:
        """Return how a summary compares with the condition, with the measured value and its distance to the limit."""
        failed = self.violation(summary)
        stats = summary["timers"].get(self.timer)
        value = None if stats is None or not stats["count"] or self.statistic == UNTRUSTED else self._value(stats)
        if self.statistic == "late" and summary.get("source") is not None:
            value = None
        if failed is not None and value is not None and not _OPERATORS[self.operator](value, self.number):
            value = None  # unknown
        samples = 0 if stats is None else self._samples(stats)
        left = None
        if value is not None and self.number:
            left = (self.number - value if self.operator[0] == ">" else value - self.number) / self.number
        return ConditionResult(
            condition=self.text,
            state="passed" if failed is None else "failed",
            text=self._result_text(value, left, samples, failed),
            value=value,
            limit=None if self.statistic == UNTRUSTED else self.number,
            unit="s" if self.is_time else "share" if self.share else "",
            left=left,
            samples=samples,
        )

    @property
    def is_time(self) -> bool:
        """Return whether the statistic is a duration."""
        return self.statistic != UNTRUSTED and self.statistic not in _COUNTS

    @property
    def is_percentile(self) -> bool:
        """Return whether the statistic is a percentile."""
        return self.statistic in _KEPT

    def doubt(self) -> str | None:
        """Return a warning if good results, such as short times, meet the condition; None otherwise."""
        low = self.is_time or self.statistic in _SHARES
        if (
            self.statistic == UNTRUSTED
            or low == (self.operator[0] == ">")
            or self.statistic in ("count", "transactions")
        ):
            return None
        better, turned = ("lower" if low else "higher"), self.text.replace(self.operator, _REQUIRED[self.operator])
        return f"{self.text!r} fails a run whose {self.statistic} is {better}; to fail the others, write {turned!r}"

    def only_at_end(self) -> str | None:
        """Return why the condition can be decided only at the end of a run, or None."""
        if self.statistic == UNTRUSTED:
            return "the verdict on a run is made at its end"
        if (
            self.operator[0] == "<"
            and self.statistic in ("count", "transactions", "errors", "late", "max")
            and not self.share
        ):
            return f"{self.statistic} grows until the end"
        if self.operator[0] == ">" and self.statistic == "min":
            return "min can still fall"
        return None

    def least_samples(self) -> int:
        """Return the number of values that the statistic needs before it can abort a run.

        One value in a hundred is above p99, and one error in fifty is the smallest share above 1 % that is not an
        accident: with fewer values, a single slow or failed transaction would decide.
        """
        if self.is_percentile:
            apart = 1 - float(self.statistic[1:]) / 100
        elif self.share:
            apart = self.number or 1.0
        else:
            return 1 if self.statistic in ("errors", "late", "count", "transactions", "rate") else LEAST_SAMPLES
        return max(LEAST_SAMPLES, min(_MOST_SAMPLES, math.ceil(1 / apart - 1e-9)))

    def _samples(self, stats: Mapping[str, Any]) -> int:
        """Return the number of values behind the statistic: successes for a time, all for a count or a share."""
        if not self.is_time:
            return int(stats["count"])
        return int(stats.get("samples") or max(stats["count"] - stats["errors"], 0))

    def _result_text(self, value: float | None, left: float | None, samples: int, failed: str | None) -> str:
        """Return the result in one line: the value, the comparison, the distance, and the number of values."""
        if self.statistic == UNTRUSTED:
            return "trusted" if failed is None else failed
        if value is None:
            return failed.removeprefix(f"{self.text}: ") if failed is not None else "not measured yet"
        operator = self.operator if failed is not None else _REQUIRED[self.operator]
        timer = "" if self.timer == ALL else f"{self.timer}: "
        measured, limit = self._shown(value), self._shown(self.number)
        if measured == limit and value != self.number:
            measured = f"{value * 100:.12g}%" if self.share else f"{value:.12g}{' s' if self.is_time else ''}"
        said = f"{timer}{self.statistic} {measured} {operator} {limit}"
        if left is not None:
            near = 0 < abs(left) < _SMALLEST_SHARE
            said += f", {'less than 1%' if near else f'{abs(left):,.0%}'} {'beyond' if failed is not None else 'left'}"
        if self.is_time and samples < self.least_samples():
            said += f", of only {counted(samples, 'value')}"
        return said

    def _value(self, stats: Mapping[str, Any]) -> float | None:
        if self.statistic not in _COUNTS and stats["errors"] >= stats["count"]:
            return None  # turrets of an earlier version send durations of failures as if they were of successes
        if self.statistic.startswith("p"):
            found: float | None = stats["percentiles"].get(self.statistic[1:])
            return found
        value = stats["count" if self.statistic == "transactions" else self.statistic]
        if value is None:
            return None
        return float(value) / stats["count"] if self.share else float(value)

    def _shown(self, value: float) -> str:
        if self.share:
            return f"{value:.2%}"
        return f"{value:,.10g}" if self.statistic in _COUNTS else duration_text.seconds(value)


class PlannedCondition(msgspec.Struct, frozen=True):
    """A condition of a run, which may abort it beginning `abort_after` seconds after its start."""

    threshold: RunCondition
    abort: bool = False
    abort_after: float = 0.0


def results_of(
    conditions: Iterable[PlannedCondition], summary: Mapping[str, Any], reason: str | None = None
) -> list[ConditionResult]:
    """Return how a summary compares with all conditions; `reason` says why the run ended early, if it did."""
    made = []
    for each in conditions:
        found = each.threshold.result(summary)
        aborted = each.abort and reason is not None and reason.startswith(_abort_begin(each))
        made.append(replace(found, abort=each.abort, aborted=aborted))
    return made


def not_evaluated(conditions: Iterable[PlannedCondition]) -> list[ConditionResult]:
    """Return the results of conditions of a run that has no value yet."""
    return [
        ConditionResult(condition=each.threshold.text, state="open", text="no value yet", abort=each.abort)
        for each in conditions
    ]


def abort_reason(condition: PlannedCondition, text: str) -> str:
    """Return the reason of a run that a condition has aborted; `text` says how it was met."""
    return f"{_abort_begin(condition)}{text}"


def _abort_begin(condition: PlannedCondition) -> str:
    return f"{ABORTED}{condition.threshold.text}: "


def parse(text: str, source: str = OPTION) -> RunCondition:
    """Return the condition in `text`, which comes from `source`; raises SettingsError that explains the syntax."""
    if text.strip() == UNTRUSTED:
        return RunCondition(text, ALL, UNTRUSTED, ">", 0.0, share=False)
    match = _FORM.fullmatch(text.strip())
    if match is None or (match["timer"] or "").strip() in _METRICS_OF_K6:
        raise _unknown(text, source)
    statistic, unit = match["statistic"], match["unit"]
    is_percentile = re.fullmatch(r"p[\d.]+", statistic) is not None
    if is_percentile:
        statistic = f"p{float(statistic[1:]):g}"
        if statistic not in _KEPT:
            further = "; p100 is max, p0 is min" if statistic in ("p100", "p0") else ""
            raise SettingsError(f"{source} {text!r}: percentiles are {', '.join(_KEPT)}{further}")
    is_time = is_percentile or statistic in _DURATIONS
    if not is_time and statistic not in _COUNTS:
        raise _unknown(text, source)
    if is_time and unit not in _TIMES:
        raise SettingsError(f"{source} {text!r}: {statistic} is a time; give it a unit (us, ms, s, m)")
    if not is_time and unit in _TIMES:
        raise SettingsError(f"{source} {text!r}: {statistic} is not a time")
    if unit == "%" and statistic not in _SHARES:
        raise SettingsError(f"{source} {text!r}: only errors and late can be a share of all")
    factor = _TIMES[unit] if is_time else 0.01 if unit == "%" else 1.0
    number = float(match["number"]) * factor
    most = 1.0 if unit == "%" else float("inf")
    if (match["operator"] == "<" and number == 0) or (match["operator"] == ">" and number >= most) or number > most:
        raise SettingsError(
            f"{source} {text!r} can never be met: "
            f"{statistic} is never less than 0{' or more than 100%' * (unit == '%')}"
        )
    if match["operator"] == ">=" and number == 0:
        raise SettingsError(f"{source} {text!r} is always met: {statistic} is never less than 0")
    timer = (match["timer"] or ALL).strip() or ALL
    timer = timer if timer == ALL else counted_name(timer)
    if statistic == "late" and timer != ALL:
        raise SettingsError(
            f"{source} {text!r} can never be met: transactions start late, not their timers; write late"
        )
    return RunCondition(text, timer, statistic, match["operator"], number, share=unit == "%")


def parse_all(texts: Iterable[str], source: str = OPTION) -> list[RunCondition]:
    """Return the conditions in `texts`; raises SettingsError, also for two that compare the same statistic alike."""
    return [each.threshold for each in planned(list(texts), source)]


def planned(
    given: Sequence[ConditionConfig | str], source: str, *, run_time: float = math.inf, may_repeat: bool = False
) -> list[PlannedCondition]:
    """Return the conditions of one source; raises SettingsError.

    Two conditions on the same statistic are refused, since one of them would never decide. Of two limits one may abort
    the run, while the smaller one only fails it. An abort that is not possible before `run_time` seconds is refused.
    With `may_repeat` the conditions come from two sources: both decide.
    """
    found: dict[tuple[str, str, str, bool, bool], RunCondition] = {}
    made: list[PlannedCondition] = []
    for one in given:
        config = ConditionConfig(condition=one) if isinstance(one, str) else one
        text = config.condition
        each = parse(text, source)
        if config.abort_after and not config.abort:
            raise SettingsError(f'{source} {text!r}: abort_after needs "abort": true beside it')
        if config.abort and (why := each.only_at_end()):
            raise SettingsError(f"{source} {text!r} cannot abort the run: {why}")
        earliest = max(config.abort_after, RATE_SECONDS if each.statistic == "rate" else 0.0)
        if config.abort and earliest >= run_time:
            raise SettingsError(f"{source} {text!r} cannot abort a run of {run_time:g} s before {earliest:g} s")
        statistic = "count" if each.statistic == "transactions" else each.statistic
        key = each.timer, statistic, each.operator[0], each.share, config.abort
        if key in found and not may_repeat:
            raise SettingsError(f"{source} {text!r} repeats {found[key].text!r}: give one of them")
        found[key] = each
        made.append(PlannedCondition(each, config.abort, config.abort_after))
    return made


_OF_K6 = re.compile(
    r"(?:(?P<metric>http_\w+|iteration_\w+|checks|[\w.]+)(?:{[^}]*})?\s*:?\s*)?"
    r"(?P<statistic>p(?P<bracket>\()?\s*(?P<share>\d+(?:\.\d+)?)\s*\)?|med|rate|avg|max|min|count)\s*"
    r"(?P<operator><=|>=|<|>)\s*(?P<number>\d+(?:\.\d+)?)\s*(?P<unit>ms|s)?"
)
"""A threshold as k6 documents it ("Thresholds": `p(95)<500`), with the metric before it as its summary has it."""
_METRICS_OF_K6 = ("http_req_duration", "http_req_failed", "http_req_waiting", "http_reqs", "iteration_duration")
"""Metrics of k6 that are not interpreted as timers here."""
_OTHER_NAMES = {
    **{"med": "p50", "median": "p50", "mean": "avg", "average": "avg", "maximum": "max", "minimum": "min"},
    **{"fails": "errors", "failed": "errors", "failures": "errors", "error": "errors", "stddev": "stdev"},
}
"""Names of statistics in other tools, and those here."""


def _for_k6(text: str) -> str:
    """Return how a threshold of k6 is written here, or ""."""
    match = _OF_K6.fullmatch(text.strip())
    if match is None or not (match["metric"] in _METRICS_OF_K6 or match["bracket"]):
        return ""
    operator, number = match["operator"], match["number"]
    high_is_bad = match["metric"] == "http_req_failed" or match["statistic"] not in ("rate", "count")
    if high_is_bad == (operator[0] == "<"):
        operator = _REQUIRED[operator]  # k6 states what must hold
    if match["metric"] == "http_req_failed":
        own = f"errors{operator}{float(number) * 100:g}%"
    elif match["statistic"] in ("rate", "count"):
        own = f"{match['statistic']}{operator}{number}"
    else:
        statistic = f"p{match['share']}" if match["share"] else _OTHER_NAMES.get(match["statistic"], match["statistic"])
        own = f"{statistic}{operator}{number}{match['unit'] or 'ms'}"
    return f"; a threshold of k6 says what must hold, a condition here what must not: write {own!r}"


def _with_known_statistic(text: str) -> str:
    """Return the correct form of a condition whose statistic has another name in other tools, or ""."""
    match = _FORM.fullmatch(text.strip())
    if match is None or match["statistic"] not in _OTHER_NAMES:
        return ""
    start, end = match.span("statistic")
    start, end = start + len(text) - len(text.lstrip()), end + len(text) - len(text.lstrip())
    return f"; write {text[:start] + _OTHER_NAMES[match['statistic']] + text[end:]!r}"


def _unknown(text: str, source: str) -> SettingsError:
    if own := _for_k6(text) or _with_known_statistic(text):
        return SettingsError(f"{source} {text!r} is not a condition{own}")
    return SettingsError(
        f"{source} {text!r} is not a condition; write STATISTIC>NUMBER or TIMER:STATISTIC>NUMBER, such as 'p99>200ms', "
        f"'errors>1%' or 'login:avg>0.5s'. Statistics: {', '.join((*_KEPT, *_DURATIONS, *_COUNTS))}, "
        f"and the word {UNTRUSTED}"
    )
