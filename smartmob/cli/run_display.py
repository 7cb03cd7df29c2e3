"""The display of a running load test: a table and a progress bar on a terminal, otherwise a line per change."""

from __future__ import annotations

from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from smartmob.cli import printing
from smartmob.counts import counted

_BAR_WIDTH = 40  # columns
_MAX_TIMERS = 15  # rows of the table
_MAX_CONDITIONS = 10  # lines


_ALL = ("OK", "failed", "per s", "failed/s", "p50", "p95", "p99", "max", "failed p50", "failed p99")
_NARROW = ("OK", "failed", "per s", "p50", "p95", "p99")
"""The columns of a wide and of a narrow terminal, in which a cell of all columns would lose its unit."""
_WIDE_COLUMNS = 116


class RunDisplay:
    """Shows the state of a run on standard error; use it as a context manager."""

    def __init__(self) -> None:
        self._console = Console(stderr=True, highlight=False)
        self._live = Live(console=self._console, auto_refresh=False, transient=True)
        self._state = ""

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._console.is_terminal:
            self._live.stop()

    def show(self, frame: Mapping[str, Any]) -> None:
        """Show a snapshot of the run."""
        if self._console.is_terminal:
            self._live.update(rendered(frame, self._console.width), refresh=True)
        elif frame["state"] != self._state:
            printing.say(headline(frame))
        self._state = frame["state"]


def headline(frame: Mapping[str, Any]) -> str:
    """Return the state of a run in one line."""
    if frame["state"] == "waiting":
        alive = sum(1 for turret in frame["turrets"] if turret["alive"])
        return f"waiting for turrets: {alive} of {frame['min_turrets']} connected (smartmob turret --tar PACKAGE)"
    said = f"{frame['state']}: {frame['elapsed']:.0f} of {frame['run_time']:g} s"
    return f"{said}, {counted(frame['transactions'], 'transaction')}, {counted(frame['errors'], 'error')}"


def rendered(frame: Mapping[str, Any], columns: int) -> Group:
    """Return the table and the progress bar of a snapshot, for a terminal of `columns` columns."""
    parts: list[Any] = [printing.plain(headline(frame))]
    if frame["state"] != "waiting":
        parts.append(ProgressBar(total=frame["run_time"], completed=frame["elapsed"], width=_BAR_WIDTH))
        table = Table(box=None, pad_edge=False, header_style="bold")
        table.add_column("Timer")
        kept = _ALL if columns >= _WIDE_COLUMNS else _NARROW
        for name in kept:
            table.add_column(name, justify="right", no_wrap=True)
        for name, row in list(frame["timers"].items())[:_MAX_TIMERS]:
            cells = _cells(row)
            table.add_row(*map(printing.plain, (name, *(cells[each] for each in kept))))
        parts.append(table)
        if (more := len(frame["timers"]) - _MAX_TIMERS + frame.get("other_timers", 0)) > 0:
            parts.append(printing.plain(f"and {counted(more, 'more timer')}; see the report"))
    conditions = (frame.get("conditions") or ())[:_MAX_CONDITIONS]
    parts += [printing.plain(f"{row['state']}: {row['condition']}: {row['text']}") for row in conditions]
    alive = [turret for turret in frame["turrets"] if turret["alive"]]
    text = f"turrets: {len(alive)}"
    lost = [turret["name"] for turret in frame["turrets"] if not turret["alive"]]
    busy = [turret["busiest"] for turret in alive if turret["busiest"] is not None]
    text += f", the busiest at {max(busy):.0%} of a core" if busy else ""
    text += f", lost: {', '.join(lost)}" if lost else ""
    parts.append(printing.plain(text))
    return Group(*parts, Text())


def _cells(row: Mapping[str, Any]) -> dict[str, str]:
    """Return the cells of a timer by the names of their columns."""
    counts = {
        **{"OK": row["total"] - row["total_errors"], "failed": row["total_errors"]},
        **{"per s": row["count"], "failed/s": row["errors"]},
    }
    times = {
        **{f"p{share}": row["percentiles"].get(share) for share in ("50", "95", "99")},
        **{"max": row["max"]},
        **{f"failed p{share}": row["failed_percentiles"].get(share) for share in ("50", "99")},
    }
    return {name: f"{count:,}" for name, count in counts.items()} | {
        name: printing.seconds(value) for name, value in times.items()
    }
