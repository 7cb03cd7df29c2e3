"""Checks the parts of the protocol that only a headquarters of smartmob has, and the order `kill`. All are optional.

A turret that does not know the key `smartmob` in orders must fire nevertheless.
"""

from __future__ import annotations

import asyncio
import uuid
from typing import TYPE_CHECKING, Any

import msgspec

from smartmob.errors import InvalidInput
from smartmob.turrets.conformance.frame_rules import ReceivedFrame
from smartmob.turrets.protocol import PROTOCOL, Briefing, Result, RunBriefing, Slices, Status, decode

if TYPE_CHECKING:
    from smartmob.turrets.conformance.private_headquarters import PrivateHeadquarters
    from smartmob.turrets.conformance.turret_check import TurretCheck

EXTENSION = ("numbered-results", "slices", "details")
STARTS_IN_SECONDS = 0.5
RUN_SECONDS = 2.0
KILL_SECONDS = 3.0
ORDER_STEP_SECONDS = 0.5


class NumberedRun:
    """A run with a briefing: sends the orders, and acknowledges the numbered messages that arrived in order."""

    def __init__(self, check: TurretCheck, results: Any) -> None:
        self._check = check
        self.id = f"check-{uuid.uuid4()}"
        self._results = results
        self._seen = self._read_to = len(check.headquarters.messages)
        self._begun = asyncio.get_running_loop().time()
        self.acknowledged = 0
        self.slices: list[Slices] = []
        self.results: list[Result] = []
        self.final: int | None = None
        self.wrong: tuple[str, bytes] | None = None

    def order(self, command: str = "status_request", msg: str | None = None) -> None:
        """Send an order with the briefing of this run."""
        starts_in = self._begun + STARTS_IN_SECONDS - asyncio.get_running_loop().time()
        run = RunBriefing(id=self.id, starts_in=starts_in, run_time=RUN_SECONDS, results=self._results)
        acknowledged = {self._check.uuid: self.acknowledged} if self.acknowledged else {}
        _order_with(self._check.headquarters, command, msg, run, acknowledged)

    def read(self) -> None:
        """Read the messages that have arrived since the last call."""
        messages = self._check.headquarters.messages
        for message in messages[self._read_to :]:
            self._take(message)
        self._read_to = len(messages)

    def _take(self, message: ReceivedFrame) -> None:
        try:
            read = decode(message.frame)
        except InvalidInput as error:
            self.wrong = self.wrong or (f"the message cannot be read: {error}", message.frame)
            return
        if isinstance(read, Status):
            report = read.smartmob
            if not isinstance(report, msgspec.UnsetType) and report.run == self.id and report.final:
                self.final = report.sequence
            return
        if read.run == self.id:
            self._take_numbered(read, message.frame)

    def _take_numbered(self, read: Result | Slices, frame: bytes) -> None:
        if read.sequence == self.acknowledged + 1:
            self.acknowledged += 1
            (self.slices if isinstance(read, Slices) else self.results).append(read)  # type: ignore[arg-type] # one of both
        elif not isinstance(read.sequence, int) or read.sequence > self.acknowledged:
            why = f"the number {read.sequence} came after {self.acknowledged}"
            self.wrong = self.wrong or (why, frame)

    @property
    def complete(self) -> bool:
        """Return whether the last number is known, and all messages up to it have arrived."""
        return self.final is not None and self.acknowledged >= self.final

    async def play(self) -> None:
        """Send orders until the run is complete or patience ends; the turret stops by itself."""
        check = self._check
        loop = asyncio.get_running_loop()
        end = loop.time() + RUN_SECONDS + check.options.patience

        def over() -> bool:
            self.read()
            return self.complete or check.process.has_ended() or self.wrong is not None

        while not over() and loop.time() < end:
            self.order()
            if loop.time() >= self._begun + STARTS_IN_SECONDS:
                self.order("start", "open fire")  # as a headquarters of smartmob does for turrets of OCT
            await check.changes.until(over, ORDER_STEP_SECONDS)


