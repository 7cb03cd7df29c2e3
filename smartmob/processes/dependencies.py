"""The dependencies between the processes of an application: whether a process may be started now. No I/O."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from functools import cached_property
from typing import TypeVar

import msgspec

from smartmob.processes import model

_MOST_NAMED = 10
"""The most processes in a text for people."""
_MOST_SUGGESTED = 100
"""The most names that are listed and compared for a suggestion."""


class Peer(msgspec.Struct, frozen=True, kw_only=True):
    """A process that others may depend on.

    `options` is None before the first preparation. `ended` is whether its program has ended by itself and is not
    started again, `end` how.
    """

    slug: str
    node: str
    process_type: str
    state: str
    detail: str = ""
    options: model.Options | None = None
    has_started: bool = False
    ready: bool = False
    completed: bool = False
    ended: bool = False
    end: str = ""


class StartVerdict(msgspec.Struct, frozen=True):
    """The answer to whether a process may be started: why it never may, or why it must wait; both for people."""

    waits: str = ""
    failed: str = ""


class Peers:
    """The processes of an application, by their nodes and types."""

    def __init__(self, peers: Iterable[Peer]) -> None:
        self.all = tuple(peers)
        self._by_node = {peer.node: peer for peer in self.all}
        self._by_type: dict[str, list[Peer]] = {}
        for peer in self.all:
            self._by_type.setdefault(peer.process_type, []).append(peer)

    def members(self, name: str) -> Sequence[Peer]:
        """Return the processes that `name` means: the node of that name, or else all nodes of that type."""
        node = self._by_node.get(name)
        return self._by_type.get(name, ()) if node is None else (node,)

    def names(self) -> set[str]:
        """Return the names of all nodes and types."""
        return self._by_node.keys() | self._by_type.keys()

    def cycle(self, slug: str) -> list[str]:
        """Return a path from a process along its dependencies back to itself, as `cycle` does."""
        return [name for is_process, name in cycle((True, slug), self._graph) if is_process]

    @cached_property
    def _graph(self) -> dict[tuple[bool, str], list[tuple[bool, str]]]:
        """Return the dependencies, as far as the options are known: from (True, SLUG) to (False, NAME) to (True, SLUG).

        A name is a vertex of its own, so that the edges between many processes and many dependencies grow with their
        sum, not their product.
        """
        wanted = {peer.slug: () if peer.options is None else tuple(peer.options.depends_on) for peer in self.all}
        graph = {(True, slug): [(False, name) for name in names] for slug, names in wanted.items()}
        for name in {name for names in wanted.values() for name in names}:
            graph[False, name] = [(True, peer.slug) for peer in self.members(name)]
        return graph


def verdict(wanted: Mapping[str, model.Condition], peers: Peers) -> StartVerdict:
    """Return whether a process with the dependencies `wanted` may be started; `peers` are those of its application."""
    waits: list[str] = []
    for name, condition in wanted.items():
        found = peers.members(name)
        if not found:
            waits.append(f"{name}, which does not exist")
        for peer in found:
            reason = _RULES[condition](peer)
            if reason.failed:
                return reason
            waits += [reason.waits] if reason.waits else []
    more = f" and {len(waits) - _MOST_NAMED} more" if len(waits) > _MOST_NAMED else ""
    return StartVerdict(waits=f"waits for {', '.join(waits[:_MOST_NAMED])}{more}" if waits else "")


def _failure(peer: Peer) -> StartVerdict | None:
    """Return why a process cannot run unless a client changes something, or None."""
    if peer.state in model.FAILURES:
        return StartVerdict(failed=f"{peer.slug} cannot be started: {peer.state}")
    return None


def _started(peer: Peer) -> StartVerdict:
    if peer.has_started or peer.completed:
        return StartVerdict()
    if peer.ended:
        return StartVerdict(failed=f"{peer.slug} could not be started: {peer.end}")
    return _failure(peer) or StartVerdict(waits=f"{peer.slug} to be started ({peer.state})")


def _ready(peer: Peer) -> StartVerdict:
    if peer.options is not None and peer.options.readiness is None:
        return StartVerdict(
            failed=f"{peer.slug} has no readiness check: give it one, or use the condition {model.STARTED!r}"
        )
    if peer.ready:
        return StartVerdict()
    if peer.ended or peer.completed:
        return StartVerdict(failed=f"{peer.slug} has ended and is not started again: {peer.end or 'it succeeded'}")
    state = "running, not ready" if peer.state == model.RUNNING else peer.state
    return _failure(peer) or StartVerdict(waits=f"{peer.slug} to be ready ({state})")


def _completed(peer: Peer) -> StartVerdict:
    if peer.completed:
        return StartVerdict()
    if peer.ended:
        return StartVerdict(failed=f"{peer.slug} did not succeed: {peer.end}")
    if peer.options is not None and peer.options.restart == model.ALWAYS:
        return StartVerdict(
            failed=f"{peer.slug} never completes, because its restart policy is {model.ALWAYS!r}: set it to "
            f"{model.ON_FAILURE!r} or {model.NEVER!r}"
        )
    return _failure(peer) or StartVerdict(waits=f"{peer.slug} to complete ({peer.state})")


_RULES: Mapping[model.Condition, Callable[[Peer], StartVerdict]] = {
    model.STARTED: _started,
    model.READY: _ready,
    model.COMPLETED: _completed,
}


_Vertex = TypeVar("_Vertex", bound=Hashable)


def cycle(start: _Vertex, graph: Mapping[_Vertex, Iterable[_Vertex]]) -> list[_Vertex]:
    """Return a shortest path from `start` along the edges of `graph` back to it, or [] without one.

    `start` is at both ends.
    """
    before: dict[_Vertex, _Vertex] = {}
    vertices = [start]
    for vertex in vertices:
        for following in graph.get(vertex, ()):
            if following == start:
                path = [start, vertex]
                while path[-1] != start:
                    path.append(before[path[-1]])
                return path[::-1] if vertex != start else [start, start]
            if following not in before:
                before[following] = vertex
                vertices.append(following)
    return []


def shown_cycle(path: Sequence[str]) -> str:
    """Return a cycle for people."""
    return f"it depends on itself: {' -> '.join(path)}"


def suggestion(name: str, known: Iterable[str]) -> str:
    """Return the known names, and the most similar one to an unknown name, for people."""
    import difflib

    names = sorted(set(known))[:_MOST_SUGGESTED]
    near = [each for each in names if each.casefold() == name.casefold()] or difflib.get_close_matches(
        name, names, 1, 0.5
    )
    return f"it has {', '.join(names) or 'none'}{f'; did you mean {near[0]!r}?' if near else ''}"
