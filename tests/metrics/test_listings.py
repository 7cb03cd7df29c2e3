"""The routes that list measures: selections, pages, counts, pipelines, resources and streams."""

from __future__ import annotations

import csv
import io
from collections.abc import AsyncIterator
from typing import Any

import orjson
import pytest

from tests.metrics.samples import context, metric, session

S1, S2, S3 = "1" * 32, "2" * 32, "3" * 32
C1, C2 = "a" * 32, "b" * 32

METRICS = [
    metric(session_h=S1, context_h=C1, item="test_a", item_variant="test_a[x/y]", component="core", total_time=1.0),
    metric(session_h=S1, context_h=C1, item="test_b", item_variant="test_b", component="core.io", total_time=5.0),
    metric(session_h=S2, context_h=C2, item="test_a", item_variant="test_a[x/y]", component="core", total_time=3.0),
    metric(session_h=S2, context_h=C2, item="mod", item_variant="", component="", kind="module", mem_usage=99.0),
    metric(session_h=S3, context_h=C2, item="test_100%", item_variant="v_1", component="core", total_time=4.0),
]


@pytest.fixture(name="lab")
async def _lab(client: Any) -> AsyncIterator[Any]:
    """Return a client of a service that holds three sessions of two contexts."""
    documents: list[tuple[str, Any]] = [
        ("/contexts/", context(C1, machine_node="one")),
        ("/contexts/", context(C2, machine_node="two")),
        ("/sessions/", session(S1, scm_ref="abc1", description={"pipeline_branch": "main", "pipeline_build_no": "1"})),
        ("/sessions/", session(S2, scm_ref="abc2", description={"pipeline_branch": "main", "pipeline_build_no": "2"})),
        (
            "/sessions/",
            session(S3, scm_ref="def", description={"pipeline_branch": "dev/x", "flag": "yes", "empty": ""}),
        ),
        ("/metrics/", METRICS),
    ]
    for path, document in documents:
        async with client.post(path, json=document) as response:
            assert response.status == 201
    yield client


async def _get(client: Any, path: str) -> tuple[int, Any]:
    async with client.get(path) as response:
        return response.status, await response.json(content_type=None) if response.status != 204 else None


async def _metrics(client: Any, path: str) -> list[int]:
    """Return which of METRICS a listing has, by their number."""
    status, document = await _get(client, path)
    return [METRICS.index(row) for row in document["metrics"]] if status == 200 else [-status]


LISTINGS: dict[str, list[int]] = {
    "/metrics/": [0, 1, 2, 3, 4],
    f"/sessions/{S1}/metrics": [0, 1],
    f"/contexts/{C2}/metrics": [2, 3, 4],
    "/items/test_a/metrics": [0, 2],
    "/items/like/est_/metrics": [0, 1, 2, 4],
    "/items/like/100%25/metrics": [4],
    "/items/like/t%25a/metrics": [-204],
    "/variants/test_a[x%2Fy]/metrics": [0, 2],
    "/variants/like/x%2F/metrics": [0, 2],
    "/variants/like/_/metrics": [0, 1, 2, 4],
    "/components/core/metrics": [0, 2, 4],
    "/components/metrics": [3],
    "/components//metrics": [3],
    "/components/core/items/test_a/metrics": [0, 2],
    "/components/items/mod/metrics": [3],
    "/components/core.io/variants/test_b/metrics": [1],
    "/components/variants/test_b/metrics": [-204],
    "/filters/scope/module/metrics": [3],
    "/filters/scm/abc/metrics": [0, 1, 2, 3],
    "/filters/scm/abc1/metrics": [0, 1],
    "/filters/scm/ABC/metrics": [-204],
    "/resources/total_time/head/metrics": [1, 4, 2, 3, 0],
    "/resources/total_time/tail/2/metrics": [0, 3],
    "/resources/memory/head/1/metrics": [3],
    "/resources/cpu/head/0/metrics": [],
    "/resources/kernel_time/head/9999/metrics": [0, 1, 2, 3, 4],
    "/resources/total_time/components/core/head/2/metrics": [4, 2],
    "/resources/total_time/pipelines/main/tail/metrics": [0, 3, 2, 1],
    "/resources/user_time/pipelines/main/builds/2/head/metrics": [2, 3],
    "/resources/user_time/pipelines/dev%2Fx/head/metrics": [4],
    "/resources/nothing/head/metrics": [-404],
    "/resources/cpu/head/x/metrics": [-404],
}
"""The indexes in METRICS of each listing; a negative number is the status that it answers instead."""


