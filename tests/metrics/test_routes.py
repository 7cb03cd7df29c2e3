"""The routes that store measures, with a real database."""

from __future__ import annotations

import asyncio
import io
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

import orjson
import pytest
from yarl import URL

from tests.each import each
from tests.metrics.calls import count, get, lines, post
from tests.metrics.samples import context, metric, session

NDJSON = {"Content-Type": "application/x-ndjson"}
JSON_TYPE = {"Content-Type": "application/json"}


class TestPlugin:
    """Requests of the plugin and their answers."""

    async def test_the_sequence_of_the_plugin_gives_the_expected_codes(self, client: Any) -> None:
        """The five steps answer with the status codes and fields that the plugin expects."""
        assert (await client.get(f"/contexts/{'c' * 32}")).status == 204
        status, created = await post(client, "/contexts/", context())
        assert (status, created["h"]) == (201, "c" * 32)
        assert (await client.get(f"/sessions/{'5' * 32}")).status == 204
        assert (await post(client, "/sessions/", session()))[0] == 201
        assert (await post(client, "/metrics/", metric()))[0] == 201

        found = await get(client, f"/contexts/{'c' * 32}")

        assert found["contexts"][0]["h"] == "c" * 32
        assert found["total_page"] == 1

    async def test_a_context_has_both_names_of_its_hash(self, client: Any) -> None:
        """One client reads `h` and another `context_h`."""
        await post(client, "/contexts/", context())

        assert (await get(client, "/contexts/"))["contexts"] == [context() | {"context_h": "c" * 32}]

    async def test_a_whole_frequency_stays_an_integer(self, client: Any) -> None:
        """The seed calls the frequency an integer and the plugin sends a float: each gets back what it sent."""
        _, created = await post(client, "/contexts/", context(cpu_frequency=2600))

        assert orjson.dumps(created["cpu_frequency"]) == b"2600"

    async def test_the_memory_is_read_in_both_spellings(self, client: Any) -> None:
        """The seed spells the field `ram_tota`, the plugin `ram_total`."""
        document = context(ram_tota=4711)
        del document["ram_total"]

        status, created = await post(client, "/contexts/", document)

        assert (status, created["ram_total"]) == (201, 4711)

    @pytest.mark.parametrize("vendor", [{}, {"cpu_vendor": None}])
    async def test_a_context_may_lack_its_vendor(self, client: Any, vendor: dict[str, None]) -> None:
        """The plugin does not find the vendor on some machines."""
        document = context()
        del document["cpu_vendor"]

        status, created = await post(client, "/contexts", document | vendor)

        assert (status, created["cpu_vendor"]) == (201, "")

    async def test_a_session_comes_back_with_its_tags(self, client: Any) -> None:
        """The description of the plugin is an object; it becomes tags in the order in which they were sent."""
        status, created = await post(client, "/sessions/", session(description={"z": "1", "a": 2**70, "n": {"x": [1]}}))

        assert status == 201
        assert created == {
            "session_h": "5" * 32,
            "run_date": "2026-11-20T12:00:00.000123",
            "scm_ref": "0123abc",
            "tags": [
                {"name": "z", "value": "1"},
                {"name": "a", "value": str(2**70)},
                {"name": "n", "value": '{"x":[1]}'},
            ],
        }

    @pytest.mark.parametrize(
        ("description", "tags"),
        [
            ("a nightly run", [{"name": "description", "value": "a nightly run"}]),
            ('{"a": "b"}', [{"name": "a", "value": "b"}]),
            ("", []),
            ("[1, 2]", [{"name": "description", "value": "[1, 2]"}]),
            ({}, []),
        ],
    )
    async def test_a_description_may_be_a_text(self, client: Any, description: Any, tags: Any) -> None:
        """The seed describes a text; the text of a JSON object counts as the object."""
        status, created = await post(client, "/sessions/", session(description=description))

        assert (status, created["tags"]) == (201, tags)

    async def test_a_metric_comes_back_as_it_was_sent(self, client: Any) -> None:
        """All fourteen fields, to the last digit, in the answer and in the listing."""
        status, created = await post(client, "/metrics/", metric(extra="ignored"))

        assert (status, created) == (201, metric())
        assert (await get(client, "/metrics/"))["metrics"] == [metric()]

    async def test_a_metric_may_lack_its_component(self, client: Any) -> None:
        """Null and the empty text mean the same."""
        assert (await post(client, "/metrics/", metric(component=None)))[1]["component"] == ""
        assert (await get(client, "/components/metrics"))["metrics"][0]["component"] == ""

    @pytest.mark.parametrize("path", ["/metrics", "/metrics/", "//metrics/", "/api/v1/metrics", "/api/v1/metrics/"])
    async def test_each_form_of_the_address_is_accepted(self, client: Any, path: str) -> None:
        """With and without slashes at either end, at the root and below /api/v1, without a redirect."""
        url = f"http://127.0.0.1:{client.server.port}{path}"
        async with client.session.post(url, json=metric(), allow_redirects=False) as response:
            assert response.status == 201
        assert await count(client) == 1

    async def test_the_type_of_the_body_does_not_matter(self, client: Any) -> None:
        """A JSON body is read with any Content-Type."""
        for kind in ("application/json; charset=utf-8", "text/plain", "application/octet-stream"):
            async with client.post(
                "/metrics/", data=orjson.dumps(metric()), headers={"Content-Type": kind}
            ) as response:
                assert response.status == 201
        assert await count(client) == 3


