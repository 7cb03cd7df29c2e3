"""The dependencies between the processes of an application: whether a process may be started now. No I/O."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from smartmob.processes import model


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
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


@dataclass(frozen=True, slots=True)
class Verdict:
    """The answer to whether a process may be started: why it never may, or why it must wait; both for people."""

    waits: str = ""
    failed: str = ""


def members(name: str, peers: Iterable[Peer]) -> list[Peer]:
    """Return the processes of an application that `name` means: the node of that name, else all of that type."""
    peers = list(peers)
    return [peer for peer in peers if peer.node == name] or [peer for peer in peers if peer.process_type == name]


def verdict(wanted: Mapping[str, model.Condition], peers: Sequence[Peer]) -> Verdict:
    """Return whether a process with the dependencies `wanted` may be started; `peers` are the others of its app."""
    waits: list[str] = []
    for name, condition in wanted.items():
        found = members(name, peers)
        if not found:
            waits.append(f"{name}, which does not exist")
        for peer in found:
            reason = _RULES[condition](peer)
            if reason.failed:
                return reason
            waits += [reason.waits] if reason.waits else []
    return Verdict(waits=f"waits for {', '.join(waits)}" if waits else "")


def _failure(peer: Peer) -> Verdict | None:
    """Return why a process will not run without a change by a client, or None."""
    if peer.state in model.FAILURES:
        return Verdict(failed=f"{peer.slug} cannot be started: {peer.state}")
    return None


def _started(peer: Peer) -> Verdict:
    if peer.has_started or peer.completed or peer.ended:
        return Verdict()
    return _failure(peer) or Verdict(waits=f"{peer.slug} to be started ({peer.state})")


def _ready(peer: Peer) -> Verdict:
    if peer.options is not None and peer.options.readiness is None:
        return Verdict(
            failed=f"{peer.slug} has no readiness check: give it one, or use the condition {model.STARTED!r}"
        )
    if peer.ready:
        return Verdict()
    if peer.ended or peer.completed:
        return Verdict(failed=f"{peer.slug} has ended and is not started again: {peer.end or 'it succeeded'}")
    state = "running, not ready" if peer.state == model.RUNNING else peer.state
    return _failure(peer) or Verdict(waits=f"{peer.slug} to be ready ({state})")


def _completed(peer: Peer) -> Verdict:
    if peer.completed:
        return Verdict()
    if peer.ended:
        return Verdict(failed=f"{peer.slug} did not succeed: {peer.end}")
    if peer.options is not None and peer.options.restart == model.ALWAYS:
        return Verdict(
            failed=f"{peer.slug} never completes, because its restart policy is {model.ALWAYS!r}: set it to "
            f"{model.ON_FAILURE!r} or {model.NEVER!r}"
        )
    return _failure(peer) or Verdict(waits=f"{peer.slug} to complete ({peer.state})")


_RULES: Mapping[model.Condition, Callable[[Peer], Verdict]] = {
    model.STARTED: _started,
    model.READY: _ready,
    model.COMPLETED: _completed,
}


def edges(peers: Sequence[Peer]) -> dict[str, set[str]]:
    """Return the slugs on which each process depends directly, as far as its options are known."""
    return {
        peer.slug: {found.slug for name in peer.options.depends_on for found in members(name, peers)}
        for peer in peers
        if peer.options is not None and peer.options.depends_on
    }


def cycle(start: str, graph: Mapping[str, Collection[str]]) -> list[str]:
    """Return a shortest way from `start` along the edges of `graph` back to it, [] if there is none.

    `start` is at both ends.
    """
    ways: list[list[str]] = [[start]]
    seen: set[str] = set()
    for way in ways:
        for name in sorted(graph.get(way[-1], ())):
            if name == start:
                return [*way, start]
            if name not in seen:
                seen.add(name)
                ways.append([*way, name])
    return []


def shown_cycle(way: Sequence[str]) -> str:
    """Return a cycle for people."""
    return f"it depends on itself: {' -> '.join(way)}"


def suggestion(name: str, known: Iterable[str]) -> str:
    """Return the known names, and the one that may be meant by an unknown one, for people."""
    names = sorted(set(known))
    near = [each for each in names if each.casefold() == name.casefold()] or difflib.get_close_matches(
        name, names, 1, 0.5
    )
    return f"it has {', '.join(names) or 'none'}{f'; did you mean {near[0]!r}?' if near else ''}"