@pytest.mark.parametrize("prefix", ["", "/api/v1", "/api/v1/api/v1"])
async def test_each_listing_has_its_metrics(lab: Any, prefix: str) -> None:
    """Each listing has the selected metrics, in the order of arrival or of the resource, below each prefix."""
    assert {path: await _metrics(lab, prefix + path) for path in LISTINGS} == LISTINGS


COUNTS = {
    "/metrics/count": 5,
    "/contexts/count": 2,
    "/sessions/count": 3,
    "/components/count": 2,
    f"/sessions/{S1}/metrics/count": 2,
    f"/contexts/{C2}/metrics/count": 3,
    "/items/test_a/metrics/count": 2,
    "/variants/v_1/metrics/count": 1,
    "/filters/scope/module/metrics/count": 1,
    "/filters/scm/abc/metrics/count": 4,
    "/filters/scm/zzz/metrics/count": 0,
    "/sessions/unknown/metrics/count": 0,
}


async def test_each_count_agrees_with_its_listing(lab: Any) -> None:
    """An empty selection has the count 0 and the status 200."""
    found = {path: await _get(lab, f"/api/v1{path}") for path in COUNTS}
    assert found == {path: (200, {"count": count}) for path, count in COUNTS.items()}


OTHERS = [
    ("/contexts/", "contexts", [C1, C2]),
    ("/contexts/aa", "contexts", [C1]),
    ("/contexts/a%25", "contexts", None),
    ("/sessions/", "sessions", [S1, S2, S3]),
    ("/sessions", "sessions", [S1, S2, S3]),
    ("/sessions/22", "sessions", [S2]),
    ("/sessions/x", "sessions", None),
    ("/filters/scm/abc/sessions", "sessions", [S1, S2]),
    ("/filters/scm/_bc/sessions", "sessions", None),
    ("/sessions/?with_flags=flag", "sessions", [S3]),
    ("/sessions/?with_tags=flag", "sessions", [S3]),
    ("/sessions/?with_flags=empty", "sessions", None),
    ("/sessions/?with_flags=pipeline_branch,pipeline_build_no&restrict_flags=main,2", "sessions", [S1, S2]),
    (
        "/sessions/?with_flags=pipeline_branch,pipeline_build_no&restrict_flags=main,2&method=match_all",
        "sessions",
        [S2],
    ),
    ("/sessions/?with_flags=pipeline_branch,flag&restrict_flags=,yes", "sessions", [S1, S2, S3]),
    ("/sessions/?with_flags=pipeline_branch&restrict_flags=main,too,many", "sessions", [S1, S2]),
    ("/sessions/?restrict_flags=main", "sessions", [S1, S2, S3]),
    ("/sessions/?with_flags=it's", "sessions", None),
    ("/components/", "components", ["", "core", "core.io"]),
    ("/components/core.", "components", ["core.io"]),
    ("/components/c%25", "components", None),
    ("/pipelines/", "pipelines", ["main", "dev/x"]),
]


async def test_contexts_sessions_components_and_pipelines_are_selected(lab: Any) -> None:
    """Selections by prefix (taken literally), commit and tags; an empty one answers 204."""
    found = []
    for path, name, _ in OTHERS:
        status, document = await _get(lab, f"/api/v1{path}")
        key = {"contexts": "h", "sessions": "session_h"}.get(name)
        rows = None if status == 204 else [row[key] if key else row for row in document[name]]
        found.append((path, name, rows))
    assert found == OTHERS


async def test_an_unknown_method_of_matching_is_refused(lab: Any) -> None:
    """The error names the two valid methods."""
    status, problem = await _get(lab, "/sessions/?with_flags=a&method=some")

    assert (status, problem["errors"][0]["where"]) == (400, "method")


async def test_sub_lists_answer_200_when_empty(lab: Any) -> None:
    """Pipelines, builds and sessions below a component or a pipeline answer 200, also when empty."""
    links = {"prev_url": None, "next_url": None}
    for path, expected in {
        "/components/core/pipelines": {"component": "core", "pipelines": ["main", "dev/x"], "total_page": 1},
        "/components/core.io/pipelines/main/builds": {
            "component": "core.io", "pipeline": "main", "builds": ["1"], "total_page": 1
        },
        "/components/core/pipelines/main/builds/2/sessions": {
            "component": "core", "pipeline": "main", "build": "2", "sessions": [S2], "total_page": 1
        },
        "/components/zzz/pipelines": {"component": "zzz", "pipelines": [], "total_page": 0},
        "/pipelines/main/builds": {"pipeline": "main", "builds": ["1", "2"], "total_page": 1},
        "/pipelines/dev%2Fx/builds": {"pipeline": "dev/x", "builds": [], "total_page": 0},
        "/pipelines/main/builds/1/sessions": {"pipeline": "main", "build": "1", "sessions": [S1], "total_page": 1},
        "/pipelines/main/builds/9/sessions": {"pipeline": "main", "build": "9", "sessions": [], "total_page": 0},
    }.items():  # fmt: skip
        assert await _get(lab, path) == (200, expected | links)


