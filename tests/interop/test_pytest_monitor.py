"""The unmodified pytest-monitor plugin measures real suites and sends what it measured to a running service."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any
from urllib.parse import quote

import pytest
from yarl import URL

from smartmob.feature_settings import MetricsSettings
from tests.interop.children import COMMIT, FREQUENCY, Suite
from tests.interop.stored import count, get, in_pymon, items, rows, url
from tests.waiting import SECONDS

pytestmark = [pytest.mark.interop, pytest.mark.timeout(900)]

PASSING = """
    def test_first():
        pass

    def test_second():
        pass
"""
SUITE_THAT_WAITS = """
    import socket

    def test_before():
        pass

    def test_meanwhile():
        with socket.create_connection(("127.0.0.1", {port}), timeout=800) as meeting:
            # It is closed once the service has stopped.
            assert meeting.recv(1) == b""

    def test_after():
        pass
"""
# Long enough for processes that start while the machine is busy.
WIDE_WINDOW = MetricsSettings(run_window=300.0)


class TestMeasures:
    """Rows of one run of a suite."""

    async def test_each_test_of_a_suite_is_stored_once(self, client: Any, suite: Suite) -> None:
        """Each test is stored once, under the one context and the one session of the run."""
        suite.write(test_alpha=PASSING, test_beta="def test_third():\n    pass\n")

        ended = await suite.run(url(client))

        assert (ended.code, ended.counts) == (0, {"passed": 3}), ended.output
        (context,), (session,) = await rows(client, "contexts"), await rows(client, "sessions")
        assert context["cpu_frequency"] == FREQUENCY
        assert (session["scm_ref"], session["tags"]) == (COMMIT, [])
        metrics = await rows(client, "metrics")
        assert [(row["item_path"], row["item"], row["item_variant"], row["item_fs_loc"]) for row in metrics] == [
            ("test_alpha", "test_first", "test_first", "test_alpha.py"),
            ("test_alpha", "test_second", "test_second", "test_alpha.py"),
            ("test_beta", "test_third", "test_third", "test_beta.py"),
        ]
        assert {(row["kind"], row["component"]) for row in metrics} == {("function", "")}
        assert {(row["context_h"], row["session_h"]) for row in metrics} == {(context["h"], session["session_h"])}

    async def test_a_second_run_on_the_same_machine(self, client: Any, suite: Suite) -> None:
        """It finds its context and uses it, and has a session of its own."""
        suite.write(test_alpha=PASSING)

        for _ in range(2):
            assert (await suite.run(url(client))).code == 0

        assert [len(await rows(client, what)) for what in ("contexts", "sessions", "metrics")] == [1, 2, 4]

    async def test_each_set_of_parameters_is_a_variant(self, client: Any, suite: Suite) -> None:
        """Each set of parameters is a variant of one test, written with commas; each can be asked for by its name."""
        suite.write(
            test_alpha="""
            import pytest

            @pytest.mark.parametrize(("a", "b"), [(1, 2), ("x/y", "50%"), ("left-right", "\u65e5\u672c"), ("?#", "&;")])
            def test_pair(a, b):
                pass
            """
        )

        ended = await suite.run(url(client))

        assert ended.code == 0, ended.output
        metrics = await rows(client, "metrics")
        variants = [row["item_variant"] for row in metrics]
        assert variants == [
            *("test_pair[1, 2]", "test_pair[x/y, 50%]"),
            *("test_pair[left, right, \\u65e5\\u672c]", "test_pair[?#, &;]"),
        ]
        assert {row["item"] for row in metrics} == {"test_pair"}
        for row in metrics:
            path = f"{url(client)}/variants/{quote(row['item_variant'], safe='')}/metrics"
            async with client.session.get(URL(path, encoded=True)) as response:
                assert (await response.json())["metrics"] == [row]

    async def test_explicit_parameters_name_the_variants(self, client: Any, suite: Suite) -> None:
        """The plugin's option that names the parameters gives variants with their names."""
        suite.write(
            test_alpha="""
            import pytest

            @pytest.mark.parametrize(("size", "kind"), [(1, "a"), (2, "b")])
            def test_pair(size, kind):
                pass
            """
        )

        assert (await suite.run(url(client), "--parametrization-explicit")).code == 0

        variants = [row["item_variant"] for row in await rows(client, "metrics")]
        assert variants == ["test_pair[size=1, kind=a]", "test_pair[size=2, kind=b]"]

    @pytest.mark.parametrize(
        ("options", "components"),
        [
            ((), {"test_parse": "core", "test_other": ""}),
            (("--force-component", "all"), {"test_parse": "all", "test_other": "all"}),
            (("--component-prefix", "team"), {"test_parse": "team.core", "test_other": "team"}),
        ],
    )
    async def test_a_module_names_its_component(self, client: Any, suite: Suite, options: Any, components: Any) -> None:
        """A module names its component, and the command line replaces it or puts a prefix before it."""
        suite.write(
            test_alpha="""
            pytest_monitor_component = "core"

            def test_parse():
                pass
            """,
            test_beta="def test_other():\n    pass\n",
        )

        assert (await suite.run(url(client), *options)).code == 0

        assert {row["item"]: row["component"] for row in await rows(client, "metrics")} == components
        for item, component in components.items():
            path = f"/components/{component}/metrics" if component else "/components/metrics"
            assert item in [row["item"] for row in (await get(client, path))["metrics"]]

    async def test_only_what_passed_is_stored(self, client: Any, suite: Suite) -> None:
        """Tests that fail, are skipped, are expected to fail, break in a fixture or opt out leave nothing behind."""
        suite.write(
            test_alpha="""
            import pytest

            @pytest.fixture
            def broken():
                raise OSError("no such device")

            def test_passes():
                pass

            def test_fails():
                assert 1 == 2

            def test_raises():
                raise ValueError("no")

            @pytest.mark.skip(reason="not today")
            def test_is_skipped():
                pass

            def test_skips_itself():
                pytest.skip("not here")

            @pytest.mark.xfail
            def test_is_expected_to_fail():
                assert False

            def test_breaks_before(broken):
                pass

            @pytest.mark.monitor_skip_test
            def test_opts_out():
                pass

            def test_passes_as_well():
                pass
            """
        )

        ended = await suite.run(url(client))

        assert ended.code == 1
        assert ended.counts == {"failed": 2, "passed": 3, "skipped": 2, "xfailed": 1, "errors": 1}, ended.output
        assert await items(client) == ["test_passes", "test_passes_as_well"]

    async def test_modules_are_measured_too(self, client: Any, suite: Suite) -> None:
        """Asked to measure modules, the plugin sends for each a metric of kind module without a variant."""
        suite.write(test_alpha=PASSING, test_beta="def test_third():\n    pass\n")

        assert (await suite.run(url(client), "--restrict-scope-to", "function,module")).code == 0

        modules = (await get(client, "/filters/scope/module/metrics"))["metrics"]
        assert [(row["kind"], row["item"], row["item_variant"]) for row in modules] == [
            ("module", "test_alpha", ""),
            ("module", "test_beta", ""),
        ]
        functions = (await get(client, "/filters/scope/function/metrics"))["metrics"]
        assert [row["item"] for row in functions] == ["test_first", "test_second", "test_third"]

    async def test_the_service_stores_the_same_as_a_local_database(self, client: Any, suite: Suite) -> None:
        """The rows of the service equal, to the last digit, those of the plugin's own database."""
        suite.write(
            test_alpha="""
            import pytest

            pytest_monitor_component = "core"

            @pytest.mark.parametrize("size", range(4))
            def test_sum(size):
                assert sum(range(10 ** size)) >= 0
            """
        )
        options = ("--tag", "colour=blue", "--description", "both ways", "--restrict-scope-to", "function,module")

        ended = await suite.run(url(client), *options, db="x.pymon")

        assert ended.code == 0, ended.output
        local = in_pymon(suite.folder / "x.pymon")
        assert len(local["metrics"]) == 5
        assert {what: await rows(client, what) for what in local} == local


