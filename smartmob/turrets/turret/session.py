"""The turret process: passes events to the state machine and performs its actions with sockets, cannons and timers."""

from __future__ import annotations

import asyncio
import hashlib
import socket
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import Protocol

import msgspec
import zmq

from smartmob import __version__
from smartmob.counts import counted
from smartmob.errors import InvalidInput
from smartmob.kernel.runtime.tasks import TaskRegistry
from smartmob.turrets.outcomes import in_version_1
from smartmob.turrets.protocol import (
    DETAILS_PROTOCOL,
    PROTOCOL,
    Report,
    Slice,
    Slices,
    Status,
    TurretCounts,
    decode_order,
    encode,
)
from smartmob.turrets.turret import state_machine
from smartmob.turrets.turret.failure import describe
from smartmob.turrets.turret.outbox import Outbox
from smartmob.turrets.turret.package import Package
from smartmob.turrets.turret.script import Script, ScriptError, load
from smartmob.turrets.turret.self_monitor import LagMeter, SelfMonitor
from smartmob.turrets.turret.sockets import Keys, TurretSockets
from smartmob.turrets.turret.user_pool import FiringPlan, ResultBatch, UserPool
from smartmob.turrets.turret.workers import Workers

_COLLECT_SECONDS = 0.25
"""Seconds between two result batches."""
_SLICES_IN_A_MESSAGE = 200
_VALUES_IN_A_MESSAGE = 100_000
"""A headquarters accepts at most 1 MiB of unpacked histograms in a message; a value takes at most nine bytes."""
_MOST_REPORTED_ORDERS = 10
"""Invalid orders that are reported at the terminal; further ones are ignored silently."""
_FINAL_SEND_SECONDS = 5.0
"""Longest time for sending the final status and the remaining results when the program ends."""

Notify = Callable[[str], None]


class LoadGenerator(Protocol):
    """A load generator: the user pool of this process, or worker processes."""

    async def fire(self, plan: FiringPlan) -> None:
        """Fire until `stop`; return when all cannons have ended. Raises RuntimeError."""

    def stop(self, *, at_once: bool) -> None:
        """Start no more transactions."""

    def pause(self) -> None:
        """Start no transaction until `resume`."""

    def resume(self) -> None:
        """End a pause, if there is one."""

    def take(self, *, everything: bool = False) -> ResultBatch:
        """Remove and return the results since the last call; with `everything` also those of the current second."""


