"""Checks a turret: starts it for a private headquarters, and checks it in runs, with bad orders and during absences.

A turret that ends where it should not is started again, so that the following rules are checked as well. The order
`kill` is sent at the very end, to see whether it is obeyed: a headquarters of smartmob never sends it.
"""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import msgspec

from smartmob.counts import counted
from smartmob.turrets.conformance.awaited_changes import AwaitedChanges
from smartmob.turrets.conformance.counting_target import CountingTarget
from smartmob.turrets.conformance.extension_check import check_curve, check_extension
from smartmob.turrets.conformance.frame_rules import Configured
from smartmob.turrets.conformance.order_check import check_bad_orders
from smartmob.turrets.conformance.private_headquarters import PrivateHeadquarters
from smartmob.turrets.conformance.rules import RuleFindings, RuleResult
from smartmob.turrets.conformance.run_check import check_first_run, check_second_run
from smartmob.turrets.conformance.turret_process import TurretProcess
from smartmob.turrets.conformance.turret_project import TurretProject

NAME = "checked"
HEARTBEAT_SECONDS = 2.0
ANSWER_STEP_SECONDS = 0.2
AWAY_SECONDS = 1.0
"""Time for which the headquarters stays away."""

_ORDERS = 4
"""The number of times that an order without effect is sent: too soon, a slow turret would get a superfluous one."""
_SETTLING_SECONDS = 0.3
_ANSWERS = 3
"""Statuses, besides those that come by themselves, that show that orders are answered."""


class CheckOptions(msgspec.Struct, frozen=True, kw_only=True):
    """The command to check, and the size and duration of its runs.

    `patience` is the number of seconds that the turret has for each reaction.
    """

    command: tuple[str, ...]
    script: Path | None = None
    cannons: int = 3
    rampup: float = 1.0
    run_time: float = 2.0
    patience: float = 15.0
    limit: float = 180.0
    target: bool = True