class TestSessions:
    """Sessions of several runs."""

    async def test_tags_and_a_description(self, client: Any, suite: Suite) -> None:
        """Both arrive as tags of the session, in the order in which they were given, and can be asked for."""
        suite.write(test_alpha=PASSING)
        options = (
            "--tag",
            "a=b",
            "--tag",
            "query=x=1&y=2",
            "--tag",
            "größe=5 €",
            "--description",
            "a nightly run",
        )

        assert (await suite.run(url(client), *options)).code == 0

        tags = [
            {"name": "description", "value": "a nightly run"},
            {"name": "a", "value": "b"},
            {"name": "query", "value": "x=1&y=2"},
            {"name": "größe", "value": "5 €"},
        ]
        (session,) = await rows(client, "sessions")
        assert session["tags"] == tags
        asked = {"with_tags": "größe,a", "restrict_flags": "5 €,b", "method": "match_all"}
        assert await rows(client, "sessions", params=asked) == [session]

    @pytest.mark.parametrize(
        ("variables", "ci"),
        [
            ({"BRANCH_NAME": "main", "BUILD_NUMBER": "42"}, "jenkinsci"),
            ({"JOB_NAME": "main", "BUILD_NUMBER": "42"}, "jenkinsci"),
            ({"CI_JOB_NAME": "main", "CI_PIPELINE_ID": "42"}, "gitlabci"),
        ],
    )
    async def test_variables_of_a_ci_become_the_pipeline_and_the_build(
        self, client: Any, suite: Suite, variables: dict[str, str], ci: str
    ) -> None:
        """The variables of a CI become the pipeline and the build under which the session is found."""
        suite.write(test_alpha=PASSING)

        assert (await suite.run(url(client), env=variables)).code == 0

        (session,) = await rows(client, "sessions")
        assert {tag["name"]: tag["value"] for tag in session["tags"]} == {
            "pipeline_branch": "main",
            "pipeline_build_no": "42",
            "__ci__": ci,
        }
        assert (await get(client, "/pipelines/"))["pipelines"] == ["main"]
        assert (await get(client, "/pipelines/main/builds"))["builds"] == ["42"]
        found = await get(client, "/pipelines/main/builds/42/sessions")
        assert found["sessions"] == [session["session_h"]]