async def test_resources_have_null_links(lab: Any) -> None:
    """The envelope of resources has both links, which are null, and one page."""
    _, document = await _get(lab, "/resources/cpu/head/1/metrics")

    assert {key: document[key] for key in ("prev_url", "next_url", "total_page")} == {
        "prev_url": None, "next_url": None, "total_page": 1
    }  # fmt: skip


class TestPages:
    """Listings by page."""

    @pytest.fixture(name="paged")
    async def _paged(self, settings: Any, with_settings: Any) -> Any:
        """Return a client of a service with pages of three and ten metrics."""
        from dataclasses import replace

        client = await with_settings(metrics=replace(settings.metrics, page_size=3))
        stored = await client.post("/metrics/", json=[metric(item=f"test_{n}", component=f"c{n}") for n in range(10)])
        assert stored.status == 201
        return client

    PAGES = (
        (None, ["test_0", "test_1", "test_2"]),
        ("1", ["test_0", "test_1", "test_2"]),
        ("4", ["test_9"]),
        ("-1", ["test_9"]),
        ("-4", ["test_0", "test_1", "test_2"]),
        ("x", ["test_0", "test_1", "test_2"]),
        ("", ["test_0", "test_1", "test_2"]),
        ("1.5", ["test_0", "test_1", "test_2"]),
        ("0", None),
        ("5", None),
        ("-5", None),
        ("999999999999999999", None),
    )

    @pytest.mark.parametrize(
        "listing", ["/metrics/", "/filters/scope/function/metrics", f"/sessions/{'5' * 32}/metrics"]
    )
    async def test_page_numbers_count_from_either_end(self, paged: Any, listing: str) -> None:
        """A text that is no number means the first page, and a page that does not exist answers 404."""
        for page, expected in self.PAGES:
            status, document = await _get(paged, listing + (f"?page={page}" if page is not None else ""))
            assert status == (404 if expected is None else 200), page
            if expected is not None:
                assert ([row["item"] for row in document["metrics"]], document["total_page"]) == (expected, 4)

    async def test_the_page_may_stand_in_a_json_body(self, paged: Any) -> None:
        """Every paged listing takes it as a number or a text; the page of the query comes first."""
        listings = ("/metrics/", "/filters/scope/function/metrics", "/components/", "/components/c", "/runs/x/metrics")
        await paged.post("/sessions/", json=session(description={"run": "x"}))
        for listing in listings:
            for body, query, first in (({"page": -1}, "", 9), ({"page": "4"}, "", 9), ({"page": -1}, "?page=1", 0)):
                async with paged.get(listing + query, json=body) as response:
                    assert response.status == 200, listing
                    rows = next(rows for rows in (await response.json()).values() if isinstance(rows, list))
                assert (rows[0] if isinstance(rows[0], str) else rows[0]["component"]) == f"c{first}"
        async with paged.get("/metrics/", json={"page": 5}) as response:
            assert response.status == 404
        async with paged.get("/metrics/", data=b"{", headers={"Content-Type": "application/json"}) as response:
            assert response.status == 400
        async with paged.get("/metrics/", data=b"a=b") as response:
            assert (await response.json())["metrics"][0]["item"] == "test_0"

    async def test_builds_come_in_the_order_of_their_first_arrival(self, client: Any) -> None:
        """Build 10 comes after build 9, and a build keeps its place when a session is added to it."""
        for n, build in enumerate(["8", "9", "10", "9", "11"]):
            tags = {"pipeline_branch": "zeta" if n < 4 else "alpha", "pipeline_build_no": build}
            await client.post("/sessions/", json=session(f"{n}" * 32, description=tags))
            await client.post("/metrics/", json=metric(session_h=f"{n}" * 32))

        for path in ("/pipelines/zeta/builds", "/components/core/pipelines/zeta/builds"):
            assert (await _get(client, path))[1]["builds"] == ["8", "9", "10"]
        for path in ("/pipelines/", "/components/core/pipelines"):
            assert (await _get(client, path))[1]["pipelines"] == ["zeta", "alpha"]

    async def test_links_lead_through_all_pages(self, paged: Any) -> None:
        """Links have the prefix, and are absent at the ends."""
        path, seen = "/api/v1/metrics/", []
        status, first = await _get(paged, path)
        assert "prev_url" not in first
        while path:
            status, document = await _get(paged, path)
            seen += [row["item"] for row in document["metrics"]]
            path = document.get("next_url", "")
        assert seen == [f"test_{n}" for n in range(10)]
        assert document["prev_url"] == "/api/v1/metrics/?page=3"

    async def test_links_contain_the_prefix_once(self, paged: Any) -> None:
        """A client that adds the prefix to each link still works."""
        _, document = await _get(paged, "/api/v1/api/v1/metrics/")

        assert document["next_url"] == "/api/v1/metrics/?page=2"

    async def test_components_are_paged(self, paged: Any) -> None:
        """Lists of names have pages as well."""
        _, document = await _get(paged, "/components/?page=2")

        assert (document["components"], document["next_url"]) == (["c3", "c4", "c5"], "/components/?page=3")

    async def test_pages_are_right_after_a_deletion(self, paged: Any) -> None:
        """Metrics behind deleted ones are found on the right page."""
        other = "6" * 32
        await paged.post("/metrics/", json=[metric(session_h=other, item=f"other_{n}") for n in range(4)])
        await paged.delete(f"/sessions/{'5' * 32}")

        _, document = await _get(paged, "/metrics/?page=2")

        assert ([row["item"] for row in document["metrics"]], document["total_page"]) == (["other_3"], 2)

    async def test_an_empty_listing_is_204(self, client: Any) -> None:
        """The first and the last page of an empty listing answer 204, and others 404."""
        assert [(await _get(client, f"/metrics/?page={page}"))[0] for page in ("1", "-1", "2", "0")] == [
            204,
            204,
            404,
            404,
        ]


