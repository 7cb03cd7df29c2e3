"""The use cases of the feature `hosts`: register machines, authenticate those that report, and store their samples."""

from __future__ import annotations

import asyncio
import hmac
import itertools
import secrets
import socket
from collections import deque
from collections.abc import Callable, Iterable, Sequence

import msgspec

from smartmob.errors import Conflict, InvalidInput, NotAuthenticated, NotFound, Unavailable
from smartmob.feature_settings import HostsSettings
from smartmob.hosts import client_ids, model
from smartmob.hosts.addresses import HostAddresses
from smartmob.hosts.authenticator import HostAuthenticator, node_secret
from smartmob.hosts.events import AddressSeen, HostRegistered, HostRemoved, HostSampled
from smartmob.hosts.fields import Snapshot
from smartmob.hosts.model import SampleData, SampleRow, TimeRules
from smartmob.hosts.queries import HostQueries
from smartmob.hosts.store.reader import HostsReader
from smartmob.hosts.store.writer import HostsWriter
from smartmob.kernel.db.writer import GroupCommitWriter
from smartmob.kernel.observability.event_logger import get_logger
from smartmob.kernel.runtime import clock
from smartmob.kernel.runtime.events import EventBus
from smartmob.kernel.services.service_registry import ServiceRegistry

log = get_logger()

_DAY_SECONDS = 86_400.0
_OWN_QUEUE_SNAPSHOTS = 900
"""Snapshots of the service's own machine, one a second, that wait for the database; older ones are dropped."""
_MOST_LOGGED = 100  # names of fields that are logged for a connection


class UnsupportableName(NotAuthenticated):
    """An invalid name: it must begin with a letter, be printable, have no colon and at most 128 characters."""


