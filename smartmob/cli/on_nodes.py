"""The options --on, --parallel and --fail-fast: a command that runs for one machine or, at once, for several."""

from __future__ import annotations

import asyncio
import errno
import signal
import sys
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Sequence
from contextlib import AsyncExitStack, nullcontext
from contextvars import ContextVar
from functools import partial, wraps
from pathlib import Path
from typing import Any, TypeVar

import click
import msgspec

from smartmob.cli import printing
from smartmob.cli.main import FAILED, GOOD, exit_code_of
from smartmob.cli.node_output import SINK, KeptOutput, LiveOutput, PrefixedOutput, routed
from smartmob.cli.node_selection import SelectedMachine, Selection, parse, select
from smartmob.cli.server_options import remote_reason
from smartmob.client.http import RestClient
from smartmob.errors import NotFound, RemoteError, SmartmobError

PARALLEL = 16
"""Machines on which a command runs at the same time, unless --parallel says otherwise."""
BATCH = 10
"""Machines of a batch of a deployment, unless --batch says otherwise."""
_MOST_PARALLEL = 10_000  # machines
_CLOSED_CODE = 141  # 128 + SIGPIPE, as shells report it (POSIX.1-2017, XCU 2.8.2)
_NOT_BEGUN = "not begun"

T = TypeVar("T")
Command = Callable[..., Awaitable[Any]]


class MachineOutcome(msgspec.Struct):
    """The end of a command on a machine: its exit code, or the reason why there is none."""

    name: str
    code: int | None = None
    reason: str = ""
    document: Any = None

    @property
    def good(self) -> bool:
        """Return whether the command ended with 0."""
        return self.code == GOOD and not self.reason

    def __str__(self) -> str:
        if self.good:
            return "ok"
        return "not started" if self.reason == _NOT_BEGUN else self.reason or f"exit code {self.code}"


class Shared:
    """Values that a command makes once for all machines."""

    def __init__(self) -> None:
        self.stack = AsyncExitStack()
        self._made: dict[str, asyncio.Task[Any]] = {}

    async def once(self, key: str, make: Callable[[AsyncExitStack], Coroutine[Any, Any, T]]) -> T:
        """Return the value of `make`, which is called for the first machine that asks; what it opens is closed last."""
        if key not in self._made:
            self._made[key] = asyncio.get_running_loop().create_task(make(self.stack))
        value: T = await asyncio.shield(self._made[key])
        return value

    async def close(self) -> None:
        """Close the opened resources."""
        await asyncio.gather(*self._made.values(), return_exceptions=True)
        await self.stack.aclose()


SHARED: ContextVar[Shared | None] = ContextVar("shared", default=None)
"""The state that the runs of one command on several machines share; None when it runs on one."""


class _Plan(msgspec.Struct):
    """The options of a command on several machines. `batch` is None if all machines are one batch."""

    parallel: int
    fail_fast: bool
    live: bool
    as_json: bool
    batch: int | None = None
    max_failures: int = 0
    outcomes: dict[str, MachineOutcome] = msgspec.field(default_factory=dict)
    select_again: Callable[[], Awaitable[Selection]] | None = None
    """Selects anew before each further batch: a node may have been drained meanwhile, or have lost the label."""
    left_out: list[str] = msgspec.field(default_factory=list)
    """The machines that were selected at first, but no longer when their batch began."""

    async def still_selected(self, batch: Sequence[SelectedMachine]) -> list[SelectedMachine]:
        """Return the machines of a batch that are still selected; the others are left out."""
        if self.select_again is None:
            return list(batch)
        try:
            names = {machine.name for machine in (await self.select_again()).machines}
        except NotFound:
            names = set()  # no node with the selected labels is left
        except RemoteError:
            return list(batch)  # the service is unreachable: the machines report it one by one
        self.left_out += [machine.name for machine in batch if machine.name not in names]
        return [machine for machine in batch if machine.name in names]