class TurretSession:
    """One turret; call `run` once. `notify` shows a message to the person at the terminal.

    With `once` it ends after its first run, see `TurretMachine`.
    """

    def __init__(self, package: Package, keys: Keys | None, notify: Notify, *, once: bool = False) -> None:
        self.uuid = str(uuid.uuid4())
        self._package = package
        self._settings = settings = package.configuration
        self._plan = settings.plan()
        self._notify = notify
        self._tasks = TaskRegistry()
        self._machine = state_machine.TurretMachine(self.uuid, settings.patience, once)
        ports = (settings.hq_publisher, settings.hq_rc)
        self._sockets = TurretSockets(settings.hq_address, ports, keys, self._receive, self._connection_changed, notify)
        self._outbox = Outbox()
        self._counts = TurretCounts()
        self._dropped = 0
        self._invalid_orders = 0
        self._self_monitor, self._lag = SelfMonitor(), LagMeter()
        self._longest_lag = 0.0
        self._digest = ""
        self._script: Script | None = None
        self._workers: Workers | None = None
        self._generator: LoadGenerator | None = None
        self._start_order: state_machine.StartFiring | None = None
        self._tick: asyncio.TimerHandle | None = None
        self._exit: asyncio.Future[int] | None = None

    async def run(self) -> int:
        """Take part in runs until the turret ends; return the exit code."""
        self._exit = asyncio.get_running_loop().create_future()
        self._lag.start()
        try:
            reason = await self._prepare()
            self._connect()
            if reason:
                self._notify(reason)
                self._handle(state_machine.TurretFailed(reason))
            else:
                self._handle(state_machine.Tick())
                self._notify(f"turret {self._settings.name} waits for orders from {self._settings.hq_address}")
            code = await self._exit
            await self._send_final_status(code)
            return code
        finally:
            await self._close()

    def quit(self) -> None:
        """Stop the cannons at once, deliver their results and end; a second call ends without delivering."""
        self._handle(state_machine.Quit())

    # -- events ---------------------------------------------------------------------------------------------------

    def _receive(self, frame: bytes) -> None:
        try:
            channel, order = decode_order(frame)
        except InvalidInput as error:
            self._invalid_orders += 1
            if self._invalid_orders <= _MOST_REPORTED_ORDERS:
                self._notify(f"not understood: {error}")
            return
        if channel in ("", self.uuid):
            self._handle(state_machine.OrderCame(order))

    def _connection_changed(self, connected: bool) -> None:
        self._handle(state_machine.ConnectionChanged(connected))

    def _handle(self, event: state_machine.Event) -> None:
        for action in self._machine.handle(event, time.monotonic()):
            self._perform(action)
        if self._tick is not None:
            self._tick.cancel()
        delay = max(self._machine.deadline - time.monotonic(), 0.001)
        self._tick = asyncio.get_running_loop().call_later(delay, self._handle, state_machine.Tick())

    # -- actions --------------------------------------------------------------------------------------------------

    def _perform(self, action: state_machine.Action) -> None:
        match action:
            case state_machine.SendStatus():
                self._send_status()
            case state_machine.StartFiring():
                self._tasks.start("firing", self._fire_run(action))
            case state_machine.StopFiring(at_once):
                if self._generator is not None:
                    self._generator.stop(at_once=at_once)
            case state_machine.Acknowledge(sequence):
                self._outbox.acknowledge(sequence)
                self._apply_backpressure()
            case state_machine.Repeat():
                self._outbox.repeat()
                self._sockets.pump()
            case state_machine.Discard(lost):
                count = self._outbox.discard()
                self._dropped += count if lost else 0
            case state_machine.Flush():
                self._sockets.pump()
                if unsent := self._outbox.discard():
                    # The next headquarters that connects must not get them as results of its own run.
                    self._notify(
                        f"{counted(unsent, 'result')} could not be sent: the headquarters does not listen any more"
                    )
                self._sockets.flush()
            case state_machine.Notify(text):
                self._notify(text)
            case state_machine.ExitProgram(code):
                if self._exit is not None and not self._exit.done():
                    self._exit.set_result(code)

    def _connect(self) -> None:
        try:
            self._sockets.open(self.uuid)
        except zmq.ZMQError as error:
            raise InvalidInput.at("$.hq_address", f"cannot connect to {self._settings.hq_address!r}: {error}") from None

    async def _prepare(self) -> str:
        """Load the script, here or in worker processes; return an error text, or "" on success."""
        package = self._package
        try:
            with suppress(OSError), package.script.open("rb") as file:
                self._digest = hashlib.file_digest(file, "sha256").hexdigest()
            if self._settings.processes == 1:
                self._script = load(package.script, package.folders)
            else:
                self._workers = Workers(self._tasks)
                folders = [str(folder) for folder in package.folders]
                await self._workers.start(self._settings.processes, package.given, str(package.script), folders)
        except ScriptError as error:
            return str(error)
        return ""

    async def _fire_run(self, fire: state_machine.StartFiring) -> None:
        """Fire one run. An error of any kind is reported to the headquarters and ends the turret."""
        self._start_order, self._counts, self._dropped = fire, TurretCounts(), 0
        self._outbox = Outbox(numbered=fire.numbered)
        self._sockets.use(self._outbox)
        generator: LoadGenerator
        if self._workers is not None:
            generator = self._workers
        else:
            assert self._script is not None
            generator = UserPool(self._script, self._package.given, self._settings, self._tasks)
        self._generator = generator
        self._notify(f"firing: {counted(self._settings.cannons, 'cannon')}")
        collecting = self._tasks.start("collecting", self._collect_loop(generator))
        # A run without an end has an infinite one, which the JSON of the pipe cannot represent.
        end = min(fire.end, fire.start + 1e9)
        details = fire.numbered and self._machine.hq_protocol >= DETAILS_PROTOCOL
        plan = FiringPlan(
            start=fire.start, end=end, raw=fire.raw, context=fire.context, details=details, rate=fire.rate
        )
        try:
            await generator.fire(plan)
        except Exception as error:
            # The headquarters gets the reason in a status before the turret ends.
            reason = describe(error)
            self._notify(reason)
            self._handle(state_machine.TurretFailed(reason))
            generator.stop(at_once=True)
        collecting.cancel()
        self._generator = None
        self._send_results(generator.take(everything=True))
        self._counts.users = 0
        self._notify(
            f"ended: {counted(self._counts.transactions, 'transaction')}, {counted(self._counts.errors, 'error')}"
        )
        self._handle(state_machine.FiringEnded(self._outbox.sequence))

    async def _collect_loop(self, generator: LoadGenerator) -> None:
        while True:
            await asyncio.sleep(_COLLECT_SECONDS)
            try:
                self._send_results(generator.take())
            except Exception as error:
                self._notify(f"a bug: {describe(error)}")
                self._handle(state_machine.TurretFailed(describe(error)))
                raise

    def _send_results(self, batch: ResultBatch) -> None:
        """Put the results into the outbox, numbered for a headquarters of smartmob, and send them."""
        fire, outbox = self._start_order, self._outbox
        assert fire is not None
        self._counts = batch.counts
        self._longest_lag = max(self._longest_lag, batch.lag)
        if not fire.numbered:
            for frame in batch.frames:
                outbox.put(frame)
        else:
            for frame in batch.frames:
                own = f',"uuid":"{self.uuid}","run":"{fire.run}","sequence":{outbox.number()}}}'
                outbox.put(frame[:-1] + own.encode())
            apart = self._machine.hq_protocol >= DETAILS_PROTOCOL
            for group in _grouped(batch.slices if apart else in_version_1(batch.slices)):
                part = Slices(
                    slices=group,
                    turret=self._settings.name,
                    uuid=self.uuid,
                    run=fire.run or "",
                    sequence=outbox.number(),
                )
                outbox.put(encode(part))
        self._sockets.pump()
        self._apply_backpressure()

    def _apply_backpressure(self) -> None:
        """Pause firing while the outbox is full."""
        if self._generator is not None:
            if self._outbox.full:
                self._generator.pause()
            else:
                self._generator.resume()

    # -- statuses -------------------------------------------------------------------------------------------------

    def _send_status(self) -> None:
        settings, smartmob_hq = self._settings, self._machine.smartmob_hq
        status = Status(
            turret=settings.name,
            status=self._machine.condition,
            uuid=self.uuid,
            rampup=settings.rampup,
            script=settings.script,
            cannons=settings.cannons,
            canons=settings.cannons if smartmob_hq else msgspec.UNSET,
            smartmob=self._report() if smartmob_hq else msgspec.UNSET,
        )
        self._sockets.send_status(encode(status))

    def _report(self) -> Report:
        run, last, acknowledged = self._machine.reported
        counts = self._counts
        firing = self._start_order is not None and self._start_order.run == run
        if not firing:
            counts = TurretCounts()
        self._longest_lag = max(self._longest_lag, self._lag.take())
        health = self._self_monitor.read(self._workers.pids if self._workers is not None else (), self._longest_lag)
        if health.lag == self._longest_lag:
            self._longest_lag = 0.0
        return Report(
            protocol=PROTOCOL,
            version=__version__,
            host=socket.gethostname(),
            run=run,
            sequence=last if last is not None else (self._outbox.sequence if firing else 0),
            acknowledged=acknowledged,
            final=last is not None,
            users=counts.users,
            transactions=counts.transactions,
            errors=counts.errors,
            late_starts=counts.late_starts,
            lateness=counts.lateness,
            never_started=counts.never_started,
            dropped=self._dropped,
            paused=round(counts.paused, 3),
            joined=counts.joined,
            sent=counts.sent,
            received=counts.received,
            reason=self._machine.reason,
            script_digest=self._digest,
            health=health,
            plan=self._plan,
        )

    # -- the end --------------------------------------------------------------------------------------------------

    async def _send_final_status(self, code: int) -> None:
        """Send the final status and the remaining results, for a bounded time.

        A turret that ends by an error waits for a connection to report it; one that was asked to end does not.
        """
        self._send_status()
        end = time.monotonic() + _FINAL_SEND_SECONDS
        while not self._sockets.idle and time.monotonic() < end and (code or self._sockets.connected):
            await asyncio.sleep(0.01)
            self._sockets.pump()

    async def _close(self) -> None:
        if self._tick is not None:
            self._tick.cancel()
        self._lag.stop()
        if self._workers is not None:
            await self._workers.close()
        await self._tasks.close()
        await self._sockets.close(_FINAL_SEND_SECONDS)


def _grouped(parts: Sequence[Slice]) -> Iterator[list[Slice]]:
    """Yield the slices in groups, each within the limits of a message."""
    group: list[Slice] = []
    values = 0
    for part in parts:
        if group and (len(group) >= _SLICES_IN_A_MESSAGE or values + part.count > _VALUES_IN_A_MESSAGE):
            yield group
            group, values = [], 0
        group.append(part)
        values += part.count
    if group:
        yield group
