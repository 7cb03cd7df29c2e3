"""`smartmob compare`: the real command against a running service."""

from __future__ import annotations

import json
from typing import Any
from xml.etree import ElementTree

import pytest

from tests.acceptance.commands import run
from tests.cli.conftest import Command
from tests.metrics.suites import TESTS, describe, send

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
    assert line.split()[:2] == ["slower", "tests.test_sum::test_3"]
    assert "\nslower: 1 of 8 tests became slower." in output
    assert "All tests together took 1.00 times as much as usual" in output
    assert "7 more tests have no change; --all shows them." in output
    assert "test_4" not in output
    assert "test_4" in (await compare("run:s09", "latest", "--all"))[1]


async def test_the_last_run_is_compared_with_the_one_before(compare: Any) -> None:
    """The last run against the one before, which was slow already: that stays visible."""
    code, output, _ = await compare("--fail-on", "suspect")
    assert code == 0
    assert output.startswith("run s11 (of-s11) against run s10 (of-s10)")
    assert (
        "still slower since of-s10: None of 8 tests became slower or faster. 1 test is still slower than before of-s10."
    ) in output
    (line,) = [line for line in output.splitlines() if "test_3" in line]
    assert line.startswith("still slower since of-s10 ")
    assert "as in the previous run, but slower since of-s10" in line


async def test_compare_ends_with_1_or_2_for_its_reasons(compare: Any) -> None:
    """1 when there is what it should fail on or no run of a name, 2 for what makes no sense."""
    cases = (
        (("run:s09", "run:s11", "--fail-on", "regression"), 1),
        (("run:s09", "run:s11", "--fail-on", "suspect"), 1),
        (("run:s09", "run:s11", "--fail-on", "slower"), 1),
        (("run:s09", "run:s11", "--fail-on", "maybe-slower,cannot-tell"), 1),
        (("run:s09", "run:s11"), 0),
        (("run:s08", "run:s09", "--fail-on", "suspect"), 0),
        (("run:s09", "run:s11", "--fail-on", "regression", "--min-effect", "200%"), 0),
        (("run:s09", "run:s11", "--fail-on", "regression", "--min-seconds", "0.5"), 0),
        (("run:s09", "run:s11", "--fail-on", "shift,gone", "--fail-on", "unfit"), 0),
        (("run:s09", "run:s11", "--fail-on", "gone,regression"), 1),
        (("run:s09", "nothing"), 1),
        (("run:s09", "s"), 2),
        (("run:s09", "run:s11", "--min-effect", "much"), 2),
        (("run:s09", "run:s11", "--resource", "luck"), 2),
    )
    for arguments, code in cases:
        assert (await compare(*arguments))[0] == code, arguments


async def test_the_default_base_is_of_the_branch_of_the_head(client: Any, smartmob: Command) -> None:
    """Runs of other branches and of the same commit are passed over; names that do not exist are one line and 1."""
    await describe(client)
    for hour, (name, commit, branch) in enumerate(
        (("a", "c1", "main"), ("b", "c2", "feature"), ("c", "c3", "main"), ("d", "c4", "feature"), ("e", "c3", "main"))
    ):
        await send(client, name, hour, tags={"pipeline_branch": branch}, scm_ref=commit)
    code, output, _ = await smartmob("compare")
    assert (code, output.startswith("run e (c3) against run a (c1)")) == (0, True), output
    code, output, errors = await smartmob("compare", "nope", "nada")
    assert (code, output) == (1, "")
    assert errors == "smartmob: base: there is no run, session or commit nope; `smartmob tests ls` lists them\n"


async def test_gone_tests_and_a_shift_can_fail(compare: Any, client: Any) -> None:
    """A run with one test of eight, then one on a slower machine, then a word that is not known."""
    await send(client, "s12", 12, {}, tests=["test_0"])
    assert (await compare("run:s09", "run:s12"))[0] == 0
    code, output, errors = await compare("run:s09", "run:s12", "--fail-on", "gone")
    assert (code, errors.strip()) == (1, "--fail-on: gone")
    assert "gone: More tests are gone than were judged (1). 7 tests are gone." in output
    await send(client, "s13", 13, dict.fromkeys(TESTS, 0.15))
    code, output, _ = await compare("run:s09", "run:s13", "--fail-on", "shift", "--format", "junit")
    assert code == 1
    assert ElementTree.fromstring(output.encode())[0].get("failures") == "1"
    code, _, errors = await compare("run:s09", "run:s13", "--fail-on", "regression,luck")
    assert code == 2
    assert "'luck' is not one of slower, maybe-slower, shift, gone, cannot-tell" in errors


async def test_an_unreachable_service_is_exit_code_3() -> None:
    """It is 3."""
    assert (await run("compare", SMARTMOB_SERVER="http://127.0.0.1:1"))[0] == 3


async def test_all_formats_end_with_the_same_code(compare: Any) -> None:
    """JSON as the route answers it, Markdown and JUnit XML; they end alike."""
    code, output, _ = await compare("run:s09", "run:s11", "--json", "--fail-on", "regression")
    assert (code, json.loads(output)["counts"]["regression"]) == (1, 1)
    assert json.loads((await compare("run:s09", "run:s11", "--format", "json"))[1]) == json.loads(output)
    code, output, _ = await compare("run:s09", "run:s11", "--format", "markdown", "--fail-on", "regression")
    assert (code, output.startswith("### 🔴 Slower: 1 of 8 tests became slower")) == (1, True)
    code, output, _ = await compare("run:s09", "run:s11", "--format", "junit", "--fail-on", "regression")
    assert code == 1
    suite = ElementTree.fromstring(output.encode())[0]
    assert (suite.get("tests"), suite.get("failures"), suite.get("skipped")) == ("8", "1", "0")


async def test_the_reason_of_different_machines_is_printed_once(client: Any, smartmob: Command) -> None:
    """No table repeats it; `--across` shows the tests with little confidence, and says the doubt."""
    await describe(client)
    await describe(client, "d" * 32, ram_total=32000)
    for hour in range(6):
        await send(client, f"s{hour}", hour, context_h=("d" if hour == 5 else "c") * 32)
    code, output, _ = await smartmob("compare", "run:s4", "run:s5")
    assert code == 0
    assert output.count("Base and head are of different machines: RAM 16 GB and 32 GB.") == 1
    assert "test_sum" not in output
    markdown = (await smartmob("compare", "run:s4", "run:s5", "--format", "markdown"))[1]
    assert "different machines: RAM 16 GB and 32 GB" in markdown
    assert "test\\_sum" not in markdown
    output = (await smartmob("compare", "run:s4", "run:s5", "--across", "--all"))[1]
    assert "They are compared nevertheless, with low confidence." in output
    assert output.count("tests.test_sum::") == 8
