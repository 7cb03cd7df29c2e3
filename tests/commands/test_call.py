"""The context that a command's function gets."""

from __future__ import annotations

from typing import Any

from smartmob.commands.call import CallContext
from smartmob.commands.registry import command
from tests.commands.features import RunningFeature
from tests.waiting import until


@command
async def counts(call: CallContext, count: int) -> None:
    """Count in the event loop."""
    for number in range(count):
        await call.emit_and_drain(number)


@command
async def uses_older_names(call: Any, value: int) -> None:
    """Send messages by the methods that earlier releases had."""
    call.say(value)
    await call.tell(value + 1)


async def test_a_command_waits_for_a_slow_client(commands: RunningFeature) -> None:
    """After one message a command waits while its client takes no more."""
    commands.service.registry.add(counts)
    reply = commands.begin("counts", 500)
    reply.open.clear()
    await until(lambda: reply.values)
    assert len(reply.values) == 1
    reply.open.set()
    await reply.ended.wait()
    assert len(reply.values) == 500


async def test_commands_of_earlier_releases_work(commands: RunningFeature) -> None:
    """`say` and `tell` are other names of `emit` and `emit_and_drain`."""
    commands.service.registry.add(uses_older_names)
    assert (await commands.call("uses_older_names", 1)).values == [1, 2]
