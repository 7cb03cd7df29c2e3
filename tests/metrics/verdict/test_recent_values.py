"""The recent values of tests over HTTP: runs of one machine, in the order of time, and the usual value."""

from __future__ import annotations

from typing import Any

import pytest

from tests.metrics.suites import describe, get, send


async def test_values_are_those_of_the_runs_before_on_the_machine(client: Any) -> None:
    """Each run of the machine has a value, None where the test did not run; the usual one leaves out the last."""
    await describe(client)
    await describe(client, "d" * 32, machine_node="rack8")
    for hour in range(4):
        await send(
            client, f"s{hour}", hour, {"test_3": 0.5} if hour == 3 else {}, tests=["test_3", "test_4"][: hour + 1]
        )
    await send(client, "other", 2.5, {"test_3": 9.0}, context_h="d" * 32)
    found = await get(client, "/console/data/tests", run="s3")
    assert (found["unit"], [run["scm_ref"] for run in found["runs"]]) == ("s", ["of-s0", "of-s1", "of-s2", "of-s3"])
    tests = {test["variant"]: test for test in found["tests"]}
    assert tests["test_3"]["values"] == pytest.approx([0.1, 0.101, 0.102, 0.5])
    assert tests["test_3"]["usual"] == pytest.approx(0.101)
    assert tests["test_4"]["values"][0] is None
    assert (await get(client, "/console/data/tests", run="s0"))["tests"][0]["usual"] is None
    memory = await get(client, "/console/data/tests", run="s3", resource="mem_usage")
    assert (memory["unit"], memory["tests"][0]["values"][-1]) == ("MB", 1.0)
    await get(client, "/console/data/tests", status=404, run="none")
    await get(client, "/console/data/tests", status=400, run="s3", resource="colour")
