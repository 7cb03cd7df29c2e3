"""The search over all features, and the pages of what does not exist."""

from __future__ import annotations

from typing import Any

from tests.console.labs import fill, measure
from tests.each import each


async def _found(client: Any, text: str) -> dict[str, list[str]]:
    async with client.get("/console/data/search", params={"q": text}) as response:
        assert response.status == 200
        return {
            group["kind"]: [entry["name"] for entry in group["entries"]] for group in (await response.json())["groups"]
        }


async def test_each_kind_is_found_by_a_part_of_its_name(client: Any) -> None:
    """Tests, runs by id, commit or machine, programs, jobs by number or line, and machines, in any case of letters."""
    await fill(client)
    assert await _found(client, "SLOW") == {"Tests": ["test_slow"]}
    assert await _found(client, "3commit") == {"Test runs": ["s3 (3commit)"]}
    found = await _found(client, "rack7")
    assert found["Machines"] == ["rack7"]
    assert len(found["Test runs"]) == 8
    assert await _found(client, "app.web") == {"Programs": ["app.web.0"]}
    assert await _found(client, "echo hello") == {"Jobs": ["Job 1"]}
    for text in ("", "   ", "nothing has this", "%", "x" * 5000):
        assert await _found(client, text) == {}


async def test_long_lists_are_cut_and_say_so(client: Any) -> None:
    """Of each kind twenty are listed; a name leads to the page of the thing."""
    await measure(client, runs=25, slower=0)
    async with client.get("/console/data/search", params={"q": "commit"}) as response:
        (group,) = (await response.json())["groups"]
    assert (group["kind"], len(group["entries"]), group["more"]) == ("Test runs", 20, True)
    for entry in group["entries"][:2]:
        async with client.get(entry["href"]) as response:
            assert response.status == 200


@each(
    "path",
    [
        "/console/nothing",
        "/console/a/b",
        "/console/tests/runs/none",
        "/console/processes/none.web.0",
        "/console/commands/77",
        "/console/commands/x",
        "/console/load/0199a7a1-0000-7000-8000-000000000000",
        "/console/hosts/none",
    ],
)
async def test_a_browser_gets_a_page_with_the_navigation_for_what_does_not_exist(client: Any, path: str) -> None:
    """An unknown page, run, program, job or machine is a page with status 404; scripts get the problem document."""
    async with client.get(path, headers={"Accept": "text/html"}) as response:
        page = await response.text()
        assert (response.status, response.content_type) == (404, "text/html")
    for name in ("Programs", "Jobs", "Machines", "Page not found"):
        assert name in page
    async with client.get(path, headers={"Accept": "application/json"}) as response:
        assert (response.status, response.content_type) == (404, "application/problem+json")