class TestRaces:
    """Parallel workers that store the same rows."""

    async def test_a_context_from_many_workers_is_stored_once(self, client: Any) -> None:
        """Each worker gets 201, and there is one row."""
        answers = await asyncio.gather(*(post(client, "/contexts/", context()) for _ in range(20)))

        assert {status for status, _ in answers} == {201}
        assert await count(client, "contexts") == 1

    async def test_the_first_session_of_a_hash_is_kept(self, client: Any) -> None:
        """A repeated session answers with the stored one."""
        await post(client, "/sessions/", session(scm_ref="first"))

        status, stored = await post(client, "/sessions/", session(scm_ref="second"))

        assert (status, stored["scm_ref"]) == (201, "first")
        assert await count(client, "sessions") == 1

    async def test_parallel_metrics_are_stored_once_each(self, client: Any) -> None:
        """Each acknowledged metric is stored once with its value."""
        sent = [metric(item=f"test_{n}", total_time=float(n)) for n in range(200)]

        answers = await asyncio.gather(*(post(client, "/metrics/", document) for document in sent))

        assert {status for status, _ in answers} == {201}
        found = (await get(client, "/metrics/"))["metrics"]
        assert {row["item"]: row["total_time"] for row in found} == {row["item"]: row["total_time"] for row in sent}
        assert len(found) == 200

    async def test_a_metric_may_arrive_before_its_session(self, client: Any) -> None:
        """A metric is accepted without its session, and found by the commit once the session arrives."""
        assert (await post(client, "/metrics/", metric()))[0] == 201
        assert await count(client, "sessions") == 0
        assert (await client.get("/filters/scm/0123/metrics")).status == 204

        await post(client, "/sessions/", session())

        assert (await get(client, "/filters/scm/0123/metrics"))["metrics"] == [metric()]


BAD_METRICS = {
    "missing field": ({"session_h": None}, "$.session_h", "required"),
    "text for a number": ({"total_time": "1.5"}, "$.total_time", "float"),
    "null for a number": ({"cpu_usage": None}, "$.cpu_usage", "float"),
    "true for a number": ({"mem_usage": True}, "$.mem_usage", "float"),
    "number for a text": ({"item": 3}, "$.item", "str"),
    "list for a text": ({"kind": ["function"]}, "$.kind", "str"),
    "empty hash": ({"context_h": ""}, "$.context_h", "length"),
    "long hash": ({"session_h": "x" * 257}, "$.session_h", "length"),
    "no date": ({"item_start_time": "yesterday"}, "$.item_start_time", "ISO 8601"),
    "NUL": ({"item_variant": "a\0b"}, "$.item_variant", "NUL"),
}


