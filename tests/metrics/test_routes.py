"""The routes by which pytest-monitor and others send measures, asked over HTTP with a real database behind them."""

from __future__ import annotations

import asyncio
import io
from typing import Any
from urllib.parse import quote

import orjson
import pytest
from yarl import URL

from tests.metrics.samples import context, metric, session

NDJSON = {"Content-Type": "application/x-ndjson"}
JSON_TYPE = {"Content-Type": "application/json"}


async def _post(client: Any, path: str, document: Any) -> tuple[int, Any]:
    async with client.post(path, json=document) as response:
        return response.status, await response.json(content_type=None)


async def _get(client: Any, path: str) -> Any:
    async with client.get(path) as response:
        assert response.status == 200, await response.text()
        return await response.json()


async def _count(client: Any, what: str = "metrics") -> int:
    return int((await _get(client, f"/{what}/count"))["count"])


def _lines(documents: list[dict[str, Any]]) -> bytes:
    return b"".join(orjson.dumps(document) + b"\n" for document in documents)


class TestPlugin:
    """What the plugin sends, and what it must get back."""

    async def test_the_sequence_of_the_seed(self, client: Any) -> None:
        """The five steps give the codes that the plugin expects, with the fields that it reads."""
        assert (await client.get(f"/contexts/{'c' * 32}")).status == 204
        status, created = await _post(client, "/contexts/", context())
        assert (status, created["h"]) == (201, "c" * 32)
        assert (await client.get(f"/sessions/{'5' * 32}")).status == 204
        assert (await _post(client, "/sessions/", session()))[0] == 201
        assert (await _post(client, "/metrics/", metric()))[0] == 201

        found = await _get(client, f"/contexts/{'c' * 32}")

        assert found["contexts"][0]["h"] == "c" * 32
        assert found["total_page"] == 1

    async def test_a_context_has_both_names_of_its_hash(self, client: Any) -> None:
        """One client reads `h` and another `context_h`."""
        await _post(client, "/contexts/", context())

        assert (await _get(client, "/contexts/"))["contexts"] == [context() | {"context_h": "c" * 32}]

    async def test_a_whole_frequency_stays_an_integer(self, client: Any) -> None:
        """The seed calls the frequency an integer and the plugin sends a float: each gets back what it sent."""
        _, created = await _post(client, "/contexts/", context(cpu_frequency=2600))

        assert orjson.dumps(created["cpu_frequency"]) == b"2600"

    async def test_the_seeds_spelling_of_the_memory(self, client: Any) -> None:
        """The seed says `ram_tota`, the plugin `ram_total`."""
        document = context(ram_tota=4711)
        del document["ram_total"]

        status, created = await _post(client, "/contexts/", document)

        assert (status, created["ram_total"]) == (201, 4711)

    @pytest.mark.parametrize("vendor", [{}, {"cpu_vendor": None}])
    async def test_a_context_may_lack_its_vendor(self, client: Any, vendor: dict[str, None]) -> None:
        """The plugin finds none on some machines."""
        document = context()
        del document["cpu_vendor"]

        status, created = await _post(client, "/contexts", document | vendor)

        assert (status, created["cpu_vendor"]) == (201, "")

    async def test_a_session_comes_back_with_its_tags(self, client: Any) -> None:
        """The description of the plugin is an object; it becomes tags in the order in which they were sent."""
        status, created = await _post(
            client, "/sessions/", session(description={"z": "1", "a": 2**70, "n": {"x": [1]}})
        )

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
        """The seed says that it is a text; the text of an object counts as the object."""
        status, created = await _post(client, "/sessions/", session(description=description))

        assert (status, created["tags"]) == (201, tags)

    async def test_a_metric_comes_back_as_it_was_sent(self, client: Any) -> None:
        """All fourteen fields, to the last digit, in the answer and in the listing."""
        status, created = await _post(client, "/metrics/", metric(extra="ignored"))

        assert (status, created) == (201, metric())
        assert (await _get(client, "/metrics/"))["metrics"] == [metric()]

    async def test_a_metric_without_component(self, client: Any) -> None:
        """None and the empty text mean the same."""
        assert (await _post(client, "/metrics/", metric(component=None)))[1]["component"] == ""
        assert (await _get(client, "/components/metrics"))["metrics"][0]["component"] == ""

    @pytest.mark.parametrize("path", ["/metrics", "/metrics/", "//metrics/", "/api/v1/metrics", "/api/v1/metrics/"])
    async def test_every_way_to_write_the_address(self, client: Any, path: str) -> None:
        """With and without a slash at either end, at the root and below /api/v1, and never by a redirect."""
        url = f"http://127.0.0.1:{client.server.port}{path}"
        async with client.session.post(url, json=metric(), allow_redirects=False) as response:
            assert response.status == 201
        assert await _count(client) == 1

    async def test_the_type_of_the_body_does_not_matter(self, client: Any) -> None:
        """JSON is read as JSON whatever its Content-Type says."""
        for kind in ("application/json; charset=utf-8", "text/plain", "application/octet-stream"):
            async with client.post(
                "/metrics/", data=orjson.dumps(metric()), headers={"Content-Type": kind}
            ) as response:
                assert response.status == 201
        assert await _count(client) == 3