def with_nodes(
    *, live: str | bool = False, alone: str = "", starts_programs: bool = False, direct: Command | None = None
) -> Callable[[Command], Command]:
    """Add the options --on, --parallel and --fail-fast to an async command that takes server, token and authorities.

    `live` is True, or the name of the option with which output is shown as it arrives, each line with its machine.
    `alone` is the name of an option that needs one machine. With `starts_programs` the command starts programs:
    drained nodes are left out, and it goes in batches. `direct` runs for addresses of services that are no nodes.
    """

    def decorate(command: Command) -> Command:
        @_with_options(starts_programs=starts_programs)
        @wraps(command)
        async def run(
            server: str, token: str | None, ca_file: Path | None, *args: Any,
            on: tuple[str, ...], parallel: int, fail_fast: bool, **kwargs: Any,
        ) -> Any:  # fmt: skip
            batch = kwargs.pop("batch", None)
            plan = _Plan(
                parallel, fail_fast, live is True or bool(live and kwargs.get(live)), bool(kwargs.get("as_json"))
            )
            plan.max_failures = kwargs.pop("max_failures", 0)
            if not on:
                return await command(server, token, ca_file, *args, **kwargs)
            if alone and kwargs.get(alone) and any(len(parse(text).names) != 1 for text in on):
                raise click.UsageError(f"--{_option_of(alone)} needs one machine")
            async with RestClient(server, token, ca_file) as rest:
                selection = await select(rest, on, starts_programs=starts_programs)
            if direct is not None and not any(machine.is_node for machine in selection.machines):
                return await direct(
                    tuple(machine.url for machine in selection.machines), token, ca_file, *args, **kwargs
                )
            if selection.single:
                if selection.machines[0].problem:
                    raise RemoteError(f"the node {selection.machines[0].name} is {selection.machines[0].problem}")
                return await command(selection.machines[0].url, token, ca_file, *args, **kwargs)
            if starts_programs:
                plan.batch = batch or BATCH
                if not any(parse(text).names for text in on):
                    plan.select_again = partial(_selected, server, token, ca_file, on)
            return await _on_many(
                selection, plan, lambda machine: command(machine.url, token, ca_file, *args, **kwargs)
            )

        return run

    return decorate


async def _selected(server: str, token: str | None, ca_file: Path | None, on: tuple[str, ...]) -> Selection:
    async with RestClient(server, token, ca_file) as rest:
        return await select(rest, on, starts_programs=True)


def _option_of(name: str) -> str:
    return {"terminal": "tty"}.get(name, name)


def _with_options(*, starts_programs: bool) -> Callable[[Command], Command]:
    options = [
        click.option(
            "--on", metavar="MACHINES", multiple=True,
            help="Machines to run on: NAME,... or label=KEY[=VALUE],... or all; repeatable.",
        ),
        click.option(
            "--parallel", type=click.IntRange(1, _MOST_PARALLEL), metavar="N", default=PARALLEL, show_default=True,
            help="With --on: machines at the same time.",
        ),
        click.option("--fail-fast", is_flag=True, help="With --on: stop on all machines when one fails."),
    ]  # fmt: skip
    if starts_programs:
        options += [
            click.option(
                "--batch", type=click.IntRange(1, _MOST_PARALLEL), metavar="N",
                help=f"With --on: machines in a batch; a batch ends before the next begins.  [default: {BATCH}]",
            ),
            click.option(
                "--max-failures", type=click.IntRange(0, _MOST_PARALLEL), metavar="N", default=0, show_default=True,
                help="With --on: start no further batch after more than this number of failures.",
            ),
        ]  # fmt: skip

    def decorate(command: Command) -> Command:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


