"""The routes that change and delete stored measures, with a real database."""

from __future__ import annotations

from typing import Any

from tests.each import each
from tests.metrics.calls import count, get, post
from tests.metrics.samples import context, metric, session

NDJSON = {"Content-Type": "application/x-ndjson"}
JSON_TYPE = {"Content-Type": "application/json"}


class TestChanging:
    """Tags and commits of stored sessions."""

    async def test_tags_and_the_commit_can_be_changed(self, client: Any) -> None:
        """The session belongs to the run of its new tags, and verdicts are computed again."""
        await post(client, "/contexts/", context())
        for n in "56":
            await post(client, "/sessions/", session(n * 32, description={"run": "one", "a": "b"}))
            await post(client, "/metrics/", metric(session_h=n * 32))
        assert len((await get(client, "/runs/"))["runs"]) == 1
        assert len((await get(client, "/runs/one/verdict"))["head"]["sessions"]) == 2

        change = {"tags": {"run": "two", "a": None, "c": "ü", "unknown": None}, "scm_ref": "feed"}
        async with client.patch(f"/api/v1/sessions/{'6' * 32}", json=change) as response:
            assert response.status == 200
            changed = await response.json()

        assert (changed["scm_ref"], changed["tags"]) == (
            "feed", [{"name": "run", "value": "two"}, {"name": "c", "value": "ü"}]
        )  # fmt: skip
        runs = {run["id"]: (run["scm_ref"], run["metrics"]) for run in (await get(client, "/runs/"))["runs"]}
        assert runs == {"one": ("0123abc", 1), "two": ("feed", 1)}
        assert len((await get(client, "/runs/one/verdict"))["head"]["sessions"]) == 1
        async with client.patch(f"/sessions/{'6' * 32}", json={"tags": {"run": None}}) as response:
            assert response.status == 200
        assert {run["id"] for run in (await get(client, "/runs/"))["runs"]} == {"one", "6" * 32}

    @each("change", [{"tags": {"": "x"}}, {"tags": {"a": 1}}, {"scm_ref": 1}, {"tags": []}])
    async def test_an_invalid_change_is_refused(self, client: Any, change: Any) -> None:
        """Nothing is changed then, and an unknown session is 404."""
        await post(client, "/sessions/", session())
        async with client.patch(f"/sessions/{'5' * 32}", json=change) as response:
            assert response.status == 400
        assert len((await get(client, f"/sessions/{'5' * 32}"))["sessions"][0]["tags"]) == 2
        async with client.patch("/sessions/unknown", json={}) as response:
            assert response.status == 404


class TestDeleting:
    """The deletion of sessions."""

    async def test_a_session_is_deleted_with_its_metrics(self, client: Any) -> None:
        """Other sessions remain, and counts and pages are right at once."""
        await post(client, "/sessions/", session())
        await post(client, "/sessions/", session("6" * 32))
        await post(client, "/metrics/", [metric(), metric(session_h="6" * 32), metric()])

        async with client.delete(f"/sessions/{'5' * 32}") as response:
            assert (response.status, await response.json()) == (200, {"session_h": "5" * 32, "metrics": 2})

        assert (await count(client), await count(client, "sessions")) == (1, 1)
        assert [row["session_h"] for row in (await get(client, "/metrics/"))["metrics"]] == ["6" * 32]

    async def test_metrics_without_a_session_are_deleted(self, client: Any) -> None:
        """Metrics whose session never arrived can be deleted by its hash."""
        await post(client, "/metrics/", metric())

        assert (await client.delete(f"/sessions/{'5' * 32}")).status == 200
        assert await count(client) == 0

    async def test_an_unknown_session_is_not_found(self, client: Any) -> None:
        """The deletion of an unknown session answers 404."""
        assert (await client.delete("/sessions/unknown")).status == 404

    async def test_a_deleted_session_can_be_stored_again(self, client: Any) -> None:
        """After the deletion the same hash is a new session."""
        for _ in range(2):
            await post(client, "/sessions/", session())
            await post(client, "/metrics/", metric())
            assert [run["id"] for run in (await get(client, "/runs/"))["runs"]] == ["5" * 32]
            assert (await get(client, "/runs/"))["runs"][0]["metrics"] == 1
            await client.delete(f"/sessions/{'5' * 32}")
