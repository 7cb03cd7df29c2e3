"""Runs in an environment with conplyent: writes the parameters of its client's methods and of its server's commands."""

from __future__ import annotations

import inspect
import json
import sys
from typing import Any

import conplyent


def parameters(function: Any, skipped: int) -> list[list[Any]]:
    """Return the names and defaults of a function's parameters after the first ones; [name] alone has no default."""
    found = list(inspect.signature(inspect.unwrap(function)).parameters.values())[skipped:]
    plain = [p for p in found if p.kind is p.POSITIONAL_OR_KEYWORD]
    return [[p.name] if p.default is p.empty else [p.name, p.default] for p in plain]


def main() -> None:
    """Write the document."""
    connection = conplyent.client.add("127.0.0.1", port=1)
    kind = type(connection)
    methods = {name: parameters(function, 1) for name, function in inspect.getmembers(kind, inspect.isfunction)}
    server = conplyent.server
    commands = {
        name: parameters(function, 2 if name == "exec" else 1)
        for name, function in inspect.getmembers(server, inspect.isfunction)
        if next(iter(inspect.signature(inspect.unwrap(function)).parameters), None) == "idx" and name != "update_client"
    }
    json.dump({"methods": {n: p for n, p in methods.items() if n[0] != "_"}, "commands": commands}, sys.stdout)


main()
