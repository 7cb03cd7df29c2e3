"""The use cases of processes: create, supervise, restore, stop and delete them, and read their output and events."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from uuid import UUID

from smartmob.errors import Conflict, InvalidInput, NotFound, Unavailable
from smartmob.feature_settings import ProcessesSettings
from smartmob.kernel.features import KernelParts
from smartmob.kernel.observability.event_logger import get_logger
from smartmob.kernel.runtime import clock
from smartmob.kernel.runtime.periodic import run_periodically
from smartmob.kernel.runtime.row_writer import RowWriter
from smartmob.kernel.subprocesses import signals
from smartmob.kernel.subprocesses.control_groups import ControlGroups
from smartmob.processes import dependencies, model, protocol
from smartmob.processes.events import ProcessDeleted, ProcessExited, ProcessStarted
from smartmob.processes.health.prober import Prober
from smartmob.processes.leases import Leases
from smartmob.processes.one_off_programs import OneOffPrograms
from smartmob.processes.output import ProcessOutput
from smartmob.processes.preparation.preparer import Preparer
from smartmob.processes.process_changes import Change, DeleteProcess, ProcessRecords, StoredEvent, UpdateProcess
from smartmob.processes.recorder import Recorder, stored_event
from smartmob.processes.sampler import ProcessSampler
from smartmob.processes.supervisor import Supervisor, SupervisorDependencies

log = get_logger()

# Close codes of the WebSocket of a viewer (RFC 6455, section 7.4.1).
CLOSE_CODE_SERVICE_STOPS = 1001
CLOSE_CODE_DELETED = 1000
_MAINTENANCE_SECONDS = 3600.0


class ProcessesService:
    """The use cases of processes. `stop` ends all processes when the service begins to stop; `close` ends the rest."""

    def __init__(
        self,
        store: ProcessRecords,
        writer: RowWriter[Change],
        preparer: Preparer,
        kernel: KernelParts,
        settings: ProcessesSettings,
    ) -> None:
        self.preparer = preparer
        self._store = store
        self._writer = writer
        self._bus = kernel.bus
        self._settings = settings
        self._restore = not kernel.settings.no_restore
        self._sampler = ProcessSampler()
        self._supervisors: dict[str, Supervisor] = {}
        self._stopping = False
        self._prober = Prober(kernel.spawner)
        self._waiting: dict[str, Supervisor] = {}  # by slug: those that wait for their dependencies
        self._changes: set[tuple[str, str]] = set()  # application and name of what has changed since their last check
        self._recorder = Recorder(writer, kernel.tasks)
        self._leases = Leases(lambda: asyncio.get_running_loop().time())
        self._supervisor_dependencies = SupervisorDependencies(
            kernel.spawner,
            kernel.tasks,
            prepare=preparer.prepare,
            publish=self._publish,
            on_digest=self._record_digest,
            on_completed=self._record_completion,
            on_change=self._changed,
            execute=self._prober.execute,
            groups=ControlGroups(settings.cgroup),
            sample_seconds=settings.sample_seconds,
        )

        groups = self._supervisor_dependencies.groups
        self.one_off = OneOffPrograms(preparer, groups, self._definition, settings.sample_seconds)
        """The programs that run once, for the feature `commands`."""

    async def start(self) -> None:
        """Restore the stored processes, and start those that are wanted unless `no_restore` is set."""
        self._recorder.start()
        await self.preparer.open()
        groups = self._supervisor_dependencies.groups
        await asyncio.to_thread(groups.open)
        log.info("process.limits_chosen", controllers=sorted(groups.controllers), reason=groups.reason)
        await self._store.adopt()
        for left in await self._store.unrestored():
            log.warning("process.not_restored", service=left.service, machine=left.machine, processes=left.processes)
        for definition in await self._store.definitions():
            supervisor = self._add(definition)
            self._leases.begin(definition.slug, definition.lease)
            if definition.wanted and self._restore:
                supervisor.start()
            else:
                supervisor.stop()

    async def stop(self) -> None:
        """Stop all processes in parallel and wait until they have ended.

        The processes stay wanted, so the next start of the service restores them.
        """
        self._stopping = True
        supervisors = tuple(self._supervisors.values())
        for supervisor in supervisors:
            supervisor.stop()
        await asyncio.gather(*(supervisor.wait_stopped() for supervisor in supervisors))
        for supervisor in supervisors:
            supervisor.output.close(CLOSE_CODE_SERVICE_STOPS)

    async def close(self) -> None:
        """Stop the processes, then the preparation and the recorder."""
        await self.stop()
        await self.preparer.close()
        await self._prober.close()
        await self._recorder.close()

    async def create(self, request: protocol.CreateRequest, request_id: str) -> model.ProcessSnapshot:
        """Store a process and begin to start it; return its snapshot from before the start, which is pending.

        Raises InvalidInput, Conflict when the name is taken, and Unavailable.
        """
        protocol.check(request)
        self._refuse_when_stopping()
        if request.slug in self._supervisors:
            raise Conflict(f"the program {request.slug} exists already; delete it first, or choose another node name")
        self._check_dependencies(request)
        definition = self._definition(request, request_id)
        supervisor = self._add(definition)
        created = model.ProcessEvent(slug=definition.slug, at=definition.created_at, kind="created")
        try:
            await self._writer.put([definition, stored_event(created)])
        except BaseException:
            del self._supervisors[definition.slug]
            raise
        self._leases.begin(definition.slug, definition.lease)
        snapshot = supervisor.snapshot()
        if self._stopping:
            supervisor.stop()
        else:
            supervisor.start()
        return snapshot

    def _definition(self, request: protocol.CreateRequest, request_id: str) -> model.Definition:
        return model.Definition(
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
            restart=request.restart,
            command=request.command,
            readiness=request.readiness,
            liveness=request.liveness,
            depends_on=request.depends_on,
            limits=self._limits(request.limits),
            lease=request.lease,
        )

    def processes(self) -> list[model.ProcessSnapshot]:
        """Return snapshots of all processes, in the order of their creation."""
        return [supervisor.snapshot() for supervisor in self._supervisors.values()]

    def process(self, slug: str) -> model.ProcessSnapshot:
        """Return a snapshot of a process; raises NotFound."""
        return self._find(slug).snapshot()

    def renew(self, slug: str) -> model.ProcessSnapshot:
        """Restart the lease of a process; raises NotFound, and Conflict when the process is being deleted."""
        supervisor = self._find(slug)
        _refuse_deleted(supervisor)
        self._leases.renew(slug)
        return supervisor.snapshot()

    async def delete(self, slug: str, reason: str = "") -> None:
        """Delete a process; return when it and all its descendants have ended. Raises NotFound and Unavailable."""
        supervisor = self._find(slug)
        if not supervisor.deleted:
            detail = {"text": reason} if reason else {}
            deleted = model.ProcessEvent(slug=slug, at=clock.now(), kind="deleted", detail=detail)
            await self._writer.put([DeleteProcess(slug), stored_event(deleted)])
        supervisor.deleted = True
        supervisor.stop()
        await supervisor.wait_stopped()
        if self._supervisors.get(slug) is supervisor:
            del self._supervisors[slug]
            self._leases.end(slug)
            self._changed(supervisor)
            supervisor.output.close(CLOSE_CODE_DELETED)
            await self.preparer.release(slug)
            self._bus.publish(ProcessDeleted(slug, clock.now()))

    async def stop_process(self, slug: str) -> model.ProcessSnapshot:
        """Stop a process and keep its definition; return when it and all its descendants have ended.

        Raises NotFound, Unavailable, and Conflict when the process is restarted or deleted before it has ended.
        """
        supervisor = await self._set_wanted(slug, wanted=False)
        supervisor.stop()
        await supervisor.wait_stopped()
        return supervisor.snapshot()

    async def restart(self, slug: str) -> model.ProcessSnapshot:
        """Start a process, whatever its state; stop it first if it runs. Return at once.

        Raises NotFound, Unavailable, and Conflict when the process is being deleted.
        """
        self._refuse_when_stopping()
        supervisor = await self._set_wanted(slug, wanted=True)
        self._refuse_when_stopping()  # the stop may have begun meanwhile; the next service starts the process
        supervisor.restart()
        return supervisor.snapshot()

    def signal(self, slug: str, name: str | int) -> model.ProcessSnapshot:
        """Send a signal to the process group of a process.

        Raises NotFound, InvalidInput, and Conflict when the process does not run.
        """
        supervisor = self._find(slug)
        supervisor.signal(signal_number(name))
        return supervisor.snapshot()

    def output(self, slug: str) -> ProcessOutput:
        """Return the output of a process; raises NotFound."""
        return self._find(slug).output

    async def events(
        self,
        slug: str | None,
        since: datetime | None,
        until: datetime | None,
        after: tuple[datetime, UUID] | None,
        limit: int,
    ) -> list[StoredEvent]:
        """Return a page of process events, oldest first, deleted processes included; see `ProcessStore.events`."""
        return await self._store.events(slug, since, until, after, limit)

    def _add(self, definition: model.Definition) -> Supervisor:
        supervisor = Supervisor(definition, self._supervisor_dependencies, self._settings.console_bytes)
        self._supervisors[definition.slug] = supervisor
        return supervisor

    def _find(self, slug: str) -> Supervisor:
        supervisor = self._supervisors.get(slug)
        if supervisor is None:
            raise NotFound(f"there is no program {slug}")
        return supervisor

    async def _set_wanted(self, slug: str, *, wanted: bool) -> Supervisor:
        """Store whether a process should run; return its supervisor."""
        supervisor = self._find(slug)
        _refuse_deleted(supervisor)
        if supervisor.definition.wanted != wanted:
            # A process that runs again has not completed; a completed one stays completed when it is stopped.
            created_at, completed = supervisor.definition.created_at, supervisor.definition.completed and not wanted
            await self._writer.put([UpdateProcess(slug, created_at, wanted=wanted, completed=completed)])
            supervisor.redefine(wanted=wanted, completed=completed)
            _refuse_deleted(supervisor)  # the delete may have begun meanwhile: it would not stop a later start
        return supervisor

    def _check_dependencies(self, request: protocol.CreateRequest) -> None:
        """Raise InvalidInput for dependencies of a request that do not exist, or that depend on the new process."""
        peers = self._peers(request.app)
        own = {request.node, request.process_type}
        for name in request.depends_on or {}:
            if name in own and not peers.members(name):
                raise InvalidInput.at("$.depends_on", dependencies.shown_cycle([name, name]))
            if not peers.members(name):
                raise InvalidInput.at(
                    "$.depends_on",
                    f"{request.app} has no program and no process type {name!r}; create it first; "
                    f"{dependencies.suggestion(name, peers.names())}",
                )
        if not request.depends_on:
            return
        new = dependencies.Peer(
            slug=request.slug,
            node=request.node,
            process_type=request.process_type,
            state=model.PENDING,
            options=model.Options(depends_on=request.depends_on),
        )
        if way := dependencies.Peers([*peers.all, new]).cycle(new.slug):
            raise InvalidInput.at("$.depends_on", dependencies.shown_cycle(way))

    def _peers(self, app: str) -> dependencies.Peers:
        found = (supervisor for supervisor in self._supervisors.values() if supervisor.definition.app == app)
        return dependencies.Peers(supervisor.peer() for supervisor in found)

    def _changed(self, supervisor: Supervisor) -> None:
        """Have the processes that wait for this one checked, once for all changes of this iteration of the loop."""
        definition = supervisor.definition
        if supervisor.is_waiting:
            self._waiting[definition.slug] = supervisor
        else:
            self._waiting.pop(definition.slug, None)
        if self._waiting:
            if not self._changes:
                asyncio.get_running_loop().call_soon(self._check_waiting)
            self._changes |= {(definition.app, definition.node), (definition.app, definition.process_type)}

    def _check_waiting(self) -> None:
        """Check the dependencies of the processes that have begun to wait, and of those that wait for a change."""
        changes, self._changes = self._changes, set()
        known: dict[str, dependencies.Peers] = {}
        for supervisor in tuple(self._waiting.values()):
            app, options, begins = supervisor.definition.app, supervisor.options, supervisor.begins_to_wait
            assert options is not None
            if not begins and not any((app, name) in changes for name in options.depends_on):
                continue
            peers = known.get(app) or known.setdefault(app, self._peers(app))
            # Later it can become part of a cycle only if another process begins to wait.
            way = peers.cycle(supervisor.slug) if begins else []
            failed = dependencies.StartVerdict(failed=dependencies.shown_cycle(way)) if way else None
            supervisor.dependencies_checked(failed or dependencies.verdict(options.depends_on, peers))

    def _limits(self, asked: model.Limits) -> model.Limits:
        """Return the limits of a request, or those of the settings if it has none."""
        settings = self._settings
        return model.Limits(
            memory=settings.memory_limit if asked.memory is None else asked.memory,
            cpu=settings.cpu_limit if asked.cpu is None else asked.cpu,
            tasks=settings.tasks_limit if asked.tasks is None else asked.tasks,
        )

    def _refuse_when_stopping(self) -> None:
        if self._stopping:
            raise Unavailable("the service is stopping and starts no more programs")

    def _record_digest(self, definition: model.Definition) -> None:
        self._recorder.add(UpdateProcess(definition.slug, definition.created_at, digest=definition.digest))

    def _record_completion(self, definition: model.Definition) -> None:
        """Record that a process is not to run again, so that the next start of the service leaves it ended."""
        completed = definition.completed
        self._recorder.add(UpdateProcess(definition.slug, definition.created_at, wanted=False, completed=completed))

    def _publish(self, event: model.ProcessEvent) -> None:
        """Record a process event, and publish the start or end of a program on the bus."""
        self._recorder.add(event)
        if event.kind in ("started", "restarted"):
            self._bus.publish(ProcessStarted(event.slug, event.at, event.detail["pid"]))
        elif event.kind == "exited":
            self._bus.publish(ProcessExited(event.slug, event.at, event.detail["status"]))

    async def run_leases(self) -> None:
        """Background task: delete the processes whose leases are over."""
        await self._leases.run(self.delete)

    async def run_sampling(self) -> None:
        """Background task: measure the resource use of all running processes at the interval of the settings."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(self._settings.sample_seconds)
            pids = {s.slug: s.pid for s in self._supervisors.values() if s.pid is not None} | self.one_off.pids()
            if pids:
                samples = await asyncio.to_thread(self._sampler.sample, pids, loop.time())
                for slug, sample in samples.items():
                    if (supervisor := self._supervisors.get(slug)) is not None and supervisor.pid == pids[slug]:
                        supervisor.measured(sample)
                    self.one_off.measured(slug, sample)

    async def run_maintenance(self) -> None:
        """Background task: every hour, remove old events, and releases and working copies that are not in use."""
        await run_periodically(
            self._maintain,
            _MAINTENANCE_SECONDS,
            lambda error: log.warning("process.maintenance_failed", reason=str(error)),
        )

    async def _maintain(self) -> None:
        await self._store.expire(clock.now() - timedelta(days=self._settings.keep_events_days))
        known = {slug: s.definition for slug, s in self._supervisors.items()} | self.one_off.definitions
        digests = {definition.digest for definition in known.values() if definition.digest}
        await self.preparer.remove_unused(digests, tuple(known))


def _refuse_deleted(supervisor: Supervisor) -> None:
    if supervisor.deleted:
        raise Conflict(f"{supervisor.slug} is being deleted")


def signal_number(name: str | int) -> int:
    """Return the number of a signal given by number or by name, with or without SIG; raises InvalidInput."""
    try:
        return int(signals.parse(name))
    except ValueError:
        raise InvalidInput.at("$.signal", f"there is no signal {name}; examples are HUP, USR1 and 15") from None