class TestRaces:
    """Parallel workers create the same things."""

    async def test_the_same_context_from_many_workers(self, client: Any) -> None:
        """Each is told 201 and there is one row."""
        answers = await asyncio.gather(*(_post(client, "/contexts/", context()) for _ in range(20)))

        assert {status for status, _ in answers} == {201}
        assert await _count(client, "contexts") == 1

    async def test_the_first_session_stays(self, client: Any) -> None:
        """A session that is sent again is answered with what is stored."""
        await _post(client, "/sessions/", session(scm_ref="first"))

        status, stored = await _post(client, "/sessions/", session(scm_ref="second"))

        assert (status, stored["scm_ref"]) == (201, "first")
        assert await _count(client, "sessions") == 1

    async def test_many_metrics_at_once(self, client: Any) -> None:
        """What was acknowledged is there, each once, with the right value."""
        sent = [metric(item=f"test_{n}", total_time=float(n)) for n in range(200)]

        answers = await asyncio.gather(*(_post(client, "/metrics/", document) for document in sent))

        assert {status for status, _ in answers} == {201}
        found = (await _get(client, "/metrics/"))["metrics"]
        assert {row["item"]: row["total_time"] for row in found} == {row["item"]: row["total_time"] for row in sent}
        assert len(found) == 200

    async def test_a_metric_may_arrive_first(self, client: Any) -> None:
        """Nothing that was measured is refused for arriving out of order, and it is found once the rest has come."""
        assert (await _post(client, "/metrics/", metric()))[0] == 201
        assert await _count(client, "sessions") == 0
        assert (await client.get("/filters/scm/0123/metrics")).status == 204

        await _post(client, "/sessions/", session())

        assert (await _get(client, "/filters/scm/0123/metrics"))["metrics"] == [metric()]


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
    """What does not fit is 400 with the field named, and nothing is stored."""

    @pytest.mark.parametrize("case", BAD_METRICS)
    async def test_a_bad_metric(self, client: Any, case: str) -> None:
        """The answer names the field and says what was expected."""
        changes, where, said = BAD_METRICS[case]
        document = metric() | changes
        if case == "missing field":
            del document["session_h"]

        status, problem = await _post(client, "/metrics/", document)

        assert status == 400
        assert problem["type"] == "urn:smartmob:problem:invalid-input"
        assert problem["errors"][0]["where"] == where
        assert said in problem["errors"][0]["message"]
        assert await _count(client) == 0

    @pytest.mark.parametrize(
        "body",
        [
            b"", b"{", b"null", b"3", b'"text"', b"\xff\xfe", b"{'a': 1}", b'{"session_h": NaN}', b"[" * 100_000,
            orjson.dumps(metric()).replace(b"1.5", b"1e999"), orjson.dumps(metric()).replace(b"1.5", b"NaN"),
            orjson.dumps(metric()).replace(b"1.5", b"-Infinity"), orjson.dumps(metric()).replace(b"1.5", b"9" * 400),
            orjson.dumps(metric()).replace(b'"core"', b'"\\ud800"'),
            orjson.dumps(metric()).replace(b'"core"', b'"\\udc00x"'),
            orjson.dumps(metric()) + b"x",
        ],
        ids=lambda body: repr(body[:12]),
    )  # fmt: skip
    async def test_what_is_no_metric(self, client: Any, body: bytes) -> None:
        """Broken JSON, other JSON, and numbers and texts that no column can hold."""
        async with client.post("/metrics/", data=body, headers=JSON_TYPE) as response:
            assert response.status == 400, await response.text()
        assert await _count(client) == 0

    @pytest.mark.parametrize(
        "changes",
        [{"description": [1]}, {"description": 3}, {"description": None}, {"run_date": "no date"}, {"run_date": 1}],
    )
    async def test_a_bad_session(self, client: Any, changes: dict[str, Any]) -> None:
        """A description that is no object and no text, and a date that is none."""
        status, problem = await _post(client, "/sessions/", session() | changes)

        assert (status, problem["errors"][0]["where"]) == (400, f"$.{next(iter(changes))}")
        assert await _count(client, "sessions") == 0

    @pytest.mark.parametrize("name", ["h", "cpu_count", "cpu_type", "machine_node", "python_info", "ram_total"])
    async def test_a_context_that_lacks_a_field(self, client: Any, name: str) -> None:
        """All but the vendor must be there."""
        document = context()
        del document[name]

        status, problem = await _post(client, "/contexts/", document)

        assert (status, problem["errors"][0]["where"]) == (400, f"$.{name}")

    async def test_numbers_beyond_64_bits(self, client: Any) -> None:
        """An integer that PostgreSQL cannot hold is refused, the largest that it can is kept."""
        assert (await _post(client, "/contexts/", context(ram_total=2**63)))[0] == 400
        status, created = await _post(client, "/contexts/", context(ram_total=2**63 - 1))
        assert (status, created["ram_total"]) == (201, 2**63 - 1)

    async def test_a_body_that_is_too_large(self, with_settings: Any) -> None:
        """It is refused before it is read, and says what to do."""
        client = await with_settings(max_body=2048)

        async with client.post("/metrics/", data=b" " * 4096, headers=JSON_TYPE) as response:
            assert response.status == 413
            assert "--max-body" in (await response.json(content_type=None))["detail"]

    @pytest.mark.parametrize(
        ("method", "path"), [("PUT", "/metrics/"), ("DELETE", "/contexts/x"), ("PATCH", "/sessions/")]
    )
    async def test_a_method_that_is_not_offered(self, client: Any, method: str, path: str) -> None:
        """It is 405 with the methods that are."""
        async with client.request(method, path) as response:
            assert response.status == 405
            assert response.headers["Allow"]


