"""A turret from its start to its end: does what the machine decides with sockets, cannons and the clock."""

from __future__ import annotations

import asyncio
import socket
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

import msgspec
import zmq

from smartmob import __version__
from smartmob.errors import InvalidInput
from smartmob.kernel.runtime.tasks import TaskRegistry
from smartmob.turrets.protocol import PROTOCOL, Report, Slice, Slices, Status, TurretCounts, decode_order, encode
from smartmob.turrets.turret import state_machine as machine
from smartmob.turrets.turret.outbox import Outbox
from smartmob.turrets.turret.package import Package
from smartmob.turrets.turret.script import Script, ScriptError, describe, load
from smartmob.turrets.turret.self_monitor import LagMeter, SelfMonitor
from smartmob.turrets.turret.sockets import Keys, TurretSockets
from smartmob.turrets.turret.user_pool import FiringPlan, ResultBatch, UserPool
from smartmob.turrets.turret.workers import Workers

_GATHER_SECONDS = 0.25
_SLICES_IN_A_MESSAGE = 200
_VALUES_IN_A_MESSAGE = 100_000
"""A headquarters reads no more than a megabyte of histograms, in which each value takes at most nine bytes."""
_MOST_COMPLAINTS = 10
_LAST_WORDS_SECONDS = 5.0
"""How long what is left to say may take at the end of the program."""

Say = Callable[[str], None]


class LoadGenerator(Protocol):
    """What fires: a battery in this process, or worker processes."""

    async def fire(self, plan: FiringPlan) -> None:
        """Fire until `cease`; return when everything has ended. Raises RuntimeError."""

    def cease(self, *, at_once: bool) -> None:
        """Start no more transactions."""

    def pause(self) -> None:
        """Begin no transaction until `resume`."""

    def resume(self) -> None:
        """Go on after `pause`."""

    def take(self, *, everything: bool = False) -> ResultBatch:
        """Return what was done since the last time."""


