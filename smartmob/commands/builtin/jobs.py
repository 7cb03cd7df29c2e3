"""Commands that run programs and deal with those that run.

Their messages are those of the stock server, to the letter, since programs read them.
"""

from __future__ import annotations

import shlex
import signal as signals
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import msgspec

from smartmob.commands.call import CallContext
from smartmob.commands.model import BAD_PARAMETER, GOOD, JobId, Offset, Outcome, Terminal
from smartmob.commands.program import Program, ProgramSpec
from smartmob.commands.registry import command, job_command
from smartmob.commands.supervisor import Controls
from smartmob.errors import InvalidInput
from smartmob.kernel.subprocesses import variables

_UNKNOWN = "Job does not exist or has already completed..."
_SHELL = "/bin/sh"

Seconds = Annotated[float, msgspec.Meta(gt=0, le=10_000_000)]


def _check(given: Mapping[str, Any]) -> None:
    """Raise InvalidInput for what no program can be given."""
    cmd = given["cmd"]
    for text in cmd if isinstance(cmd, list) else [cmd]:
        variables.check_text(text, "cmd", "a command")
    if (folder := given.get("cwd")) is not None:
        variables.check_text(folder, "cwd", "a folder")
    if (text := given.get("stdin")) is not None:
        _input(text, "stdin")
    variables.check(given.get("env") or {}, "env")


def _input(text: str, where: str) -> bytes:
    """Return a text as a program reads it; raises InvalidInput for half a character."""
    try:
        return text.encode(errors="surrogateescape")
    except UnicodeEncodeError:
        raise InvalidInput.at(where, "input cannot contain half a character (a lone surrogate)") from None


@job_command(_check)
async def exec(
    call: CallContext,
    cmd: str | list[str],
    *,
    cwd: str | None = None,
    env: dict[str, str] | None = None,
    shell: bool | None = None,
    timeout: Seconds | None = None,
    stdin: str | None = None,
    terminal: Terminal | None = None,
) -> Outcome:
    """Run a program, and say what it writes; the exit code is the program's, negative for a signal.

    A text is a command line for /bin/sh (`shell=False`: it is only split into words as a shell would); a list is a
    program and its arguments, without a shell. `cwd` begins at the connection's working directory. `env` is added to
    the service's own environment. After `timeout` seconds it is asked to end (SIGTERM), and killed when it does not.
    `stdin` is all of its input; without it the input stays open for send_input. With `terminal` it runs on a
    pseudo-terminal of that size. Standard output and standard error are one stream, in the order of writing. The
    program runs in a session of its own; what it leaves behind when it ends is ended, too.
    """
    assert call.job is not None
    service = call.service
    plan = ProgramSpec(
        argv=_argv(cmd, shell),
        cwd=call.path(cwd) if cwd is not None else Path(call.job.record.cwd),
        env={**service.environment, **(env or {})},
        timeout=timeout,
        grace=service.settings.kill_grace,
        given=_input(stdin, "stdin") if stdin is not None else None,
        terminal=terminal,
    )
    return await Program(plan, service.spawner, service.tasks).run(call.job)


def _argv(cmd: str | list[str], shell: bool | None) -> list[str]:
    if isinstance(cmd, list):
        if shell:
            raise InvalidInput.at("shell", "a list of arguments is run without a shell; give a text instead")
        if not cmd:
            raise InvalidInput.at("cmd", "the list of arguments is empty")
        return cmd
    if shell is not False:
        return [_SHELL, "-c", cmd]
    try:
        words = shlex.split(cmd)
    except ValueError as error:
        raise InvalidInput.at("cmd", f"the command line cannot be split: {error}") from None
    if not words:
        raise InvalidInput.at("cmd", "the command line is empty")
    return words


async def _controls(call: CallContext, job_num: int) -> Controls | None:
    """Return what can be done to a running job; say so when there is none."""
    job = call.service.supervisor.find(job_num)
    controls = await job.controls() if job is not None else None
    if controls is None:
        call.say(_UNKNOWN)
    return controls


@command(inline=True)
def jobs(call: CallContext) -> int:
    """Say which jobs run, one line for each, in one text."""
    running = [job.record for job in call.service.supervisor if job.outcome is None]
    call.say("".join(f"Running {job.id}: {job.command_line}\n" for job in running) or "No jobs running.")
    return GOOD


@command
async def send_input(call: CallContext, job_num: JobId, value: str) -> int:
    """Send a text to a job's input; a line end is added where it has none."""
    controls = await _controls(call, job_num)
    if controls is None:
        return BAD_PARAMETER
    text = value if value.endswith("\n") else value + "\n"
    await controls.write(_input(text, "value"))
    call.say(f"Sent value to job {job_num}")
    return GOOD


@command
async def end_input(call: CallContext, job_num: JobId) -> int:
    """Tell a job that no more input comes."""
    controls = await _controls(call, job_num)
    if controls is None:
        return BAD_PARAMETER
    controls.end_input()
    call.say(f"Closed the input of job {job_num}")
    return GOOD


@command(inline=True)
def is_alive(call: CallContext, job_num: int) -> int:
    """Say whether a job runs."""
    job = call.service.supervisor.find(job_num)
    call.say(job is not None and job.outcome is None)
    return GOOD


@command
async def kill(call: CallContext, job_num: JobId) -> int | Outcome:
    """Ask a job to end (SIGTERM to its process group); what is left of it after the grace is killed."""
    controls = await _controls(call, job_num)
    if controls is None:
        return BAD_PARAMETER
    controls.kill()
    call.say(f"Sent kill command to job {job_num}")
    return Outcome(exit_code=None)


@command
async def signal(call: CallContext, job_num: JobId, number: int | str = "SIGTERM") -> int:
    """Send a signal, by its number or its name, to a job's process group."""
    controls = await _controls(call, job_num)
    if controls is None:
        return BAD_PARAMETER
    try:
        name = number if isinstance(number, int) else number.upper()
        found = signals.Signals(name) if isinstance(name, int) else signals.Signals["SIG" + name.removeprefix("SIG")]
    except (ValueError, KeyError):
        raise InvalidInput.at("number", f"{number!r} is no signal of this machine") from None
    controls.signal(found)
    call.say(f"Sent {found.name} to job {job_num}")
    return GOOD


@command
async def resize(call: CallContext, job_num: JobId, rows: int, columns: int) -> int:
    """Change the size of a job's terminal."""
    controls = await _controls(call, job_num)
    if controls is None:
        return BAD_PARAMETER
    size = msgspec.convert({"rows": rows, "columns": columns}, Terminal)
    controls.resize(size.rows, size.columns)
    return GOOD


@command
async def attach(call: CallContext, job_num: JobId, offset: Offset = 0, hold: bool = False) -> Outcome:
    """Send the output of a job from a byte offset on, and go on until it ends; it may have ended long ago.

    With `hold` the job waits for this client before it drops output that the client has not got yet.
    """
    return await call.follow(job_num, offset, hold=hold)


@command
async def close_server(call: CallContext) -> int:
    """End all jobs, say so, and stop the service."""
    running = [job for job in call.service.supervisor if job.outcome is None]
    for job in running:
        if (controls := await job.controls()) is not None:
            controls.kill()
    for job in running:
        await call.tell(f"Killing job {job.record.id}")
        await job.recorded.wait()
    await call.tell("Closing Server")
    call.service.close_server(call.session)
    return GOOD
