"""The use cases of the audit log: record changes without delaying them, list them, and delete old ones."""

from __future__ import annotations

import time
from contextlib import suppress
from datetime import datetime, timedelta
from http import HTTPStatus
from urllib.parse import urlsplit
from uuid import UUID, uuid4

from aiohttp import hdrs, web

from smartmob.errors import Unavailable
from smartmob.kernel.audit.events import CommandCalled
from smartmob.kernel.audit.model import REFUSED, AuditEvent, bounded, name_of
from smartmob.kernel.audit.refused_logins import RefusedLogins
from smartmob.kernel.audit.store import AuditStore
from smartmob.kernel.auth.authenticator import PRINCIPAL
from smartmob.kernel.auth.events import CredentialRefused
from smartmob.kernel.auth.model import INGEST
from smartmob.kernel.db.writer import GroupCommitWriter
from smartmob.kernel.http.routing import AUDITED, Route
from smartmob.kernel.observability.event_logger import get_logger
from smartmob.kernel.runtime import clock
from smartmob.kernel.runtime.periodic import run_periodically

log = get_logger()

_EXPIRY_SECONDS = 3600.0
_SAFE_METHODS = frozenset(("GET", "HEAD", "OPTIONS"))
_NODE = "/nodes/{name}"
_SERVICE_OF_NODE = "/nodes/{name}/service/{rest}"
_COMMANDS = "/commands/"
"""The beginning of the paths of commands, which are recorded as such."""
_RENEWALS = "/renew-process/"
"""The beginning of the paths of renewals, which come every few seconds: only refused ones are recorded."""


class AuditService:
    """Records events with a writer. Events are lost while the writer is full or the database stays unavailable."""

    def __init__(self, store: AuditStore, writer: GroupCommitWriter[AuditEvent], keep_days: float) -> None:
        self._store = store
        self._writer = writer
        self._keep_days = keep_days
        self._lost = 0
        self._refused_logins = RefusedLogins()
        self._seconds = time.monotonic

    def record_request(self, request: web.Request, route: Route, response: web.StreamResponse) -> None:
        """Record a request that an authorised client has sent, if it asks for a change and does not send results."""
        of_node = route.path == _SERVICE_OF_NODE
        if request.method in _SAFE_METHODS or route.public or (INGEST in route.roles and not of_node):
            return
        if route.path.startswith(_COMMANDS):
            return
        node = request.match_info.get("name") if route.path.startswith(_NODE) else None
        path = f"/{request.match_info['rest']}" if of_node else request.path
        if path.startswith(_RENEWALS) and response.status != HTTPStatus.FORBIDDEN:
            return
        action = f"{request.method} {path}" if of_node else route.name
        created = response.headers.get(hdrs.LOCATION, "") if response.status == HTTPStatus.CREATED else ""
        target = request.get(AUDITED) or (_path_of(created) if created else "" if of_node else path)
        self._record(name_of(PRINCIPAL.get()), node, action, target, request.remote or "", str(response.status))

    def record_command(self, called: CommandCalled) -> None:
        """Record a command that was called on a WebSocket."""
        who = name_of(PRINCIPAL.get())
        self._record(who, called.node, called.name, called.words, called.client, called.outcome)

    def record_refusal(self, refused: CredentialRefused) -> None:
        """Record that a credential was refused, unless the limit of its address or of all addresses is reached."""
        count = self._refused_logins.count(refused.client, self._seconds())
        if count is not None:
            many = f", number {count} of this address within an hour" if count > 1 else ""
            self._record(REFUSED, None, "login", f"{refused.path} by {refused.kind}{many}", refused.client, "401")

    def _record(self, who: str, node: str | None, action: str, target: str, client: str, outcome: str) -> None:
        texts = (who, client, action, target, outcome)
        who, client, action, target, outcome = map(bounded, texts)
        event = AuditEvent(
            id=uuid4(), at=clock.now(), who=who, client=client, node=None if node is None else bounded(node),
            action=action, target=target, outcome=outcome,
        )  # fmt: skip
        if self._writer.full:
            self._lose("too many events are waiting")
            return
        with suppress(Unavailable):  # the service is stopping
            self._writer.submit((event,), self._stored)

    def _stored(self, error: Exception | None) -> None:
        if error is not None:
            self._lose(str(error))
        elif self._lost:
            log.warning("audit.lost", count=self._lost)
            self._lost = 0

    def _lose(self, reason: str) -> None:
        self._lost += 1
        if self._lost == 1:
            log.warning("audit.not_recorded", reason=reason)

    async def events(
        self, since: datetime, who: str | None, node: str | None, before: tuple[datetime, UUID] | None, limit: int
    ) -> list[AuditEvent]:
        """Return at most `limit` events since a moment, newest first, before the key `before`."""
        return await self._store.events(since, who, node, before, limit)

    async def run_expiry(self) -> None:
        """Background task: delete old events after the start and once an hour."""
        await run_periodically(
            lambda: self._store.expire(clock.now() - timedelta(days=self._keep_days)),
            _EXPIRY_SECONDS,
            lambda error: log.warning("audit.not_expired", reason=str(error)),
        )


def _path_of(location: str) -> str:
    """Return the path of the header Location of a new resource."""
    try:
        return urlsplit(location).path
    except ValueError:
        return ""
