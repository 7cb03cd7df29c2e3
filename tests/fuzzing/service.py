"""A service to be fuzzed in a process of its own, and the invariants that hold after each sequence of actions."""

from __future__ import annotations

import http.client
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import hypothesis
import orjson
import psutil

from tests import loop_stalls
from tests.acceptance.commands import environment
from tests.loop_stalls import Stalls
from tests.shared import folder_of_files

SECONDS = 800.0
"""Seconds that one answer may take on a busy machine."""

EXAMPLES = int(os.environ.get("SMARTMOB_FUZZ_EXAMPLES", "0"))
"""Sequences of a long run for each test; 0 is a normal run, which takes the same few each time."""

TIMEOUT = 900 + 10 * EXAMPLES

STEP_SECONDS = 0.5
"""Processor time that one action may take, in seconds. Waiting is not measured: a busy machine makes it long."""
STALL_SECONDS = 0.1
"""The longest stall of the loop, in seconds. With ten busy programs for each processor the longest one was 0.05 s."""
TOLERATED_STALLS = 3
"""Longer stalls that are tolerated in a run if the loop computed for less than STALL_SECONDS, and was blocked.

What is measured is almost free of what else the machine does (`loop_stalls`), but not of a busy disk or a hypervisor:
they blocked the loop for 0.3 s twice in an hour at a load of 40. An action of a state machine cannot be measured again,
but a handler that blocks does it each time.
"""

_JSON = "application/json"
_GROWTH = 64 * 2**20
"""Bytes by which the memory may grow during one sequence."""
_TOTAL_GROWTH = 160 * 2**20
"""Bytes by which the memory may have grown between the first sequence and a later one."""


def settings(examples: int, steps: int) -> hypothesis.settings:
    """Return how many sequences of how many actions are tried: the same ones in a normal run, others in a long one."""
    return hypothesis.settings(
        max_examples=EXAMPLES or examples,
        stateful_step_count=40 if EXAMPLES else steps,
        derandomize=not EXAMPLES,
        database=None,
        # To try a failure again and again for a shorter one takes minutes, where an answer fails to come.
        phases=[hypothesis.Phase.generate],
        report_multiple_bugs=False,
        deadline=None,
        suppress_health_check=list(hypothesis.HealthCheck),
    )


