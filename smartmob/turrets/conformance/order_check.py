"""Sends a turret orders that it must survive: unknown, broken and superfluous ones, and orders for other turrets."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from smartmob.turrets.conformance.turret_check import TurretCheck

BROKEN_ORDERS = (
    b"",
    b" ",
    b"stop",
    b" not JSON",
    b' {"command": "stop", "msg": ',
    b" [1, 2]",
    b" null",
    b" 7",
    b' "stop"',
    b' {"msg": "no command"}',
    b' {"command": 7, "msg": null}',
    b' {"command": null, "msg": null}',
    b' {"command": "status_request"}',
    b' {"command": "set_transaction_context", "msg": null}',
    b' {"command": "set_transaction_context", "msg": "a text"}',
    b" \xff\xfe\x00\x80",
    b" " + b"[" * 2000,
    b" " * 70_000,
)
"""Frames that are not orders, or only a part of an order."""

_ENDING_SECONDS = 0.15
"""Time to wait for an end after each broken order, to find out which one it was."""


async def check_bad_orders(check: TurretCheck) -> None:
    """Check a ready turret; it is started again whenever it ends."""
    hq = check.headquarters
    frame = hq.order("prepare_for_winter", "this order does not exist")
    await check.survives("unknown-order", frame, "after this order")
    frame = hq.order("status_request", None, issued_by={"name": "check", "levels": [1, 2]}, priority=7)
    await check.survives("unknown-keys", frame, "after this order")
    await _check_broken_orders(check)
    await _check_channels(check)


async def _check_broken_orders(check: TurretCheck) -> None:
    last = BROKEN_ORDERS[0]
    for last in BROKEN_ORDERS:
        check.headquarters.publish(last)
        if await check.changes.until(lambda: check.process.has_ended(), _ENDING_SECONDS):
            break
    if check.process.has_ended():
        what = "after this order" if last.strip() else f"after an order of {len(last)} blanks"
    else:
        what = f"after {len(BROKEN_ORDERS)} broken orders"
    await check.survives("broken-orders", last, what)


async def _check_channels(check: TurretCheck) -> None:
    hq, target, findings = check.headquarters, check.target, check.findings
    seen, hits = len(hq.messages), target.hits
    frame = hq.order("start", "open fire", channel=str(uuid.uuid4()))
    if await check.survives("orders-of-others", frame, "after an order for another uuid"):
        fired = [one.frame for one in hq.since(seen) if one.fires or one.is_result]
        if fired or target.hits > hits:
            findings.failed("orders-of-others", "it fires after start for another uuid", frame)
            await check.order_until("stop", lambda: any(one.is_idle for one in hq.statuses(seen)[-1:]))
    if findings.has_failed("stops"):
        findings.skipped(["early-stop", "own-orders"], "it would not stop")
        return
    await _check_early_stop(check)
    seen, hits = len(hq.messages), target.hits
    frame = hq.order("start", "open fire", channel=check.uuid)
    fires = await check.changes.until(
        lambda: check.process.has_ended() or target.hits > hits or any(one.fires for one in hq.statuses(seen)),
        check.options.patience / 3,
    )
    if check.process.has_ended():
        findings.failed("own-orders", f"after an order for its uuid: {check.process.ending}", frame)
        await check.begin()
        return
    if fires:
        findings.passed("own-orders")
    else:
        findings.unsupported("own-orders", "it does nothing after start for its uuid; smartmob sends no such order")
    stopping = len(hq.messages)
    await check.order_until("stop", lambda: any(one.is_idle for one in hq.statuses(stopping)))


async def _check_early_stop(check: TurretCheck) -> None:
    """Stop the turret as soon as it fires, while most of its cannons have not started."""
    hq, target, findings = check.headquarters, check.target, check.findings
    seen, hits = len(hq.messages), target.hits
    fires = await check.order_until(
        "start", lambda: target.hits > hits or any(one.fires or one.is_result for one in hq.since(seen))
    )
    stopping = len(hq.messages)
    if fires and await check.order_until("stop", lambda: any(one.is_idle for one in hq.statuses(stopping))):
        await check.survives("early-stop", b"", "after stop while its cannons start")
        return
    how = "after stop while its cannons start: it is not ready again" if fires else "it does not fire after start"
    findings.failed("early-stop", check.process.ending if check.process.has_ended() else how)
    await check.begin()
