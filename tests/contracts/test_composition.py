"""The composition: parts get each other by typed constructors, and nothing is set into an object afterwards."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from smartmob.app import build
from smartmob.settings import Settings
from tests.contracts import sources

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "smartmob"
SOURCES = sorted(path for path in PACKAGE.rglob("*.py") if "demo_suite" not in path.parts)

COMPOSITION = sorted(
    [
        *(PACKAGE / name for name in ("app.py", "node_app.py", "worker_app.py", "node_membership.py")),
        *(PACKAGE / name for name in ("service_activity.py", "stored_features.py", "kernel/features.py")),
        *PACKAGE.rglob("feature.py"),
    ]
)
"""The modules that build the parts of a service, of a node and of a worker."""

EXPLAINED = {
    "Listener.call": "a call on a connection needs its listener, and the listener shows the number of the call",
    "Listener.max_interval": "`run` sets it again to what is left of its time",
    "Submission.commit_key": "the commit of a store names what it has written, so that it can be found after a failure",
    "Pipe.sibling": "each of the two pipes of a program knows the other one",
    "BaseTransaction.failed_timers": "scripts of users make transactions, and their constructors need not call ours",
}
"""Attributes that another module sets, with the reason for which no constructor gets the value."""


class _Attributes:
    """The attributes of the classes of the package by their names.

    `plain` are those of classes with a behaviour: they belong to their object. Those of dataclasses and Structs, which
    only hold data, may be set by others.
    """

    def __init__(self) -> None:
        self.plain: dict[str, list[tuple[str, Path]]] = defaultdict(list)
        self.data: set[str] = set()
        for path in SOURCES:
            for node in sources.definitions(path):
                if isinstance(node, ast.ClassDef):
                    self._add(node, path)

    def _add(self, node: ast.ClassDef, path: Path) -> None:
        holds_data = any("dataclass" in ast.dump(each) for each in node.decorator_list) or any(
            word in ast.dump(base) for base in node.bases for word in ("Struct", "NamedTuple")
        )
        declared = (each.target for each in node.body if isinstance(each, ast.AnnAssign))
        fields = {target.id for target in declared if isinstance(target, ast.Name)}
        own = {each.attr for each, _ in _assigned(node) if _is_self(each.value)}
        if holds_data:
            self.data |= fields | own
        else:
            for name in fields | own:
                self.plain[name].append((node.name, path))


def _is_self(node: ast.expr) -> bool:
    return isinstance(node, ast.Name) and node.id in ("self", "cls")


def _assignments(path: Path) -> Iterator[tuple[int, str, ast.expr]]:
    """Yield line, attribute and value of the assignments to attributes of other objects than `self`."""
    for target, value in _assigned(sources.tree(path)):
        if not _is_self(target.value):
            yield target.lineno, target.attr, value


def _assigned(part: ast.AST) -> Iterator[tuple[ast.Attribute, ast.expr]]:
    """Yield the attributes that are assigned to in a part of a source file, with the values."""
    for node in sources.within(part):
        if not isinstance(node, ast.Assign | ast.AnnAssign) or node.value is None:
            continue
        for target in node.targets if isinstance(node, ast.Assign) else (node.target,):
            for each in ast.walk(target):
                if isinstance(each, ast.Attribute) and isinstance(each.ctx, ast.Store):
                    yield each, node.value


def test_parts_are_given_by_constructors() -> None:
    """No object gets a callback, or a value other than a constant, from another module after it was made.

    Where two parts need each other, one of them subscribes by a typed method or on the event bus.
    """
    known, wrong, met = _Attributes(), [], set()
    for path in SOURCES:
        for line, name, value in _assignments(path):
            owners = known.plain.get(name, [])
            is_callback = isinstance(value, ast.Lambda) and bool(owners) and name not in known.data
            foreign = owners and name not in known.data and all(where != path for _, where in owners)
            if not is_callback and (not foreign or isinstance(value, ast.Constant)):
                continue
            explained = {f"{owner}.{name}" for owner, _ in owners} & EXPLAINED.keys()
            met |= explained
            if not explained:
                wrong.append(f"{path.relative_to(ROOT)}:{line}: {name} of {owners}")
    assert wrong == []
    assert met == EXPLAINED.keys()


def test_compositions_set_no_attributes() -> None:
    """The modules that build the parts only call functions and constructors, so they can be read from top to bottom."""
    assert [
        f"{path.relative_to(ROOT)}:{line}: {name}"
        for path in COMPOSITION
        for line, name, _ in _assignments(path)
        # The state of the readiness check, at the end of the service.
        if (path.name, name) != ("app.py", "stopping")
    ] == []


OWN_WORDS = {"access": "tokens", "processes": "process"}
"""Features whose background tasks begin with another word: it is a part of their metrics and of the log."""


def test_features_follow_one_grammar() -> None:
    """Background tasks are methods `run` or `run_*`, named FEATURE-what; a feature is started, stopped and closed.

    A function of `feature` does it where several parts are started.
    """
    wrong = []
    for feature in build(Settings(data_dir=Path("nowhere"))).features:
        name = feature.table.feature
        for task, work in feature.background_tasks.items():
            if not task.startswith(f"{OWN_WORDS.get(name, name)}-") or not re.match(r"run(_|$)", work.__name__):
                wrong.append(f"{name}: task {task} is {work.__qualname__}")
        verbs = {"start": ("start", "load"), "stop": ("stop",), "close": ("close",)}
        for step, allowed in verbs.items():
            function = getattr(feature, step)
            if function is not None and function.__name__ not in allowed:
                wrong.append(f"{name}: {step} is {function.__qualname__}")
    assert wrong == []


def test_compositions_are_typed() -> None:
    """No parameter, result or field of a composition is `object`, `Any` or a mapping of these.

    The result of a callback may be `object`: it is not used. JSON documents are `dict[str, Any]`.
    """
    wrong = []
    for path in COMPOSITION:
        for node in ast.walk(sources.tree(path)):
            found = [node.annotation] if isinstance(node, ast.arg | ast.AnnAssign) and node.annotation else []
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.returns is not None:
                found.append(node.returns)
            wrong += [
                f"{path.relative_to(ROOT)}:{each.lineno}: {ast.unparse(each)}" for each in found if _is_open(each)
            ]
    assert wrong == []


def _is_open(annotation: ast.expr) -> bool:
    """Return whether an annotation leaves open what it takes."""
    text = ast.unparse(annotation)
    for closed in ("dict[str, Any]", "Coroutine[Any, Any, None]", "RowWriter[Any]", ", object]", "Awaitable[object]"):
        text = text.replace(closed, "")
    return re.search(r"\b(object|Any)\b", text) is not None
