"""One process and several: measures, samples and pages a second with 1 and 2 workers, beside the bare limit.

`python -m benchmarks.workers [--seconds N] [--rounds N]` from the root of the repository. All candidates run at the
same time and take turns, so that the ratios hold also on a machine that does something else. The processor time of the
service and that of PostgreSQL are told apart: on a machine with two cores they and the load share them, and so the
rates cannot double; on a larger one the sum of both for each request is what a core can be divided by.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import orjson

from benchmarks import stopping
from benchmarks.candidates import Candidate, CannotMeasure, Service, bare, say, smartmob
from benchmarks.load import Posted, Wrk, post_ndjson
from benchmarks.plan import open_folder
from benchmarks.report import Spread, machine_info, table
from benchmarks.samples import ndjson

_CONNECTIONS = 64
_PROCESSES = (1, 2)
_STORED = 5_000
_PAGE = "/metrics/?page=3"
_SAMPLE = '{"cpu_load": 18.5, "mem": 8513, "storage": 81720, "unix_time": 1796000000}'
_KINDS = ("posts", "samples", "pages")


@dataclass(frozen=True, slots=True)
class _Measured:
    """One run of wrk; `database` is the processor time of PostgreSQL in seconds."""

    posted: Posted
    database: float


class _Bench:
    """The running candidates, and what they have done so far."""

    def __init__(self, wrk: Wrk, seconds: int) -> None:
        self._wrk = wrk
        self._seconds = seconds
        self.found: dict[tuple[str, str, int], list[_Measured]] = {}

    def run(self, kind: str, candidate: Candidate, processes: int, client_id: str) -> None:
        before = candidate.database_cpu_seconds() if isinstance(candidate, Service) else 0.0
        if kind == "posts":
            posted = self._wrk.post(candidate, _CONNECTIONS, self._seconds)
        elif kind == "samples":
            headers = {"Content-Type": "application/json", "Authorization": client_id}
            posted = self._wrk.request(candidate, _CONNECTIONS, self._seconds, "/client/bench", headers, _SAMPLE)
        else:
            posted = self._wrk.request(candidate, _CONNECTIONS, self._seconds, _PAGE, {})
        after = candidate.database_cpu_seconds() if isinstance(candidate, Service) else 0.0
        if posted.errors:
            raise CannotMeasure(f"{candidate.name} has answered with errors: {posted.errors}")
        self.found.setdefault((kind, candidate.name, processes), []).append(_Measured(posted, after - before))
        say(f"{kind}, {candidate.name}, {processes}: {posted.rate:,.0f}/s, {posted.cpu:.0f} µs")

    def rows(self) -> Iterator[tuple[str, ...]]:
        """Yield the rows of the report: ratios are medians of those of the rounds."""
        for (kind, name, processes), runs in self.found.items():
            rates = Spread.of(run.posted.rate for run in runs)
            alone = Spread.of(run.posted.rate for run in self.found[kind, name, 1])
            limit = self.found[kind, "bare aiohttp", processes]
            database = Spread.of(run.database / max(1, run.posted.requests) * 1e6 for run in runs)
            yield (
                kind, name, str(processes), rates.text(), rates.over(alone).text(".2f"),
                rates.over(Spread.of(run.posted.rate for run in limit)).text(".2f"),
                Spread.of(run.posted.cpu for run in runs).text(), database.text() if name == "smartmob" else "",
            )  # fmt: skip


def _prepare(service: Service) -> str:
    """Store what the pages show, and return the client id of a machine."""
    service.introduce()
    post_ndjson(service, ndjson(0, _STORED), _STORED)
    status, answer = service.request("POST", "/client/", orjson.dumps({"username": "bench", "password": "secret"}))
    if status != 200:
        raise CannotMeasure(f"the machine was not registered: {answer[:300]!r}")
    return str(orjson.loads(answer)["client_id"])


def measure(folder: Path, seconds: int, rounds: int) -> str:
    """Return the report."""
    bench = _Bench(Wrk(folder), seconds)
    with ExitStack() as stack:
        services = [
            stack.enter_context(smartmob(folder / f"data{number}", SMARTMOB_WORKERS=str(number)))
            for number in _PROCESSES
        ]
        client_ids = [_prepare(service) for service in services]
        page = folder / "page.json"
        page.write_bytes(services[0].request("GET", _PAGE)[1])
        candidates: list[tuple[Candidate, int, str]] = list(zip(services, _PROCESSES, client_ids, strict=True))
        for number in _PROCESSES:
            place = folder / f"bare{number}"
            place.mkdir()
            candidates.append((stack.enter_context(bare(place, str(number), str(page))), number, ""))
        for _ in range(rounds):
            for kind in _KINDS:
                for candidate, number, client_id in candidates:
                    bench.run(kind, candidate, number, client_id)
    head = ("what", "server", "processes", "a second", "/ one process", "/ bare", "CPU µs", "PostgreSQL µs")
    info = machine_info()
    return "\n\n".join(
        (
            "# Workers",
            table(list(info), [list(info.values())]),
            f"Medians of {rounds} rounds (least to greatest) of {seconds} s with {_CONNECTIONS} connections; CPU is "
            "that of one request. The load generator, PostgreSQL and the service share the cores.",
            table(head, bench.rows()),
        )
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print the report; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.workers", description=__doc__)
    parser.add_argument("--seconds", type=int, default=5, help="of each run (default 5)")
    parser.add_argument("--rounds", type=int, default=5, help="rounds (default 5)")
    parser.add_argument("--quick", action="store_true", help="one round of a second: it shows that everything works")
    options = parser.parse_args(arguments)
    if options.quick:
        options.seconds = options.rounds = 1
    try:
        with open_folder(Path(tempfile.gettempdir())) as folder:
            print(measure(folder, options.seconds, options.rounds))
    except CannotMeasure as error:
        print(f"cannot measure: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(stopping.run(main))
