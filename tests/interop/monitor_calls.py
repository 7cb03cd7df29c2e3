"""Calls of monitor_api.Monitor, and the differences that its two dialects may have."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from tests.interop import measures

Calls = list[dict[str, Any]]
Answers = dict[str, Any]

RESOURCES = ("TOTAL_TIME", "USER_TIME", "KERNEL_TIME", "CPU", "MEMORY")
EMPTY = {
    *("a context that is unknown", "metrics of an unknown context", "how many of an unknown context"),
    *("a session that is unknown", "metrics of an unknown session", "how many of an unknown session"),
    *("metrics of an unknown commit", "how many of an unknown commit", "metrics of packages"),
    *("metrics of an unknown test", "tests that begin otherwise", "variants that begin otherwise", "no pattern"),
    *("metrics of an unknown variant", "a variant that the component does not have"),
    *("metrics of an unknown component", "pipelines of an unknown component", "builds of an unknown component"),
    *("builds of an unknown pipeline", "sessions of an unknown build", "most of an unknown component"),
    *("most of an unknown pipeline", "most of an unknown build", "sessions with a tag that is empty"),
    *("sessions with an unknown tag", "sessions with both of two values", "metrics from nothing"),
}
"""The calls that find nothing among the measures."""

_ORDER_IS_OPEN = {
    # The client goes through a set of hashes.
    *("metrics from sessions", "metrics from contexts", "metrics from both"),
    # The local dialect gives one session after the other, the service gives the metrics in the order of arrival.
    "metrics of a commit",
}
_NAMES = {
    *("list_components", "list_component_pipelines", "list_component_pipeline_builds"),
    *("list_pipelines", "list_pipeline_builds"),
}


def call(name: str, method: str, /, **arguments: Any) -> dict[str, Any]:
    """Return a call as the driver reads it."""
    return {"name": name, "method": method, "arguments": arguments}


def member(name: str) -> dict[str, str]:
    """Return a member of one of the client's enumerations."""
    return {"member": name}


def given_by(name: str) -> dict[str, str]:
    """Return what an earlier call gave."""
    return {"given_by": name}


def calls() -> Calls:
    """Return calls of every method of Monitor, on whose answers both dialects agree.

    They leave out what the local dialect does differently from the server that the client was written for:
    a component's pipelines and builds (it joins all sessions with all metrics, so `rare`, which few sessions measured,
    is left out), the part of a name or of a commit (it takes the beginning of a name, letters of both cases and
    wildcards, and the whole commit), several tags without a method (all instead of any), and tags without
    `restrict_flags` (it fails).
    """
    return [*_of_contexts(), *_of_sessions(), *_of_metrics(), *_of_pipelines(), *_of_resources(), *_of_others()]


def _of_contexts() -> Iterator[dict[str, Any]]:
    known = measures.contexts()[4]["h"]
    yield call("how many contexts", "count_contexts")
    yield call("all contexts", "list_contexts")
    for name, h in (("a context", known), ("a context that is unknown", "f" * 32)):
        yield call(name, "get_context", context_h=h)
    for name, h in (("metrics of a context", known), ("metrics of an unknown context", "f" * 32)):
        yield call(name, "list_context_metrics", context_h=h)
    for name, h in (("how many of a context", known), ("how many of an unknown context", "f" * 32)):
        yield call(name, "count_metrics", context_h=h)


def _of_sessions() -> Iterator[dict[str, Any]]:
    known = measures.sessions()[0]["session_h"]
    yield call("how many sessions", "count_sessions")
    yield call("all sessions", "list_sessions")
    for name, h in (("a session", known), ("a session that is unknown", "f" * 32)):
        yield call(name, "get_session", session_h=h)
    for name, h in (("metrics of a session", known), ("metrics of an unknown session", "f" * 32)):
        yield call(name, "list_session_metrics", session_h=h)
    for name, h in (("how many of a session", known), ("how many of an unknown session", "f" * 32)):
        yield call(name, "count_metrics", session_h=h)
    for name, tags, values in (
        ("sessions with a tag", "size", ""),
        ("sessions with a tag that is empty", "note", ""),
        ("sessions with an unknown tag", "colour", ""),
        ("sessions with a value", "compiler", "gcc 12"),
        ("sessions with a value that is not ASCII", ["size"], ["groß"]),
    ):
        yield call(name, "list_sessions", with_tags=tags, restrict_flags=values)
    two = {"with_tags": ["compiler", "size"], "restrict_flags": ["gcc 12", "klein"]}
    yield call("sessions with one of two values", "list_sessions", **two, method="match_any")
    yield call("sessions with both of two values", "list_sessions", **two, method="match_all")
    mixed = {"with_tags": "pipeline_branch,compiler", "restrict_flags": "release-1.x"}
    yield call("sessions with a value and a tag", "list_sessions", **mixed, method="match_all")