class TestStreams:
    """Streams of all selected metrics, by the type that the client accepts."""

    async def test_ndjson_has_all_metrics(self, lab: Any) -> None:
        """NDJSON has one object on each line."""
        async with lab.get("/metrics/", headers={"Accept": "application/x-ndjson"}) as response:
            assert response.headers["Content-Type"] == "application/x-ndjson"
            assert [orjson.loads(line) for line in (await response.read()).splitlines()] == METRICS

    async def test_csv_has_a_header_and_all_metrics(self, lab: Any) -> None:
        """CSV has a header and a row for each metric of the listing."""
        async with lab.get(f"/sessions/{S2}/metrics", headers={"Accept": "text/csv"}) as response:
            rows = list(csv.DictReader(io.StringIO(await response.text())))

        assert [row["item"] for row in rows] == ["test_a", "mod"]
        assert float(rows[1]["mem_usage"]) == 99.0

    async def test_an_empty_csv_has_a_header(self, client: Any) -> None:
        """A stream without metrics has the header alone."""
        async with client.get("/metrics/", headers={"Accept": "text/csv"}) as response:
            assert (await response.text()).startswith("session_h,context_h,")
        async with client.get("/metrics/", headers={"Accept": "application/x-ndjson"}) as response:
            assert (response.status, await response.read()) == (200, b"")


class TestHistory:
    """Histories of tests, and metrics without a session."""

    async def test_a_history_is_found_by_name_or_variant(self, lab: Any) -> None:
        """Each execution has its commit and machine, and the newest comes first."""
        for name in ("test_a", "test_a[x%2Fy]"):
            _, document = await _get(lab, f"/api/v1/items/{name}/history")
            found = [(row["scm_ref"], row["machine_node"], row["total_time"]) for row in document["history"]]
            assert sorted(found) == [("abc1", "one", 1.0), ("abc2", "two", 3.0)]

    async def test_an_unknown_test_has_an_empty_history(self, lab: Any) -> None:
        """The history of an unknown test is an empty list."""
        assert await _get(lab, "/items/nothing/history") == (200, {"item": "nothing", "history": []})

    async def test_orphans_are_listed_until_their_session_arrives(self, lab: Any) -> None:
        """Metrics whose session never arrived are listed by its hash."""
        assert await _get(lab, "/metrics/orphans") == (200, {"orphans": []})
        await lab.post("/metrics/", json=[metric(session_h="9" * 32)] * 3)

        _, document = await _get(lab, "/metrics/orphans")

        assert [(row["session_h"], row["metrics"]) for row in document["orphans"]] == [("9" * 32, 3)]
        await lab.post("/sessions/", json=session("9" * 32))
        assert await _get(lab, "/metrics/orphans") == (200, {"orphans": []})


@pytest.mark.parametrize("path", ["/contexts/a%00", "/items/%00/metrics", "/components/x%00/pipelines", "/runs/%00"])
async def test_a_nul_in_the_address_is_refused(client: Any, path: str) -> None:
    """No stored text can contain it, so the answer is 400."""
    assert (await _get(client, path))[0] == 400
