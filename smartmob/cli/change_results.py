"""`smartmob tests rm` and `smartmob tests retag`: remove runs and sessions, and change their tags and commits."""

from __future__ import annotations

import sys
from typing import Any
from urllib.parse import quote

import click

from smartmob.cli import printing
from smartmob.cli.import_results import pair
from smartmob.cli.server_options import with_rest_client
from smartmob.cli.stored_runs import API, find_run, resolved
from smartmob.client.http import RestClient
from smartmob.counts import counted
from smartmob.errors import InvalidInput, NotFound


@click.command("rm")
@click.argument("idents", nargs=-1, required=True, metavar="RUN|SESSION...")
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
@with_rest_client
async def remove(rest: RestClient, idents: tuple[str, ...], yes: bool) -> None:
    """Remove runs with all their sessions and metrics; the beginning of a name is enough.

    The hash of a session removes only this session, unless it is the name of its run.
    """
    sessions: dict[str, int] = {}
    for ident in idents:
        sessions |= await _sessions_of(rest, ident)
    said = f"{counted(len(sessions), 'session')} with {counted(sum(sessions.values()), 'metric')}"
    if not yes:
        if not sys.stdin.isatty():
            raise InvalidInput(f"this would remove {said}: confirm it with --yes")
        if not click.confirm(f"Remove {said}?", err=True):
            raise InvalidInput("nothing was removed")
    removed = 0
    for session_h in sessions:
        removed += (await rest.delete(f"{API}/sessions/{quote(session_h, safe='')}"))["metrics"]
    printing.say(f"{counted(len(sessions), 'session')} with {counted(removed, 'metric')} removed")


async def _sessions_of(rest: RestClient, ident: str) -> dict[str, int]:
    """Return the number of metrics by session: of a run, of one session, or of metrics without a session."""
    try:
        run, name = await resolved(rest, ident)
    except NotFound:
        orphans = (await rest.get(f"{API}/sessions/{quote(ident, safe='')}/metrics/count"))["count"]
        if not orphans:
            raise
        return {ident: orphans}
    return {session["session_h"]: session["metrics"] for session in _meant(name, run)}


def _meant(name: str, run: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the session that has this hash, unless it is the name of the run; otherwise all sessions of the run."""
    one = [session for session in run["sessions"] if session["session_h"] == name]
    return one if one and name != run["id"] else list(run["sessions"])


@click.command()
@click.argument("ident", metavar="RUN|SESSION")
@click.option("--tag", "tags", multiple=True, metavar="NAME=VALUE", help="Tag to set; repeatable.")
@click.option("--remove", "removed", multiple=True, metavar="NAME", help="Tag to remove; repeatable.")
@click.option("--scm-ref", default=None, metavar="COMMIT", help="Commit to set; an empty one removes it.")
@with_rest_client
async def retag(
    rest: RestClient, ident: str, tags: tuple[str, ...], removed: tuple[str, ...], scm_ref: str | None
) -> None:
    """Change the tags and the commit of a run, in each of its sessions; the beginning of its name is enough.

    Sessions with the same tag `run` are one run. The hash of a session changes only this session, unless it is the name
    of its run.
    """
    pairs: dict[str, str | None] = dict(pair(tag) for tag in tags)
    both = sorted(set(pairs) & set(removed))
    if both:
        raise InvalidInput(f"the tag {both[0]} is to be set and removed; name it once")
    change: dict[str, Any] = {"tags": pairs | dict.fromkeys(removed)}
    if scm_ref is not None:
        change["scm_ref"] = scm_ref
    if not change["tags"] and scm_ref is None:
        raise InvalidInput("nothing to change: give --tag, --remove or --scm-ref")
    run, name = await resolved(rest, ident)
    hashes = [session["session_h"] for session in _meant(name, run)]
    for session_h in hashes:
        await rest.patch(f"{API}/sessions/{quote(session_h, safe='')}", change)
    now = await find_run(rest, hashes[0])
    printing.say(f"{counted(len(hashes), 'session')} changed; they are now in the run {now['id']}")
