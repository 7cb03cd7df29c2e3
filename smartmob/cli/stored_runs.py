"""Finds the run that a person names on the command line."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from smartmob.client.http import RestClient
from smartmob.errors import InvalidInput, NotFound, RemoteError

API = "/api/v1"


async def find_run(rest: RestClient, ident: str) -> dict[str, Any]:
    """Return the run of that name, or of the one session whose hash begins with it. Raises NotFound."""
    return (await resolved(rest, ident))[0]


async def resolved(rest: RestClient, ident: str) -> tuple[dict[str, Any], str]:
    """Return a run, and `ident` with the hash of a session written out. Raises NotFound."""
    try:
        return dict(await rest.get(f"{API}/runs/{quote(ident, safe='')}")), ident
    except RemoteError as error:
        if error.status != 404:
            raise
    page = await rest.get(f"{API}/sessions/{quote(ident, safe='')}")
    hashes = [session["session_h"] for session in page["sessions"]] if page is not None else []
    if not hashes:
        raise NotFound(f"there is no run or session {ident}; `smartmob tests ls` lists them")
    if len(hashes) > 1:
        raise InvalidInput(f"{ident} is the beginning of {len(hashes)} sessions; give more of the name")
    return dict(await rest.get(f"{API}/runs/{quote(hashes[0], safe='')}")), hashes[0]
