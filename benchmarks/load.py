"""The load: wrk for many small requests at once, and one connection of our own for large bodies and for pages."""

from __future__ import annotations

import math
import os
import random
import shutil
import subprocess
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import orjson

from benchmarks import samples
from benchmarks.candidates import Candidate, CannotMeasure

HOW_TO_INSTALL = (
    "The load generator wrk is missing. Install it: `apt install wrk` (Debian, Ubuntu), `brew install wrk` (macOS), "
    "or build it from https://github.com/wg/wrk."
)
_TESTS = 1_000
_TIMEOUT = "30s"  # after which wrk counts an error: longer than any pause of a busy machine
_SCRIPT = """\
-- Posts the lines of a file in turn, and reports as JSON. The requests are made beforehand: it costs a look-up each.
local requests, next_one = {}, 0

function init()
  wrk.method = "POST"
  wrk.headers["Content-Type"] = "application/json"
  for line in io.lines([==[@BODIES@]==]) do
    requests[#requests + 1] = wrk.format(nil, nil, nil, line)
  end
end

function request()
  next_one = next_one % #requests + 1
  return requests[next_one]
end

function done(summary, latency)
  local e = summary.errors
  io.write(string.format(
    '\\nRESULT {"requests": %d, "seconds": %f, "p50": %f, "p99": %f, "non_2xx": %d, "connect": %d, "read": %d, ' ..
    '"write": %d, "timeout": %d}\\n',
    summary.requests, summary.duration / 1e6, latency:percentile(50) / 1e3, latency:percentile(99) / 1e3,
    e.status, e.connect, e.read, e.write, e.timeout))
end
"""
_REQUEST = """\
wrk.method = "{method}"
wrk.headers = {headers}
wrk.body = {body}

"""


def _lua_table(values: dict[str, str]) -> str:
    """Return a table of Lua; the texts have no quotation marks."""
    return "{" + ", ".join(f'["{name}"] = "{text}"' for name, text in values.items()) + "}"


@dataclass(frozen=True, slots=True)
class Posted:
    """The results of wrk in one run; latencies in ms. `errors` maps each kind of failure to its number.

    `cpu_seconds` is the processor time that the server used.
    """

    requests: int
    seconds: float
    p50: float
    p99: float
    errors: dict[str, int]
    cpu_seconds: float

    @property
    def rate(self) -> float:
        """Return the answered requests per second."""
        return self.requests / self.seconds

    @property
    def cpu(self) -> float:
        """Return the server's processor time for each request, in microseconds."""
        return self.cpu_seconds / max(1, self.requests) * 1e6

    def raw(self) -> dict[str, Any]:
        """Return the results as a JSON object."""
        return asdict(self) | {"requests_per_second": self.rate}


class Wrk:
    """The load generator wrk, with one thread and the same request bodies for all candidates."""

    def __init__(self, folder: Path, posts: Iterable[bytes] | None = None) -> None:
        program = shutil.which("wrk")
        if program is None:
            raise CannotMeasure(HOW_TO_INSTALL)
        self._program = program
        bodies, self._script = folder / "bodies.ndjson", folder / "post.lua"
        bodies.write_bytes(b"\n".join(samples.posts(_TESTS) if posts is None else posts) + b"\n")
        self._script.write_text(_SCRIPT.replace("@BODIES@", str(bodies)))

    def version(self) -> str:
        """Return what wrk calls itself, such as `wrk 4.1.0`."""
        said = subprocess.run([self._program, "-v"], capture_output=True, text=True, check=False).stdout
        return " ".join(said.split()[:2])

    def post(self, candidate: Candidate, connections: int, seconds: int) -> Posted:
        """Post metrics for some seconds."""
        return self._run(candidate, connections, seconds, self._script, candidate.metrics_url)

    def request(
        self, candidate: Candidate, connections: int, seconds: int, path: str, headers: dict[str, str], body: str = ""
    ) -> Posted:
        """Send the same request for some seconds: a POST if it has a body."""
        script = self._script.with_name("request.lua")
        script.write_text(_REQUEST.format(
            method="POST" if body else "GET", headers=_lua_table(headers), body=f"[==[{body}]==]" if body else "nil",
        ) + _SCRIPT[_SCRIPT.index("function done"):])  # fmt: skip
        return self._run(candidate, connections, seconds, script, f"http://127.0.0.1:{candidate.port}{path}")

    def _run(self, candidate: Candidate, connections: int, seconds: int, script: Path, url: str) -> Posted:
        command = [
            *(self._program, "-t1", f"-c{connections}", f"-d{seconds}s", "--latency", "--timeout", _TIMEOUT),
            *("-s", str(script), url),
        ]
        used = candidate.cpu_seconds()
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
        used = candidate.cpu_seconds() - used
        _, found, result = done.stdout.partition("\nRESULT ")
        if done.returncode or not found:
            raise CannotMeasure(f"wrk failed ({done.returncode}): {done.stdout[-1000:]}")
        figures = orjson.loads(result)
        kinds = ("non_2xx", "connect", "read", "write", "timeout")
        errors = {kind: figures[kind] for kind in kinds if figures[kind]}
        return Posted(figures["requests"], figures["seconds"], figures["p50"], figures["p99"], errors, used)


def post_ndjson(candidate: Candidate, body: bytes, rows: int) -> float:
    """Post `rows` metrics at once; return how many seconds it took until they were committed."""
    started = time.perf_counter()
    status, answer = candidate.request("POST", "/metrics/", body, "application/x-ndjson")
    seconds = time.perf_counter() - started
    if status != 201 or orjson.loads(answer)["count"] != rows:
        raise CannotMeasure(f"{candidate.name} answered {status} to {rows} lines of NDJSON: {answer[:500]!r}")
    return seconds


@dataclass(frozen=True, slots=True)
class PagesRead:
    """The results of one client that read random pages one after the other; latencies in ms."""

    pages: int
    p50: float
    p99: float


def read_pages(candidate: Candidate, pages: int, requests: int, rows: int) -> PagesRead:
    """Get random ones of `pages` full pages of `rows` metrics, one after the other on one connection."""
    connection = HTTPConnection("127.0.0.1", candidate.port, timeout=600)
    taken = []
    try:
        for page in random.choices(range(1, pages + 1), k=requests):
            started = time.perf_counter()
            connection.request("GET", f"{candidate.prefix}/metrics/?page={page}")
            response = connection.getresponse()
            body = response.read()
            taken.append((time.perf_counter() - started) * 1e3)
            if response.status != 200 or len(orjson.loads(body)["metrics"]) != rows:
                raise CannotMeasure(f"page {page} is answered with {response.status}: {body[:500]!r}")
    finally:
        connection.close()
    return PagesRead(requests, percentile(taken, 0.50), percentile(taken, 0.99))


def sync_to_disk(folder: Path, times: int = 200) -> list[float]:
    """Return how many ms it takes to write 8 KiB to the disk for good, as often as wanted: a commit waits for that."""
    taken = []
    with (folder / "synced").open("wb", buffering=0) as file:
        for _ in range(times):
            file.write(bytes(8192))
            started = time.perf_counter()
            os.fsync(file.fileno())
            taken.append((time.perf_counter() - started) * 1e3)
    (folder / "synced").unlink()
    return taken


def percentile(values: Sequence[float], share: float) -> float:
    """Return the smallest value that at least `share` of the values do not exceed."""
    return sorted(values)[math.ceil(len(values) * share) - 1]