class HostsService:
    """The use cases of the feature, with its `queries`. All samples are written by `live`, in group commits."""

    def __init__(
        self,
        reader: HostsReader,
        writer: HostsWriter,
        live: GroupCommitWriter[SampleRow],
        bus: EventBus,
        services: ServiceRegistry,
        *,
        settings: HostsSettings,
    ) -> None:
        self._services = services
        self._reader = reader
        self._writer = writer
        self._live = live
        self._bus = bus
        self.queries = HostQueries(reader, settings.keep_days)
        self._authenticator = HostAuthenticator(reader.secret)
        self._rules = TimeRules(settings.ahead, settings.oldest_days * _DAY_SECONDS)
        # Random start, so that numbers of several services and after restarts do not collide.
        self._numbers = itertools.count(secrets.randbits(61))
        self._own_queue: deque[Snapshot] = deque(maxlen=_OWN_QUEUE_SNAPSHOTS)
        self._own_added = asyncio.Event()
        self._unread_logged: dict[str, set[str]] = {}
        self.started = clock.now()
        self.own_name = settings.name or socket.gethostname()
        self.addresses = HostAddresses(
            clock.steady, lambda: self.own_name, lambda name, address: bus.publish(AddressSeen(name, address))
        )

    # -- machines -----------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Register the service's own machine."""
        others = await self._services.others()
        elsewhere = [other.id for other in others if other.runs and other.boot != self._services.boot]
        for name in (self.own_name, f"{self.own_name}-service"):
            if await self._writer.claim_own(name, self._services.id, clock.now(), elsewhere):
                self.own_name = name
                return
            log.warning("hosts.name_taken", host=name)
        raise InvalidInput(f"the names {self.own_name} and {self.own_name}-service are taken; set --hosts-name")

    async def register(self, name: str, password: str, *, may_register: bool) -> tuple[str, bool]:
        """Return the client id of a machine and whether the machine is new.

        Raises UnsupportableName, and NotAuthenticated when the machine exists with another password, or when it does
        not exist and the caller may not register it. Both take the same time, so that names cannot be guessed.
        """
        if not client_ids.is_name(name):
            raise UnsupportableName
        client_id = client_ids.client_id(name, password)
        if self._authenticator.known(client_id) is not None:
            return client_id, False
        if not may_register:
            if await self._authenticator.verify(client_id) is None:
                raise NotAuthenticated
            return client_id, False
        # The existence is checked before the password: another request may register the name meanwhile.
        if await self._reader.secret(name) is not None:
            if await self._authenticator.verify(client_id) is None:
                raise NotAuthenticated
            return client_id, False
        salt, secret = await self._authenticator.hashed(password)
        added = await self._writer.insert_host(name, clock.now(), own=False, salt=salt, secret=secret)
        self._authenticator.forget(name)
        if not added:
            # Another request registered the name at the same moment, possibly with the same password.
            if await self._authenticator.verify(client_id) is None:
                raise NotAuthenticated
            return client_id, False
        log.info("hosts.registered", host=name)
        self._bus.publish(HostRegistered(name))
        return client_id, True

    async def admit_node(self, node: str, password: str) -> str:
        """Allow a node to report with this password; return the name of its machine.

        That is the name of the node, or one that ends with `-node` if a machine that is not a node has the name. Raises
        Conflict when both are taken.
        """
        name = node if client_ids.is_name(node) else f"node-{node}"
        for candidate in (name, f"{name}-node"):
            if self._authenticator.known(client_ids.client_id(candidate, password)) is not None:
                return candidate
        secret = node_secret(password)
        for candidate in (name, f"{name}-node"):
            stored = await self._reader.secret(candidate)
            if stored is not None and stored["salt"] is None and stored["secret"] == secret:
                return candidate
            if await self._writer.put_node_host(candidate, clock.now(), secret):
                self._authenticator.forget(candidate)
                self._bus.publish(HostRegistered(candidate))
                return candidate
            log.warning("hosts.name_taken", host=candidate)
        raise Conflict(f"machines that are not nodes have the names {name} and {name}-node")

    def keep_address(self, event: AddressSeen) -> None:
        """Keep the address of a machine that another process has seen."""
        self.addresses.keep(event.host, event.address)

    def forget(self, name: str) -> None:
        """Forget the verified client ids of a machine that another process has registered or removed."""
        self._authenticator.forget(name)

    @property
    def credentials_generation(self) -> int:
        """Return a number that changes when client ids that were verified before may be invalid."""
        return self._authenticator.generation

    @property
    def hashes(self) -> int:
        """Return how many passwords were hashed since the start."""
        return self._authenticator.hashes

    def known(self, client_id: str) -> str | None:
        """Return the name of the machine of a client id that was verified before, else None."""
        return self._authenticator.known(client_id)

    async def verify(self, client_id: str) -> str | None:
        """Return the name of the machine of a valid client id, else None."""
        return await self._authenticator.verify(client_id)

    async def authenticate(self, client_id: str, name: str) -> None:
        """Raise NotAuthenticated unless the client id is that of the machine `name`."""
        proven = self._authenticator.known(client_id) or await self._authenticator.verify(client_id)
        if proven is None or not hmac.compare_digest(proven.encode(), name.encode(errors="surrogatepass")):
            raise NotAuthenticated

    async def remove(self, name: str) -> None:
        """Remove a machine with its samples; raises NotFound."""
        if not await self._writer.delete_host(name):
            raise NotFound(f"there is no machine {name} that could be removed")
        self._authenticator.forget(name)
        self._unread_logged.pop(name, None)
        log.info("hosts.removed", host=name)
        self._bus.publish(HostRemoved(name))

    # -- storing ------------------------------------------------------------------------------------------------------

    async def store(self, name: str, samples: Sequence[SampleData]) -> None:
        """Store samples of a machine, all or none; return once they are committed. Raises InvalidInput."""
        await self._live.put([self._row(name, data, clock.epoch()) for data in samples])

    def try_store(self, name: str, data: SampleData, callback: Callable[[Exception | None], None]) -> bool:
        """Store a sample without waiting; `callback` is called as by `GroupCommitWriter.submit`.

        Returns False when the queue is full. Raises InvalidInput, and Unavailable when the service stops.
        """
        if self._live.full:
            return False
        self._live.submit((self._row(name, data, clock.epoch()),), callback)
        return True

    async def backfill(self, name: str, samples: Sequence[SampleData]) -> tuple[int, list[str]]:
        """Store the valid ones of some samples; return their number and the error texts of the others."""
        rows, refused = [], []
        now = clock.epoch()
        for data in samples:
            try:
                rows.append(self._row(name, data, now))
            except InvalidInput as error:
                refused.append(str(error))
        if rows:
            await self._live.put(rows)
        return len(rows), refused

    def log_unread(self, name: str, samples: Iterable[SampleData], logged: set[str] | None = None) -> None:
        """Log, once for a connection, the fields that a machine sends and the service does not store.

        `logged` has what was logged for the connection; without it, once for the machine since the service started.
        """
        names = sorted({unread for data in samples if data.unread for unread in data.unread})
        if logged is None:
            logged = self._unread_logged.setdefault(name, set())
        if new := [unread for unread in names if unread not in logged][: _MOST_LOGGED - len(logged)]:
            logged.update(new)
            log.warning("hosts.fields_unread", host=name, fields=new)

    async def store_clock_offset(self, name: str, offset: float, delay: float) -> None:
        """Store the clock error of a machine: seconds to add to its clock, and the delay of the exchange."""
        await self._writer.insert_offset(name, clock.now(), offset, delay)

    def _row(self, name: str, data: SampleData, now: float) -> SampleRow:
        row = model.sample_row(name, data, next(self._numbers))
        self._rules.check(row.at, now)
        return row

    def queue_own(self, snapshot: Snapshot) -> None:
        """Queue a snapshot of the service's own machine for storage."""
        self._bus.publish(HostSampled(self.own_name, snapshot))
        self._own_queue.append(snapshot)
        self._own_added.set()

    async def run_own_storage(self) -> None:
        """Store the queued snapshots of the service's own machine until cancelled."""
        while True:
            await self._own_added.wait()
            self._own_added.clear()
            queued = list(self._own_queue)
            try:
                await self._live.put([self._own_row(snapshot) for snapshot in queued])
            except Unavailable:
                # The samples are stored with the next snapshot; the writer has logged the reason.
                continue
            except Exception as error:
                log.error("hosts.own_samples_failed", samples=len(queued), exc_info=error)
            for _ in queued:
                if self._own_queue and self._own_queue[0].at <= queued[-1].at:
                    self._own_queue.popleft()

    def _own_row(self, snapshot: Snapshot) -> SampleRow:
        data = msgspec.convert({**model.sample_fields(snapshot), "time": snapshot.at}, SampleData, strict=False)
        # The same number at each attempt, so that a snapshot is stored once even if the answer to its commit was lost.
        return model.sample_row(self.own_name, data, int(snapshot.at * 1000) & (2**61 - 1))
