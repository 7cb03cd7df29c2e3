"""The measured candidates: the installed service and the programs to compare it with, each in its own processes."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import signal
import subprocess
import sys
import sysconfig
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any

import asyncpg
import orjson
import psutil

from benchmarks import samples

ROOT = Path(__file__).resolve().parent.parent
SMARTMOB = "smartmob"
BARE = "bare aiohttp"
COMMITTING = "bare aiohttp that commits"
MONITOR = "monitor-server-api"
MONITOR_REQUIREMENTS = (
    "monitor-server-api==1.1.0",
    # The newest releases with which 1.1.0 works: it pins nothing itself.
    *("Flask==1.1.4", "Werkzeug==1.0.1", "Jinja2==2.11.3", "MarkupSafe==2.0.1", "itsdangerous==1.1.0"),
    *("click==7.1.2", "flask-restx==0.5.1", "Flask-SQLAlchemy==2.5.1", "SQLAlchemy==1.4.54", "jsonschema==4.17.3"),
    *("pandas==1.5.3", "numpy==1.26.4", "gunicorn==23.0.0"),
)
_MONITOR_PYTHON = "python3.11"  # the last one for which pandas 1.5.3 has a wheel
# Only a program that hangs takes so long: tests run some of these on busy machines.
START_SECONDS = 600.0
_STOP_SECONDS = 300.0
_POLL_SECONDS = 0.001


class CannotMeasure(Exception):
    """A program that a benchmark needs is missing."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A running server: where it answers, below which path it takes metrics, and its main process."""

    name: str
    port: int
    prefix: str
    pid: int

    @property
    def metrics_url(self) -> str:
        """Return the address to post metrics to."""
        return f"http://127.0.0.1:{self.port}{self.prefix}/metrics/"

    def request(
        self, method: str, path: str, body: bytes | None = None, media_type: str = "application/json"
    ) -> tuple[int, bytes]:
        """Return status and body of an answer; the connection is closed again."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=600)
        try:
            connection.request(method, self.prefix + path, body, {"Content-Type": media_type} if body else {})
            response = connection.getresponse()
            return response.status, response.read()
        except (OSError, HTTPException) as error:
            raise CannotMeasure(f"{self.name} does not answer {method} {path}: {error!r}") from None
        finally:
            connection.close()

    def cpu_seconds(self) -> float:
        """Return the processor time that the server has used, its children's included; PostgreSQL is none of them."""
        main = psutil.Process(self.pid)
        times = [process.cpu_times() for process in (main, *main.children(recursive=True))]
        return sum(spent.user + spent.system for spent in times)

    def introduce(self) -> None:
        """Post the context and the session that the metrics belong to."""
        for path, document in (("/contexts/", samples.CONTEXT), ("/sessions/", samples.SESSION)):
            status, answer = self.request("POST", path, orjson.dumps(document))
            if status != 201:
                raise CannotMeasure(f"{self.name} answered {status} to POST {path}: {answer[:500]!r}")

    def count(self) -> int:
        """Return how many metrics the server has, once it takes no more of them in."""
        before = -1
        while True:
            status, answer = self.request("GET", "/metrics/count")
            now = int(orjson.loads(answer)["count"]) if status == 200 else 0
            if now == before:
                return now
            before = now


@dataclass(frozen=True, slots=True)
class Service(Candidate):
    """The service; `first_answer` is how many seconds after its start GET /health was answered."""

    data_dir: Path
    first_answer: float

    def memory(self) -> float:
        """Return the resident memory of the process in MB (10^6 bytes), without PostgreSQL's processes."""
        return psutil.Process(self.pid).memory_info().rss / 1e6

    def database_cpu_seconds(self) -> float:
        """Return the processor time that the processes of PostgreSQL which run now have used."""
        pid = int((self.data_dir / "postgres" / "cluster" / "postmaster.pid").read_text().split()[0])
        main = psutil.Process(pid)
        times = [process.cpu_times() for process in (main, *main.children())]
        return sum(spent.user + spent.system for spent in times)

    async def connect(self) -> asyncpg.Connection[Any]:
        """Return a connection to the service's embedded PostgreSQL; the caller must close it."""
        return await asyncpg.connect(
            host=str(self.data_dir / "postgres" / "socket"), user="smartmob_admin", database="smartmob"
        )


@contextmanager
def smartmob(data_dir: Path, **further: str) -> Iterator[Service]:
    """Run the installed command with its defaults and further variables; the access log goes to a file."""
    program = Path(sysconfig.get_path("scripts")) / "smartmob"
    if not program.exists():
        raise CannotMeasure(f"{program} is missing: install the project with `{sys.executable} -m pip install -e .`")
    with service_of([str(program)], data_dir, **further) as service:
        yield service


@contextmanager
def service_of(program: Sequence[str], data_dir: Path, **further: str) -> Iterator[Service]:
    """Run the service by the words of a program.

    It may write bytecode, as an installed one has it: without, a start of a source folder compiles all modules.
    """
    own = ("DATABASE_URL", "PYTHONDONTWRITEBYTECODE")
    defaults = {k: v for k, v in os.environ.items() if not k.startswith("SMARTMOB_") and k not in own}
    log = data_dir.with_name(data_dir.name + ".log")
    started = time.perf_counter()
    command = [*program, "serve", "--port", "0", "--data-dir", str(data_dir)]
    try:
        with running(command, log, defaults | further) as process:
            port = port_of(process, log, rb"event=bind .*port=(\d+)")
            _until_answered(process, log, port, "/health")
            yield Service(SMARTMOB, port, "", process.pid, data_dir, time.perf_counter() - started)
    finally:
        _end_postgres(data_dir)


