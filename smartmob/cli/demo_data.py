"""The examples that `smartmob demo` shows: a suite with a regression, a busy machine, a crash, and a load with a knee.

All of them are made here, with the same numbers each time, and sent as the files and programs of a person would be.
"""

from __future__ import annotations

import base64
import math
import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from xml.etree import ElementTree

import orjson

from smartmob.client.http import RestClient

MACHINE = "build7"
SLOWER_TEST = "test_checkout"

_COMMITS = ("3f1c9a2", "7be04d1", "a11c0de", "c0ffee7", "d15ea5e", "e4b1a90", "f00dcaf", "0ddba11")
_SLOWER_SINCE = 5
"""The index in _COMMITS from which one test takes longer."""
_BUSY = 3
"""The index in _COMMITS of the run during which another program kept the machine busy."""
LAST_GOOD_COMMIT = _COMMITS[_SLOWER_SINCE - 1]
BUSY_COMMITS = _COMMITS[_BUSY - 1 : _BUSY + 1]
"""The commit before the disturbed run, and its own."""

_SECONDS_APART = 1_800
_RUN_SECONDS = 60
_TESTS = {
    "test_search": 0.31, "test_cart": 0.18, SLOWER_TEST: 0.42, "test_login": 0.12, "test_invoice": 0.65,
    "test_export": 0.93, "test_import": 1.21, "test_mail": 0.09,
}  # fmt: skip
"""Tests and their usual seconds."""
_SLOWER, _BUSIER, _SPREAD = 1.45, 1.6, 0.01  # factors of the usual time, and its relative deviation
_SEED = 20_261_123  # of the random numbers, no unit
_LOAD_SECONDS, _LOAD_KNEE, _LOAD_LAST = 60, 40, 80  # seconds of the run, transactions per second
_LOAD_BASE = 0.05  # seconds of a transaction without load


def runs(now: datetime) -> Iterator[tuple[str, datetime, bytes]]:
    """Yield commit, time and JUnit report of each run of the suite, the oldest first."""
    generator = random.Random(_SEED)  # noqa: S311  # numbers of an example, no secret
    for number, commit in enumerate(_COMMITS):
        began = now - timedelta(seconds=_SECONDS_APART * (len(_COMMITS) - number))
        suite = ElementTree.Element(
            "testsuite", name="shop", timestamp=began.isoformat(timespec="seconds"), hostname=MACHINE
        )
        for name, usual in _TESTS.items():
            factor = _SLOWER if name == SLOWER_TEST and number >= _SLOWER_SINCE else 1.0
            factor *= _BUSIER if number == _BUSY else 1.0
            seconds = usual * factor * generator.gauss(1.0, _SPREAD)
            ElementTree.SubElement(suite, "testcase", classname="tests.shop", name=name, time=f"{seconds:.6f}")
        yield commit, began, ElementTree.tostring(suite)


def samples(now: datetime) -> Iterator[dict[str, float]]:
    """Yield the load of the machine around each run: high during the one that another program disturbed."""
    generator = random.Random(_SEED)  # noqa: S311  # as above
    for number, (_, began, _) in enumerate(runs(now)):
        for second in range(-_RUN_SECONDS, 2 * _RUN_SECONDS, 5):
            busy = 96.0 if number == _BUSY else 22.0
            load = busy + generator.uniform(-2, 2)
            yield {"time": began.timestamp() + second, "cpu_load": load, "mem": 6_100.0, "storage": 41_000.0}


async def send_samples(url: str, now: datetime) -> None:
    """Register the machine and send its load."""
    password = base64.b64encode(random.Random(_SEED).randbytes(12)).decode()  # noqa: S311  # of a service for a demo
    ident = base64.b64encode(f"{MACHINE}:{password}".encode()).decode()
    async with RestClient(url) as rest:
        await rest.post("/client", {"username": MACHINE, "password": password})
        async with rest.socket("/echo") as socket:
            await socket.send_str('{"type":"HELLO"}')
            await socket.receive()
            found = list(samples(now))
            for first in range(0, len(found), 100):
                message = {"type": "BACKFILL", "samples": found[first : first + 100], "client_id": ident}
                await socket.send_str(orjson.dumps(message).decode())
                await socket.receive()


def load_results(now: datetime) -> str:
    """Return results in the CSV of JMeter: a rate that rises, and times that grow steeply above the knee."""
    generator = random.Random(_SEED)  # noqa: S311  # as above
    lines = ["timeStamp,elapsed,label,responseCode,success"]
    start = (now - timedelta(seconds=2 * _LOAD_SECONDS)).timestamp()
    for second in range(_LOAD_SECONDS):
        rate = _LOAD_LAST * (second + 1) / _LOAD_SECONDS
        over = max(0.0, rate - _LOAD_KNEE) / _LOAD_KNEE
        for number in range(max(1, round(rate))):
            elapsed = _LOAD_BASE * math.exp(3.2 * over) * generator.lognormvariate(0, 0.25)
            good = generator.random() > 0.05 * over
            moment = start + second + number / rate
            code = 200 if good else 503
            lines.append(f"{moment * 1e3:.0f},{elapsed * 1e3:.0f},GET /cart,{code},{str(good).lower()}")
    return "\n".join(lines) + "\n"


def crashing_program(folder: Path) -> Path:
    """Write a program that works and one that crashes after a moment, and return their folder."""
    program = folder / "shop"
    program.mkdir()
    (program / "Procfile").write_text(
        "web: echo listening on $PORT; exec sleep 86400\nmailer: echo cannot connect to the mail server; exit 3\n"
    )
    return program


def present() -> datetime:
    """Return the time at which the examples end."""
    from smartmob.kernel.runtime import clock

    return clock.now().astimezone(UTC)