class TestRefusals:
    """Invalid documents answer 400 with the name of the field, and nothing is stored."""

    @each("case", BAD_METRICS)
    async def test_an_invalid_metric_is_refused(self, client: Any, case: str) -> None:
        """The answer names the field and what was expected."""
        changes, where, expected = BAD_METRICS[case]
        document = metric() | changes
        if case == "missing field":
            del document["session_h"]

        status, problem = await post(client, "/metrics/", document)

        assert status == 400
        assert problem["type"] == "urn:smartmob:problem:invalid-input"
        assert problem["errors"][0]["where"] == where
        assert expected in problem["errors"][0]["message"]
        assert await count(client) == 0

    @each(
        "body",
        [
            b"", b"{", b"null", b"3", b'"text"', b"\xff\xfe", b"{'a': 1}", b'{"session_h": NaN}', b"[" * 100_000,
            orjson.dumps(metric()).replace(b"1.5", b"1e999"), orjson.dumps(metric()).replace(b"1.5", b"NaN"),
            orjson.dumps(metric()).replace(b"1.5", b"-Infinity"), orjson.dumps(metric()).replace(b"1.5", b"9" * 400),
            orjson.dumps(metric()).replace(b'"core"', b'"\\ud800"'),
            orjson.dumps(metric()).replace(b'"core"', b'"\\udc00x"'),
            orjson.dumps(metric()) + b"x",
        ],
    )  # fmt: skip
    async def test_an_invalid_body_is_refused(self, client: Any, body: bytes) -> None:
        """Broken JSON, other JSON, and values that no column can store answer 400."""
        async with client.post("/metrics/", data=body, headers=JSON_TYPE) as response:
            assert response.status == 400, await response.text()
        assert await count(client) == 0

    @each(
        "changes",
        [{"description": [1]}, {"description": 3}, {"description": None}, {"run_date": "no date"}, {"run_date": 1}],
    )
    async def test_an_invalid_session_is_refused(self, client: Any, changes: dict[str, Any]) -> None:
        """A description of another type and an invalid date answer 400."""
        status, problem = await post(client, "/sessions/", session() | changes)

        assert (status, problem["errors"][0]["where"]) == (400, f"$.{next(iter(changes))}")
        assert await count(client, "sessions") == 0

    @each("name", ["h", "cpu_count", "cpu_type", "machine_node", "python_info", "ram_total"])
    async def test_a_context_without_a_field_is_refused(self, client: Any, name: str) -> None:
        """All fields but the vendor are required."""
        document = context()
        del document[name]

        status, problem = await post(client, "/contexts/", document)

        assert (status, problem["errors"][0]["where"]) == (400, f"$.{name}")

    async def test_numbers_beyond_64_bits_are_refused(self, client: Any) -> None:
        """The largest integer of PostgreSQL is stored, and a larger one answers 400."""
        assert (await post(client, "/contexts/", context(ram_total=2**63)))[0] == 400
        status, created = await post(client, "/contexts/", context(ram_total=2**63 - 1))
        assert (status, created["ram_total"]) == (201, 2**63 - 1)

    async def test_a_too_large_body_is_refused(self, with_settings: Any) -> None:
        """The body is refused before it is read, and the answer names the option."""
        client = await with_settings(max_body=2048)

        async with client.post("/metrics/", data=b" " * 4096, headers=JSON_TYPE) as response:
            assert response.status == 413
            assert "--max-body" in (await response.json(content_type=None))["detail"]

    @each("method, path", [("PUT", "/metrics/"), ("DELETE", "/contexts/x"), ("PATCH", "/sessions/")])
    async def test_an_unknown_method_is_refused(self, client: Any, method: str, path: str) -> None:
        """The answer is 405 with the allowed methods."""
        async with client.request(method, path) as response:
            assert response.status == 405
            assert response.headers["Allow"]


class TestUnusual:
    """Unusual values that must be stored."""

    @pytest.mark.parametrize(
        "changes",
        [
            {"item": "тест_日本語_🎯", "component": "Ünïcode"},
            {"item_variant": "x" * 100_000},
            {"item_variant": "[a/b] \"quoted\" \\back\\ 'single' %s {0} $1 \t\n\r\x01\x7f"},
            {"total_time": 1e308, "mem_usage": -1e308, "cpu_usage": 5e-324},
            {"total_time": 3, "user_time": 0, "kernel_time": -0.0},
            {"item_start_time": "0001-01-01T00:00:00"},
            {"item_start_time": "9999-12-31T23:59:59.999999"},
            {"item_start_time": "2026-11-20T12:00:00+14:00"},
            {"item_start_time": "2026-11-20"},
            {"item": "", "item_path": "", "item_variant": "", "kind": ""},
        ],
    )
    async def test_unusual_values_are_stored_unchanged(self, client: Any, changes: dict[str, Any]) -> None:
        """Texts of any script and length, and the extremes of numbers and of the calendar, come back unchanged."""
        assert await post(client, "/metrics/", metric(**changes)) == (201, metric(**changes))
        assert (await get(client, "/metrics/"))["metrics"] == [metric(**changes)]

    @each("name", ["test[{'a': 1}]", "%7B", "a/b", "..", "a?b#c", "a+b c", "日本", ";,&="])
    async def test_a_test_with_any_name_is_found(self, client: Any, name: str) -> None:
        """The percent-encoded name of a test finds it."""
        await post(client, "/metrics/", metric(item_variant=name))

        url = URL(f"http://127.0.0.1:{client.server.port}/variants/{quote(name, safe='')}/metrics", encoded=True)
        async with client.session.get(url) as response:
            assert response.status == 200, name
            assert [row["item_variant"] for row in (await response.json())["metrics"]] == [name]

    async def test_an_escaped_backslash_is_no_nul(self, client: Any) -> None:
        """The text backslash-u-0000 is an ordinary text."""
        document = metric(item_variant="a\\u0000b")

        assert await post(client, "/metrics/", document) == (201, document)