async def _on_many(selection: Selection, plan: _Plan, call: Callable[[SelectedMachine], Awaitable[Any]]) -> int:
    """Run a command for several machines, show its output and a line for each machine, and return the exit code."""
    shared = Shared()
    SHARED.set(shared)
    loop, own, left = asyncio.get_running_loop(), asyncio.current_task(), list[int]()

    def leave(code: int) -> None:
        left.append(code)
        if own is not None:
            own.cancel()

    for number in (signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, leave, 128 + number)
    with routed():
        prefixed = PrefixedOutput([machine.name for machine in selection.machines], as_json=plan.as_json)
        try:
            await _run_batches(selection, plan, call, prefixed)
        except BrokenPipeError:
            sys.stdout = None  # what is buffered cannot be written
            return _CLOSED_CODE
        except asyncio.CancelledError:
            if left:
                return left[0]
            if not all(outcome.good for outcome in plan.outcomes.values()):
                _summarise(selection, plan)
                raise
        finally:
            await shared.close()
    if plan.as_json and not plan.live:
        printing.print_json({name: _as_document(outcome) for name, outcome in _in_order(selection, plan)})
    _summarise(selection, plan)
    return GOOD if all(outcome.good for _, outcome in _in_order(selection, plan)) else FAILED


def _in_order(selection: Selection, plan: _Plan) -> list[tuple[str, MachineOutcome]]:
    """Return the outcomes of the machines that were not left out, in the order of their selection."""
    left = set(plan.left_out)
    return [(each.name, plan.outcomes[each.name]) for each in selection.machines if each.name not in left]


async def _run_batches(
    selection: Selection, plan: _Plan, call: Callable[[SelectedMachine], Awaitable[Any]], prefixed: PrefixedOutput
) -> None:
    machines = selection.machines
    size = plan.batch or len(machines)
    batches = [machines[first : first + size] for first in range(0, len(machines), size)]
    shown = _Shown(plan, prefixed, [machine.name for machine in machines])
    bar = nullcontext(None) if plan.live else printing.progress()
    with bar as progress:
        task = None if progress is None else progress.add_task("Machines", total=len(machines))
        try:
            for number, planned in enumerate(batches):
                batch: Sequence[SelectedMachine] = planned
                failed = sum(not outcome.good for outcome in plan.outcomes.values())
                if plan.batch is not None and failed > plan.max_failures:
                    return
                if number and plan.batch is not None:
                    if not (batch := await plan.still_selected(planned)):
                        continue
                    printing.say(f"Batch {number + 1} of {len(batches)}: {', '.join(each.name for each in batch)}")
                async for outcome in _run(batch, plan, call, shown):
                    plan.outcomes[outcome.name] = outcome
                    shown.ended(outcome)
                    if progress is not None and task is not None:
                        progress.advance(task)
                if plan.fail_fast and not all(outcome.good for outcome in plan.outcomes.values()):
                    return
        finally:
            for machine in machines:
                plan.outcomes.setdefault(machine.name, MachineOutcome(machine.name, reason=_NOT_BEGUN))
            shown.flush()


