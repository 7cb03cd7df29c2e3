"""Finds the run that a person names on the command line."""

from __future__ import annotations

from collections.abc import Set
from typing import Any
from urllib.parse import quote

from smartmob.cli.suggestions import did_you_mean, nearest
from smartmob.client.http import RestClient
from smartmob.errors import InvalidInput, NotFound, RemoteError

API = "/api/v1"
_LATEST = "latest"
_MOST_NAMES = 8  # in a message
_MOST_RUNS = 100  # runs among which the intended one is searched


async def find_run(rest: RestClient, ident: str) -> dict[str, Any]:
    """Return the run of that name, or of the one session whose hash begins with it. Raises NotFound."""
    return (await resolved(rest, ident))[0]


async def test_like(rest: RestClient, part: str) -> str | None:
    """Return the name of the one test whose name contains `part`, or None where there is no such test.

    Raises NotFound, with the names, where there are several, and with the nearest name where none is like it.
    """
    page = await rest.get(f"{API}/items/like/{quote(part, safe='')}/metrics") if part else None
    names = sorted({str(row["item"]) for row in page["metrics"]}) if page is not None else []
    if len(names) == 1:
        return names[0]
    if names:
        more = f" and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else ""
        raise NotFound(f"{part} is a part of {len(names)} names, give more: {', '.join(names[:_MOST_NAMES])}{more}")
    if known := {name.rpartition("::")[2] for name in await newest_tests(rest)}:
        raise NotFound(f"no test named {part!r} was measured{_hint(part, known)}")
    return None


def _hint(part: str, known: Set[str]) -> str:
    full = {name.removeprefix("test_"): name for name in sorted(known)}
    near = nearest(part, known) or full.get(nearest(part, full) or "")
    return f"; did you mean {near}?" if near else "; the names are those of `smartmob tests show`"


async def newest_tests(rest: RestClient) -> set[str]:
    """Return the names of the tests of the newest run, each as "path::item"."""
    runs = ((await rest.get(f"{API}/runs/", limit=1)) or {"runs": []})["runs"]
    if not runs:
        return set()
    path = f"{API}/runs/{quote(runs[0]['id'], safe='')}/metrics"
    return {f"{metric['item_path']}::{metric['item']}" async for metric in rest.documents(path)}


async def resolved(rest: RestClient, ident: str) -> tuple[dict[str, Any], str]:
    """Return a run, and `ident` with the hash of a session written out; `latest` is the newest. Raises NotFound."""
    if ident == _LATEST:
        newest = ((await rest.get(f"{API}/runs/", limit=1)) or {"runs": []})["runs"]
        if not newest:
            raise NotFound("there is no run yet; the quickstart of the documentation shows how tests send one")
        ident = str(newest[0]["id"])
    try:
        return dict(await rest.get(f"{API}/runs/{quote(ident, safe='')}")), ident
    except RemoteError as error:
        if error.status != 404:
            raise
    page = await rest.get(f"{API}/sessions/{quote(ident, safe='')}")
    hashes = [session["session_h"] for session in page["sessions"]] if page is not None else []
    if not hashes:
        runs = ((await rest.get(f"{API}/runs/", limit=_MOST_RUNS)) or {"runs": []})["runs"]
        known = [_LATEST, *(str(run["id"]) for run in runs)]
        hint = did_you_mean(ident, known, "`smartmob tests ls` lists them")
        raise NotFound(f"there is no run or session {ident}{hint}")
    if len(hashes) > 1:
        raise InvalidInput(f"{ident} is the beginning of {len(hashes)} sessions; give more of the name")
    return dict(await rest.get(f"{API}/runs/{quote(hashes[0], safe='')}")), hashes[0]
