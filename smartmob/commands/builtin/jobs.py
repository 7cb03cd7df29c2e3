"""Commands that run programs and control jobs.

Programs parse the messages, so those of commands that conplyent's server has are the same to the letter (seed 003).
"""

from __future__ import annotations

import functools
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import msgspec

from smartmob.commands.call import CallContext, CommandServices
from smartmob.commands.model import BAD_PARAMETER, SUCCESS, Offset, Outcome, ProgramSource, Terminal
from smartmob.commands.prepared_run import PreparedRun, ProgramPreparation
from smartmob.commands.program import Program, ProgramSpec
from smartmob.commands.registry import command, job_command
from smartmob.commands.running_job import Controls
from smartmob.errors import InvalidInput
from smartmob.kernel.subprocesses import signals, variables

_NO_SUCH_JOB = "Job does not exist or has already completed..."
_SHELL = "/bin/sh"

Seconds = Annotated[float, msgspec.Meta(gt=0, le=10_000_000)]


def _check(arguments: Mapping[str, Any]) -> None:
    """Raise InvalidInput for values that cannot be passed to a program: NUL, half characters, invalid names."""
    cmd = arguments["cmd"]
    for word in cmd if isinstance(cmd, list) else [cmd]:
        variables.check_text(word, "cmd", "a command")
    if (folder := arguments.get("cwd")) is not None:
        variables.check_text(folder, "cwd", "a folder")
    if (stdin := arguments.get("stdin")) is not None:
        _encode_input(stdin, "stdin")
    variables.check(arguments.get("env") or {}, "env")
    if arguments.get("apart") and arguments.get("terminal") is not None:
        raise InvalidInput.at("apart", "a terminal shows both streams as one; leave out one of apart and terminal")
    if arguments.get("source") is not None:
        for name in ("cwd", "shell"):
            if arguments.get(name) is not None:
                raise InvalidInput.at(name, "a program with a source runs in its folder, as a line of a Procfile does")


def _encode_input(text: str, parameter: str) -> bytes:
    """Return a text as bytes for a program's input; raises InvalidInput for half a character."""
    try:
        return text.encode(errors="surrogateescape")
    except UnicodeEncodeError:
        raise InvalidInput.at(parameter, "input cannot contain a lone surrogate (half a character)") from None


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
    apart: bool = False,
    source: ProgramSource | None = None,
) -> Outcome:
    """Run a program and send its output; the exit code is the program's, negative for a signal.

    A text is a command line for /bin/sh (with `shell=False` it is split into words and run without a shell); a list is
    a program and its arguments, run without a shell. A relative `cwd` begins at the connection's working directory.
    `env` is added to the service's own environment. After `timeout` seconds the program is asked to end (SIGTERM), and
    killed when it does not. `stdin` is the whole input; without it the input stays open for send_input. With
    `terminal` the program runs on a pseudo-terminal of that size. Standard output and standard error are one stream,
    in the order of writing; with `apart` they are two, and so is the output when it is read. The program runs in a
    session of its own; its descendants end with it. With `source` it runs once in the folder and the environment of an
    application, which are prepared as for a process; `cmd` is then as a line of a Procfile.
    """
    assert call.job is not None
    services = call.services
    given = _encode_input(stdin, "stdin") if stdin is not None else None
    if source is not None:
        prepare = functools.partial(_programs(services).prepared, source, _line(cmd), env or {})
        started = (prepare, services.spawner, services.tasks)
        return await PreparedRun(*started, timeout=timeout, stdin=given, terminal=terminal, apart=apart).run(call.job)
    spec = ProgramSpec(
        argv=_argv(cmd, shell),
        cwd=call.path(cwd) if cwd is not None else Path(call.job.record.cwd),
        env={**services.environment, **(env or {})},
        timeout=timeout,
        grace=services.settings.kill_grace,
        stdin=given,
        terminal=terminal,
        apart=apart,
    )
    return await Program(spec, services.spawner, services.tasks).run(call.job)


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


