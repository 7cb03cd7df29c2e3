"""A group of commands whose modules are imported when they are used, and which knows what a wrong name meant."""

from __future__ import annotations

import gc
import importlib
from collections.abc import Mapping, Sequence
from types import ModuleType
from typing import Any

import click

from smartmob.cli.suggestions import did_you_mean

_MOST_LISTED = 12  # names in a message


class CommandGroup(click.Group):
    """Commands of this group and `lazy` ones.

    `lazy` maps a section of the help to its commands: by name its location, as "module:attribute", and its
    summary. Each module is imported when its command is asked for, so that `--help`, completion and the other commands
    start quickly.
    """

    def __init__(
        self, *args: Any, lazy: Mapping[str, Mapping[str, tuple[str, str]]] | None = None, **options: Any
    ) -> None:
        super().__init__(*args, **options)
        self.sections = dict(lazy or {})
        self.lazy = {name: entry for commands in self.sections.values() for name, entry in commands.items()}

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*self.lazy, *(name for name in super().list_commands(ctx) if name not in self.lazy)]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self.lazy:
            return super().get_command(ctx, cmd_name)
        module, _, name = self.lazy[cmd_name][0].partition(":")
        command: click.Command = getattr(_imported(module), name)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if self.get_command(ctx, name) is None and not name.startswith("-"):
            known = self.list_commands(ctx)
            ctx.fail(f"there is no command {name}{did_you_mean(name, known, _listed(known))}")
        return super().resolve_command(ctx, args)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        try:
            return super().parse_args(ctx, list(args))
        except click.NoSuchOption as error:
            names = self._command_with(ctx, args, error.option_name)
            if names is None:
                raise
            option, path = error.option_name, ctx.command_path
            ctx.fail(f"{option} belongs after the command: write {path} {' '.join(names)} {option}")

    def _command_with(self, ctx: click.Context, args: Sequence[str], option: str) -> list[str] | None:
        """Return the words of the command in `args` that has an option, or None."""
        words, group = list[str](), self
        for word in args:
            found = None if word.startswith("-") else group.get_command(ctx, word)
            if found is None:
                continue
            words.append(word)
            if isinstance(found, CommandGroup):
                group = found
                continue
            return words if any(option in each.opts for each in found.params) else None
        return None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        own = {
            name: command.get_short_help_str(formatter.width)
            for name, command in self.commands.items()
            if not command.hidden and name not in self.lazy
        }
        sections = {
            title: {name: text for name, (_, text) in commands.items()} for title, commands in self.sections.items()
        }
        if own:
            sections["Commands"] = own | sections.get("Commands", {})
        for title, commands in sections.items():
            with formatter.section(title):
                formatter.write_dl(list(commands.items()))


def _imported(module: str) -> ModuleType:
    """Import a module without collections of garbage meanwhile: imports make no garbage."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        return importlib.import_module(module)
    finally:
        if was_enabled:
            gc.enable()


def _listed(names: Sequence[str]) -> str:
    return f"there are {', '.join(names)}" if len(names) <= _MOST_LISTED else ""
