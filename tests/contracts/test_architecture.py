"""The dependencies: directions of imports, sizes, names, and a test module for each module."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from tests.contracts import sources

ROOT = Path(__file__).parent.parent.parent
PACKAGE = ROOT / "smartmob"
MODULES = sorted(path for path in PACKAGE.rglob("*.py") if "demo_suite" not in path.parts)
FEATURES = (
    "alerts",
    "commands",
    "console",
    "experiments",
    "hosts",
    "marks",
    "metrics",
    "nodes",
    "processes",
    "reservations",
    "turrets",
)

LONGEST_MODULE = 500
LONGEST_FUNCTION = 60
MOST_POSITIONAL = 6
MOST_METHODS = 20  # public ones of a service; one with more is split by use

VOCABULARY = {
    *("__init__", "events", "feature", "migrations", "model", "protocol", "routes", "service", "store"),
    "state_machine",
}
"""Names of modules that mean the same in every feature."""

ROLES = {
    # An observer sees the subjects of rules, the evaluator decides, and the deliverer sends what follows.
    "alerts": {
        *(
            "conditions",
            "database_observer",
            "deliverer",
            "evaluator",
            "host_observer",
            "mail_addresses",
            "mailer",
            "observation",
            "observers",
            "payloads",
        ),
        *("outcome_observer", "process_observer", "regression_observer", "rule_lines", "sources", "webhook"),
    },
    "commands": {
        *("builtin", "call", "call_numbers", "call_runner", "connection", "conplyent", "error_serialisation"),
        *(
            "file_tree",
            "hashed_file",
            "job_journal",
            "job_maintenance",
            "job_queries",
            "job_records",
            "output_reader",
            "partial_file",
            "program",
            "registry",
        ),
        *("running_job", "session", "socket_sinks", "spool", "supervisor", "transfers", "tree_entries"),
        *("prepared_run", "stream_index"),
    },
    # It has no tables: pages, the files that they load, and the services of the features that it asks.
    "console": {
        "assets",
        "changes",
        "finder",
        "live",
        "node_timeline",
        "pages",
        "peers",
        "run_texts",
        "services",
        "static",
        "templates",
        "timeline",
        "timeline_spans",
        "usage",
    },
    # Two versions are measured alternately: `sides` are the versions, `cleaner` removes what was made for them. A
    # bisection measures the commits of a history, in the order of the search.
    "experiments": {
        *("bisection", "bisection_report", "commit_history", "git_repository", "commit_search", "commit_environments"),
        *("cleaner", "confidence_sequence", "decision", "experiment", "false_discoveries", "instruction_counts"),
        *("listing", "measured_run", "measuring_machine", "next_run", "sides", "stored_experiment", "submodules"),
    },
    # `links` are the connections of nodes, `pipe` copies the bytes of a stream, `records` is what nodes report.
    "nodes": {
        "call_recorder",
        "limited_requests",
        "links",
        "pipe",
        "proxy",
        "record_intake",
        "record_store",
        "records",
    },
    "hosts": {
        *("addresses", "authenticator", "client_ids", "fields", "maintenance", "queries", "sampler", "session"),
        *("time_series",),
    },
    # `verdict` compares runs and decides which tests became slower; `report_files` reads files of test results.
    "metrics": {
        *("grouping", "report_files", "runs", "sender", "sender_clock", "session_tags", "start_times", "verdict"),
    },
    # `hq` is the headquarters, `turret` the program that runs alone on other machines; `result_files` reads files of
    # other load testing tools, `capacity` searches for a rate, and `conformance` checks
    # turrets.
    "turrets": {
        *("capacity", "conditions", "conformance", "har_script", "host_load", "hq", "load_plan", "names", "outcomes"),
        *("project", "project_archive", "report", "result_files", "scripting", "slices", "turret"),
    },
    # `preparation` leads from the address of a source to the command that starts it.
    "processes": {
        *("dependencies", "health", "leases", "output", "ports", "preparation", "process_changes", "process_journal"),
        *("machine_events", "program_limits", "recorder", "sampler"),
        *("one_off_programs", "spawned_program", "supervisor", "viewer"),
    },
}
"""The modules and folders that only this feature has."""

FORBIDDEN_NAMES = {"utils", "util", "helpers", "common", "base", "manager", "misc"}


def _name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def _functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in sources.definitions(path):
        if not isinstance(node, ast.ClassDef):
            yield node


def test_imports_go_in_the_agreed_directions() -> None:
    """The contracts of setup.cfg hold."""
    result = subprocess.run(
        [Path(sys.executable).parent / "lint-imports", "--no-cache"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout


def test_modules_stay_small() -> None:
    """A module can be read in one sitting, and so can a function; many arguments want to be one value."""
    wrong = []
    for path in MODULES:
        if (lines := len(sources.text(path).splitlines())) > LONGEST_MODULE:
            wrong.append(f"{_name(path)}: {lines} lines")
        for function in _functions(path):
            place = f"{_name(path)}:{function.lineno}: {function.name}"
            if (lines := (function.end_lineno or 0) - function.lineno + 1) > LONGEST_FUNCTION:
                wrong.append(f"{place}: {lines} lines")
            positional = [argument.arg for argument in function.args.args if argument.arg not in ("self", "cls")]
            # Commands of the command line get their options by name.
            if "cli" not in path.parts and len(positional) > MOST_POSITIONAL:
                wrong.append(f"{place}: {len(positional)} positional arguments")
    assert wrong == []


def test_services_are_split_by_use() -> None:
    """A service with many public methods has several purposes: queries, maintenance and intake are services apart."""
    assert {
        f"{_name(path)}: {node.name}": len(methods)
        for path in MODULES
        for node in sources.definitions(path)
        if isinstance(node, ast.ClassDef) and node.name.endswith("Service")
        if len(methods := [each for each in node.body if _is_public_method(each)]) > MOST_METHODS
    } == {}


def _is_public_method(node: ast.stmt) -> bool:
    return isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and not node.name.startswith("_")


def test_modules_say_what_they_are_for() -> None:
    """Each begins with a sentence, except the empty ones that only make a folder a package."""
    assert [_name(path) for path in MODULES if sources.text(path) and not ast.get_docstring(sources.tree(path))] == []


def test_features_keep_to_the_vocabulary() -> None:
    """The same name means the same thing in every feature; a folder of that name is the same thing in parts."""
    for feature in FEATURES:
        modules = {path.stem for path in (PACKAGE / feature).glob("*.py")}
        folders = {path.name for path in (PACKAGE / feature).iterdir() if path.is_dir() and path.name != "__pycache__"}
        assert modules | folders <= VOCABULARY | ROLES.get(feature, set()), feature


def test_no_module_has_a_name_without_meaning() -> None:
    """No module is a drawer for odds and ends."""
    assert [_name(path) for path in MODULES if path.stem in FORBIDDEN_NAMES] == []


def test_no_module_raises_from_a_group_clause() -> None:
    """Before Python 3.11.4 `except*` wraps what it raises in another group: use `except ExceptionGroup`."""
    assert [
        _name(path) for path in MODULES if any(isinstance(n, ast.TryStar) for n in ast.walk(sources.tree(path)))
    ] == []


def test_every_module_has_its_tests() -> None:
    """`a/b.py` is tested by `tests/a/test_b.py`, and a part of `a/routes` by `tests/a/test_routes.py`."""
    missing = []
    for path in MODULES:
        inner = path.relative_to(PACKAGE)
        if not sources.text(path) or path.stem in ("__init__", "__main__", *_TESTED_ELSEWHERE):
            continue
        parts = [inner, inner.parent] if inner.parent.name in VOCABULARY else [inner]
        if not any((ROOT / "tests" / part.parent / f"test_{part.stem}.py").exists() for part in parts):
            missing.append(str(inner))
    assert missing == []


_TESTED_ELSEWHERE = {
    "events": "a feature's events are tested by its service",
    "feature": "a feature is put together by the tests of its routes",
    "services": "the services that the console asks are tested by its pages",
    "sources": "protocols of other features' services are tested by the observers that call them",
    "features": "what holds the services of the features, or starts them, is tested by those that use it",
    "report": "the common form of report files is tested by each reader",
    "process_changes": "the interface of a store is tested by the stores",
    "job_records": "the interface of a store is tested by the stores",
    "row_writer": "the interface of a writer is tested by the writers",
    "machine_events": "inputs and outputs of a state machine are tested by its tests",
}


SHARED_NAMES = VOCABULARY | {
    "__init__",
    "authenticator",  # checks the proof of a client: a token, a client id, a CURVE key
    "conditions",  # the language of conditions: what they are, and how they are evaluated
    "connection",  # one connection of a client to the service, at either end
    "handlers",  # the handlers of routes
    "host_load",  # the load of hosts that a feature asks another one for
    "keys",  # CURVE keys
    "machine_events",  # inputs and outputs of a state machine
    "maintenance",  # retention and clean-up of tables
    "output",  # what a child process writes
    "partitions",  # the partitions of tables
    "queries",  # the service of a feature that reads
    "reader",  # the part of a store that reads
    "sampler",  # measures at a fixed rate
    "session",  # one conversation with a peer, from its beginning to its end
    "sockets",  # the ZeroMQ sockets of one side
    "supervisor",  # starts programs and watches them
    "table",  # the route table of a feature
    "writer",  # the part that writes
}
"""Names of modules that may occur in several folders, because they mean the same in each."""


def test_a_module_name_has_one_meaning() -> None:
    """A name that occurs in several folders is listed with its meaning; all other names occur once."""
    names = [path.stem for path in MODULES]
    assert sorted({name for name in names if names.count(name) > 1} - SHARED_NAMES) == []


def test_the_composition_root_stays_short() -> None:
    """It can be read from top to bottom."""
    assert len((PACKAGE / "app.py").read_text(encoding="utf-8").splitlines()) <= 200
