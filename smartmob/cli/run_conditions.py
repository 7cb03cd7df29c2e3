"""The conditions of a run for `smartmob fire`: read from the project, added to its package, shown, written as JUnit."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import msgspec
import orjson

from smartmob.cli import output_files, printing
from smartmob.cli.project_package import with_config
from smartmob.errors import SettingsError
from smartmob.turrets.conditions import KEY, OPTION, PlannedCondition, planned, results_of
from smartmob.turrets.model import ConditionConfig
from smartmob.turrets.project_archive import CONFIG, find_config

_SOURCE = f"{CONFIG}: {KEY}"
_STATE_WORDS = {"passed": "ok", "failed": "FAILED", "open": "open"}


class _Config(msgspec.Struct):
    """The part of a configuration that has the conditions."""

    run_time: float = math.inf
    fail_if: list[ConditionConfig | str] = []


class RunConditions(msgspec.Struct, frozen=True):
    """The conditions of a run: those of its project and those `added` by the command line."""

    of_project: Sequence[PlannedCondition]
    added: Sequence[PlannedCondition]

    @property
    def all(self) -> list[PlannedCondition]:
        """Return all conditions, those of the project first."""
        return [*self.of_project, *self.added]

    def packed(self, package: bytes) -> bytes:
        """Return the package of a project with the added conditions in its configuration."""
        if not self.added:
            return package
        config = orjson.loads(find_config(package))
        config[KEY] = [*config.get(KEY, ()), *(each.threshold.text for each in self.added)]
        return with_config(package, config)

    def shown(self, summary: dict[str, Any]) -> list[dict[str, Any]]:
        """Return the results of the conditions, which are added to the summary of a server that sends none."""
        if not summary.get("conditions"):
            summary["conditions"] = msgspec.to_builtins(results_of(self.all, summary, summary["reason"]))
        found: list[dict[str, Any]] = summary["conditions"]
        return found

    def violations(self, summary: Mapping[str, Any]) -> list[str]:
        """Return in one line each how a summary meets the conditions."""
        return [text for each in self.all if (text := each.threshold.violation(summary)) is not None]


def read(package: bytes, given: Sequence[str]) -> RunConditions:
    """Return the conditions of a package and those given on the command line.

    Raises SettingsError that names the wrong one. A configuration that cannot be read has none: the server refuses it.
    """
    added = planned(given, OPTION)
    config = find_config(package)
    try:
        found = msgspec.json.decode(config, type=_Config)
    except msgspec.ValidationError as error:
        if f"$.{KEY}" in str(error):
            raise SettingsError(f"{CONFIG}: {error}; write texts, or objects with condition, abort and abort_after") \
                from None  # fmt: skip
        return RunConditions([], added)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return RunConditions([], added)
    if found.fail_if and _is_given_twice(config):
        raise SettingsError(f"{_SOURCE} is there twice, and the last one would count: put all conditions into one list")
    own = planned(found.fail_if, _SOURCE, run_time=found.run_time)
    known = {(each.threshold.text, each.abort) for each in own}
    return RunConditions(own, [each for each in added if (each.threshold.text, False) not in known])


def _is_given_twice(config: bytes) -> bool:
    """Return whether a configuration has the key of conditions twice, of which JSON readers keep the last."""
    twice: list[bool] = []

    def note(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        twice.append([key for key, _ in pairs].count(KEY) > 1)
        return dict(pairs)

    json.loads(config, object_pairs_hook=note)
    return twice[-1]


def print_results(results: Sequence[Mapping[str, Any]]) -> None:
    """Print how a run compares with its conditions."""
    if not results:
        return
    rows = (
        (_STATE_WORDS.get(row["state"], row["state"]), row["condition"], row["text"], f"{row['samples']:,}")
        for row in results
    )
    printing.print_table("Conditions", ("", "Fails if", "Measured", ">Values"), rows)


def junit(summary: Mapping[str, Any]) -> str:
    """Return the conditions of a run as JUnit XML, a case each; a run that did not finish is a case by itself."""
    results: Sequence[Mapping[str, Any]] = summary["conditions"]
    failed = sum(row["state"] == "failed" for row in results)
    name = f"smartmob fire: {summary['name'] or summary['id']}"
    duration = f"{max(summary['duration'], 0.0):.3f}"
    suite = ElementTree.Element("testsuite", name=printing.printable(name), time=duration)
    for row in results:
        case = ElementTree.SubElement(suite, "testcase", classname="conditions", time="0")
        case.set("name", printing.printable(row["condition"]))
        if row["state"] == "failed":
            failure = ElementTree.SubElement(case, "failure", message=printing.printable(row["text"]), type="condition")
            failure.text = printing.printable(str(summary["reason"])) if row["aborted"] else None
        else:
            ElementTree.SubElement(case, "system-out").text = printing.printable(row["text"])
    errors = 0
    if (summary["state"] != "finished" and not failed) or not results:
        case = ElementTree.SubElement(suite, "testcase", classname="run", name="the run finishes", time=duration)
        if summary["state"] != "finished":
            message = f"the run is {summary['state']}" + (f": {summary['reason']}" if summary["reason"] else "")
            ElementTree.SubElement(case, "error", message=printing.printable(message), type=summary["state"])
            errors = 1
    suite.set("tests", str(len(suite)))
    suite.set("failures", str(failed))
    suite.set("errors", str(errors))
    suite.set("skipped", "0")
    suites = ElementTree.Element("testsuites")
    suites.append(suite)
    ElementTree.indent(suites)
    return '<?xml version="1.0" encoding="utf-8"?>\n' + ElementTree.tostring(suites, encoding="unicode") + "\n"


def write_junit(summary: Mapping[str, Any], target: Path) -> None:
    """Write the conditions of a run to a file as JUnit XML. Raises OSError."""
    with output_files.replacing(target) as file:
        file.write(junit(summary).encode())
    printing.say(f"Wrote {target}")