class Service:
    """A running service with all of its ports open."""

    def __init__(self, folder: Path, database_url: str, keys: tuple[str, ...] = ()) -> None:
        self.folder = folder
        self.log = folder / "service.log"
        measured = folder / "stalls"
        self.stalls = Stalls(measured)
        self._read_to = 0
        self._blocked = 0
        self._events: list[dict[str, Any]] = []
        ports = (f"--{name}-port" for name in ("hq-publish", "hq-rc", "hq-external", "conplyent"))
        self.process = subprocess.Popen(
            [
                *(
                    sys.executable,
                    loop_stalls.__file__,
                    measured,
                    "serve",
                    "--port",
                    "0",
                    "--data-dir",
                    folder / "data",
                ),
                *("--log-format", "json", "--logging-endpoint", self.log.as_uri(), "--database-url", database_url),
                *("--hq", *(word for port in ports for word in (port, "0")), "--turrets-quiet", "0.3", *keys),
            ],
            env=environment(),
            stderr=subprocess.DEVNULL,
            cwd=folder,
        )
        self._observed = psutil.Process(self.process.pid)
        self.port = int(self.event("bind", transport="tcp")["port"])
        self.conplyent_port = int(self.event("bind", transport="conplyent")["port"])
        listening = self.event("turrets.listening")
        self.orders_port, self.results_port, self.external_port = (
            int(listening[name]) for name in ("publish_port", "rc_port", "external_port")
        )
        self._first_memory = 0

    def event(self, name: str, **fields: Any) -> dict[str, Any]:
        """Return the first event of the log with that name and these fields; wait for it."""

        def found() -> dict[str, Any] | None:
            assert self.process.poll() is None, "the service has ended"
            self._read()
            wanted = {"event": name, **fields}.items()
            return next((event for event in self._events if wanted <= event.items()), None)

        event: dict[str, Any] = until(found)
        return event

    def get(self, path: str, status: int = 200, **headers: str) -> bytes:
        """Return the body of an answer that must have that status."""
        return self.request("GET", path, None, status, **headers)

    def request(self, method: str, path: str, body: Any, status: int = 200, **headers: str) -> bytes:
        """Send a request, with a body as JSON if there is one; return the body of the answer."""
        line = http.client.HTTPConnection("127.0.0.1", self.port, timeout=SECONDS)
        try:
            line.request(method, path, None if body is None else orjson.dumps(body), {"Content-Type": _JSON} | headers)
            answer = line.getresponse()
            content = answer.read()
        finally:
            line.close()
        assert answer.status == status, content
        return content

    @property
    def seconds(self) -> float:
        """Return the processor time that it has used so far, in seconds."""
        times = self._observed.cpu_times()
        return float(times.user + times.system)

    @property
    def peak(self) -> int:
        """Return the most bytes of memory that it has used since `forget_peak`."""
        text = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(text.split("VmHWM:")[1].split()[0]) * 1024

    def forget_peak(self) -> int:
        """Let `peak` count from what it uses now; return that."""
        Path(f"/proc/{self.process.pid}/clear_refs").write_text("5")
        return int(self._observed.memory_info().rss)

    def check_lives(self) -> None:
        """Fail unless it answers, is ready (so all supervised tasks are alive) and has logged no error."""
        assert self.process.poll() is None, "the service has ended"
        self.get("/health")
        self.get("/ready")
        for event in self._read():
            assert event["level"] not in ("error", "critical"), event
            assert "Traceback" not in str(event), event

    def check_stall(self) -> None:
        """Fail if the event loop has stood still for too long since the last check."""
        stall = self.stalls.longest
        self.stalls.forget()
        if stall.seconds - stall.blocked < STALL_SECONDS <= stall.seconds and self._blocked < TOLERATED_STALLS:
            self._blocked += 1
            return
        assert stall.seconds < STALL_SECONDS, f"the loop stood still for {stall.seconds:.2f} s: {stall}"

    def check_memory(self, before: int) -> None:
        """Fail if it has grown too much since `before`, or since the first sequence."""
        self._first_memory = self._first_memory or before
        grown, total = self.peak - before, before - self._first_memory
        assert grown < _GROWTH, f"a sequence took {grown / 2**20:.0f} MiB of memory"
        assert total < _TOTAL_GROWTH, f"all sequences so far took {total / 2**20:.0f} MiB of memory"

    def stop(self) -> None:
        """Stop it in order."""
        self.process.send_signal(signal.SIGTERM)
        try:
            assert self.process.wait(SECONDS) == 0
        finally:
            self.process.kill()

    def _read(self) -> list[dict[str, Any]]:
        """Return what it has logged since the last look."""
        if not self.log.exists():
            return []
        with self.log.open("rb") as file:
            file.seek(self._read_to)
            # The last line may be half written.
            whole = file.read().rpartition(b"\n")[0]
        if not whole:
            return []
        self._read_to += len(whole) + 1
        events = [orjson.loads(line) for line in whole.split(b"\n")]
        if len(self._events) < 1000:
            self._events += events
        return events


class Sequence:
    """One sequence of actions: compares the time and memory that the service uses with what the actions may take."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self.allowed = STEP_SECONDS
        self._memory = service.forget_peak()
        self._seconds = service.seconds

    def allow(self, seconds: float) -> None:
        """Allow the current action more processor time."""
        self.allowed += seconds

    def check_step(self) -> None:
        """Fail if the last action cost too much processor time, or made the event loop stand still for too long."""
        self.service.check_stall()
        now = self.service.seconds
        spent, self._seconds = now - self._seconds, now
        allowed, self.allowed = self.allowed, STEP_SECONDS
        assert spent < allowed, f"an action cost {spent:.2f} s of processor time"

    def end(self, lines: Iterable[Any], check: Callable[[], None]) -> None:
        """Close connections, also where `check` fails, and then check the service."""
        try:
            check()
        finally:
            for line in lines:
                line.close()
        self.check_end()

    def check_end(self) -> None:
        """Fail unless the service lives and has used little memory."""
        self.check_step()
        self.service.check_lives()
        self.service.check_memory(self._memory)


def until(condition: Callable[[], Any]) -> Any:
    """Return the first true value of `condition`."""
    end = time.monotonic() + SECONDS
    while True:
        if value := condition():
            return value
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.005)


@contextmanager
def running(database_url: str, *arguments: str) -> Iterator[Service]:
    """Run a service until the end of the block."""
    folder = Path(tempfile.mkdtemp(prefix="smartmob-test-", dir=folder_of_files()))
    service = None
    try:
        service = Service(folder, database_url, arguments)
        yield service
    finally:
        if service is not None:
            service.stop()
        shutil.rmtree(folder, ignore_errors=True)
