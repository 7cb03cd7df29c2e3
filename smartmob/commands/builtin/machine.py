"""Commands about the machine itself."""

from __future__ import annotations

import asyncio
import os
import pwd
import sys
from typing import Any

import psutil

from smartmob.commands.call import CallContext
from smartmob.commands.model import GOOD
from smartmob.commands.registry import command
from smartmob.errors import NotAllowed
from smartmob.kernel.runtime import clock
from smartmob.kernel.subprocesses.child import Spec

_FIGURES = ("pid", "ppid", "name", "username", "status", "cpu_times", "memory_info", "create_time", "cmdline")


@command(inline=True)
def os_info(call: CallContext) -> int:
    """Say which system this is: linux or mac."""
    call.say("mac" if sys.platform == "darwin" else "linux")
    return GOOD


@command(inline=True)
def get_time(call: CallContext) -> int:
    """Say what time it is on this machine, in its own time zone."""
    call.say(clock.local(clock.now()).replace(tzinfo=None))
    return GOOD


@command(inline=True)
def user_name(call: CallContext) -> int:
    """Say as which user commands run."""
    try:
        call.say(pwd.getpwuid(os.geteuid()).pw_name)
    except KeyError:
        call.say(str(os.geteuid()))
    return GOOD


@command(inline=True)
def env(call: CallContext, name: str | None = None) -> int:
    """Say which environment programs get, as an object; or the value of one variable."""
    environment = call.service.environment
    if name is None:
        call.say(dict(environment))
    elif name in environment:
        call.say(environment[name])
    else:
        raise KeyError(name)
    return GOOD


@command
def ps(call: CallContext, name: str | None = None) -> int:
    """Say which processes run: one object for each, those whose name contains `name`."""
    for process in psutil.process_iter(_FIGURES):
        found = process.info
        if name is not None and name not in (found["name"] or ""):
            continue
        call.say(_described(found))
    return GOOD


def _described(found: dict[str, Any]) -> dict[str, Any]:
    times, memory = found["cpu_times"], found["memory_info"]
    return {
        "pid": found["pid"],
        "ppid": found["ppid"],
        "name": found["name"],
        "user": found["username"],
        "status": found["status"],
        "cpu_seconds": None if times is None else round(times.user + times.system, 2),
        "rss": None if memory is None else memory.rss,
        "started": found["create_time"],
        "argv": found["cmdline"] or [],
    }


@command
async def reboot(call: CallContext) -> int:
    """Restart the machine, by the program that --commands-reboot names."""
    return await _power(call, "reboot", call.service.settings.reboot)


@command
async def shutdown(call: CallContext) -> int:
    """Switch the machine off, by the program that --commands-shutdown names."""
    return await _power(call, "shutdown", call.service.settings.shutdown)


@command(inline=True)
def sleep(call: CallContext) -> int:
    """Send the machine to sleep; not offered on this system."""
    call.say("Requesting os to sleep")
    raise NotImplementedError("Sleep not supported at moment for linux")


async def _power(call: CallContext, what: str, line: str) -> int:
    words = line.split()
    if not words:
        raise NotAllowed(f"{what} is switched off by --commands-{what}")
    await call.tell(f"Requesting os to {what}")
    null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    try:
        service = call.service
        child = await service.spawner.spawn(Spec(words, service.environment, call.session.cwd, null, null, null))
    finally:
        os.close(null)
    ended = await asyncio.wait_for(child.exited(), service.settings.kill_grace + 30)
    return GOOD if ended.status == 0 else 1