class TurretCheck:
    """One check of a turret; call `run` once. `say` is called with each step, for people."""

    def __init__(self, options: CheckOptions, say: Callable[[str], None]) -> None:
        self.options, self.say = options, say
        self.findings = RuleFindings()
        self.changes = AwaitedChanges()
        self.target = CountingTarget(self.changes)
        self.configured = Configured(NAME, options.cannons, options.rampup)
        self.headquarters = PrivateHeadquarters(self.configured, self.findings, self.changes)
        self.uuids: list[str] = []
        """The uuid of each process that has announced itself."""
        self._folder = Path()
        self._process: TurretProcess | None = None

    async def run(self) -> list[RuleResult]:
        """Check the turret, and leave no process behind; raises SettingsError when it cannot be started."""
        self._folder = Path(tempfile.mkdtemp(prefix="smartmob-check-"))
        try:
            await self.target.open()
            self.headquarters.open()
            async with asyncio.timeout(self.options.limit):
                await self._check()
        except TimeoutError:
            self.findings.failed("in-time", f"the check has not ended within {self.options.limit:g} s")
        finally:
            if self._process is not None:
                await self._process.destroy()
            await self.headquarters.close()
            await self.target.close()
            shutil.rmtree(self._folder, ignore_errors=True)
        return self.findings.checks()

    async def _check(self) -> None:
        if await self.begin() and await self._listens():
            if await check_first_run(self):
                self.say("orders that are unknown, broken or for others")
                await check_bad_orders(self)
                await self._leave_and_return()
                await check_second_run(self)
            await self.end()
            await self.check_optional_parts()
        self.findings.passed("in-time")

    async def check_optional_parts(self) -> None:
        """Start the turret again for the extension of orders, and once more for encryption."""
        self.say("orders with the key smartmob")
        await check_extension(self)
        self.say("encryption")
        await check_curve(self)

    # -- the process ----------------------------------------------------------------------------------------------

    @property
    def process(self) -> TurretProcess:
        """Return the present process of the turret."""
        assert self._process is not None
        return self._process

    @property
    def key_file(self) -> Path:
        """Return the file for the secret key of the headquarters."""
        return self._folder / "headquarters.key"

    @property
    def uuid(self) -> str:
        """Return the uuid of the present process."""
        return self.uuids[-1] if self.uuids else ""

    async def begin(self, headquarters: PrivateHeadquarters | None = None, key: str | None = None) -> bool:
        """Start the turret, and return whether it announces itself."""
        hq = headquarters or self.headquarters
        if self._process is not None:
            await self._process.destroy()
        options = self.options
        project = TurretProject(self._folder, options.command, self.configured, self.target.url, options.script)
        command, variables = project.write(hq.ports, key)
        seen = len(hq.messages)
        self._process = process = TurretProcess(command, variables, self.changes)
        await process.start()
        if key is not None:
            return await self.changes.until(lambda: hq.statuses(seen), options.patience / 3)
        self.say(f"started: {' '.join(command)}")
        await self.changes.until(
            lambda: process.has_ended() or any(one.is_idle for one in hq.statuses(seen)), options.patience
        )
        idle = [one for one in hq.statuses(seen) if one.is_idle]
        if not idle:
            why = process.ending if process.has_ended() else f"no status came within {options.patience:g} s"
            last = hq.since(seen)[-1].frame if hq.since(seen) else b""
            self.findings.failed("announces", why, last)
            return False
        self.findings.passed("announces")
        uuid = str(idle[0].content.get("uuid", ""))
        if uuid and uuid in self.uuids:
            self.findings.failed("uuid", "another process has sent the same uuid", idle[0].frame)
        self.uuids.append(uuid)
        return True

    async def end(self) -> None:
        """Send SIGTERM, and record whether the turret ends without leaving a process behind."""
        process, target = self.process, self.target
        if process.has_ended():
            return
        self.say("SIGTERM")
        process.terminate()
        if not await self.changes.until(lambda: process.has_ended(), self.options.patience):
            self.findings.failed("ends-on-sigterm", f"it runs {self.options.patience:g} s after SIGTERM")
            return
        self.findings.passed("ends-on-sigterm")
        hits = target.hits
        await self.changes.until(lambda: not process.left(), _SETTLING_SECONDS)
        if left := process.left():
            why = f"{counted(len(left), 'process', 'processes')} left, such as {_named(left[0])}"
            self.findings.failed("leaves-no-process", why + (", and fire" if target.hits > hits else ""))
        else:
            self.findings.passed("leaves-no-process")

    # -- orders ---------------------------------------------------------------------------------------------------

    async def order_until(self, command: str, condition: Callable[[], object]) -> bool:
        """Repeat an order until a condition is true or patience ends; return whether it became true."""
        loop = asyncio.get_running_loop()
        end = loop.time() + self.options.patience
        while not condition() and not self.process.has_ended() and loop.time() < end:
            self.headquarters.order(command, "open fire" if command == "start" else "premature stop")
            step = self.options.patience / _ORDERS
            await self.changes.until(lambda: condition() or self.process.has_ended(), step)
        return bool(condition())

    async def answers(self) -> bool:
        """Return whether the turret answers orders, and not only sends a status from time to time."""
        hq, loop = self.headquarters, asyncio.get_running_loop()
        seen, begun = len(hq.messages), loop.time()

        def answered() -> bool:
            by_itself = (loop.time() - begun) / HEARTBEAT_SECONDS
            wanted = 1 if self.findings.has_failed("answers") else _ANSWERS + by_itself
            return len(hq.statuses(seen)) >= wanted

        while not answered() and not self.process.has_ended() and loop.time() < begun + self.options.patience:
            hq.order("status_request")
            await self.changes.until(lambda: answered() or self.process.has_ended(), ANSWER_STEP_SECONDS)
        return answered() and not self.process.has_ended()

    async def survives(self, rule: str, frame: bytes, what: str) -> bool:
        """Record whether the turret is alive and answers after `frame`; start it again if it does not."""
        if await self.answers():
            self.findings.passed(rule)
            return True
        how = self.process.ending if self.process.has_ended() else "it no longer answers orders"
        self.findings.failed(rule, f"{what}: {how}", frame)
        return await self.begin() and await self.answers()

    def _report_no_answers(self) -> None:
        count = len(self.headquarters.messages)
        no_answers = f"{counted(count, 'message')} came, but no answers to status_request"
        self.findings.failed("answers", self.process.ending if self.process.has_ended() else no_answers)

    async def _listens(self) -> bool:
        hq = self.headquarters
        if await self.answers():
            self.findings.passed("answers")
        else:
            self._report_no_answers()
            if self.process.has_ended():
                return False
        await asyncio.sleep(_SETTLING_SECONDS)  # answers under way are not taken for the heartbeat
        seen = len(hq.messages)
        if await self.changes.until(lambda: hq.statuses(seen), 3 * HEARTBEAT_SECONDS):
            self.findings.passed("heartbeat")
        else:
            why = "the headquarters forgets a turret that is silent for --turrets-lost-after seconds until it answers"
            self.findings.unsupported("heartbeat", why)
        self._judge_uuid()
        return True

    def _judge_uuid(self) -> None:
        found = {str(one.content.get("uuid")) for one in self.headquarters.statuses(0)}
        if len(found) > 1:
            last = self.headquarters.statuses(0)[-1]
            self.findings.failed("uuid", f"{len(found)} different uuids came from one process", last.frame)
        else:
            self.findings.passed("uuid")

    async def _leave_and_return(self) -> None:
        hq = self.headquarters
        self.say("the headquarters is away")
        await hq.close()
        await asyncio.sleep(AWAY_SECONDS)
        hq.open()
        await self.survives("headquarters-returns", b"", f"after {AWAY_SECONDS:g} s without a headquarters")


def _named(process: object) -> str:
    return str(process).replace("psutil.Process", "")