class TestUnusual:
    """What is odd and still has to be kept."""

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
    async def test_it_is_kept_to_the_letter(self, client: Any, changes: dict[str, Any]) -> None:
        """Texts of any script and length, the ends of the numbers and of the calendar."""
        assert await _post(client, "/metrics/", metric(**changes)) == (201, metric(**changes))
        assert (await _get(client, "/metrics/"))["metrics"] == [metric(**changes)]

    @pytest.mark.parametrize("name", ["test[{'a': 1}]", "%7B", "a/b", "..", "a?b#c", "a+b c", "日本", ";,&="])
    async def test_any_name_can_be_asked_for(self, client: Any, name: str) -> None:
        """Whatever a test is called, its address leads to it."""
        await _post(client, "/metrics/", metric(item_variant=name))

        url = URL(f"http://127.0.0.1:{client.server.port}/variants/{quote(name, safe='')}/metrics", encoded=True)
        async with client.session.get(url) as response:
            assert response.status == 200, name
            assert [row["item_variant"] for row in (await response.json())["metrics"]] == [name]

    async def test_an_escaped_backslash_is_no_nul(self, client: Any) -> None:
        """The text backslash-u-0000 is an ordinary text."""
        document = metric(item_variant="a\\u0000b")

        assert await _post(client, "/metrics/", document) == (201, document)


class TestMany:
    """Many metrics in one request."""

    async def test_an_array(self, client: Any) -> None:
        """It is stored as a whole, in its order."""
        sent = [metric(item=f"test_{n}") for n in range(30)]

        assert await _post(client, "/metrics/", sent) == (201, {"count": 30})
        assert [row["item"] for row in (await _get(client, "/metrics/"))["metrics"]] == [row["item"] for row in sent]

    async def test_an_empty_array(self, client: Any) -> None:
        """Nothing to store is no error."""
        assert await _post(client, "/metrics/", []) == (201, {"count": 0})

    async def test_one_bad_metric_in_an_array(self, client: Any) -> None:
        """None is stored, and the answer tells which one is bad."""
        status, problem = await _post(client, "/metrics/", [metric(), metric(), metric(total_time="x")])

        assert (status, problem["errors"][0]["where"]) == (400, "$[2].total_time")
        assert await _count(client) == 0

    async def test_lines(self, client: Any) -> None:
        """NDJSON is stored as a whole; empty lines and a missing last line end do not matter."""
        body = _lines([metric(item=f"test_{n}") for n in range(3)]).replace(b"\n", b"\r\n\r\n").rstrip()

        async with client.post("/metrics/", data=io.BytesIO(body), headers=NDJSON) as response:
            assert (response.status, await response.json()) == (201, {"count": 3})
        assert await _count(client) == 3

    @pytest.mark.parametrize("good", [10, 12_000])
    async def test_one_bad_line(self, client: Any, good: int) -> None:
        """None is stored however many came before, and the answer tells the line and the field."""
        body = _lines([metric()] * good + [metric(kind=7)] + [metric()])

        async with client.post("/metrics/", data=io.BytesIO(body), headers=NDJSON) as response:
            problem = await response.json(content_type=None)

        assert response.status == 400
        assert problem["detail"].startswith(f"line {good + 1}: $.kind")
        assert await _count(client) == 0

    async def test_a_great_many_lines(self, client: Any) -> None:
        """They are written as they come, in one transaction, and counted; what follows comes after them."""
        await _post(client, "/metrics/", metric(item="before"))
        body = _lines([metric(item=f"test_{n % 50}") for n in range(12_345)])

        async with client.post("/metrics/", data=io.BytesIO(body), headers=NDJSON) as response:
            assert (response.status, await response.json()) == (201, {"count": 12_345})

        await _post(client, "/metrics/", metric(item="after"))
        assert await _count(client) == 12_347
        assert (await _get(client, "/metrics/"))["metrics"][0]["item"] == "before"
        assert (await _get(client, "/metrics/?page=-1"))["metrics"][-1]["item"] == "after"

    async def test_a_line_that_never_ends(self, client: Any) -> None:
        """It is refused instead of being kept in memory."""
        async with client.post("/metrics/", data=io.BytesIO(b"[" * 3_000_000), headers=NDJSON) as response:
            assert response.status == 413


