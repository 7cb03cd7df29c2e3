"""The options of `smartmob fire --find-capacity`, and the conditions that have to hold."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any, TypeVar

import click
import msgspec

from smartmob.cli import thresholds
from smartmob.cli.durations import duration_seconds
from smartmob.errors import SettingsError
from smartmob.turrets.capacity.model import SearchSettings
from smartmob.turrets.capacity.search import SearchBounds

OPTION = "--find-capacity"
USUAL_ERRORS = "errors<1%"
"""The condition on errors of a search that names none: a target that refuses most requests answers the others fast."""
_EXAMPLES = "write 'p99<300ms', 'errors<1%' or 'TIMER:p95<1s'"
_INVERSE = {"<": ">=", "<=": ">"}
_OPPOSITES = {"can never be met": "is always met", "is always met": "can never be met"}
_FORM = re.compile(r"(?P<left>.*[^<>=\s])\s*(?P<sign><=|>=|<|>|=+)\s*(?P<right>[^<>=]+)")
_COMPLETE = re.compile(r".*[<>=]\s*[\d.]+\s*[a-z%]*\s*")
_NOT_FOR_A_RATE = ("count", "rate", "transactions", thresholds.UNTRUSTED)
_MOST_STEPS = 1_000  # steps of a search, as many as can be stored
_LONGEST_STEP_SECONDS = 86_400.0

F = TypeVar("F", bound=Callable[..., Any])


class HeldCondition(msgspec.Struct, frozen=True):
    """A condition that has to hold, such as `p99<300ms`; `inverse` is met when it does not."""

    text: str
    inverse: thresholds.RunCondition

    @property
    def seconds(self) -> float | None:
        """Return the latency that it allows, or None if it is about errors or late starts."""
        return None if self.inverse.statistic in ("errors", "late") else self.inverse.number

    @property
    def errors(self) -> bool:
        """Return whether it is about the errors of all transactions."""
        return self.inverse.statistic == "errors" and self.inverse.timer == thresholds.ALL

    def breach(self, summary: Mapping[str, Any]) -> str | None:
        """Return in one line how a summary breaks the condition, or None if it holds."""
        violation = self.inverse.violation(summary)
        return None if violation is None else self.text + violation.removeprefix(self.inverse.text)


def parse_conditions(text: str) -> list[HeldCondition]:
    """Return the conditions in a text with commas; one on errors is added if there is none. Raises SettingsError."""
    found = [_parse(part) for part in _parts(text)]
    seen: dict[tuple[str, str, bool], HeldCondition] = {}
    for each in found:
        key = each.inverse.timer, each.inverse.statistic, each.inverse.share
        if key in seen:
            raise SettingsError(f"{OPTION} {each.text!r} repeats {seen[key].text!r}: give one of them")
        seen[key] = each
    return found if any(each.errors for each in found) else [*found, _parse(USUAL_ERRORS)]


def _parts(text: str) -> list[str]:
    """Return the single conditions; a comma inside the name of a timer does not end one."""
    parts: list[str] = []
    complete = True
    for piece in text.split(","):
        parts = [*parts, piece] if complete else [*parts[:-1], f"{parts[-1]},{piece}"]
        complete = _COMPLETE.fullmatch(parts[-1]) is not None
    return [part.strip() for part in parts]


def _parse(text: str) -> HeldCondition:
    match = _FORM.fullmatch(text)
    if match is None or match["sign"] not in ("<", "<=", ">", ">="):
        raise SettingsError(f"{OPTION} {text!r} is not a condition; {_EXAMPLES}")
    if match["sign"] not in _INVERSE:
        raise SettingsError(f"{OPTION} {text!r}: give the condition to be met, with <, such as 'p99<300ms'")
    threshold = _inverse(text, f"{match['left']}{_INVERSE[match['sign']]}{match['right']}")
    if threshold.statistic in _NOT_FOR_A_RATE:
        raise SettingsError(
            f"{OPTION} {text!r}: {threshold.statistic} follows from the rate that is searched for; "
            "give a latency, errors or late"
        )
    return HeldCondition(text, threshold)


def _inverse(text: str, inverse: str) -> thresholds.RunCondition:
    """Return the threshold `inverse`, which is met when the condition `text` does not hold; raises SettingsError."""
    try:
        return thresholds.parse(inverse)
    except SettingsError as error:
        reason = str(error).removeprefix(f"--fail-if {inverse!r}").replace(f"--fail-if {inverse!r}", "")
        if "is not a condition" in reason:  # its advice is about conditions that must not hold
            reason = f" is not a condition; {_EXAMPLES}"
        reason = re.sub("|".join(_OPPOSITES), lambda found: _OPPOSITES[found[0]], reason)
        raise SettingsError(f"{OPTION} {text!r}{reason}") from None


class CapacityOptions(msgspec.Struct, frozen=True):
    """The options of a search, validated."""

    conditions: list[HeldCondition]
    settings: SearchSettings

    @property
    def bounds(self) -> SearchBounds:
        """Return the bounds of the search."""
        given = self.settings
        return SearchBounds(given.start_rate, given.max_rate, given.growth, given.resolution, given.repeats)

    @property
    def step_seconds(self) -> float:
        """Return the seconds for which a step fires."""
        return self.settings.warm_up + self.settings.step_time


_FURTHER = {
    "start_rate": ("10", "RATE", "The lowest rate to try, in transactions per second."),
    "max_rate": ("10000", "RATE", "The highest rate to try."),
    "growth": ("2", "FACTOR", "Factor between the rates until one does not meet the conditions."),
    "resolution": ("5%", "SHARE", "End when the lowest rate that failed is this close to the highest that did not."),
    "repeats": ("3", "COUNT", "Number of steps that confirm the reported rate."),
    "step_time": ("10s", "TIME", "Duration of each step."),
    "step_warm_up": ("2s", "TIME", "Warm-up before each step, at the same rate."),
    "cool_down": ("2s", "TIME", "Time without load after a step."),
    "max_time": ("15m", "TIME", "Time after which the search ends with the result so far."),
    "target_host": (
        None,
        "NAME",
        "Machine of the target, by its name in the service, to decide whose limit was reached.",
    ),
}
"""The further options: default, metavar and help. Without --find-capacity none of them may be given."""


def with_capacity_options(command: F) -> F:
    """Add the options of a search; the command gets them as `search`, a CapacityOptions or None."""

    @wraps(command)
    def run(*args: Any, find_capacity: str | None, **kwargs: Any) -> Any:
        given = {name: kwargs.pop(f"capacity_{name}") for name in _FURTHER}
        return command(*args, search=options(find_capacity, given), **kwargs)

    run = click.option(
        OPTION, metavar="CONDITIONS",
        help="Find the highest rate that meets these, such as 'p99<300ms,errors<1%'; the report and the "
        "exit code are those of the search.",
    )(run)  # fmt: skip
    for name, (usual, metavar, text) in reversed(_FURTHER.items()):
        shown = f"  [default: {usual}]" if usual is not None else ""
        flag = f"--{name.replace('_', '-')}"
        run = click.option(
            flag, f"capacity_{name}", metavar=metavar, help=f"With {OPTION}: {text[0].lower()}{text[1:]}{shown}"
        )(run)
    return run  # type: ignore[return-value]  # click keeps the type of what it decorates


def options(text: str | None, given: Mapping[str, str | None]) -> CapacityOptions | None:
    """Return the options of a search, or None without conditions; raises SettingsError and UsageError."""
    if text is None:
        for name, value in given.items():
            if value is not None:
                raise click.UsageError(f"--{name.replace('_', '-')} needs {OPTION} 'p99<300ms'.")
        return None
    conditions = parse_conditions(text)
    values = {name: value if value is not None else _FURTHER[name][0] for name, value in given.items()}
    document = {
        **{name: _number(name, values[name]) for name in ("start_rate", "max_rate", "growth", "repeats")},
        **{name: _seconds(name, values[name]) for name in ("step_time", "cool_down", "max_time")},
        "warm_up": _seconds("step_warm_up", values["step_warm_up"]),
        "resolution": _share("resolution", values["resolution"]),
        "target_host": values["target_host"],
        "conditions": [each.text for each in conditions],
    }
    try:
        settings = msgspec.convert(document, SearchSettings, strict=False)
    except msgspec.ValidationError as error:
        message, _, where = str(error).partition(" - at `$.")
        raise SettingsError(f"--{where.rstrip('`').replace('_', '-')}: {message}") from None
    found = CapacityOptions(conditions, settings)
    if settings.start_rate <= 0 or settings.start_rate > settings.max_rate:
        raise SettingsError("--start-rate must be above 0 and not above --max-rate")
    if settings.step_time < 1:
        raise SettingsError("--step-time must be at least 1s")
    if not 0.001 <= settings.resolution < 1:
        raise SettingsError("--resolution must be from 0.1% to below 100%")
    if settings.growth < 1.05:
        raise SettingsError("--growth must be at least 1.05")
    if found.step_seconds > _LONGEST_STEP_SECONDS:
        raise SettingsError("--step-time and --step-warm-up must not be longer than 24h together")
    if found.bounds.most_steps > _MOST_STEPS:
        raise SettingsError("this search could take more than 1,000 steps: raise --growth or --resolution")
    return found


def _number(name: str, text: str | None) -> float | int:
    try:
        value = float((text or "").removesuffix("/s"))
    except ValueError:
        value = float("nan")
    if not 0 <= value < 1e9:
        raise SettingsError(f"--{name.replace('_', '-')} {text!r} is not a number such as {_FURTHER[name][0]}")
    return value


def _seconds(name: str, text: str | None) -> float:
    return 0.0 if text in ("0", "0s") else duration_seconds(f"--{name.replace('_', '-')}", text or "")


def _share(name: str, text: str | None) -> float:
    try:
        return float((text or "").removesuffix("%")) / (100 if (text or "").endswith("%") else 1)
    except ValueError:
        raise SettingsError(f"--{name} {text!r} is not a share such as 5%") from None