class TestMany:
    """Many metrics in one request."""

    async def test_an_array_is_stored_in_its_order(self, client: Any) -> None:
        """An array is stored completely, in its order."""
        sent = [metric(item=f"test_{n}") for n in range(30)]

        assert await post(client, "/metrics/", sent) == (201, {"count": 30})
        assert [row["item"] for row in (await get(client, "/metrics/"))["metrics"]] == [row["item"] for row in sent]

    async def test_an_empty_array_is_accepted(self, client: Any) -> None:
        """An empty array stores nothing and is no error."""
        assert await post(client, "/metrics/", []) == (201, {"count": 0})

    async def test_an_array_with_an_invalid_metric_is_refused(self, client: Any) -> None:
        """No metric is stored, and the answer has the index of the invalid one."""
        status, problem = await post(client, "/metrics/", [metric(), metric(), metric(total_time="x")])

        assert (status, problem["errors"][0]["where"]) == (400, "$[2].total_time")
        assert await count(client) == 0

    async def test_ndjson_is_stored(self, client: Any) -> None:
        """Empty lines and a missing line end do not matter."""
        body = lines([metric(item=f"test_{n}") for n in range(3)]).replace(b"\n", b"\r\n\r\n").rstrip()

        async with client.post("/metrics/", data=io.BytesIO(body), headers=NDJSON) as response:
            assert (response.status, await response.json()) == (201, {"count": 3})
        assert await count(client) == 3

    @pytest.mark.parametrize("good", [10, 12_000])
    async def test_ndjson_with_an_invalid_line_is_refused(self, client: Any, good: int) -> None:
        """No metric is stored, and the answer has the line and the field."""
        body = lines([metric()] * good + [metric(kind=7)] + [metric()])

        async with client.post("/metrics/", data=io.BytesIO(body), headers=NDJSON) as response:
            problem = await response.json(content_type=None)

        assert response.status == 400
        assert problem["detail"].startswith(f"line {good + 1}: $.kind")
        assert await count(client) == 0

    async def test_many_lines_are_stored_in_one_transaction(self, client: Any) -> None:
        """A large body is stored and counted, and later metrics come after it."""
        await post(client, "/metrics/", metric(item="before"))
        body = lines([metric(item=f"test_{n % 50}") for n in range(12_345)])

        async with client.post("/metrics/", data=io.BytesIO(body), headers=NDJSON) as response:
            assert (response.status, await response.json()) == (201, {"count": 12_345})

        await post(client, "/metrics/", metric(item="after"))
        assert await count(client) == 12_347
        assert (await get(client, "/metrics/"))["metrics"][0]["item"] == "before"
        assert (await get(client, "/metrics/?page=-1"))["metrics"][-1]["item"] == "after"

    async def test_an_endless_line_is_refused(self, client: Any) -> None:
        """A line that is too long answers 413 and is not kept in memory."""
        async with client.post("/metrics/", data=io.BytesIO(b"[" * 3_000_000), headers=NDJSON) as response:
            assert response.status == 413