async def _run(
    machines: Iterable[SelectedMachine], plan: _Plan, call: Callable[[SelectedMachine], Awaitable[Any]], shown: _Shown
) -> Any:
    """Yield the outcomes on machines as they arrive. All commands have ended when this ends, also by cancellation."""
    slots = asyncio.Semaphore(plan.parallel)
    begun: set[str] = set()
    stopped = False

    async def one(machine: SelectedMachine) -> MachineOutcome:
        nonlocal stopped
        async with slots:
            if stopped:
                return MachineOutcome(machine.name, reason=_NOT_BEGUN)
            begun.add(machine.name)
            outcome = MachineOutcome(machine.name, reason=machine.problem)
            if not machine.problem:
                SINK.set(shown.sink(machine.name))
                outcome = await _outcome(machine.name, call(machine))
            if plan.fail_fast and not outcome.good:
                stopped = True
            return outcome

    loop = asyncio.get_running_loop()
    tasks = {loop.create_task(one(machine)): machine.name for machine in machines}
    try:
        left = set(tasks)
        while left:
            done, left = await asyncio.wait(left, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                yield task.result()
            if stopped:
                return
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for task, name in tasks.items():
            if name in plan.outcomes or name not in begun:
                continue
            ended = None if task.cancelled() or task.exception() is not None else task.result()
            plan.outcomes[name] = ended or MachineOutcome(name, reason="interrupted")


async def _outcome(name: str, running: Awaitable[Any]) -> MachineOutcome:
    """Return the outcome of a command; raises what is wrong on this machine, such as a wrong option."""
    try:
        result = await running
    except SmartmobError as error:
        return MachineOutcome(name, exit_code_of(error), str(error))
    except click.ClickException:
        raise
    except Exception as error:
        if isinstance(error, OSError) and (isinstance(error, BrokenPipeError) or error.errno == errno.EBADF):
            raise
        reason = remote_reason(error)
        if reason is None:
            raise
        return MachineOutcome(name, FAILED, reason)
    return MachineOutcome(name, result if isinstance(result, int) else GOOD)


class _Shown:
    """The output of all machines: live, or of each machine at once, in the order of the selection."""

    def __init__(self, plan: _Plan, prefixed: PrefixedOutput, names: Sequence[str]) -> None:
        self._plan = plan
        self._prefixed = prefixed
        self._waiting = list(names)
        self._kept: dict[str, KeptOutput] = {}
        self._ended: set[str] = set()

    def sink(self, name: str) -> KeptOutput | LiveOutput:
        """Return the output of a machine."""
        if self._plan.live:
            return LiveOutput(name, self._prefixed)
        return self._kept.setdefault(name, KeptOutput(name, self._prefixed))

    def ended(self, outcome: MachineOutcome) -> None:
        """Show what can be shown after the end of the command on a machine."""
        if self._plan.live:
            self._prefixed.end(outcome.name)
            return
        self._ended.add(outcome.name)
        while self._waiting and self._waiting[0] in self._ended:
            self._show(self._waiting.pop(0))

    def flush(self) -> None:
        """Show the remaining output, even of machines where the command has not ended."""
        for name in self._waiting:
            if self._plan.live:
                self._prefixed.end(name)
            else:
                self._show(name)
        self._waiting.clear()

    def _show(self, name: str) -> None:
        kept = self._kept.pop(name, None)
        if kept is None:
            return
        try:
            if self._plan.as_json:
                self._plan.outcomes[name].document = kept.document()
            elif len(kept):
                self._print(kept)
        finally:
            kept.close()

    def _print(self, kept: KeptOutput) -> None:
        from smartmob.cli.table_layout import StyledText

        title = f"{printing.plain(kept.name).plain}:"
        sys.stdout.write((StyledText(title, "bold").ansi() if printing.has_colours() else title) + "\n")
        sys.stdout.flush()  # the bytes below bypass its buffer
        last = b""
        for piece in kept.pieces():
            sys.stdout.buffer.write(piece)
            last = piece
        sys.stdout.buffer.write(b"" if last.endswith(b"\n") else b"\n")
        sys.stdout.flush()


def _as_document(outcome: MachineOutcome) -> dict[str, Any]:
    return {
        "ok": outcome.good,
        "code": outcome.code,
        "error": outcome.reason or None,
        "result": outcome.document,
    }


def _summarise(selection: Selection, plan: _Plan) -> None:
    """Print a line for each machine, and a total."""
    outcomes = [outcome for _, outcome in _in_order(selection, plan)]
    width = max(len(outcome.name) for outcome in outcomes)
    for outcome in outcomes:
        printing.say(f"{outcome.name:<{width}}  {' '.join(str(outcome).split())}")
    for name in selection.left_out:
        printing.say(f"{name:<{width}}  left out: drained")
    for name in plan.left_out:
        printing.say(f"{name:<{width}}  left out: drained, relabelled or removed meanwhile")
    good = sum(outcome.good for outcome in outcomes)
    not_begun = sum(outcome.reason == _NOT_BEGUN for outcome in outcomes)
    parts = [f"{good} ok", f"{len(outcomes) - good - not_begun} failed"]
    parts += [f"{not_begun} not started"] if not_begun else []
    parts += [f"{len(selection.left_out)} drained"] if selection.left_out else []
    parts += [f"{len(plan.left_out)} left out"] if plan.left_out else []
    count = len(outcomes) + len(selection.left_out) + len(plan.left_out)
    printing.say(f"{count} machine{'s' if count != 1 else ''}: {', '.join(parts)}")