class TestRuns:
    """Parallel workers, each of which is a session."""

    SUITE = """
        import pytest

        @pytest.mark.parametrize("n", range(24))
        def test_many(n):
            pass
        """

    async def test_workers_are_one_run(self, with_settings: Any, suite: Suite) -> None:
        """The sessions of two workers and their controller are one run that has every test once, on one machine."""
        client = await with_settings(metrics=WIDE_WINDOW)
        suite.write(test_alpha=self.SUITE)

        ended = await suite.run(url(client), "-n", "2")

        assert (ended.code, ended.counts) == (0, {"passed": 24}), ended.output
        assert await count(client, "contexts") == 1
        metrics = await rows(client, "metrics")
        assert sorted(row["item_variant"] for row in metrics) == sorted(f"test_many[{n}]" for n in range(24))
        (run,) = await rows(client, "runs")
        shares = {session["session_h"]: session["metrics"] for session in run["sessions"] if session["metrics"]}
        assert len(run["sessions"]) == await count(client, "sessions") == 3
        assert shares == Counter(row["session_h"] for row in metrics)
        assert (run["metrics"], run["scm_ref"]) == (24, COMMIT)
        page = await get(client, f"/api/v1/runs/{run['id']}/metrics")
        assert page["metrics"] == metrics

    async def test_workers_under_the_default_window(self, client: Any, suite: Suite) -> None:
        """Nothing has to be set: two workers, each with a session, that start within seconds are one run."""
        suite.write(
            # Whoever is first waits for the others, so that each worker has something to measure.
            conftest="""
                import os, pathlib, time

                import pytest

                @pytest.fixture
                def all_here():
                    here = pathlib.Path("here")
                    here.mkdir(exist_ok=True)
                    (here / os.environ["PYTEST_XDIST_WORKER"]).touch()
                    while len(list(here.iterdir())) < 2:
                        time.sleep(0.01)
                """,
            test_alpha="""
                import pytest

                @pytest.mark.parametrize("n", range(2))
                def test_many(n, all_here):
                    pass
                """,
        )

        ended = await suite.run(url(client), "-n", "2")

        assert (ended.code, ended.counts) == (0, {"passed": 2}), ended.output
        sessions = await rows(client, "sessions")
        begun = sorted(datetime.fromisoformat(session["run_date"]) for session in sessions)
        runs = await rows(client, "runs")
        assert sum(run["metrics"] for run in runs) == 2
        assert sorted(session["metrics"] for run in runs for session in run["sessions"]) == [0, 1, 1]
        # How fast the workers start is up to the machine; what follows from it is not.
        gaps = [later - earlier for earlier, later in pairwise(begun)]
        assert (len(runs) == 1) == all(gap <= timedelta(seconds=5) for gap in gaps)

    async def test_different_tags_are_different_runs(self, with_settings: Any, suite: Suite) -> None:
        """However near in time they are."""
        client = await with_settings(metrics=WIDE_WINDOW)
        suite.write(test_alpha=PASSING)

        for colour in ("blue", "red"):
            assert (await suite.run(url(client), "--tag", f"colour={colour}")).code == 0

        runs = await rows(client, "runs")
        assert [(run["tags"][0]["value"], run["metrics"], len(run["sessions"])) for run in runs] == [
            ("red", 2, 1),
            ("blue", 2, 1),
        ]

    async def test_the_tag_run_makes_one_run(self, with_settings: Any, suite: Suite) -> None:
        """Suites that are given the same name of a run are one run under this name, however far apart they are."""
        client = await with_settings(metrics=MetricsSettings(run_window=0.0))
        suite.write(test_alpha=PASSING)

        for part, workers in (("one", ("-n", "2")), ("two", ())):
            options = (*workers, "--tag", "run=nightly 7/a", "--tag", f"part={part}")
            assert (await suite.run(url(client), *options)).code == 0

        (run,) = await rows(client, "runs")
        assert (run["id"], run["metrics"], len(run["sessions"])) == ("nightly 7/a", 4, 4)
        async with client.session.get(URL(f"{url(client)}/api/v1/runs/nightly%207%2Fa", encoded=True)) as response:
            # The first sample of this machine may be stored between the two answers.
            assert {**await response.json(), "unlinked": None} == {**run, "unlinked": None}


