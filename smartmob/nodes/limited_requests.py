"""The active requests to nodes whose tokens may use only nodes with certain labels."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from aiohttp import web

from smartmob.nodes.model import matches


class LimitedRequests:
    """A console can stay open for days, so a change of labels must also cut what is open."""

    def __init__(self) -> None:
        self._requests: dict[int, tuple[web.Request, str, Mapping[str, str | None]]] = {}

    @contextmanager
    def track(self, request: web.Request, node: str, only: Mapping[str, str | None]) -> Iterator[None]:
        """Track a request to a node until the end of the block; `only` are the labels that its token requires."""
        if not only:
            yield
            return
        self._requests[id(request)] = request, node, only  # requests have no hash
        try:
            yield
        finally:
            del self._requests[id(request)]

    def cut_unmatched(self, labels: Mapping[str, Mapping[str, str]]) -> None:
        """Cut WebSockets and streams to nodes whose labels do not match any more; `labels` has those of all nodes.

        A request whose answer has not begun was authorised in time, and is answered.
        """
        for request, node, only in tuple(self._requests.values()):
            transport = request.transport
            if transport is None or request.writer.output_size == 0:
                continue
            if not matches(labels.get(node, {}), only):
                transport.abort()
