"""The usual base of `smartmob compare`: the last run of another commit on the same branch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from smartmob.cli.stored_runs import API
from smartmob.client.http import RestClient

_RUN_BEFORE = "latest~1"
_BRANCH = "pipeline_branch"
"""The tag with the branch, as CI and `--tag` of pytest-monitor set it."""
_RUNS = 200  # runs among which the base is searched

Run = Mapping[str, Any]


async def usual_base(rest: RestClient, head: str) -> tuple[str, str | None]:
    """Return the base for a head, and a note when it is of the same commit; raises RemoteError."""
    page = await rest.get(f"{API}/runs/", limit=_RUNS)
    runs = [] if page is None else page["runs"]
    index = _index_of(runs, head)
    if index is None or not runs[index]["scm_ref"]:
        return _RUN_BEFORE, None
    ours = runs[index]
    for run in runs[index + 1 :]:
        if run["metrics"] and run["scm_ref"] != ours["scm_ref"] and _branch(run) == _branch(ours):
            return f"run:{run['id']}", None
    if head != "latest":
        return _RUN_BEFORE, None
    branch = f" of the branch {_branch(ours)}" if _branch(ours) else ""
    return _RUN_BEFORE, f"No earlier run{branch} is of another commit; the base is the run before."


def _index_of(runs: Sequence[Run], head: str) -> int | None:
    """Return the index of the head in a list of runs, the newest first, or None."""
    kind, _, name = head.rpartition(":")
    for index, run in enumerate(runs):
        if not run["metrics"]:
            continue
        of_commit = kind in ("", "commit") and run["scm_ref"].startswith(name)
        of_run = kind in ("", "run") and run["id"].startswith(name)
        if head == "latest" or (name and (of_commit or of_run)):
            return index
    return None


def _branch(run: Run) -> str | None:
    return next((tag["value"] for tag in run["tags"] if tag["name"] == _BRANCH), None)
