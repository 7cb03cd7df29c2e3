"""The built-in commands."""

from __future__ import annotations

from smartmob.commands.builtin import copies, files, jobs, machine
from smartmob.commands.registry import functions_of

COMMANDS = (*functions_of(files), *functions_of(copies), *functions_of(jobs), *functions_of(machine))
