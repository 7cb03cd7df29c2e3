"""Programs that run once in the prepared folder of an application, for the feature `commands`."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Protocol

import msgspec

from smartmob.errors import InvalidInput
from smartmob.kernel.http import problems
from smartmob.kernel.observability.log import REQUEST_ID
from smartmob.kernel.subprocesses.child import Child
from smartmob.kernel.subprocesses.control_groups import ControlGroup, ControlGroups
from smartmob.processes import model, protocol
from smartmob.processes.preparation.preparer import PreparationError, Preparer
from smartmob.processes.program_limits import ProgramLimits, enforcement, remark

NODE = "run"
"""The process type of such a program, and the beginning of its node."""


class RequestedSource(Protocol):
    """The fields of a create request that a client of the feature `commands` may give."""

    @property
    def app(self) -> str:
        """Return the name of the application."""

    @property
    def source_url(self) -> str:
        """Return the address of the archive."""

    @property
    def grace(self) -> float | None:
        """Return the seconds between SIGTERM and SIGKILL, or None for those of the settings."""

    @property
    def limits(self) -> Mapping[str, Any]:
        """Return the limits by name."""


class OneOffProgram(msgspec.Struct):
    """A prepared program; `started` and `cause` are called when it has started and when it has ended."""

    argv: list[str]
    env: dict[str, str]
    folder: Path
    grace: float
    group: ControlGroup | None
    limits: ProgramLimits
    child: Child | None = None

    def started(self, child: Child) -> None:
        """Record that the program has started, so that it is measured."""
        self.child = child

    def cause(self) -> str:
        """Return the limit by which the program was ended, or ""."""
        return self.limits.cause()

    def measured(self, sample: model.Sample) -> None:
        """End the program if a sample is above a limit."""
        if self.limits.exceeded(sample) and self.child is not None:
            self.child.kill()


class _OutputForwarder(msgspec.Struct, frozen=True):
    """Passes the output of a preparation on; its progress is not shown."""

    wrote: Callable[[bytes], None]

    def advanced(self, state: str, downloaded: tuple[int, int | None] | None = None) -> None:
        """Do nothing."""


class OneOffPrograms:
    """The programs that are prepared or run now.

    `define` makes the definition of a request with a request id; `sample_seconds` is the time between samples.
    """

    def __init__(
        self,
        preparer: Preparer,
        groups: ControlGroups,
        define: Callable[[protocol.CreateRequest, str], model.Definition],
        sample_seconds: float,
    ) -> None:
        self._preparer = preparer
        self._define = define
        self._groups = groups
        self._sample_seconds = sample_seconds
        self._programs: dict[str, OneOffProgram] = {}
        self.definitions: dict[str, model.Definition] = {}
        """The definitions of all of them, by slug: their sources and folders are in use."""

    @asynccontextmanager
    async def prepared(
        self,
        source: RequestedSource,
        command: str,
        env: Mapping[str, str],
        on_output: Callable[[bytes], None],
    ) -> AsyncIterator[OneOffProgram]:
        """Prepare a program, and release its folder at the end of the block; raises InvalidInput.

        `on_output` is called with the output of the preparation.
        """
        definition = self._define(_request(source, command, env), REQUEST_ID.get() or "")
        self.definitions[definition.slug] = definition
        try:
            try:
                ready = await self._preparer.prepare(definition, _OutputForwarder(on_output))
            except PreparationError as error:
                raise InvalidInput(f"{error.state}: {error}") from None
            limits, enforced = definition.limits, enforcement(definition.limits, self._groups.controllers)
            if unlimited := remark(limits, enforced, self._sample_seconds, self._groups.reason):
                on_output(f"smartmob: {unlimited}\n".encode())
            group = self._groups.create(limits.memory, limits.cpu, limits.tasks)
            held = ProgramLimits(limits, enforced, group)
            try:
                program = OneOffProgram(ready.argv, ready.env, Path(ready.folder), definition.grace, group, held)
                self._programs[definition.slug] = program
                yield program
            finally:
                del self._programs[definition.slug]
                held.close()
        finally:
            del self.definitions[definition.slug]
            await self._preparer.release(definition.slug)

    def pids(self) -> dict[str, int]:
        """Return the process ids of those that run, by slug."""
        return {slug: one.child.pid for slug, one in self._programs.items() if one.child is not None}

    def measured(self, slug: str, sample: model.Sample) -> None:
        """End a program when a sample of it is above a limit."""
        if (program := self._programs.get(slug)) is not None:
            program.measured(sample)


def _request(source: RequestedSource, command: str, env: Mapping[str, str]) -> protocol.CreateRequest:
    """Return the create request of a program; raises InvalidInput for fields that such a request may not have."""
    fields = {
        "app": source.app,
        "node": f"{NODE}.{secrets.token_hex(4)}",
        "process_type": NODE,
        "source_url": source.source_url,
        "env": dict(env),
        "grace": source.grace,
        "restart": model.NEVER,
        "command": command,
        "limits": dict(source.limits),
    }
    try:
        request = msgspec.convert(fields, protocol.CreateRequest)
    except msgspec.ValidationError as error:
        raise problems.invalid(error) from None
    protocol.check(request)
    return request