def _of_metrics() -> Iterator[dict[str, Any]]:
    worker = measures.sessions()[measures.BUILDS]
    yield call("how many metrics", "count_metrics")
    yield call("all metrics", "list_metrics")
    for name, scm_ref in (("of a commit", worker["scm_ref"]), ("of an unknown commit", "nowhere")):
        yield call(f"metrics {name}", "list_metrics_by_scm_id", scm_ref=scm_ref)
        yield call(f"how many {name}", "count_metrics", scm_ref=scm_ref)
    for name, scope in (("functions", "FUNCTION"), ("modules", "MODULE"), ("packages", "PACKAGE")):
        yield call(f"metrics of {name}", "list_metrics_by_type", metric_type=member(f"MetricScope.{scope}"))
    for name, item in (("a test", "test_insert"), ("an unknown test", "insert")):
        yield call(f"metrics of {name}", "list_item_metrics", item=item)
    for name, item in (("tests that begin so", "test_s"), ("tests that begin otherwise", "Test_unknown")):
        yield call(name, "list_metrics_from_pattern", item=item)
    for name, variant in (("variants that begin so", "test_insert[x"), ("variants that begin otherwise", "insert_")):
        yield call(name, "list_metrics_from_pattern", variant=variant)
    yield call("no pattern", "list_metrics_from_pattern")
    for name, variant in (("a variant", "test_insert[x y, ü]"), ("an unknown variant", "test_insert")):
        yield call(f"metrics of {name}", "list_metrics_of_variant", variant=variant)
    for name, component in (
        ("the component's variant", "core"),
        ("a variant that the component does not have", "rare"),
    ):
        yield call(name, "list_metrics_of_variant", variant="test_insert[1, 2]", component=component)


def _of_pipelines() -> Iterator[dict[str, Any]]:
    yield call("how many components", "count_components")
    yield call("all components", "list_components")
    yield call("metrics without a component", "list_component_metrics")
    for component in ("core", "store", "store.disk"):
        yield call(f"metrics of {component}", "list_component_metrics", component=component)
        yield call(f"pipelines of {component}", "list_component_pipelines", component=component)
        main = {"component": component, "pipeline": "main"}
        yield call(f"builds of {component}", "list_component_pipeline_builds", **main)
    yield call("metrics of an unknown component", "list_component_metrics", component="stor")
    yield call("pipelines of an unknown component", "list_component_pipelines", component="stor")
    unknown = {"component": "stor", "pipeline": "main"}
    yield call("builds of an unknown component", "list_component_pipeline_builds", **unknown)
    yield call("all pipelines", "list_pipelines")
    for name, pipeline in (("main", "main"), ("release-1.x", "release-1.x"), ("an unknown pipeline", "mai")):
        yield call(f"builds of {name}", "list_pipeline_builds", pipeline=pipeline)
    for name, build in (("a build", "3"), ("a build with many", str(measures.BUILDS + 1)), ("an unknown build", "99")):
        yield call(f"sessions of {name}", "list_build_sessions", pipeline="main", build_id=build)


def _of_resources() -> Iterator[dict[str, Any]]:
    method = "list_metrics_resources"
    for resource in RESOURCES:
        for end in ("TOP", "LOWEST"):
            how = {"resource": member(f"ResourceType.{resource}"), "method": member(f"ResourceMethod.{end}")}
            build = {"pipeline": "main", "build": str(measures.BUILDS + 1)}
            name = f"{end} {resource}"
            yield call(name, method, **how)
            yield call(f"{name}, all", method, **how, max_element=500)
            yield call(f"{name} of a component", f"{method}_from_component", component="core", **how, max_element=12)
            yield call(f"{name} of a pipeline", f"{method}_from_pipeline", pipeline="release-1.x", **how, max_element=9)
            yield call(f"{name} of a build", f"{method}_from_build", **build, **how, max_element=1)
    how = {"resource": member("ResourceType.CPU"), "method": member("ResourceMethod.TOP")}
    yield call("most of an unknown component", f"{method}_from_component", component="stor", **how)
    yield call("most of an unknown pipeline", f"{method}_from_pipeline", pipeline="mai", **how)
    yield call("most of an unknown build", f"{method}_from_build", pipeline="main", build="99", **how)


def _of_others() -> Iterator[dict[str, Any]]:
    some = {"sessions": given_by("sessions with a value"), "contexts": given_by("all contexts")}
    yield call("metrics from sessions", "list_metrics_from", sessions=some["sessions"])
    yield call("metrics from contexts", "list_metrics_from", contexts=some["contexts"])
    yield call("metrics from both", "list_metrics_from", **some)
    yield call("metrics from nothing", "list_metrics_from")
    # Among all metrics is one whose session is unknown: both dialects give None for it.
    yield call("sessions from metrics", "list_sessions_from", metrics=given_by("all metrics"))
    yield call("contexts from metrics", "list_contexts_from", metrics=given_by("variants that begin so"))


def comparable(answers: Answers) -> Answers:
    """Return answers without the differences that both dialects are free to have."""
    methods = {asked["name"]: asked["method"] for asked in calls()}
    found = {}
    for name, answer in answers.items():
        if name in _ORDER_IS_OPEN:
            answer = sorted(answer, key=json.dumps)
        elif methods[name] in _NAMES:
            # Neither dialect promises an order of names; the local one repeats a build for each of its sessions.
            answer = sorted(set(answer))
        found[name] = answer
    return found
