"""`smartmob demo`, as a newcomer runs it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

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
    async with typed("demo", "--no-open") as demo:
        await demo.says("CTRL-C stops the demo")
        assert re.search(r"(regression|slower) +tests\.shop.*test_checkout", demo.output), demo.output
        assert "by something else" in demo.output
        assert re.search(r"shop\.mailer\.0 +backoff", demo.output)
        assert "mail server" in demo.output
        assert "cart" in demo.output + demo.errors
        url = re.search(r"The console: (http://\S+)", demo.errors)
        assert url is not None
        assert await demo.interrupt() == 0
    code, _, errors = await run("ps", SMARTMOB_SERVER=url[1])
    assert (code, "cannot connect" in errors) == (3, True)
