"""Numbers of several rounds, and their tables."""

from __future__ import annotations

import os
import platform
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from importlib.metadata import version


@dataclass(frozen=True, slots=True)
class Spread:
    """One figure as the rounds gave it."""

    values: tuple[float, ...]

    @classmethod
    def of(cls, values: Iterable[float]) -> Spread:
        """Return the spread of some values, of which there must be one at least."""
        return cls(tuple(values))

    @property
    def median(self) -> float:
        """Return the median."""
        return statistics.median(self.values)

    def over(self, other: Spread) -> Spread:
        """Return the ratios to `other`, round by round: what slowed a round down slowed both."""
        return Spread(tuple(a / b for a, b in zip(self.values, other.values, strict=True)))

    def text(self, form: str = ",.0f") -> str:
        """Return the median with the least and the greatest value, each in a format such as `.2f`."""
        low, high = min(self.values), max(self.values)
        around = f" ({low:{form}} to {high:{form}})" if len(self.values) > 1 else ""
        return f"{self.median:{form}}{around}"


@dataclass(frozen=True, slots=True)
class Goal:
    """A figure that the project wants to reach, and what was reached; None when it could not be measured."""

    what: str
    wanted: float
    reached: float | None
    form: str = ",.0f"
    unit: str = ""
    at_most: bool = False

    @property
    def met(self) -> bool | None:
        """Return whether the goal is met; None when it could not be measured."""
        if self.reached is None:
            return None
        return self.reached < self.wanted if self.at_most else self.reached >= self.wanted

    def row(self) -> tuple[str, ...]:
        """Return the goal as a row of the summary."""
        sign = "<" if self.at_most else ">="
        wanted = f"{sign} {self.wanted:{self.form}}{self.unit}"
        if self.reached is None:
            return (self.what, wanted, "not measured", "", "")
        ratio = f"{self.reached / self.wanted:.2f}"
        return (self.what, wanted, f"{self.reached:{self.form}}{self.unit}", ratio, "yes" if self.met else "**no**")


@dataclass(frozen=True, slots=True)
class Section:
    """The result of one benchmark: tables and remarks as Markdown, goals, and whether the run itself was sound."""

    title: str
    parts: Sequence[str]
    goals: Sequence[Goal] = ()
    sound: bool = True

    def text(self) -> str:
        """Return the section as Markdown."""
        return "\n\n".join((f"## {self.title}", *self.parts))


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table; all columns but the first are set to the right."""
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def summary(goals: Iterable[Goal]) -> str:
    """Return the table of goals."""
    head = ("goal", "wanted", "reached", "reached / wanted", "met")
    return "## Summary\n\n" + table(head, (goal.row() for goal in goals))


def machine_info(**further: str) -> dict[str, str]:
    """Return the conditions of the measurement: date, versions and the number of cores."""
    names = ("smartmob", "aiohttp", "asyncpg", "uvloop")
    versions = {name: version(name) for name in names}
    return {
        "date": date.today().isoformat(),
        "Python": platform.python_version(),
        **versions,
        **further,
        "cores": str(os.cpu_count()),
    }