class Turret:
    """One turret; `run` it once. `say` tells the person at the terminal what happens."""

    def __init__(self, package: Package, keys: Keys | None, say: Say) -> None:
        self.uuid = str(uuid.uuid4())
        self._package = package
        self._settings = settings = package.configuration
        self._say = say
        self._tasks = TaskRegistry()
        self._machine = machine.TurretMachine(self.uuid, settings.patience)
        ports = (settings.hq_publisher, settings.hq_rc)
        self._wire = TurretSockets(settings.hq_address, ports, keys, self._hear, self._connected)
        self._outbox = Outbox()
        self._counts = TurretCounts()
        self._dropped = 0
        self._misunderstood = 0
        self._watch, self._lag = SelfMonitor(), LagMeter()
        self._longest_lag = 0.0
        self._script: Script | None = None
        self._workers: Workers | None = None
        self._guns: LoadGenerator | None = None
        self._fire: machine.StartFiring | None = None
        self._tick: asyncio.TimerHandle | None = None
        self._exit: asyncio.Future[int] | None = None

    async def run(self) -> int:
        """Serve the headquarters until the end; return the exit code."""
        self._exit = asyncio.get_running_loop().create_future()
        self._lag.start()
        try:
            reason = await self._prepare()
            self._connect()
            if reason:
                self._say(reason)
                self._feed(machine.Failed(reason))
            else:
                self._feed(machine.Tick())
                self._say(f"turret {self._settings.name} waits for orders from {self._settings.hq_address}")
            code = await self._exit
            await self._last_words(code)
            return code
        finally:
            await self._close()

    def quit(self) -> None:
        """End: the cannons at once, and what they did is delivered. Asked a second time, it is not."""
        self._feed(machine.Quit())

    # -- what comes in --------------------------------------------------------------------------------------------

    def _hear(self, frame: bytes) -> None:
        try:
            channel, order = decode_order(frame)
        except InvalidInput as error:
            self._misunderstood += 1
            if self._misunderstood <= _MOST_COMPLAINTS:
                self._say(f"not understood: {error}")
            return
        if channel in ("", self.uuid):
            self._feed(machine.OrderCame(order))

    def _connected(self, connected: bool) -> None:
        self._feed(machine.ConnectionChanged(connected))

    def _feed(self, event: machine.Event) -> None:
        for action in self._machine.handle(event, time.monotonic()):
            self._do(action)
        if self._tick is not None:
            self._tick.cancel()
        delay = max(self._machine.deadline - time.monotonic(), 0.001)
        self._tick = asyncio.get_running_loop().call_later(delay, self._feed, machine.Tick())

    # -- what is done ---------------------------------------------------------------------------------------------

    def _do(self, action: machine.Action) -> None:
        match action:
            case machine.SendStatus():
                self._send_status()
            case machine.StartFiring():
                self._tasks.start("firing", self._firing(action))
            case machine.StopFiring(at_once):
                if self._guns is not None:
                    self._guns.cease(at_once=at_once)
            case machine.Acknowledge(sequence):
                self._outbox.acknowledge(sequence)
                self._balance()
            case machine.Repeat():
                self._outbox.repeat()
                self._wire.pump()
            case machine.Discard(lost):
                count = self._outbox.discard()
                self._dropped += count if lost else 0
            case machine.Flush():
                self._wire.pump()
                if unsent := self._outbox.discard():
                    # Whoever listens next must not get them for results of its own run.
                    self._say(f"{unsent} results could not be sent: nobody listens any more")
                self._wire.flush()
            case machine.Say(text):
                self._say(text)
            case machine.Exit(code):
                if self._exit is not None and not self._exit.done():
                    self._exit.set_result(code)

    def _connect(self) -> None:
        try:
            self._wire.open(self.uuid)
        except zmq.ZMQError as error:
            raise InvalidInput.at("$.hq_address", f"cannot connect to {self._settings.hq_address!r}: {error}") from None

    async def _prepare(self) -> str:
        """Load the script, here or in worker processes; return why that cannot be done, or ""."""
        package = self._package
        try:
            if self._settings.processes == 1:
                self._script = load(package.script, package.folders)
            else:
                self._workers = Workers(self._tasks)
                folders = [str(folder) for folder in package.folders]
                await self._workers.start(self._settings.processes, package.given, str(package.script), folders)
        except ScriptError as error:
            return str(error)
        return ""

    async def _firing(self, fire: machine.StartFiring) -> None:
        """Fire one run; whatever goes wrong ends the turret in the regular way."""
        self._fire, self._counts, self._dropped = fire, TurretCounts(), 0
        self._outbox = Outbox(numbered=fire.numbered)
        self._wire.use(self._outbox)
        guns: LoadGenerator
        if self._workers is not None:
            guns = self._workers
        else:
            assert self._script is not None
            guns = UserPool(self._script, self._package.given, self._settings, self._tasks)
        self._guns = guns
        self._say(f"firing: {self._settings.cannons} cannons")
        gathering = self._tasks.start("gathering", self._gathering(guns))
        # It is for the whole run, but JSON has no infinity.
        plan = FiringPlan(start=fire.start, end=min(fire.end, fire.start + 1e9), raw=fire.raw, context=fire.context)
        try:
            await guns.fire(plan)
        except Exception as error:
            # Whatever it is, the headquarters is told before the turret dies.
            reason = describe(error)
            self._say(reason)
            self._feed(machine.Failed(reason))
            guns.cease(at_once=True)
        gathering.cancel()
        self._guns = None
        self._deliver(guns.take(everything=True))
        self._counts.users = 0
        self._say(f"ended: {self._counts.transactions} transactions, {self._counts.errors} errors")
        self._feed(machine.FiringEnded(self._outbox.sequence))

    async def _gathering(self, guns: LoadGenerator) -> None:
        while True:
            await asyncio.sleep(_GATHER_SECONDS)
            try:
                self._deliver(guns.take())
            except Exception as error:
                self._say(f"a bug: {describe(error)}")
                self._feed(machine.Failed(describe(error)))
                raise

    def _deliver(self, shots: ResultBatch) -> None:
        """Number what is new and send it."""
        fire, outbox = self._fire, self._outbox
        assert fire is not None
        self._counts = shots.counts
        self._longest_lag = max(self._longest_lag, shots.lag)
        if not fire.numbered:
            for frame in shots.frames:
                outbox.put(frame)
        else:
            for frame in shots.frames:
                own = f',"uuid":"{self.uuid}","run":"{fire.run}","sequence":{outbox.number()}}}'
                outbox.put(frame[:-1] + own.encode())
            for together in _grouped(shots.slices):
                part = Slices(
                    slices=together,
                    turret=self._settings.name,
                    uuid=self.uuid,
                    run=fire.run or "",
                    sequence=outbox.number(),
                )
                outbox.put(encode(part))
        self._wire.pump()
        self._balance()

    def _balance(self) -> None:
        """Let firing wait while too much is kept."""
        if self._guns is not None:
            if self._outbox.full:
                self._guns.pause()
            else:
                self._guns.resume()

    # -- what is told ---------------------------------------------------------------------------------------------

    def _send_status(self) -> None:
        settings, ours = self._settings, self._machine.ours
        status = Status(
            turret=settings.name,
            status=self._machine.condition,
            uuid=self.uuid,
            rampup=settings.rampup,
            script=settings.script,
            cannons=settings.cannons,
            canons=settings.cannons if ours else msgspec.UNSET,
            smartmob=self._report() if ours else msgspec.UNSET,
        )
        self._wire.send_status(encode(status))

    def _report(self) -> Report:
        run, last, acknowledged = self._machine.reported
        counts = self._counts
        firing = self._fire is not None and self._fire.run == run
        if not firing:
            counts = TurretCounts()
        self._longest_lag = max(self._longest_lag, self._lag.take())
        health = self._watch.look(self._workers.pids if self._workers is not None else (), self._longest_lag)
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
            reason=self._machine.reason,
            health=health,
        )

    # -- the end --------------------------------------------------------------------------------------------------

    async def _last_words(self, code: int) -> None:
        """Say the final status and deliver what there is, for a bounded time.

        A turret that was aborted waits for a headquarters to tell it to; one that was asked to end does not.
        """
        self._send_status()
        end = time.monotonic() + _LAST_WORDS_SECONDS
        while not self._wire.idle and time.monotonic() < end and (code or self._wire.connected):
            await asyncio.sleep(0.01)
            self._wire.pump()

    async def _close(self) -> None:
        if self._tick is not None:
            self._tick.cancel()
        self._lag.stop()
        if self._workers is not None:
            await self._workers.close()
        await self._tasks.close()
        await self._wire.close(_LAST_WORDS_SECONDS)


def _grouped(parts: Sequence[Slice]) -> Iterator[list[Slice]]:
    """Yield slices in groups that fit into messages."""
    together: list[Slice] = []
    values = 0
    for part in parts:
        if together and (len(together) >= _SLICES_IN_A_MESSAGE or values + part.count > _VALUES_IN_A_MESSAGE):
            yield together
            together, values = [], 0
        together.append(part)
        values += part.count
    if together:
        yield together
