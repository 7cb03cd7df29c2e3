"""What the feature `processes` does: creates, supervises, restores and ends processes, and lets people look on."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from uuid import UUID

import structlog

from smartmob.errors import Conflict, InvalidInput, NotFound, Unavailable
from smartmob.kernel.db.writer import GroupCommitWriter
from smartmob.kernel.features import Dependencies
from smartmob.kernel.runtime import clock
from smartmob.kernel.subprocesses import signals
from smartmob.processes import model, protocol
from smartmob.processes.events import ProcessDeleted, ProcessExited, ProcessStarted
from smartmob.processes.output import ProcessOutput
from smartmob.processes.preparation.preparer import Preparer
from smartmob.processes.recorder import Recorder, kept
from smartmob.processes.sampler import Sampler
from smartmob.processes.store import Change, DeleteProcess, ProcessStore, StoredEvent, UpdateProcess
from smartmob.processes.supervisor import Supervisor, SupervisorDependencies
from smartmob.settings import ProcessesSettings

log = structlog.get_logger()

GOING_AWAY = 1001
DELETED = 1000
_MAINTENANCE_SECONDS = 3600.0


class ProcessesService:
    """The use cases of the feature. `start` it with the service; `stop` ends all processes, `close` the rest."""

    def __init__(
        self,
        store: ProcessStore,
        writer: GroupCommitWriter[Change],
        preparer: Preparer,
        dependencies: Dependencies,
        settings: ProcessesSettings,
    ) -> None:
        self.preparer = preparer
        self._store = store
        self._writer = writer
        self._bus = dependencies.bus
        self._settings = settings
        self._restore = not dependencies.settings.no_restore
        self._sampler = Sampler()
        self._supervisors: dict[str, Supervisor] = {}
        self._stopping = False
        self._recorder = Recorder(writer, dependencies.tasks)
        self._around = SupervisorDependencies(dependencies.spawner, dependencies.tasks, self._prepare, self._happened)

    async def start(self) -> None:
        """Bring back what is wanted; with the setting `no_restore` it stays stopped."""
        self._recorder.start()
        await self.preparer.open()
        for definition in await self._store.definitions():
            supervisor = self._add(definition)
            if definition.wanted and self._restore:
                supervisor.start()
            else:
                supervisor.stop()

    async def stop(self) -> None:
        """End all processes, each in its own time; they stay wanted, so that a restarted service has them again."""
        self._stopping = True
        supervisors = tuple(self._supervisors.values())
        for supervisor in supervisors:
            supervisor.stop()
        await asyncio.gather(*(supervisor.rested() for supervisor in supervisors))
        for supervisor in supervisors:
            supervisor.channel.close(GOING_AWAY)

    async def close(self) -> None:
        """End what is left."""
        await self.stop()
        await self.preparer.close()
        await self._recorder.close()

    async def create(self, request: protocol.CreateRequest, request_id: str) -> model.Snapshot:
        """Store a process and begin to start it; return it as it is before anything was done.

        Raises InvalidInput, Conflict when there is one of that name, and Unavailable.
        """
        protocol.check(request)
        self._refuse_when_stopping()
        if request.slug in self._supervisors:
            raise Conflict(f"there is a process {request.slug} already; delete it first, or name another node")
        definition = model.Definition(
            slug=request.slug,
            app=request.app,
            node=request.node,
            process_type=request.process_type,
            source_url=request.source_url,
            env=request.env,
            grace=self._settings.grace if request.grace is None else request.grace,
            created_at=clock.now(),
            request_id=request_id,
            digest=self.preparer.uploaded(request.source_url),
        )
        supervisor = self._add(definition)
        happening = model.ProcessEvent(slug=definition.slug, at=definition.created_at, kind="created")
        try:
            await self._writer.put([definition, kept(happening)])
        except BaseException:
            del self._supervisors[definition.slug]
            raise
        snapshot = supervisor.snapshot()
        if self._stopping:
            supervisor.stop()
        else:
            supervisor.start()
        return snapshot

    def processes(self) -> list[model.Snapshot]:
        """Return all processes, in the order of their creation."""
        return [supervisor.snapshot() for supervisor in self._supervisors.values()]

    def process(self, slug: str) -> model.Snapshot:
        """Return a process; raises NotFound."""
        return self._find(slug).snapshot()

    async def delete(self, slug: str) -> None:
        """End a process with all its descendants and forget it; return when nothing is left. Raises NotFound."""
        supervisor = self._find(slug)
        if not supervisor.deleted:
            now = clock.now()
            await self._writer.put([DeleteProcess(slug), kept(model.ProcessEvent(slug=slug, at=now, kind="deleted"))])
        supervisor.deleted = True
        supervisor.stop()
        await supervisor.rested()
        if self._supervisors.get(slug) is supervisor:
            del self._supervisors[slug]
            supervisor.channel.close(DELETED)
            await self.preparer.forget(slug)
            self._bus.publish(ProcessDeleted(slug, clock.now()))

    async def halt(self, slug: str) -> model.Snapshot:
        """Stop a process and keep it; return when nothing of it is left.

        Raises NotFound, Unavailable, and Conflict when it is restarted or deleted meanwhile.
        """
        supervisor = await self._want(slug, wanted=False)
        supervisor.stop()
        await supervisor.rested()
        return supervisor.snapshot()

    async def restart(self, slug: str) -> model.Snapshot:
        """Stop a process if it runs, and start it at once; also one that failed, waits or was stopped."""
        self._refuse_when_stopping()
        supervisor = await self._want(slug, wanted=True)
        self._refuse_when_stopping()  # it may be by now; the next service starts what is wanted
        supervisor.start(fresh=True)
        return supervisor.snapshot()

    def signal(self, slug: str, name: str | int) -> model.Snapshot:
        """Send a signal to a process's group; raises NotFound, InvalidInput, or Conflict when it does not run."""
        supervisor = self._find(slug)
        supervisor.signal(signal_number(name))
        return supervisor.snapshot()

    def channel(self, slug: str) -> ProcessOutput:
        """Return the output of a process; raises NotFound."""
        return self._find(slug).channel

    async def events(
        self,
        slug: str | None,
        since: datetime | None,
        until: datetime | None,
        after: tuple[datetime, UUID] | None,
        limit: int,
    ) -> list[StoredEvent]:
        """Return what happened, in the order of time, also to processes that are no more."""
        return await self._store.events(slug, since, until, after, limit)

    def _add(self, definition: model.Definition) -> Supervisor:
        supervisor = Supervisor(definition, self._around, self._settings.console_bytes)
        self._supervisors[definition.slug] = supervisor
        return supervisor

    def _find(self, slug: str) -> Supervisor:
        supervisor = self._supervisors.get(slug)
        if supervisor is None:
            raise NotFound(f"there is no process {slug}")
        return supervisor

    async def _want(self, slug: str, *, wanted: bool) -> Supervisor:
        supervisor = self._find(slug)
        _refuse_deleted(supervisor)
        if supervisor.definition.wanted != wanted:
            await self._writer.put([UpdateProcess(slug, supervisor.definition.created_at, wanted=wanted)])
            supervisor.redefine(wanted=wanted)
            _refuse_deleted(supervisor)  # it may be by now, and what is started then nobody would end
        return supervisor

    def _refuse_when_stopping(self) -> None:
        if self._stopping:
            raise Unavailable("the service is stopping; nothing is started any more")

    async def _prepare(self, supervisor: Supervisor) -> model.Ready:
        ready = await self.preparer.prepare(supervisor)
        if supervisor.definition.digest != ready.digest and not supervisor.deleted:
            supervisor.redefine(digest=ready.digest)
            self._recorder.add(UpdateProcess(supervisor.slug, supervisor.definition.created_at, digest=ready.digest))
        return ready

    def _happened(self, happening: model.ProcessEvent) -> None:
        self._recorder.add(happening)
        if happening.kind in ("started", "restarted"):
            self._bus.publish(ProcessStarted(happening.slug, happening.at, happening.detail["pid"]))
        elif happening.kind == "exited":
            self._bus.publish(ProcessExited(happening.slug, happening.at, happening.detail["status"]))

    async def sample_for_ever(self) -> None:
        """Measure what the processes use, again and again."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(self._settings.sample_seconds)
            roots = {s.slug: s.pid for s in self._supervisors.values() if s.pid is not None}
            if roots:
                samples = await asyncio.to_thread(self._sampler.sweep, roots, loop.time())
                for slug, sample in samples.items():
                    if (supervisor := self._supervisors.get(slug)) is not None and supervisor.pid == roots[slug]:
                        supervisor.sample = sample

    async def maintain_for_ever(self) -> None:
        """Remove what is too old and what nobody uses, again and again."""
        while True:
            try:
                await self._store.expire(clock.now() - timedelta(days=self._settings.keep_events_days))
                digests = {s.definition.digest for s in self._supervisors.values() if s.definition.digest}
                await self.preparer.collect(digests, tuple(self._supervisors))
            except Unavailable as error:
                log.warning("process.maintenance", reason=str(error))
            await asyncio.sleep(_MAINTENANCE_SECONDS)


def _refuse_deleted(supervisor: Supervisor) -> None:
    if supervisor.deleted:
        raise Conflict(f"{supervisor.slug} is being deleted")


def signal_number(name: str | int) -> int:
    """Return the number of a signal given by number or by name, with or without SIG; raises InvalidInput."""
    try:
        return int(signals.parse(name))
    except ValueError:
        raise InvalidInput.at("$.signal", f"there is no signal {name}; examples are HUP, USR1 and 15") from None