class TestAddresses:
    """Addresses after `--remote-server`."""

    async def test_a_slash_at_the_end(self, client: Any, suite: Suite) -> None:
        """The plugin then asks for paths with two slashes, which work like those with one."""
        suite.write(test_alpha=PASSING)

        for _ in range(2):
            ended = await suite.run(url(client) + "/")
            assert (ended.code, "Deactivating" in ended.output) == (0, False), ended.output

        assert [await count(client, what) for what in ("contexts", "sessions", "metrics")] == [1, 2, 4]

    @pytest.mark.parametrize("base", ["/api/v1", "/api/v1/"])
    async def test_the_base_of_the_other_client(self, client: Any, suite: Suite, base: str) -> None:
        """The address that monitor_api.Monitor is given works for the plugin as well."""
        suite.write(test_alpha=PASSING)

        assert (await suite.run(url(client) + base)).code == 0

        assert await items(client) == ["test_first", "test_second"]

    @pytest.mark.parametrize("token", ["s3cret", 'p@ss:w/rd?#%20 +&=["]'])
    async def test_a_token_is_the_password_of_the_address(self, with_settings: Any, suite: Suite, token: str) -> None:
        """A token is the password in the address, percent-encoded where that is needed."""
        client = await with_settings(token=token)
        suite.write(test_alpha=PASSING)

        ended = await suite.run(url(client, f"ci:{quote(token, safe='')}@"))

        assert ended.code == 0, ended.output
        metrics = await rows(client, "metrics", headers={"Authorization": f"Bearer {token}"})
        assert [row["item"] for row in metrics] == ["test_first", "test_second"]

    @pytest.mark.parametrize("user", ["", "ci:wrong@"])
    async def test_a_wrong_token_does_not_stop_the_suite(self, with_settings: Any, suite: Suite, user: str) -> None:
        """The suite runs to its normal end, the plugin says that it is off, and nothing is stored."""
        client = await with_settings(token="s3cret")
        suite.write(test_alpha=PASSING)

        ended = await suite.run(url(client, user))

        assert (ended.code, ended.counts) == (0, {"passed": 2}), ended.output
        assert "Cannot insert execution context in remote server (rc=401" in ended.output
        headers = {"Authorization": "Bearer s3cret"}
        assert [await rows(client, what, headers=headers) for what in ("contexts", "sessions", "metrics")] == [[]] * 3


class TestOutage:
    """A service that is gone before the suite is."""

    async def test_metrics_before_a_stop_of_the_service_are_kept(self, with_settings: Any, suite: Suite) -> None:
        """Earlier metrics are kept; the plugin turns each later metric into an error, and pytest ends."""
        client = await with_settings()
        reached, stopped = asyncio.Event(), asyncio.Event()

        async def meet(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            reached.set()
            await stopped.wait()
            writer.close()

        async with await asyncio.start_server(meet, "127.0.0.1") as meeting, asyncio.TaskGroup() as group:
            suite.write(test_alpha=SUITE_THAT_WAITS.format(port=meeting.sockets[0].getsockname()[1]))
            suite_run = group.create_task(suite.run(url(client)))
            await asyncio.wait_for(reached.wait(), SECONDS)
            await client.close()
            stopped.set()

        ended = suite_run.result()
        assert (ended.code, ended.counts) == (1, {"passed": 3, "errors": 2}), ended.output
        assert "ERROR test_alpha.py::test_after" in ended.output
        again = await with_settings()
        assert await items(again) == ["test_before"]
        assert [await count(again, what) for what in ("contexts", "sessions")] == [1, 1]