async def check_extension(check: TurretCheck) -> None:
    """Check a new process under orders that have the key `smartmob`, and end it by `kill`."""
    hq, findings, target = check.headquarters, check.findings, check.target
    if not await check.begin():
        findings.skipped(["briefings"], "the turret did not announce itself a second time")
        return
    hq.extended = True
    seen, hits = len(hq.messages), target.hits

    def reports() -> bool:
        return any("smartmob" in one.content for one in hq.statuses(seen))

    loop = asyncio.get_running_loop()
    end, wanted = loop.time() + check.options.patience, 4
    while not reports() and len(hq.statuses(seen)) < wanted and not check.process.has_ended() and loop.time() < end:
        _order_with(hq, "status_request", None, None, {})
        await check.changes.until(lambda: reports() or check.process.has_ended(), ORDER_STEP_SECONDS)
    if reports():
        await _check_numbered(check)
    else:
        for name in EXTENSION:
            findings.unsupported(name, "its statuses have no key smartmob after orders with one")
        await _fire_plainly(check, seen, hits)
    await _check_kill(check)
    hq.extended = False


async def _fire_plainly(check: TurretCheck, seen: int, hits: int) -> None:
    """Make a turret without the extension fire, by orders that have the key `smartmob`."""
    hq, findings = check.headquarters, check.findings
    run = NumberedRun(check, "slices")
    loop = asyncio.get_running_loop()
    end = loop.time() + check.options.patience

    def fired() -> bool:
        return check.target.hits > hits or any(one.fires or one.is_result for one in hq.since(seen))

    while not fired() and not check.process.has_ended() and loop.time() < end:
        run.order("start", "open fire")
        await check.changes.until(lambda: fired() or check.process.has_ended(), ORDER_STEP_SECONDS)
    if not fired():
        how = check.process.ending if check.process.has_ended() else "it does not fire after start"
        findings.failed("briefings", how)
        return
    findings.passed("briefings")


async def _check_numbered(check: TurretCheck) -> None:
    findings = check.findings
    run = NumberedRun(check, "slices")
    await run.play()
    if run.wrong is not None:
        findings.failed("numbered-results", *run.wrong)
    elif not run.complete:
        what = "no report with final came" if run.final is None else f"messages after {run.acknowledged} are missing"
        findings.failed("numbered-results", check.process.ending if check.process.has_ended() else what)
    elif run.acknowledged == 0:
        findings.failed("briefings", "it has sent nothing in a run of a briefing")
    else:
        findings.passed("briefings", "numbered-results")
    if run.slices:
        findings.passed("slices")
    else:
        findings.unsupported("slices", "it sends single results where the briefing asks for slices")
    if findings.has_failed("numbered-results") or findings.has_failed("briefings"):
        findings.skipped(["details"], "the run before was not complete")
        return
    check.target.drops = True
    run = NumberedRun(check, "raw")
    await run.play()
    check.target.drops = False
    if any(result.error and not isinstance(result.details, msgspec.UnsetType) for result in run.results):
        findings.passed("details")
    else:
        findings.unsupported("details", "no result of a failed transaction has the key details")


async def _check_kill(check: TurretCheck) -> None:
    if check.process.has_ended():
        return
    check.headquarters.order("kill", "the check is over")
    if await check.changes.until(lambda: check.process.has_ended(), KILL_SECONDS):
        check.findings.passed("kill")
        return
    check.findings.unsupported("kill", "a headquarters of smartmob never sends it")
    await check.end()


async def check_curve(check: TurretCheck) -> None:
    """Check a new process with a headquarters that accepts encrypted connections only."""
    from smartmob.turrets.conformance.private_headquarters import PrivateHeadquarters
    from smartmob.turrets.turret import keys

    public, secret = keys.pair()
    key_file = check.key_file
    key_file.write_text(secret, encoding="ascii")
    key_file.chmod(0o600)
    hq = PrivateHeadquarters(check.configured, check.findings, check.changes, key_file)
    hq.open()
    try:
        if await check.begin(hq, public):
            check.findings.passed("curve")
        else:
            check.findings.unsupported("curve", "no status came over an encrypted connection")
    finally:
        await hq.close()


def _order_with(
    hq: PrivateHeadquarters, command: str, msg: str | None, run: RunBriefing | None, acknowledged: dict[str, int]
) -> None:
    briefing = Briefing(protocol=PROTOCOL, headquarters="check-turret", run=run, acknowledged=acknowledged)
    hq.order(command, msg, smartmob=briefing)
