"""Finds the environments in which runs measured: places, and the contexts and sessions that belong to them."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Protocol

import msgspec

from smartmob.metrics import model
from smartmob.metrics.store.histories import EnvironmentSelection, HistoryReader
from smartmob.metrics.verdict import place
from smartmob.metrics.verdict.place import ComparedPlaces, PlaceRules, SessionOrigin
from smartmob.metrics.verdict.verdicts import Side


class MeasuredEnvironment(msgspec.Struct, frozen=True):
    """A place in which a side measured, with one of its contexts; `context` is None if that is not stored."""

    context_h: str
    context: model.Context | None
    place: model.Place


class ComparedEnvironments(msgspec.Struct, frozen=True):
    """The environments of both sides of a comparison."""

    base: tuple[MeasuredEnvironment, ...]
    head: tuple[MeasuredEnvironment, ...]


class ExecutedIn(Protocol):
    """An execution of a test."""

    @property
    def session_h(self) -> str:
        """Return the hash of its session."""

    @property
    def context_h(self) -> str:
        """Return the hash of its context."""


class SessionPlaces(msgspec.Struct, frozen=True):
    """The places of sessions, by their contexts and origins."""

    contexts: Mapping[str, model.Context]
    origins: Mapping[str, SessionOrigin]
    rules: PlaceRules

    def is_same(self, one: ExecutedIn, other: ExecutedIn) -> bool:
        """Return whether two executions ran in the same place."""
        first, second = self._environment(one), self._environment(other)
        known = first[0] is not None and second[0] is not None
        return known and place.place_differences(first, second, self.rules) == []

    def _environment(self, executed: ExecutedIn) -> tuple[model.Context | None, model.Place]:
        context = self.contexts.get(executed.context_h)
        return context, place.place_of(context, self.origins.get(executed.session_h, SessionOrigin()), self.rules)


class EnvironmentFinder:
    """Finds environments by the rules of places."""

    def __init__(self, reader: HistoryReader, rules: PlaceRules) -> None:
        self._reader = reader
        self._rules = rules

    async def of_sides(self, base: Side | None, head: Side) -> ComparedEnvironments:
        """Return the environments in which the two sides measured."""
        sessions = [*(base.sessions if base is not None else ()), *head.sessions]
        by_session, known, origins = await self._described(sessions)

        def measured(names: Iterable[str]) -> tuple[MeasuredEnvironment, ...]:
            pairs = (
                (known.get(h), h, origins.get(name, SessionOrigin()))
                for name in names
                for h in by_session.get(name, ())
            )
            return self._distinct(pairs)

        return ComparedEnvironments(measured(base.sessions) if base is not None else (), measured(head.sessions))

    async def latest(self, since: datetime, sessions: int, most: int) -> tuple[MeasuredEnvironment, ...]:
        """Return the environments of the latest `sessions` since a time, the latest first, at most `most` of them."""
        names = await self._reader.latest_sessions(since, sessions)
        by_session, known, origins = await self._described(names)
        pairs = dict.fromkeys(
            (h, origins.get(name, SessionOrigin())) for name in names for h in by_session.get(name, ())
        )
        described = [(known.get(h), h, origin) for h, origin in pairs]
        # In a thread, because thousands of contexts are compared with each other.
        return (await asyncio.to_thread(self._distinct, described))[:most]

    async def _described(
        self, sessions: Sequence[str]
    ) -> tuple[Mapping[str, Sequence[str]], Mapping[str, model.Context], Mapping[str, SessionOrigin]]:
        """Return the contexts of sessions: their hashes by session, those that are stored by hash, and the origins."""
        by_session = await self._reader.contexts_of(sessions)
        known = await self._reader.contexts(sorted({h for hashes in by_session.values() for h in hashes}))
        return by_session, known, await self._reader.origins(sessions)

    def _distinct(
        self, described: Iterable[tuple[model.Context | None, str, SessionOrigin]]
    ) -> tuple[MeasuredEnvironment, ...]:
        found: list[MeasuredEnvironment] = []
        for context, context_h, origin in described:
            new = MeasuredEnvironment(context_h, context, place.place_of(context, origin, self._rules))
            if not any(self.differences(one, new) == [] for one in found):
                found.append(new)
        return tuple(found)

    async def places(self, sessions: Collection[str], contexts: Mapping[str, model.Context]) -> SessionPlaces:
        """Return the places of some sessions that measured in some contexts."""
        return SessionPlaces(contexts, await self._reader.origins(sorted(sessions)), self._rules)

    def differences(self, theirs: MeasuredEnvironment, ours: MeasuredEnvironment) -> list[str]:
        """Return in words what makes two environments different; [] if their metrics can be compared."""
        if theirs.context is None and ours.context is None and theirs.context_h != ours.context_h:
            return ["contexts that are not stored"]
        return place.place_differences((theirs.context, theirs.place), (ours.context, ours.place), self._rules)

    def doubt(self, ours: MeasuredEnvironment, others: Sequence[MeasuredEnvironment]) -> str | None:
        """Return why an environment and those of `others` that are the same may be several machines, or None."""
        same = [other for other in others if self.differences(other, ours) == []]
        return next((one.place.doubt for one in (ours, *same) if one.place.doubt is not None), None)

    def nearest(self, ours: MeasuredEnvironment, others: Sequence[MeasuredEnvironment]) -> list[str]:
        """Return the differences to the most similar one of some environments."""
        return min((self.differences(other, ours) for other in others), key=len, default=[])

    async def selection(self, environment: MeasuredEnvironment) -> EnvironmentSelection:
        """Return the contexts and sessions that belong to an environment."""
        h, context, name = environment.context_h, environment.context, place.effective_name(environment.place)
        if context is None:
            return EnvironmentSelection([h], [], [h], name)
        fit, named, unnamed, nameless = [], [], [], []
        for similar in await self._reader.similar_contexts(context):
            if place.differences(similar.context, context, self._rules):
                continue
            for other_h, node in similar.nodes.items():
                fit.append(other_h)
                if (shared := place.shared_name(node, self._rules)) is not None:
                    unnamed.append(other_h)
                    if not shared.temporary and place.may_lack_address(environment.place):
                        nameless.append(other_h)
                elif place.is_node_of(node, environment.place):
                    named.append(other_h)
        return EnvironmentSelection(fit, named, unnamed, name, nameless)

    async def across(
        self, environment: MeasuredEnvironment, others: Sequence[MeasuredEnvironment]
    ) -> EnvironmentSelection:
        """Return the contexts and sessions of an environment and of the most similar ones of some others."""
        least = len(self.nearest(environment, others))
        found = [await self.selection(environment)]
        found += [await self.selection(other) for other in others if len(self.differences(other, environment)) == least]
        return EnvironmentSelection(sorted({h for one in found for h in one.fit}), [], [], None)

    def compared(self, sides: ComparedEnvironments, *, across: bool) -> ComparedPlaces:
        """Return the places of both sides and what makes them different."""
        matched = not sides.base or any(
            self.differences(theirs, ours) == [] for theirs in sides.base for ours in sides.head
        )
        found: list[str] = []
        if not matched and sides.head:
            found = min((self.nearest(ours, sides.base) for ours in sides.head), key=len)
        return ComparedPlaces(
            base=[environment.place for environment in sides.base],
            head=[environment.place for environment in sides.head],
            across=across and bool(found),
            differences=found,
            explanation=_explanation(found, sides, across=across),
        )


def _explanation(found: Sequence[str], sides: ComparedEnvironments, *, across: bool) -> str | None:
    if found:
        said = place.different(found)
        if across:
            return f"Base and head are of {said}. They are compared nevertheless, with low confidence."
        return f"Base and head are of {said}. Compare them nevertheless with --across."
    measured = (*sides.head, *sides.base)
    doubts: Mapping[str, None] = dict.fromkeys(one.place.doubt for one in measured if one.place.doubt is not None)
    return "; ".join(f"Low confidence: {doubt}." for doubt in doubts) or None


def why_unfit(finder: EnvironmentFinder, ours: MeasuredEnvironment, base: Sequence[MeasuredEnvironment]) -> str:
    """Return in words why an environment of the head has nothing in the base to be compared with."""
    if not base:
        return "the base has no metrics"
    return place.different(finder.nearest(ours, base))
