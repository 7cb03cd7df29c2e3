"""Commands about the machine on which the service runs."""

from __future__ import annotations

import asyncio
import os
import pwd
import sys
from typing import Any

import psutil

from smartmob.commands.call import CallContext
from smartmob.commands.model import ERROR, SUCCESS
from smartmob.commands.registry import command
from smartmob.errors import NotAllowed
from smartmob.kernel.runtime import clock
from smartmob.kernel.subprocesses.child import Spec

_PROCESS_FIELDS = ("pid", "ppid", "name", "username", "status", "cpu_times", "memory_info", "create_time", "cmdline")
_POWER_PROGRAM_SECONDS = 30.0
"""Seconds beyond the grace of programs that the program for a restart or shutdown may take."""


@command(inline=True)
def os_info(call: CallContext) -> int:
    """Return the name of the operating system: linux or mac."""
    call.emit("mac" if sys.platform == "darwin" else "linux")
    return SUCCESS


@command(inline=True)
def get_time(call: CallContext) -> int:
    """Return the time of this machine, in its own time zone."""
    call.emit(clock.local(clock.now()).replace(tzinfo=None))
    return SUCCESS


@command(inline=True)
def user_name(call: CallContext) -> int:
    """Return the name of the user that runs commands."""
    try:
        call.emit(pwd.getpwuid(os.geteuid()).pw_name)
    except KeyError:
        call.emit(str(os.geteuid()))
    return SUCCESS


@command(inline=True)
def env(call: CallContext, name: str | None = None) -> int:
    """Return the environment of programs as an object, or the value of one variable."""
    environment = call.services.environment
    if name is None:
        call.emit(dict(environment))
    elif name in environment:
        call.emit(environment[name])
    else:
        raise KeyError(name)
    return SUCCESS


@command
def ps(call: CallContext, name: str | None = None) -> int:
    """Return the processes of the machine, one object for each; with `name`, those whose name contains it."""
    for process in psutil.process_iter(_PROCESS_FIELDS):
        fields = process.info
        if name is not None and name not in (fields["name"] or ""):
            continue
        call.emit(_description(fields))
    return SUCCESS


def _description(fields: dict[str, Any]) -> dict[str, Any]:
    times, memory = fields["cpu_times"], fields["memory_info"]
    return {
        "pid": fields["pid"],
        "ppid": fields["ppid"],
        "name": fields["name"],
        "user": fields["username"],
        "status": fields["status"],
        "cpu_seconds": None if times is None else round(times.user + times.system, 2),
        "rss": None if memory is None else memory.rss,
        "started": fields["create_time"],
        "argv": fields["cmdline"] or [],
    }


@command
async def reboot(call: CallContext) -> int:
    """Restart the machine with the program that --commands-reboot names."""
    return await _run_power_program(call, "reboot", call.services.settings.reboot)


@command
async def shutdown(call: CallContext) -> int:
    """Switch the machine off with the program that --commands-shutdown names."""
    return await _run_power_program(call, "shutdown", call.services.settings.shutdown)


@command(inline=True)
def sleep(call: CallContext) -> int:
    """Send the machine to sleep; not supported on this system."""
    call.emit("Requesting os to sleep")
    raise NotImplementedError("Sleep not supported at moment for linux")


async def _run_power_program(call: CallContext, action: str, command_line: str) -> int:
    words = command_line.split()
    if not words:
        raise NotAllowed(f"{action} is switched off by --commands-{action}")
    await call.emit_and_drain(f"Requesting os to {action}")
    null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    try:
        services = call.services
        child = await services.spawner.spawn(Spec(words, services.environment, call.session.cwd, null, null, null))
    finally:
        os.close(null)
    ended = await asyncio.wait_for(child.exited(), services.settings.kill_grace + _POWER_PROGRAM_SECONDS)
    return SUCCESS if ended.status == 0 else ERROR