def _programs(services: CommandServices) -> ProgramPreparation:
    if services.programs is None:
        raise InvalidInput.at("source", "this service prepares no programs")
    return services.programs


def _line(cmd: str | list[str]) -> str:
    """Return a command as a line of a Procfile."""
    return cmd if isinstance(cmd, str) else shlex.join(cmd)


async def _controls(call: CallContext, job_num: int) -> Controls | None:
    """Return the controls of a running job; send a message and return None when there is none."""
    job = call.services.jobs.find(job_num)
    controls = await job.controls() if job is not None else None
    if controls is None:
        call.emit(_NO_SUCH_JOB)
    return controls


@command(inline=True)
def jobs(call: CallContext) -> int:
    """Return the running jobs in one text, one line for each."""
    running = [job.record for job in call.services.jobs if job.outcome is None]
    call.emit("".join(f"Running {job.id}: {job.command_line}\n" for job in running) or "No jobs running.")
    return SUCCESS


@command
async def send_input(call: CallContext, job_num: int, value: str) -> int:
    """Send a text to a job's input. A line end is added if it has none."""
    controls = await _controls(call, job_num)
    if controls is None:
        return BAD_PARAMETER
    text = value if value.endswith("\n") else value + "\n"
    await controls.write(_encode_input(text, "value"))
    call.emit(f"Sent value to job {job_num}")
    return SUCCESS


@command
async def end_input(call: CallContext, job_num: int) -> int:
    """Close a job's input."""
    controls = await _controls(call, job_num)
    if controls is None:
        return BAD_PARAMETER
    controls.end_input()
    call.emit(f"Closed the input of job {job_num}")
    return SUCCESS


@command(inline=True)
def is_alive(call: CallContext, job_num: int) -> int:
    """Return whether a job runs."""
    job = call.services.jobs.find(job_num)
    call.emit(job is not None and job.outcome is None)
    return SUCCESS


@command
async def kill(call: CallContext, job_num: int) -> int | Outcome:
    """Ask a job to end (SIGTERM to its process group), and kill it when it does not within its grace."""
    controls = await _controls(call, job_num)
    if controls is None:
        return BAD_PARAMETER
    controls.kill()
    call.emit(f"Sent kill command to job {job_num}")
    return Outcome(exit_code=None)


@command
async def signal(call: CallContext, job_num: int, number: int | str = "SIGTERM") -> int:
    """Send a signal, given by its number or name, to a job's process group."""
    controls = await _controls(call, job_num)
    if controls is None:
        return BAD_PARAMETER
    try:
        found = signals.parse(number)
    except ValueError:
        raise InvalidInput.at("number", f"{number!r} is not a signal of this machine") from None
    controls.signal(found)
    call.emit(f"Sent {found.name} to job {job_num}")
    return SUCCESS


@command
async def resize(call: CallContext, job_num: int, rows: int, columns: int) -> int:
    """Change the size of a job's terminal."""
    controls = await _controls(call, job_num)
    if controls is None:
        return BAD_PARAMETER
    size = msgspec.convert({"rows": rows, "columns": columns}, Terminal)
    controls.resize(size.rows, size.columns)
    return SUCCESS


@command
async def attach(
    call: CallContext, job_num: int, offset: Offset = 0, hold: bool = False, apart: bool = False
) -> Outcome:
    """Send the output of a running or ended job from a byte offset on, until the job has ended.

    With `hold` the job waits for this client before output is dropped that the client has not received. With `apart`
    standard error is sent as such, if the job tells it apart.
    """
    return await call.follow(job_num, offset, hold=hold, apart=apart)


@command
async def close_server(call: CallContext) -> int:
    """End all jobs, name each of them, and stop the service."""
    running = [job for job in call.services.jobs if job.outcome is None]
    for job in running:
        if (controls := await job.controls()) is not None:
            controls.kill()
    for job in running:
        await call.emit_and_drain(f"Killing job {job.record.id}")
        await job.recorded.wait()
    await call.emit_and_drain("Closing Server")
    call.services.request_close(call.session.client)
    return SUCCESS
