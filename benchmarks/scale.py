"""The costs of a number of machines and of tests: rows, bytes, processors, network and retention, stage by stage.

`python -m benchmarks.scale` prints the tables of docs/discussions/scale.md; `--write` puts them there. Nothing is
measured here: the costs of one row are those of other benchmarks, each with the command that measures it, and the bytes
on the network are those of messages that the real code encodes.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks import frames, samples
from benchmarks.report import table

PAGE = Path(__file__).parent.parent / "docs" / "discussions" / "scale.md"
BEGIN, END = "<!-- Written by `python -m benchmarks.scale --write`. -->", "<!-- The end of what is written. -->"

_DAY_SECONDS = 86_400
_MACHINES = (10, 1_000, 100_000)
_RUNS_A_DAY, _TESTS_A_RUN = 1_000, 50_000

# Bytes of a row on disk with its indexes: `python -m benchmarks.capacity`, docs/reference/capacity.md.
SAMPLE_BYTES, MINUTE_BYTES, METRIC_BYTES = 249, 430, 457
# Defaults of --hosts-keep-days and --hosts-keep-minutes-days.
KEEP_SAMPLES_DAYS, KEEP_MINUTES_DAYS = 14, 365
KEEP_METRICS_DAYS = 365  # of the example; by default measures are never deleted

# Microseconds of the service's processor for one row: `python -m benchmarks.hosts` (CLIENT_DATA, 1,000 connections) and
# `python -m benchmarks.ingest` (one NDJSON of 200,000 rows: 93,299 rows a second on one core; one post at a time).
SAMPLE_MICROSECONDS, METRIC_MICROSECONDS, POST_MICROSECONDS = 29.7, 1e6 / 93_299, 423.0
# Rows a second of COPY with the indexes of the table on one core of PostgreSQL: `python -m benchmarks.ingest`.
COPIED_A_SECOND = 119_928

# Bytes that a message costs beside its own: the headers of Ethernet, IPv4 and TCP with timestamps, for the message, and
# for its answer of some 60 bytes. Acknowledgements of TCP travel with them.
_HEADER_BYTES = 14 + 20 + 32
_ANSWER_BYTES = 60 + _HEADER_BYTES

CONNECTIONS_OF_A_PROCESS = 10_000  # the default of --hosts-connections


@dataclass(frozen=True, slots=True)
class Machines:
    """Machines that send a sample each second."""

    number: int

    @property
    def samples_a_second(self) -> int:
        """Return the rows that arrive in a second."""
        return self.number

    @property
    def stored_bytes(self) -> int:
        """Return the bytes on disk once the oldest samples and minutes are deleted."""
        seconds, minutes = KEEP_SAMPLES_DAYS * _DAY_SECONDS, KEEP_MINUTES_DAYS * _DAY_SECONDS // 60
        return self.number * (seconds * SAMPLE_BYTES + minutes * MINUTE_BYTES)

    @property
    def network_bits(self) -> float:
        """Return the bits a second to and from the service, with the samples as WebSocket frames."""
        message = len(frames.frame(frames.sample(1.8e9, 0)))
        return self.number * (message + _HEADER_BYTES + _ANSWER_BYTES) * 8

    @property
    def service_cores(self) -> float:
        """Return the processors that the service needs."""
        return self.number * SAMPLE_MICROSECONDS / 1e6

    @property
    def database_cores(self) -> float:
        """Return the least number of processors that PostgreSQL needs to store the samples."""
        return self.number / COPIED_A_SECOND

    @property
    def processes(self) -> int:
        """Return how many processes hold the connections of the machines."""
        return -(-self.number // CONNECTIONS_OF_A_PROCESS)

    @property
    def partitions_bytes(self) -> int:
        """Return the bytes that retention removes in a day, by dropping partitions."""
        return self.number * _DAY_SECONDS * SAMPLE_BYTES


@dataclass(frozen=True, slots=True)
class Suite:
    """A suite of tests that runs several times a day."""

    tests: int
    runs_a_day: int

    @property
    def rows_a_day(self) -> int:
        """Return the measures of a day."""
        return self.tests * self.runs_a_day

    @property
    def rows_a_second(self) -> float:
        """Return the measures of a second, if the runs are spread over the day."""
        return self.rows_a_day / _DAY_SECONDS

    @property
    def stored_bytes(self) -> int:
        """Return the bytes on disk of the days that are kept."""
        return self.rows_a_day * METRIC_BYTES * KEEP_METRICS_DAYS

    @property
    def network_bits(self) -> float:
        """Return the bits a second to the service, one post at a time."""
        metric = len(next(iter(samples.posts(1))))
        return self.rows_a_second * (2 * metric + 500 + _HEADER_BYTES + _ANSWER_BYTES) * 8

    def service_cores(self, microseconds: float) -> float:
        """Return the processors that the service needs if a measure costs so much."""
        return self.rows_a_second * microseconds / 1e6

    @property
    def seconds_a_run(self) -> float:
        """Return how long the measures of one run take as one NDJSON."""
        return self.tests * METRIC_MICROSECONDS / 1e6

    @property
    def database_cores(self) -> float:
        """Return the least number of processors that PostgreSQL needs: each row is stored and later deleted."""
        return 2 * self.rows_a_second / COPIED_A_SECOND


def shown_bytes(size: float) -> str:
    """Return a size in powers of a thousand."""
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if size < 1000:
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:.3g} PB"


def shown_bits(bits: float) -> str:
    """Return a rate in bits a second."""
    return shown_bytes(bits).replace("B", "bit") + "/s"


def shown_cores(cores: float) -> str:
    """Return a number of processors."""
    return "below 0.001" if cores < 0.001 else f"{cores:.2g}"


def _machines(stages: Iterable[Machines]) -> str:
    head = (
        "machines", "rows/s", "rows a day", "on disk", "deleted a day", "network", "cores of the service",
        "cores of PostgreSQL", "processes for the connections",
    )  # fmt: skip
    rows = (
        (
            f"{stage.number:,}",
            f"{stage.samples_a_second:,}",
            f"{stage.samples_a_second * _DAY_SECONDS:,}",
            shown_bytes(stage.stored_bytes),
            shown_bytes(stage.partitions_bytes),
            shown_bits(stage.network_bits),
            shown_cores(stage.service_cores),
            shown_cores(stage.database_cores),
            str(stage.processes),
        )
        for stage in stages
    )
    return table(head, rows)


def _suite(suite: Suite) -> str:
    rows = [
        ("measures a day", f"{suite.rows_a_day:,}"),
        ("measures a second, spread over the day", f"{suite.rows_a_second:,.0f}"),
        ("on disk, kept a year", shown_bytes(suite.stored_bytes)),
        ("on disk, a day more", shown_bytes(suite.rows_a_day * METRIC_BYTES)),
        ("network, one post at a time", shown_bits(suite.network_bits)),
        ("cores of the service, one post at a time", f"{suite.service_cores(POST_MICROSECONDS):.2g}"),
        ("cores of the service, one NDJSON a run", f"{suite.service_cores(METRIC_MICROSECONDS):.2g}"),
        ("a run as one NDJSON takes", f"{suite.seconds_a_run:.2g} s"),
        ("cores of PostgreSQL, stored and later deleted", f"{suite.database_cores:.2g}"),
    ]
    return table(("a suite of 50,000 tests, 1,000 runs a day", ""), rows)


def report() -> str:
    """Return the tables."""
    return "\n\n".join((_machines(map(Machines, _MACHINES)), _suite(Suite(_TESTS_A_RUN, _RUNS_A_DAY))))


def replaced(page: str) -> str:
    """Return the page with the present tables."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n\n{report()}\n\n{END}{after}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the tables, or write them into the page."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scale", description=__doc__)
    parser.add_argument("--write", action="store_true", help=f"write {PAGE.name} anew")
    if parser.parse_args(arguments).write:
        PAGE.write_text(replaced(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
    else:
        print(report())
    return 0


if __name__ == "__main__":
    sys.exit(main())
