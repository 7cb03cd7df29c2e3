"""The unmodified client of monitor-server-api asks a running service, and its own database with the same measures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from smartmob.feature_settings import MetricsSettings
from tests.interop import measures, monitor_calls
from tests.interop.children import Suite, run_script
from tests.interop.monitor_calls import Answers, Calls, call, calls, comparable
from tests.interop.stored import get, url
from tests.metrics.samples import metric, session

pytestmark = [pytest.mark.interop, pytest.mark.timeout(900)]

HERE = Path(__file__).parent
PAGES_OF_SEVEN = MetricsSettings(page_size=7)


class Asker:
    """Asks the client."""

    def __init__(self, python: Path, home: Path) -> None:
        self._python = python
        self._home = home

    async def ask(self, where: str, asked: Calls, **options: Any) -> Answers:
        """Return what each call gave."""
        given: Answers = (await self._drive(where, asked, options))["given"]
        return given

    async def methods(self) -> set[str]:
        """Return the names of all public methods of Monitor."""
        return set((await self._drive(str(self._home / "none.pymon"), [], {}))["public"])

    async def _drive(self, where: str, asked: Calls, options: Any) -> Any:
        document = {"url": where, "calls": asked, "options": options}
        return await run_script(self._python, HERE / "monitor_driver.py", self._home, document)


@pytest.fixture(name="asker")
def _asker(monitor_python: Path, tmp_path: Path) -> Asker:
    """Return what asks the client."""
    return Asker(monitor_python, tmp_path)


@pytest.fixture(name="write_pymon")
def _write_pymon(plugin_python: Path, tmp_path: Path) -> Any:
    """Return the writer of databases as the plugin makes them."""

    async def write(contexts: Any = (), sessions: Any = (), metrics: Any = ()) -> str:
        path = str(tmp_path / "local.pymon")
        document = {"path": path, "contexts": contexts, "sessions": sessions, "metrics": metrics}
        await run_script(plugin_python, HERE / "pymon_writer.py", tmp_path, document)
        return path

    return write


def _base(client: Any) -> str:
    return url(client) + "/api/v1"


async def _send(client: Any) -> None:
    """Send the measures, one request after the other, so that their order of arrival is known."""
    documents = [("contexts", document) for document in measures.contexts()]
    documents += [("sessions", document) for document in measures.sessions()]
    for what, document in [*documents, ("metrics", measures.metrics())]:
        async with client.post(f"/api/v1/{what}/", json=document) as response:
            assert response.status == 201, await response.text()


def _differences(left: Answers, right: Answers) -> Answers:
    assert left.keys() == right.keys()
    return {name: (left[name], right[name]) for name in left if left[name] != right[name]}


class TestSameAnswers:
    """Every method gives the same from the service as from the client's own database."""

    async def test_every_method_is_asked(self, asker: Asker) -> None:
        """The calls leave out no public method of the client."""
        assert {asked["method"] for asked in calls()} == await asker.methods()

    async def test_many_measures_are_read_as_from_a_file(
        self, with_settings: Any, asker: Asker, write_pymon: Any
    ) -> None:
        """With several pages of everything, and below each address at which the service answers."""
        client = await with_settings(metrics=PAGES_OF_SEVEN)
        await _send(client)
        path = await write_pymon(measures.contexts(), measures.sessions(), measures.metrics())
        local = comparable(await asker.ask(path, calls()))

        for base in ("/api/v1", "/api/v1/", ""):
            remote = comparable(await asker.ask(url(client) + base, calls()))
            assert _differences(remote, local) == {}, base
            assert {name for name, answer in remote.items() if not answer} == monitor_calls.EMPTY

    async def test_an_empty_service_is_read_as_an_empty_file(self, client: Any, asker: Asker, write_pymon: Any) -> None:
        """Empty lists, zeros and None, where the service answers without content."""
        remote = await asker.ask(_base(client), calls())

        assert remote == await asker.ask(await write_pymon(), calls())
        assert not any(remote.values())

    async def test_metrics_of_the_plugin_are_the_same_to_the_client(
        self, client: Any, asker: Asker, suite: Suite
    ) -> None:
        """The client reads the same metrics from the service as from the plugin's database."""
        suite.write(
            test_alpha="""
            import pytest

            pytest_monitor_component = "core"

            @pytest.mark.parametrize("size", range(5))
            def test_insert(size):
                pass
            """
        )
        options = ("--tag", "compiler=gcc 12", "--restrict-scope-to", "function,module")
        ended = await suite.run(_base(client), *options, db="x.pymon", env={"BRANCH_NAME": "main", "BUILD_NUMBER": "3"})
        assert (ended.code, ended.counts) == (0, {"passed": 5}), ended.output

        remote = comparable(await asker.ask(_base(client), calls()))
        local = comparable(await asker.ask(str(suite.folder / "x.pymon"), calls()))

        assert _differences(remote, local) == {}
        assert [len(remote[name]) for name in ("all metrics", "all sessions", "all contexts")] == [6, 1, 1]


