"""Resolves the references in a request for a comparison: a run, a session, a commit, or the latest run."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

from smartmob.counts import counted
from smartmob.errors import InvalidInput, NotFound
from smartmob.metrics.runs import RunFinder
from smartmob.metrics.store.histories import HistoryReader
from smartmob.metrics.verdict.verdicts import Side

_LATEST = re.compile(r"latest(?:~(\d{1,3}))?")
_FAR_FUTURE = (datetime.max.replace(tzinfo=UTC), "")
_MAX_CANDIDATES = 4  # names that an error shows when a prefix is ambiguous, the last one as an ellipsis
_MAX_COMMIT_SESSIONS = 200
_MAX_RUNS_BACK = 500  # of `latest~N`


class ReferenceResolver:
    """Resolves references to the sides of a comparison.

    A reference is a run's id, a session's hash, a commit, or the beginning of one; an exact match comes first. `run:`,
    `session:` or `commit:` before it states its kind. A hash without such a prefix means the run of that session.
    """

    def __init__(self, reader: HistoryReader, runs: RunFinder) -> None:
        self._reader = reader
        self._runs = runs

    async def resolve(self, where: str, name: str) -> Side:
        """Return the side that `name` refers to. Raises InvalidInput at the argument `where`, and NotFound."""
        if match := _LATEST.fullmatch(name):
            return await self._latest(name, int(match[1] or 0))
        kind, colon, rest = name.partition(":")
        if colon and kind in ("run", "session", "commit") and rest:
            found = await self._resolve_kind(where, name, kind, rest)
            if found is None:
                raise NotFound(f"{where}: there is no {kind} {rest}; `smartmob tests ls` lists the runs")
            return found
        return await self._resolve_any_kind(where, name)

    async def run(self, ident: str) -> Side:
        """Return the run with an id, or with a session of this hash. Raises NotFound."""
        return await self._run(ident, ident)

    async def _latest(self, name: str, back: int) -> Side:
        if back > _MAX_RUNS_BACK:
            raise InvalidInput(f"{name} is further back than {_MAX_RUNS_BACK} runs; name the run itself")
        runs = await self._latest_run_ids(back + 1)
        if len(runs) <= back:
            raise NotFound(f"there is no {name}: {counted(len(runs), 'run')} with metrics; see `smartmob tests ls`")
        return await self._run(name, runs[back])

    async def _latest_run_ids(self, number: int) -> list[str]:
        """Return the ids of the latest runs that have metrics."""
        found: list[str] = []
        before = _FAR_FUTURE
        while len(found) < number:
            runs = await self._runs.before(before, number + 5)
            found += [run.id for run in runs if run.metrics]
            if not runs:
                break
            before = (runs[-1].started_at, runs[-1].sessions[0].session_h)
        return found[:number]

    async def _resolve_any_kind(self, where: str, name: str) -> Side:
        hashes = await self._reader.sessions_by_prefix(name, 1)
        commits = await self._reader.commits_by_prefix(name, 1)
        exact = {
            *(("run",) if name in hashes or await self._runs.has_tag(name) else ()),
            *(("commit",) if name in commits else ()),
        }
        kinds = exact or {*(("run",) if hashes else ()), *(("commit",) if commits else ())}
        if not kinds:
            raise NotFound(f"{where}: there is no run, session or commit {name}; `smartmob tests ls` lists them")
        if len(kinds) > 1:
            choices = " or ".join(f"{kind}:{name}" for kind in sorted(kinds))
            raise InvalidInput.at(where, f"{name} is ambiguous; write {choices}")
        found = await self._resolve_kind(where, name, kinds.pop(), name)
        assert found is not None
        return found

    async def _resolve_kind(self, where: str, name: str, kind: str, rest: str) -> Side | None:
        if kind == "commit":
            commit = await self._unique_match(where, rest, "commits", self._reader.commits_by_prefix)
            return None if commit is None else await self._commit(name, commit)
        if kind == "run" and await self._runs.has_tag(rest):
            return await self._run(name, rest)
        session_h = await self._unique_match(where, rest, "sessions", self._reader.sessions_by_prefix)
        if session_h is None:
            return None
        if kind == "run":
            return await self._run(name, session_h)
        return await self._session(name, session_h)

    async def _unique_match(
        self, where: str, prefix: str, what: str, by_prefix: Callable[[str, int], Awaitable[list[str]]]
    ) -> str | None:
        """Return the name that equals `prefix`, or the only one that begins with it, or None."""
        found = await by_prefix(prefix, _MAX_CANDIDATES)
        if len(found) > 1 and found[0] != prefix:
            shown = ", ".join(other[:16] for other in found[: _MAX_CANDIDATES - 1]) + (
                ", …" if len(found) == _MAX_CANDIDATES else ""
            )
            raise InvalidInput.at(
                where, f"{prefix} is the beginning of several {what} ({shown}); give more of the name"
            )
        return found[0] if found else None

    async def _run(self, name: str, ident: str) -> Side:
        run = await self._runs.run(ident)
        return Side(name, "run", run.id, run.scm_ref, [row.session_h for row in run.sessions], run.started_at)

    async def _session(self, name: str, session_h: str) -> Side:
        run = await self._runs.run(session_h)
        return Side(name, "session", session_h, run.scm_ref, [session_h], run.started_at)

    async def _commit(self, name: str, commit: str) -> Side:
        hashes = await self._reader.latest_of_commit(commit, _MAX_COMMIT_SESSIONS)
        first = await self._runs.run(hashes[-1])
        return Side(name, "commit", commit, commit, hashes[::-1], first.started_at)
