"""`smartmob compare`: the real command against a running service."""

from __future__ import annotations

import json
from typing import Any
from xml.etree import ElementTree

import pytest

from tests.acceptance.commands import run
from tests.cli.conftest import Command
from tests.metrics.suites import describe, send

pytestmark = pytest.mark.timeout(900)


@pytest.fixture(name="compare")
async def _compare(client: Any, smartmob: Command) -> Any:
    """Return the caller of `smartmob compare` with a service that has a history and a test that became slower."""
    await describe(client)
    for hour in range(12):
        await send(client, f"s{hour:02}", hour, {"test_3": 0.2} if hour > 9 else {})

    async def call(*arguments: str) -> tuple[int, str, str]:
        return await smartmob("compare", *arguments)

    return call


async def test_the_table_shows_verdicts_and_notes(compare: Any) -> None:
    """It shows the tests that changed, the two sides of the comparison, and notes on the machine."""
    code, output, errors = await compare("run:s09", "latest")
    assert (code, errors) == (0, "")
    assert output.splitlines()[0].rstrip() == "run s11 (of-s11) against run s09 (of-s09), by total_time"
    (line,) = [line for line in output.splitlines() if "test_3" in line]
    assert line.split()[:2] == ["regression", "tests.test_sum::test_3"]
    assert "regression: 1 test of 8 became slower or larger." in output
    assert "All tests together took 1.00 times as much as usual" in output
    assert "7 more are noise; --all shows them." in output
    assert "test_4" not in output
    assert "test_4" in (await compare("run:s09", "latest", "--all"))[1]


async def test_defaults(compare: Any) -> None:
    """The last run against the one before, which was slow already."""
    code, output, _ = await compare("--fail-on", "suspect")
    assert code == 0
    assert output.startswith("run s11 (of-s11) against run s10 (of-s10)")
    assert "noise: None of 8 tests moved more than it usually does." in output


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("run:s09", "run:s11", "--fail-on", "regression"), 1),
        (("run:s09", "run:s11", "--fail-on", "suspect"), 1),
        (("run:s09", "run:s11"), 0),
        (("run:s08", "run:s09", "--fail-on", "suspect"), 0),
        (("run:s09", "run:s11", "--fail-on", "regression", "--min-effect", "200%"), 0),
        (("run:s09", "run:s11", "--fail-on", "regression", "--min-seconds", "0.5"), 0),
        (("run:s09", "nothing"), 2),
        (("run:s09", "s"), 2),
        (("run:s09", "run:s11", "--min-effect", "much"), 2),
        (("run:s09", "run:s11", "--resource", "luck"), 2),
    ],
)
async def test_exit_codes(compare: Any, arguments: tuple[str, ...], code: int) -> None:
    """1 when there is what it should fail on, 2 for what makes no sense."""
    assert (await compare(*arguments))[0] == code


async def test_no_service() -> None:
    """It is 3."""
    assert (await run("compare", SMARTMOB_SERVER="http://127.0.0.1:1"))[0] == 3


async def test_other_formats(compare: Any) -> None:
    """JSON as the route answers it, Markdown and JUnit XML; they end alike."""
    code, output, _ = await compare("run:s09", "run:s11", "--json", "--fail-on", "regression")
    assert (code, json.loads(output)["counts"]["regression"]) == (1, 1)
    assert json.loads((await compare("run:s09", "run:s11", "--format", "json"))[1]) == json.loads(output)
    code, output, _ = await compare("run:s09", "run:s11", "--format", "markdown", "--fail-on", "regression")
    assert (code, output.startswith("### 🔴 Regression: 1 test of 8 became slower")) == (1, True)
    code, output, _ = await compare("run:s09", "run:s11", "--format", "junit", "--fail-on", "regression")
    assert code == 1
    suite = ElementTree.fromstring(output.encode())[0]
    assert (suite.get("tests"), suite.get("failures"), suite.get("skipped")) == ("8", "1", "0")
