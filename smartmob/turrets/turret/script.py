"""Test scripts: loading the module and creating the transaction of each cannon."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import sys
import types
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from smartmob.errors import SmartmobError
from smartmob.turrets import scripting
from smartmob.turrets.turret.failure import describe

_OCT = "oct_turrets"


class ScriptError(SmartmobError):
    """The test script cannot be used."""


class Script:
    """A loaded script. `asynchronous`: its transactions run as coroutines."""

    def __init__(self, transaction: Callable[..., Any]) -> None:
        run = getattr(transaction, "run", None)
        if not callable(run):
            raise ScriptError("the class Transaction of the script has no method run")
        self.asynchronous = inspect.iscoroutinefunction(run)
        self._missing = [name for name in ("setup", "tear_down") if not callable(getattr(transaction, name, None))]
        self._transaction = transaction
        self._arguments = _arguments(transaction)
        # The timer of OCT's own package does not record whether its part failed.
        self.reports_failed_timers = getattr(sys.modules.get(f"{_OCT}.tools"), "CustomTimer", None) in (
            scripting.CustomTimer,
            None,
        )

    def transaction(self, config: Mapping[str, Any], context: Mapping[str, Any]) -> Any:
        """Return a new transaction for one cannon; raises any exception of the script."""
        made = self._transaction(*(config, context)[: self._arguments])
        made.custom_timers, made.failed_timers = {}, {}
        for name in self._missing:
            setattr(made, name, _nothing)
        return made


def load(path: Path, folders: tuple[Path, ...] = ()) -> Script:
    """Load the script at `path`, which can import modules beside it and in `folders`. Raises ScriptError."""
    provide_oct()
    if not path.is_file():
        raise ScriptError(f"the script {path} does not exist")
    for folder in (path.parent, *folders):
        if str(folder) not in sys.path:
            sys.path.append(str(folder))
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise ScriptError(f"{path} is not a Python module")
    module = importlib.util.module_from_spec(spec)
    # As an import does: pickle and dataclasses look up the module of a class by its name.
    sys.modules[path.stem] = module
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        sys.modules.pop(path.stem, None)
        raise ScriptError(f"{path.name} cannot be loaded: {describe(error)}") from error
    transaction = getattr(module, "Transaction", None)
    if not callable(transaction):
        raise ScriptError(f"{path.name} has no class Transaction")
    return Script(transaction)


def _nothing() -> None:
    """Do nothing: stands in for a step that the class Transaction does not define."""


def provide_oct() -> None:
    """Provide `oct_turrets.base` and `oct_turrets.tools`, unless the original package can be imported."""
    try:
        importlib.import_module(f"{_OCT}.base")
        importlib.import_module(f"{_OCT}.tools")
    except ImportError:
        package, base, tools = (types.ModuleType(name) for name in (_OCT, f"{_OCT}.base", f"{_OCT}.tools"))
        package.__path__ = []
        vars(base)["BaseTransaction"] = scripting.BaseTransaction
        vars(tools)["CustomTimer"] = scripting.CustomTimer
        vars(package).update(base=base, tools=tools)
        sys.modules.update({module.__name__: module for module in (package, base, tools)})


def _arguments(transaction: Callable[..., Any]) -> int:
    """Return how many of the arguments config and context the class accepts: scripts for early OCT accept fewer."""
    try:
        signature = inspect.signature(transaction)
    except (TypeError, ValueError):
        return 2
    for count in (2, 1, 0):
        try:
            signature.bind(*range(count))
        except TypeError:
            continue
        return count
    return 2