class TestAppending:
    """Appending metrics of a file to a session."""

    async def test_an_interrupted_load_is_continued(self, client: Any) -> None:
        """Each part has its offset, and a repeated part changes nothing."""
        path = f"/api/v1/sessions/{'5' * 32}/metrics"
        first, second = [metric(item="one")], [metric(item="two"), metric(item="three", cpu_usage=None)]

        assert await post(client, f"{path}?offset=0", first) == (201, {"count": 1})
        assert await post(client, f"{path}?offset=1", second) == (201, {"count": 2})
        status, problem = await post(client, f"{path}?offset=1", second)

        assert (status, problem["detail"]) == (409, "the session has 3 metrics, not 1; continue with offset=3")
        found = (await get(client, path))["metrics"]
        assert [row["item"] for row in found] == ["one", "two", "three"]
        assert found[2]["cpu_usage"] is None

    async def test_one_of_several_parallel_loads_succeeds(self, client: Any) -> None:
        """The others answer 409, or 503 where their turn did not come, also when there are more than connections."""
        path = f"/sessions/{'5' * 32}/metrics?offset=0"

        answers = await asyncio.gather(*(post(client, path, [metric(), metric()]) for _ in range(6)))

        first, *others = sorted(status for status, _ in answers)
        assert first == 201
        assert set(others) <= {409, 503}
        assert await count(client) == 2

    async def test_a_metric_of_another_session_is_refused(self, client: Any) -> None:
        """Each metric must belong to the session in the address."""
        status, problem = await post(client, "/sessions/another/metrics?offset=0", metric())

        assert (status, problem["errors"][0]["where"]) == (400, "$.session_h")
        assert await count(client) == 0

    @each("query", ["", "?offset=-1", "?offset=x"])
    async def test_the_offset_is_required(self, client: Any, query: str) -> None:
        """A request without a valid offset answers 400."""
        status, problem = await post(client, f"/sessions/{'5' * 32}/metrics{query}", metric())

        assert (status, problem["errors"][0]["where"]) == (400, "offset")

    async def test_an_unknown_time_is_null_and_no_zero(self, client: Any) -> None:
        """Listings and exports show null; it is no part of a sum, and no value of a comparison."""
        path = f"/sessions/{'5' * 32}/metrics"
        await post(client, "/contexts/", context())
        await post(client, "/sessions/", session())
        rows = [metric(item="a", total_time=None), metric(item="b", total_time=2.0), metric(item="a", total_time=None)]
        assert await post(client, f"{path}?offset=0", rows) == (201, {"count": 3})
        await post(client, "/sessions/", session("6" * 32, description={"run": "unknown"}))
        await post(client, f"/sessions/{'6' * 32}/metrics?offset=0", metric(session_h="6" * 32, total_time=None))

        assert [row["total_time"] for row in (await get(client, path))["metrics"]] == [None, 2.0, None]
        async with client.get(path, headers={"Accept": "text/csv"}) as response:
            assert "core,,1.0" in (await response.text()).splitlines()[1]
        assert [row["total_time"] for row in (await get(client, "/items/a/history"))["history"]] == [None, None]
        runs = {run["id"]: run["total_time"] for run in (await get(client, "/runs/"))["runs"]}
        assert runs == {"5" * 32: 2.0, "unknown": None}
        found = await get(client, f"/compare?base=run:unknown&head=session:{'5' * 32}")
        assert [(item["item"], item["verdict"]) for item in found["items"] if item["item"] == "a"] == []
        assert (await post(client, "/metrics/", metric(total_time=None)))[0] == 400

    async def test_what_comes_from_a_file_is_no_news(self, client: Any) -> None:
        """The moment that the sender gives counts, whatever the text and the time of arrival; the text is kept."""
        now = datetime.now(UTC)
        text, moment = now.replace(tzinfo=None).isoformat(), (now - timedelta(hours=5)).isoformat()
        await post(client, "/sessions/", session(run_date=text, started_at=moment))
        rows = metric(item_start_time=text, started_at=moment)
        assert (await post(client, f"/sessions/{'5' * 32}/metrics?offset=0", rows))[0] == 201

        (run,) = (await get(client, "/runs/"))["runs"]
        assert datetime.fromisoformat(run["started_at"]) == datetime.fromisoformat(moment)
        assert run["sessions"][0]["run_date"] == text
        (row,) = (await get(client, "/items/test_sum/history"))["history"]
        assert (row["item_start_time"], datetime.fromisoformat(row["started_at"])) == (
            text, datetime.fromisoformat(moment)
        )  # fmt: skip
        bad = session("7" * 32, started_at="2026-11-20T12:00:00")
        assert (await post(client, "/sessions/", bad))[1]["errors"][0]["where"] == "$.started_at"