@contextmanager
def bare(folder: Path, *words: str) -> Iterator[Candidate]:
    """Run the bare handlers; `words` are those of `benchmarks.bare`."""
    log = folder / "bare.log"
    with running([sys.executable, "-m", "benchmarks.bare", *words], log, dict(os.environ)) as process:
        yield Candidate(BARE, port_of(process, log, rb"port=(\d+)"), "", process.pid)


@contextmanager
def bare_commit(folder: Path, service: Service) -> Iterator[Candidate]:
    """Run the bare handler that commits, on the PostgreSQL of a service."""
    log = folder / "bare_commit.log"
    dsn = f"postgresql://smartmob_admin@/smartmob?host={service.data_dir / 'postgres' / 'socket'}"
    with running([sys.executable, "-m", "benchmarks.bare_commit", dsn], log, dict(os.environ)) as process:
        yield Candidate(COMMITTING, port_of(process, log, rb"port=(\d+)"), "", process.pid)


@contextmanager
def monitor_server(folder: Path) -> Iterator[Candidate]:
    """Run PyPI's monitor-server-api under gunicorn with one worker and SQLite on disk."""
    python = _monitor_environment()
    log = folder / "monitor.log"
    command = [
        *(str(python), "-m", "gunicorn", "-w", "1", "-b", "127.0.0.1:0", "--preload"),
        "monitor_server.uwsgi:WSGI_SERVER",
    ]
    database = f"sqlite:///{folder / 'monitor.db'}"
    variables = os.environ | {"FLASK_ENV": "prod", "MONITOR_SERVER_DATABASE_URI": database}
    with running(command, log, variables) as process:
        port = port_of(process, log, rb"Listening at: http://127\.0\.0\.1:(\d+)")
        _until_answered(process, log, port, "/api/v1/metrics/count")
        yield Candidate(MONITOR, port, "/api/v1", process.pid)


@contextmanager
def running(command: Sequence[str], log: Path, variables: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """Run a process until the block ends. CTRL-C reaches only us, who then stop it in order."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, stdout=output, stderr=subprocess.STDOUT, cwd=ROOT, env=variables, start_new_session=True
        )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(_STOP_SECONDS)
        except BaseException:
            # It hangs, or CTRL-C came once more: what is left of its group ends now.
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            raise


def _end_postgres(data_dir: Path) -> None:
    """End the embedded PostgreSQL that a killed service left behind; the service itself stops it."""
    with suppress(OSError, ValueError, IndexError):
        pid = int((data_dir / "postgres" / "cluster" / "postmaster.pid").read_text().split()[0])
        os.kill(pid, signal.SIGQUIT)


def port_of(process: subprocess.Popen[bytes], log: Path, pattern: bytes) -> int:
    """Return the port that the process says it listens on."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if found := re.search(pattern, log.read_bytes()):
            return int(found[1])
        check_alive(process, log)
        time.sleep(_POLL_SECONDS)
    raise CannotMeasure(f"{process.args!r} did not start in {START_SECONDS:g} s; it says:\n{_tail(log)}")


def _until_answered(process: subprocess.Popen[bytes], log: Path, port: int, path: str) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        connection = HTTPConnection("127.0.0.1", port, timeout=START_SECONDS)
        try:
            connection.request("GET", path)
            if connection.getresponse().status < 300:
                return
        except (OSError, HTTPException):
            pass  # not yet
        finally:
            connection.close()
        check_alive(process, log)
        time.sleep(_POLL_SECONDS)
    raise CannotMeasure(f"{process.args!r} did not answer in {START_SECONDS:g} s; it says:\n{_tail(log)}")


def check_alive(process: subprocess.Popen[bytes], log: Path) -> None:
    if process.poll() is not None:
        raise CannotMeasure(f"{process.args!r} ended with {process.returncode}; it says:\n{_tail(log)}")


def _tail(log: Path) -> str:
    return log.read_text(errors="replace")[-2000:]


def _monitor_environment() -> Path:
    """Return the Python of a virtual environment that has monitor-server-api; it is made the first time."""
    interpreter = sys.executable if sys.version_info[:2] == (3, 11) else shutil.which(_MONITOR_PYTHON)
    if interpreter is None:
        raise CannotMeasure(f"{MONITOR} needs {_MONITOR_PYTHON}, which is not on the PATH")
    return environment(MONITOR, interpreter, MONITOR_REQUIREMENTS, "--only-binary", "numpy,pandas")


def environment(name: str, interpreter: str, requirements: Sequence[str], *options: str) -> Path:
    """Return the Python of a virtual environment with these requirements; it is made the first time."""
    key = hashlib.sha256(repr((requirements, interpreter)).encode()).hexdigest()[:12]
    folder = ROOT / ".cache" / "benchmarks" / f"{name}-{key}"
    python = folder / "bin" / "python"
    if not (folder / "complete").exists():
        say(f"Installing {requirements[0]} into {folder.relative_to(ROOT)} (the first time only)")
        pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        for command in ([interpreter, "-m", "venv", "--clear", str(folder)], [*pip, *options, *requirements]):
            done = subprocess.run(command, check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
            if done.returncode:
                raise CannotMeasure(f"{name} could not be installed: {done.stdout.strip()[-500:]}")
        (folder / "complete").touch()
    return python


def say(text: str) -> None:
    """Print a progress line on standard error; only tables go to standard output."""
    print(text, file=sys.stderr, flush=True)
