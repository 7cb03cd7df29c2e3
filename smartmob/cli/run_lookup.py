"""Load tests by what a person types: an id, the beginning of one, or `last`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from smartmob.cli.suggestions import did_you_mean
from smartmob.client.http import RestClient
from smartmob.errors import InvalidInput, NotFound, RemoteError

RUNS = "/turret-runs"


_NOT_FOUND_STATUS = 404


_MOST_RUNS = 100  # among which one is looked for by the beginning of its id or by its name


_LEAST_BEGINNING = 4  # characters of an id


_NEWEST = "`last` is the newest one"


async def find_run(rest: RestClient, ident: str) -> str:
    """Return the id of a run from its id, the beginning of it, or `last`, quoted for a path; raises NotFound."""
    if ident != "last":
        return await _named(rest, ident)
    runs = (await rest.get(RUNS, limit=1))["runs"]
    if not runs:
        raise InvalidInput("there is no run yet; smartmob fire PROJECT makes one")
    return quoted_id(runs[0])


async def _named(rest: RestClient, ident: str) -> str:
    try:
        return quoted_id(await rest.get(f"{RUNS}/{quote(ident, safe='')}"))
    except RemoteError as error:
        if error.status != _NOT_FOUND_STATUS:
            raise
    runs = (await rest.get(RUNS, limit=_MOST_RUNS))["runs"]
    found = [run for run in runs if len(ident) >= _LEAST_BEGINNING and str(run["id"]).startswith(ident)]
    if len(found) == 1:
        return quoted_id(found[0])
    if found:
        raise InvalidInput(f"{ident} is the beginning of {len(found)} runs; give more of the id")
    named = [str(run["id"]) for run in runs if run["name"] == ident]
    hint = f"; the newest of this name is {named[0]}" if named else ""
    names = ["last", *(str(run["id"]) for run in runs)]
    raise NotFound(f"there is no load test {ident}{hint or did_you_mean(ident, names, _NEWEST)}")


def quoted_id(run: Mapping[str, Any]) -> str:
    """Return the id of a run, quoted for a path, an address or the name of a file."""
    return quote(str(run["id"]), safe="")
