"""Comparisons over HTTP: a test that becomes slower, environments, busy machines, and cached verdicts."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from smartmob.cli import verdict_formats
from smartmob.kernel.runtime import clock
from tests.each import each
from tests.hosts.samples import register
from tests.metrics.samples import metric, session
from tests.metrics.suites import BASE, TESTS, compare, describe, get, send, verdict_on

SLOW = {"test_3": 0.2}


async def _history(client: Any, number: int = 10, **options: Any) -> None:
    await describe(client)
    for hour in range(number):
        await send(client, f"s{hour:02}", hour, **options)


class TestSlower:
    """A test becomes slower."""

    async def test_a_slower_test_is_first_suspect_and_then_a_regression(self, client: Any) -> None:
        """The second slow session confirms the first, in comparisons and in the verdicts on both runs."""
        await _history(client)
        await send(client, "s10", 10, SLOW)
        first = await compare(client, "s09", "s10")
        assert (first["verdict"], verdict_on(first, "test_3")) == ("suspect", "suspect")
        assert first["counts"] == {
            **dict.fromkeys(("regression", "unfit", "improvement", "gone", "new"), 0),
            **{"suspect": 1, "noise": 7},
        }
        assert verdict_on(await get(client, "/api/v1/runs/s10/verdict"), "test_3") == "suspect"

        await send(client, "s11", 11, SLOW)
        for base, head in (("s09", "s10"), ("s09", "s11"), ("s05", "latest")):
            found = await compare(client, base, head)
            assert (found["verdict"], verdict_on(found, "test_3")) == ("regression", "regression"), (base, head)
        (row,) = (row for row in found["items"] if row["verdict"] == "regression")
        assert found["items"][0] == row
        assert row["corrected_ratio"] == pytest.approx(2.0, rel=0.05)
        assert (row["path"], row["variant"], row["confidence"]) == ("tests.test_sum", "test_3", "normal")
        assert row["sessions"] == 6
        for run in ("s10", "s11"):
            assert verdict_on(await get(client, f"/runs/{run}/verdict"), "test_3") == "regression"
        await send(client, "s12", 12, SLOW)
        assert (await get(client, "/runs/s12/verdict"))["verdict"] == "noise"

    async def test_a_slow_session_that_is_not_repeated_is_noise(self, client: Any) -> None:
        """A single slow session is cleared by the next one."""
        await _history(client)
        await send(client, "s10", 10, SLOW)
        await send(client, "s11", 11)
        found = await compare(client, "s09", "s10")
        assert (found["verdict"], verdict_on(found, "test_3")) == ("noise", "noise")

    async def test_a_faster_test_is_an_improvement_once_confirmed(self, client: Any) -> None:
        """The first faster session is no alarm."""
        await _history(client)
        await send(client, "s10", 10, {"test_3": 0.05})
        assert (await compare(client, "s09", "s10"))["verdict"] == "noise"
        await send(client, "s11", 11, {"test_3": 0.05})
        found = await compare(client, "s09", "s11")
        assert (found["verdict"], verdict_on(found, "test_3")) == ("improvement", "improvement")

    async def test_a_slow_machine_is_reported_and_no_test(self, client: Any) -> None:
        """A shift of all tests is a finding about the machine."""
        await _history(client)
        await send(client, "s10", 10, dict.fromkeys(TESTS, 0.15))
        found = await compare(client, "s09", "s10")
        assert (found["verdict"], found["shift"]["verdict"]) == ("noise", "slower")
        assert found["shift"]["ratio"] == pytest.approx(1.5, rel=0.03)
        assert "look for the cause in the machine" in found["shift"]["explanation"]

    async def test_the_least_of_several_executions_counts(self, client: Any) -> None:
        """Of several executions in a session the fastest counts."""
        await _history(client)
        await send(client, "s10", 10, SLOW)
        await send(client, "s10", 10)
        assert (await compare(client, "s09", "s10"))["verdict"] == "noise"

    async def test_parallel_sessions_are_compared_as_one_run(self, client: Any) -> None:
        """A test that one worker ran at the usual speed is not slower."""
        await describe(client)
        for hour in range(11):
            for worker in range(2):
                times = {"test_3": 0.2} if hour == 10 and worker else {}
                await send(client, f"s{hour:02}-{worker}", hour + worker / 3600, times, scm_ref=f"commit-{hour:02}")
        found = await compare(client, "commit-09", "commit-10")
        # The other worker has run the same test in time.
        assert found["verdict"] == "noise"
        assert found["head"]["sessions"] == ["s10-0", "s10-1"]
        assert found["contexts"][0]["sessions"] == 10

    async def test_resources_are_compared_in_their_units(self, client: Any) -> None:
        """Memory and CPU are compared in MB and cores."""
        await _history(client)
        await send(client, "s10", 10, measures={"mem_usage": 50.0, "cpu_usage": 0.5})
        await send(client, "s11", 11, measures={"mem_usage": 50.0, "cpu_usage": 0.5})
        found = await compare(client, "s09", "s11", resource="mem_usage")
        assert (found["unit"], found["verdict"], found["counts"]["regression"]) == ("MB", "regression", 8)
        assert (await compare(client, "s09", "s11", resource="cpu_usage"))["verdict"] == "noise"

    async def test_limits_of_the_request_apply(self, client: Any) -> None:
        """The request sets the least effect, the least change, and the number of tests."""
        await _history(client)
        for hour in (10, 11):
            await send(client, f"s{hour}", hour, {"test_3": 0.13})
        assert (await compare(client, "s09", "s11"))["verdict"] == "regression"
        assert (await compare(client, "s09", "s11", min_effect="0.5"))["verdict"] == "noise"
        assert (await compare(client, "s09", "s11", min_change="0.05"))["verdict"] == "noise"
        limited = await compare(client, "s09", "s11", limit="1")
        assert [row["item"] for row in limited["items"]] == ["test_3"]


class TestSides:
    """Tests that only one side has, and little data."""

    async def test_gone_tests_are_the_verdict(self, client: Any) -> None:
        """With one test left of eight, and with none, the verdict is that tests are gone."""
        await _history(client)
        await send(client, "s10", 10, tests=TESTS[:1])
        found = await compare(client, "s09", "s10")
        assert (found["verdict"], found["counts"]["gone"], found["alarms"]) == ("gone", 7, ["gone"])
        await send(client, "s11", 11, tests=["test_other"])
        found = await compare(client, "s09", "s11")
        assert (found["verdict"], found["counts"]["gone"], found["counts"]["new"]) == ("gone", 8, 1)
        await send(client, "s12", 12, tests=[])
        found = await compare(client, "s09", "s12")
        assert (found["verdict"], found["counts"]["gone"]) == ("gone", 8)
        assert "neither side has a measured test" in (await get(client, "/runs/s12/verdict"))["explanation"]
        found = await compare(client, "s12", "s11")
        assert (found["verdict"], found["alarms"]) == ("unfit", ["unfit"])

    async def test_little_data_says_what_is_missing(self, client: Any) -> None:
        """Two runs of two tests say what is missing, name the largest difference, and accuse no machine."""
        await describe(client)
        await send(client, "s00", 0, tests=TESTS[2:4])
        await send(client, "s01", 1, SLOW, tests=TESTS[2:4])
        found = await compare(client, "s00", "s01")
        assert found["verdict"] == "unfit"
        assert "too little history (1 of 5 runs), and too few tests (2 of 5)" in found["explanation"]
        assert "The largest difference is that of tests.test_sum::test_3, 2.02 times" in found["explanation"]

    async def test_a_small_shift_of_unknown_usual_size_is_no_slower_machine(self, client: Any) -> None:
        """After one earlier run, 3 % more in all tests accuse no machine."""
        await describe(client)
        await send(client, "s00", 0)
        await send(client, "s03", 3, dict.fromkeys(TESTS, 0.104))
        found = await compare(client, "s00", "s03")
        assert (found["shift"]["verdict"], found["shift"]["usual"]) == ("unknown", None)
        assert "machine" not in found["explanation"]

    async def test_a_renamed_test_keeps_its_history(self, client: Any) -> None:
        """A moved file is told in the rows and the summary, and a moved test that became slower is a regression."""
        await _history(client, tests=[f"tests.test_a::test_{n}" for n in range(8)])
        moved = [f"tests.unit.test_a::test_{n}" for n in range(8)]
        for hour in (10, 11):
            await send(client, f"s{hour}", hour, {"tests.unit.test_a::test_3": 0.2}, tests=moved)
        found = await compare(client, "s09", "s10")
        assert (found["renamed"], found["counts"]["gone"], found["counts"]["new"]) == (8, 0, 0)
        assert (found["verdict"], verdict_on(found, "test_3")) == ("regression", "regression")
        assert found["items"][0]["renamed_from"] == "tests.test_a::test_3"
        assert found["items"][0]["sessions"] == 10
        assert "8 tests were renamed." in found["explanation"]
        verdict = await get(client, "/runs/s10/verdict")
        assert len(verdict["items"]) == 8

    async def test_a_missing_measure_is_not_a_missing_test(self, client: Any) -> None:
        """A head from a file without the resource has executed its tests: they are unfit, not gone."""
        await _history(client, 2)
        sent = session("s02", run_date=BASE.isoformat(), scm_ref="x", description={})
        rows = [
            metric(session_h="s02", context_h="c" * 32, item=name, item_variant=name, kind="function", mem_usage=None)
            for name in TESTS
        ]
        assert (await client.post("/sessions/", json=sent)).status == 201
        answer = await client.post("/sessions/s02/metrics?offset=0", json=rows)
        assert answer.status == 201, await answer.text()
        found = await compare(client, "s01", "s02", resource="mem_usage")
        assert (found["verdict"], found["counts"]["unfit"], found["counts"]["gone"]) == ("unfit", 8, 0)
        assert "the head executed it without a value of mem_usage" in found["explanation"]


class TestContexts:
    """Only measures of one environment are compared."""

    async def test_runs_of_another_python_are_unfit(self, client: Any) -> None:
        """The explanation names the difference of the environments."""
        await _history(client)
        await describe(client, "d" * 32, python_info="3.14.0")
        await send(client, "s10", 10, SLOW, context_h="d" * 32)
        found = await compare(client, "s09", "s10")
        assert (found["verdict"], found["counts"]["unfit"], found["contexts"]) == ("unfit", 8, [])
        assert "different Pythons: 3.11 and 3.14" in found["explanation"]

    async def test_another_frequency_is_the_same_environment(self, client: Any) -> None:
        """The plugin sends the frequency of the moment, which does not change the environment."""
        for hour in range(12):
            await describe(client, f"{hour:032}", cpu_frequency=2000.0 + hour)
            await send(client, f"s{hour:02}", hour, SLOW if hour > 9 else {}, context_h=f"{hour:032}")
        found = await compare(client, "s09", "s11")
        assert (found["verdict"], len(found["contexts"]), found["contexts"][0]["sessions"]) == ("regression", 1, 10)

    async def test_a_commit_on_two_machines_is_compared_on_each(self, client: Any) -> None:
        """Each environment has its own findings."""
        await describe(client, "c" * 32)
        await describe(client, "d" * 32, machine_node="rack8")
        for hour in range(12):
            for letter in "cd":
                times = SLOW if hour > 9 and letter == "d" else {}
                await send(
                    client, f"{letter}{hour:02}", hour, times, context_h=letter * 32, scm_ref=f"commit-{hour:02}"
                )
        found = await compare(client, "commit-09", "commit-11")
        assert [one["machine_node"] for one in found["contexts"]] == ["rack7", "rack8"]
        assert found["counts"] | {"regression": 1, "noise": 15} == found["counts"]
        assert found["items"][0]["context_h"] == "d" * 32

    async def test_an_unknown_context_is_an_environment_of_its_own(self, client: Any) -> None:
        """Without the context, its hash alone identifies the environment."""
        for hour in range(12):
            await send(client, f"s{hour:02}", hour, SLOW if hour > 9 else {})
        assert (await compare(client, "s09", "s11"))["verdict"] == "regression"

    async def test_runs_of_another_branch_confirm_nothing(self, client: Any) -> None:
        """A run of another branch neither confirms nor clears."""
        await _history(client, tags={"pipeline_branch": "main"})
        await send(client, "s10", 10, SLOW, tags={"pipeline_branch": "feature"})
        await send(client, "s11", 11, tags={"pipeline_branch": "main"})
        assert (await compare(client, "s09", "s10"))["verdict"] == "suspect"
        await send(client, "s12", 12, SLOW, tags={"pipeline_branch": "feature"}, scm_ref="of-s10")
        assert (await compare(client, "s09", "s10"))["verdict"] == "regression"

    async def test_the_first_run_is_unfit(self, client: Any) -> None:
        """A run without earlier runs cannot be judged."""
        await _history(client, 1)
        found = await get(client, "/api/v1/runs/s00/verdict")
        assert (found["verdict"], found["base"], found["counts"]["unfit"]) == ("unfit", None, 8)
        assert "no earlier run" in found["explanation"]

    async def test_two_runs_are_compared_with_low_confidence(self, client: Any) -> None:
        """The verdicts on a history of one run have low confidence."""
        await _history(client, 1)
        await send(client, "s01", 1, SLOW)
        found = await compare(client, "s00", "s01")
        assert found["verdict"] == "suspect"
        assert {row["confidence"] for row in found["items"]} == {"low"}
        assert "low confidence" in found["items"][0]["reason"]

    async def test_new_and_gone_tests_are_no_regressions(self, client: Any) -> None:
        """Tests on one side only are listed, and do not change the overall verdict."""
        await _history(client)
        await send(client, "s10", 10, {"test_new": 5.0})
        found = await compare(client, "s09", "s10")
        assert (found["verdict"], verdict_on(found, "test_new"), found["counts"]["new"]) == ("noise", "new", 1)
        back = await compare(client, "s10", "s09")
        assert (verdict_on(back, "test_new"), back["counts"]["gone"]) == ("gone", 1)


class TestBusyMachine:
    """Runs on a machine that was busy with other programs."""

    async def _run(self, client: Any, ident: str, name: str, hour: int, cpu: float, **options: Any) -> None:
        start = clock.now() - timedelta(hours=20)
        await send(client, name, hour, start=start, **options)
        begun = (start + timedelta(hours=hour)).timestamp()
        # The longest test lasts for 20 s.
        for second in (1, 5, 9):
            sample = {"cpu": cpu, "unix_time": str(begun + second)}
            headers = {"Authorization": ident}
            async with client.post("/client/rack7", json=sample, headers=headers) as response:
                assert response.status == 202, await response.text()

    async def test_a_run_on_a_busy_machine_is_unfit(self, client: Any) -> None:
        """A run at 95 % load by others is unfit, and confirms nothing later."""
        await describe(client)
        ident = await register(client, "rack7")
        times = {"test_0": 20.0}
        for hour in range(10):
            await self._run(client, ident, f"s{hour:02}", hour, 10.0, times=times)
        await self._run(client, ident, "s10", 10, 95.0, times=times | SLOW)
        found = await compare(client, "s09", "s10")
        assert (found["verdict"], found["counts"]["unfit"]) == ("unfit", 8)
        host = found["contexts"][0]["host"]
        assert (host["host"], host["busy"], host["cpu"], host["usual"]) == ("rack7", True, 95.0, pytest.approx(10.0))
        assert "95% busy" in found["explanation"]
        assert ".." not in found["explanation"]
        assert not any("% busy" in note for note in verdict_formats.notes(found))
        assert (await get(client, "/runs/s10/verdict"))["verdict"] == "unfit"

        # What was measured on a busy machine confirms nothing later.
        await self._run(client, ident, "s11", 11, 10.0, times=times | SLOW)
        assert (await compare(client, "s09", "s11"))["verdict"] == "suspect"
        assert (await get(client, "/runs/s11/verdict"))["verdict"] == "suspect"

    async def test_the_load_by_the_tests_makes_no_run_unfit(self, client: Any) -> None:
        """The processor time of the tests is subtracted from the load."""
        await describe(client, cpu_count=1)
        ident = await register(client, "rack7")
        for hour in range(11):
            measures = {"user_time": 2.3, "kernel_time": 0.0}
            await self._run(client, ident, f"s{hour:02}", hour, 95.0, times={"test_0": 20.0}, measures=measures)
        found = await compare(client, "s09", "s10")
        assert found["verdict"] == "noise"
        assert found["contexts"][0]["host"]["tests"] == pytest.approx(92.0, abs=3.0)

    async def test_a_busy_base_makes_two_runs_unfit(self, client: Any) -> None:
        """With two runs alone, the base must be fit as well."""
        await describe(client)
        ident = await register(client, "rack7")
        await self._run(client, ident, "s00", 0, 10.0, times={"test_0": 20.0})
        await self._run(client, ident, "s01", 1, 10.0, times={"test_0": 20.0})
        await self._run(client, ident, "s02", 2, 95.0, times={"test_0": 20.0} | SLOW)
        await self._run(client, ident, "s03", 3, 10.0, times={"test_0": 20.0})
        found = await compare(client, "s02", "s03")
        assert (found["verdict"], "while the base ran" in found["explanation"]) == ("unfit", True)


class TestCachedVerdicts:
    """Verdicts on runs are cached until stored data can change them."""

    async def test_a_new_session_changes_the_verdict_on_the_run_before(self, client: Any) -> None:
        """The next session invalidates the cached verdict."""
        await _history(client)
        await send(client, "s10", 10, SLOW)
        for _ in range(2):
            assert (await get(client, "/runs/s10/verdict"))["verdict"] == "suspect"
        await send(client, "s11", 11, SLOW)
        assert (await get(client, "/runs/s10/verdict"))["verdict"] == "regression"

    async def test_late_metrics_and_deletions_change_the_verdict(self, client: Any) -> None:
        """New metrics of the run and deleted sessions invalidate the cached verdict."""
        await _history(client)
        await send(client, "s10", 10, SLOW)
        assert (await get(client, "/runs/s10/verdict"))["verdict"] == "suspect"
        await send(client, "s10", 10)
        assert (await get(client, "/runs/s10/verdict"))["verdict"] == "noise"
        for hour in range(10):
            assert (await client.delete(f"/sessions/s{hour:02}")).status == 200
        assert (await get(client, "/runs/s10/verdict"))["verdict"] == "unfit"

    async def test_an_unknown_run_or_resource_is_refused(self, client: Any) -> None:
        """An unknown run answers 404, and an unknown resource 400."""
        await get(client, "/runs/nothing/verdict", 404)
        await _history(client, 1)
        problem = await get(client, "/runs/s00/verdict", 400, resource="luck")
        assert problem["errors"][0]["where"] == "resource"


@each(
    "query, where",
    [
        ({"resource": "x"}, "resource"),
        ({"min_effect": "-1"}, "min_effect"),
        ({"min_change": "nan"}, "min_change"),
        ({"limit": "0"}, "limit"),
        ({"base": ""}, "base"),
        ({"head": "a\0"}, "head"),
    ],
)
async def test_invalid_arguments_are_named(client: Any, query: dict[str, str], where: str) -> None:
    """An invalid argument answers 400 with its name."""
    problem = await get(client, "/compare", 400, **query)
    assert problem["errors"][0]["where"] == where


class TestClasses:
    """Methods of several classes of one module."""

    async def test_methods_of_two_classes_are_two_tests_where_the_location_has_the_class(self, client: Any) -> None:
        """Only the method of the class that became slower is slower, and its series has only its executions."""
        await describe(client)
        locations = ("test_a.py::TestA::test_ok", "test_a.py::TestB::test_ok")
        for hour in range(12):
            await send(client, f"s{hour:02}", hour)
            rows = [
                metric(
                    **{"session_h": f"s{hour:02}", "context_h": "c" * 32, "kind": "function", "item_path": "test_a"},
                    **{"item": "test_ok", "item_variant": "test_ok", "item_fs_loc": location},
                    total_time=(0.2 if hour > 9 and "TestB" in location else 0.1) * (1.0 + 0.01 * (hour % 3)),
                )
                for location in locations
            ]
            async with client.post("/metrics/", json=rows) as response:
                assert response.status == 201
        found = await compare(client, "s09", "s11")
        (row,) = [row for row in found["items"] if row["verdict"] == "regression"]
        assert (row["variant"], row["word"]) == ("TestB::test_ok", "slower")
        series = await get(client, f"/items/{row['item_id']}/series")
        assert (series["variant"], len(series["points"])) == ("TestB::test_ok", 12)
        assert found["words"]["noise"] == "no change"

    async def test_methods_that_share_a_name_say_so(self, client: Any) -> None:
        """The unchanged plugin sends no class: the reason has the number of executions of which the least counts."""
        await describe(client)
        for hour in range(7):
            await send(client, f"s{hour:02}", hour)
            await send(client, f"s{hour:02}", hour, tests=["test_1"], times={"test_1": 0.3})
        found = await compare(client, "s05", "s06")
        reasons = {row["item"]: row["reason"] for row in found["items"]}
        assert reasons["test_1"].endswith("; the least of 2 executions with this name")
        assert "executions" not in reasons["test_2"]