class TestAppending:
    """Metrics of a file, behind those that a session has already."""

    async def test_a_load_that_is_continued(self, client: Any) -> None:
        """Each part says how many come before it; a part that is repeated changes nothing."""
        path = f"/api/v1/sessions/{'5' * 32}/metrics"
        first, second = [metric(item="one")], [metric(item="two"), metric(item="three", cpu_usage=None)]

        assert await _post(client, f"{path}?offset=0", first) == (201, {"count": 1})
        assert await _post(client, f"{path}?offset=1", second) == (201, {"count": 2})
        status, problem = await _post(client, f"{path}?offset=1", second)

        assert (status, problem["detail"]) == (409, "the session has 3 metrics, not 1; continue with offset=3")
        found = (await _get(client, path))["metrics"]
        assert [row["item"] for row in found] == ["one", "two", "three"]
        assert found[2]["cpu_usage"] is None

    async def test_two_loads_at_once(self, client: Any) -> None:
        """One wins and the other is told how far it has come."""
        path = f"/sessions/{'5' * 32}/metrics?offset=0"

        answers = await asyncio.gather(*(_post(client, path, [metric(), metric()]) for _ in range(6)))

        assert sorted(status for status, _ in answers) == [201, 409, 409, 409, 409, 409]
        assert await _count(client) == 2

    async def test_a_metric_of_another_session(self, client: Any) -> None:
        """Every metric must belong to the session in the address."""
        status, problem = await _post(client, "/sessions/another/metrics?offset=0", metric())

        assert (status, problem["errors"][0]["where"]) == (400, "$.session_h")
        assert await _count(client) == 0

    @pytest.mark.parametrize("query", ["", "?offset=-1", "?offset=x"])
    async def test_the_offset_is_needed(self, client: Any, query: str) -> None:
        """Without it a load could not be repeated."""
        status, problem = await _post(client, f"/sessions/{'5' * 32}/metrics{query}", metric())

        assert (status, problem["errors"][0]["where"]) == (400, "offset")


class TestDeleting:
    """Sessions that are removed."""

    async def test_a_session_goes_with_its_metrics(self, client: Any) -> None:
        """Others stay, and the counts and pages fit at once."""
        await _post(client, "/sessions/", session())
        await _post(client, "/sessions/", session("6" * 32))
        await _post(client, "/metrics/", [metric(), metric(session_h="6" * 32), metric()])

        async with client.delete(f"/sessions/{'5' * 32}") as response:
            assert (response.status, await response.json()) == (200, {"session_h": "5" * 32, "metrics": 2})

        assert (await _count(client), await _count(client, "sessions")) == (1, 1)
        assert [row["session_h"] for row in (await _get(client, "/metrics/"))["metrics"]] == ["6" * 32]

    async def test_metrics_whose_session_never_came(self, client: Any) -> None:
        """They can be removed as well."""
        await _post(client, "/metrics/", metric())

        assert (await client.delete(f"/sessions/{'5' * 32}")).status == 200
        assert await _count(client) == 0

    async def test_a_session_that_is_not_there(self, client: Any) -> None:
        """It is 404."""
        assert (await client.delete("/sessions/unknown")).status == 404

    async def test_a_session_may_come_again(self, client: Any) -> None:
        """After its removal the same hash is new."""
        for _ in range(2):
            await _post(client, "/sessions/", session())
            await _post(client, "/metrics/", metric())
            assert [run["id"] for run in (await _get(client, "/runs/"))["runs"]] == ["5" * 32]
            assert (await _get(client, "/runs/"))["runs"][0]["metrics"] == 1
            await client.delete(f"/sessions/{'5' * 32}")