class TestServerAnswers:
    """Answers that differ between the client's database and its server: the service answers like the server."""

    @pytest.fixture(name="base")
    async def _measured(self, with_settings: Any) -> str:
        """Return the address of a service with the measures."""
        client = await with_settings(metrics=PAGES_OF_SEVEN)
        await _send(client)
        return _base(client)

    async def test_the_pipelines_of_a_component(self, base: str, asker: Asker) -> None:
        """They are those whose sessions measured it; the local dialect gives all that there are."""
        given = await asker.ask(
            base,
            [
                call("pipelines", "list_component_pipelines", component="rare"),
                call("builds", "list_component_pipeline_builds", component="rare", pipeline="release-1.x"),
                call("none", "list_component_pipeline_builds", component="rare", pipeline="main"),
            ],
        )

        assert given == {"pipelines": ["release-1.x"], "builds": ["1"], "none": []}

    async def test_pipelines_and_builds_come_in_the_order_of_their_arrival(self, client: Any, asker: Asker) -> None:
        """Build 10 comes after build 9; the client gives them as the service lists them."""
        for n, (pipeline, build) in enumerate([("zeta", "9"), ("zeta", "10"), ("zeta", "9"), ("alpha", "1")]):
            tags = {"pipeline_branch": pipeline, "pipeline_build_no": build}
            assert (await client.post("/sessions/", json=session(f"{n}" * 32, description=tags))).status == 201
            assert (await client.post("/metrics/", json=metric(session_h=f"{n}" * 32))).status == 201

        given = await asker.ask(
            _base(client),
            [
                call("pipelines", "list_pipelines"),
                call("builds", "list_pipeline_builds", pipeline="zeta"),
                call("component pipelines", "list_component_pipelines", component="core"),
                call("component builds", "list_component_pipeline_builds", component="core", pipeline="zeta"),
            ],
        )

        assert given == {
            "pipelines": ["zeta", "alpha"], "builds": ["9", "10"],
            "component pipelines": ["zeta", "alpha"], "component builds": ["9", "10"],
        }  # fmt: skip

    async def test_an_unknown_time_does_not_break_the_client(self, client: Any, asker: Asker) -> None:
        """The client has no unknown measures and shows 0.0 for each."""
        path = f"/sessions/{'5' * 32}/metrics?offset=0"
        assert (await client.post(path, json=metric(total_time=None))).status == 201

        given = await asker.ask(_base(client), [call("all", "list_metrics")])

        assert [row["wall_time"] for row in given["all"]] == [0.0]

    async def test_a_pattern_is_a_literal_part_of_the_name(self, base: str, asker: Asker) -> None:
        """It is a part of the name, to the letter; the local dialect takes it for a beginning with wildcards."""
        given = await asker.ask(
            base,
            [
                call("item", "list_metrics_from_pattern", item="_inse"),
                call("variant", "list_metrics_from_pattern", variant="[1"),
                call("case", "list_metrics_from_pattern", item="TEST"),
                call("wildcard", "list_metrics_from_pattern", item="test_____"),
            ],
        )

        everything = measures.metrics()
        assert len(given["item"]) == sum("_inse" in metric["item"] for metric in everything)
        assert len(given["variant"]) == sum("[1" in metric["item_variant"] for metric in everything)
        assert (given["case"], given["wildcard"]) == ([], [])

    async def test_the_beginning_of_a_commit(self, base: str, asker: Asker) -> None:
        """It finds what the whole commit finds; the local dialect wants the whole."""
        commit = measures.sessions()[measures.BUILDS]["scm_ref"]
        given = await asker.ask(
            base,
            [
                call("whole", "list_metrics_by_scm_id", scm_ref=commit),
                call("beginning", "list_metrics_by_scm_id", scm_ref=commit[:10]),
                call("count", "count_metrics", scm_ref=commit[:10]),
            ],
        )

        assert given["beginning"] == given["whole"]
        assert given["count"] == len(given["whole"]) == 5 * measures.WORKERS

    async def test_several_tags_without_a_method(self, base: str, asker: Asker) -> None:
        """One of them is enough; the local dialect wants all. Tags need no values; the local dialect fails then."""
        given = await asker.ask(
            base,
            [
                call("any", "list_sessions", with_tags=["compiler", "size"]),
                call("all", "list_sessions", with_tags=["compiler", "size"], method="match_all"),
            ],
        )

        tags = [set(session["description"]) for session in measures.sessions()]
        assert len(given["any"]) == sum(bool({"compiler", "size"} & names) for names in tags)
        assert len(given["all"]) == sum({"compiler", "size"} <= names for names in tags)

    async def test_links_do_not_grow(self, with_settings: Any) -> None:
        """The client puts its base before each link, which begins with the same base; the next link is a plain one."""
        client = await with_settings(metrics=PAGES_OF_SEVEN)
        await _send(client)
        link = "/metrics/"

        for page in range(2, 5):
            link = (await get(client, f"/api/v1{link}"))["next_url"]
            assert link == f"/api/v1/metrics/?page={page}"

    async def test_a_variant_with_a_slash_is_found_percent_encoded(self, client: Any, asker: Asker) -> None:
        """A percent-encoded variant with a slash is found."""
        sent = measures.metrics()[0] | {"item_variant": "test_insert[a/b]"}
        assert (await client.post("/metrics/", json=sent)).status == 201

        asked = call("variant", "list_metrics_of_variant", variant="test_insert[a%2Fb]")
        given = await asker.ask(_base(client), [asked])

        assert [metric["variant"] for metric in given["variant"]] == ["test_insert[a/b]"]

    @pytest.mark.parametrize("options", [{"auth": ["ci", "p@ss w"]}, {"headers": {"Authorization": "Bearer p@ss w"}}])
    async def test_a_token_is_sent_for_each_page(self, with_settings: Any, asker: Asker, options: Any) -> None:
        """The client sends it as the password or in a header, on each of several pages."""
        client = await with_settings(metrics=PAGES_OF_SEVEN, token="p@ss w")
        headers = {"Authorization": "Bearer p@ss w"}
        assert (await client.post("/metrics/", json=measures.metrics(), headers=headers)).status == 201

        given = await asker.ask(_base(client), [call("all", "list_metrics")], **options)

        assert len(given["all"]) == len(measures.metrics())
