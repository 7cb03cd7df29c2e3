"""`smartmob demo`, as a newcomer runs it."""

from __future__ import annotations

import io
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from smartmob.cli import demo
from tests.acceptance.commands import run
from tests.cli.terminal import typed

CACHE = Path(__file__).parents[2] / ".cache"


@pytest.mark.interop
@pytest.mark.timeout(900)
async def test_the_demo_with_the_plugin() -> None:
    """It starts a service, runs the bundled suite with the real plugin, shows what came of it, and ends."""
    code, output, errors = await run("demo", "--once", "--with-plugin", XDG_CACHE_HOME=str(CACHE))

    assert code == 0, errors
    assert errors.count("10 passed") == 2
    runs = [line.split() for line in output.splitlines() if "how=" in line]
    assert [(line[-1], line[-3]) for line in runs] == [("how=parallel", runs[0][-3]), ("how=plain", runs[1][-3])]
    assert output.count("test_insertion_sort[") == 4
    assert "smartmob tests ls" in errors
    assert "http://127.0.0.1:8080" in errors


@pytest.mark.timeout(900)
async def test_the_examples_are_worth_seeing() -> None:
    """A slower test, a busy machine, a crash and a load test are shown until CTRL-C; then the service is gone."""
    async with typed("demo", "--no-open", SMARTMOB_UPTIME="1") as shown:
        await shown.says("CTRL-C stops the demo")
        assert re.search(r"(regression|slower) +tests\.shop.*test_checkout", shown.output), shown.output
        assert "by something else" in shown.output
        assert re.search(r"shop\.mailer\.0 +(backoff|starting|running.* s +[1-9]) ", shown.output), shown.output
        assert "mail server" in shown.output
        assert "cart" in shown.output + shown.errors
        url = re.search(r"The console: (http://\S+)", shown.errors)
        assert url is not None
        assert await shown.interrupt() == 0
    code, _, errors = await run("ps", SMARTMOB_SERVER=url[1])
    assert (code, "cannot connect" in errors) == (3, True)


class _Pressing(io.StringIO):
    """A terminal at which CTRL-C is pressed as soon as something is written."""

    def write(self, text: str) -> int:
        signal.raise_signal(signal.SIGINT)
        return super().write(text)


def test_ctrl_c_as_soon_as_it_is_offered(monkeypatch: pytest.MonkeyPatch) -> None:
    """CTRL-C stops the demo also in the moment in which it says so."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    monkeypatch.setattr(sys, "stderr", _Pressing())
    try:
        with subprocess.Popen(["cat"], stdin=subprocess.PIPE) as process:
            demo.stay(process)
            assert process.poll() is None
    finally:
        signal.signal(signal.SIGINT, before)
