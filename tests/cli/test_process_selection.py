"""Which processes a person means, and what a shell offers."""

from __future__ import annotations

from typing import Any

import pytest

from smartmob.cli.process_selection import select
from smartmob.client.http import RestClient
from smartmob.errors import NotFound
from tests.acceptance.commands import run


async def _create(rest: RestClient, *slugs: str) -> None:
    for slug in slugs:
        app, node = slug.split(".", 1)
        # Nothing answers there; a process that failed is a process, too.
        source = {"process_type": "web", "source_url": "http://127.0.0.1:1/x"}
        await rest.post("/create-process", {"app": app, "node": node, **source})


async def test_by_slug_and_by_application(rest: RestClient) -> None:
    """Each once, in the order in which they were named."""
    await _create(rest, "a.web.0", "b.web.0", "b.web.1")

    async def chosen(*names: str) -> list[str]:
        return [process["slug"] for process in await select(rest, names)]

    assert await chosen("b.web.1", "a") == ["b.web.1", "a.web.0"]
    assert await chosen("b", "b.web.1") == ["b.web.0", "b.web.1"]
    with pytest.raises(NotFound, match=r"no program b.web.2; did you mean b.web.[01]\?"):
        await chosen("a", "b.web.2")
    with pytest.raises(NotFound, match="`smartmob ps` lists them"):
        await chosen("zzz")


async def test_a_shell_completes_them(rest: RestClient, smartmob: Any, address: str) -> None:
    """Slugs and applications, but those that stand there already; nothing when no service answers."""
    await _create(rest, "app.web.0", "app.web.1", "other.web.0")

    async def offered(words: str, **env: str) -> list[str]:
        count = str(len(words.split(" ")) - 1)
        done = await smartmob(COMP_WORDS=words, COMP_CWORD=count, _SMARTMOB_COMPLETE="bash_complete", **env)
        assert done[2] == ""
        return [line.removeprefix("plain,") for line in done[1].split()]

    assert await offered("smartmob logs -f app.w") == ["app.web.0", "app.web.1"]
    assert await offered("smartmob stop app.web.0 ") == ["app.web.1", "other.web.0", "app", "other"]
    code, output, _ = await run(
        COMP_WORDS=f"smartmob attach --server {address} o", COMP_CWORD="4", _SMARTMOB_COMPLETE="bash_complete"
    )
    assert (code, output.split()) == (0, ["plain,other.web.0", "plain,other"])
    code, output, errors = await run(
        COMP_WORDS="smartmob attach ", COMP_CWORD="2", _SMARTMOB_COMPLETE="bash_complete",
        SMARTMOB_SERVER="http://127.0.0.1:1",
    )  # fmt: skip
    assert (code, output.strip(), errors) == (0, "", "")
