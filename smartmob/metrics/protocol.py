"""The messages of the feature `metrics`: request bodies, query arguments and the envelopes of answers. No I/O."""

from __future__ import annotations

from typing import Any

import msgspec

from smartmob.metrics import model
from smartmob.metrics.verdict.verdicts import Resource

CONTEXT = msgspec.json.Decoder(model.NewContext)
SESSION = msgspec.json.Decoder(model.NewSession)
METRIC = msgspec.json.Decoder(model.NewMetric)
METRICS = msgspec.json.Decoder(list[model.NewMetric])
CHANGE = msgspec.json.Decoder(model.SessionChange)
IMPORTED = msgspec.json.Decoder(model.ImportedMetric)
IMPORTED_MANY = msgspec.json.Decoder(list[model.ImportedMetric])

CSV_HEADER = model.Metric.__struct_fields__


class _Page(msgspec.Struct, frozen=True, kw_only=True):
    """A page of a listing; a link is absent if there is no such page."""

    total_page: int
    prev_url: str | msgspec.UnsetType = msgspec.UNSET
    next_url: str | msgspec.UnsetType = msgspec.UNSET


class MetricsPage(_Page, frozen=True, kw_only=True):
    """A page of metrics, in the order of arrival."""

    metrics: list[model.Metric]


class ContextsPage(_Page, frozen=True, kw_only=True):
    """A page of contexts, in the order of arrival."""

    contexts: list[model.Context]


class SessionsPage(_Page, frozen=True, kw_only=True):
    """A page of sessions, in the order of arrival."""

    sessions: list[model.Session]


class ComponentsPage(_Page, frozen=True, kw_only=True):
    """A page of the names of components; "" stands for metrics without one."""

    components: list[str]


class _SubPage(msgspec.Struct, frozen=True, kw_only=True):
    """A page of a sub-list; a link is null if there is no such page."""

    total_page: int
    prev_url: str | None
    next_url: str | None


class PipelinesPage(_SubPage, frozen=True, kw_only=True):
    """Pipelines of a component."""

    component: str
    pipelines: list[str]


class BuildsPage(_SubPage, frozen=True, kw_only=True):
    """Builds of a pipeline."""

    component: str | msgspec.UnsetType = msgspec.UNSET
    pipeline: str
    builds: list[str]


class BuildSessionsPage(_SubPage, frozen=True, kw_only=True):
    """Hashes of the sessions of a build."""

    component: str | msgspec.UnsetType = msgspec.UNSET
    pipeline: str
    build: str
    sessions: list[str]


class ExtremesPage(_SubPage, frozen=True, kw_only=True):
    """The metrics with the most or the least of a resource."""

    metrics: list[model.Metric]


class Pipelines(msgspec.Struct, frozen=True):
    """All pipelines."""

    pipelines: list[str]


class Count(msgspec.Struct, frozen=True):
    """A number of rows."""

    count: int


class Deleted(msgspec.Struct, frozen=True):
    """A deleted session and the number of its deleted metrics."""

    session_h: str
    metrics: int


class Runs(msgspec.Struct, frozen=True, kw_only=True):
    """Runs, newest first."""

    runs: list[model.Run]
    next_url: str | msgspec.UnsetType = msgspec.UNSET


class Orphan(msgspec.Struct, frozen=True):
    """The hash of a session that never arrived although its metrics did; the times are those of its tests."""

    session_h: str
    metrics: int
    first: str
    last: str


class Orphans(msgspec.Struct, frozen=True):
    """Sessions that never arrived although their metrics did."""

    orphans: list[Orphan]


class HistoryEntry(msgspec.Struct, frozen=True):
    """One execution in the history of a test; `scm_ref` and `machine_node` are null until they arrive.

    `machine` is the name of the machine on which it presumably ran, which may differ from `machine_node`.
    """

    session_h: str
    context_h: str
    item_start_time: str
    started_at: str
    item_path: str
    item: str
    item_variant: str
    component: str
    total_time: float | None
    user_time: float | None
    kernel_time: float | None
    cpu_usage: float | None
    mem_usage: float | None
    scm_ref: str | None
    machine_node: str | None
    machine: str


class History(msgspec.Struct, frozen=True):
    """The executions of a test, newest first."""

    item: str
    history: list[HistoryEntry]


class PageQuery(msgspec.Struct, frozen=True):
    """`page` counts from 1, a negative number from the end; a text that is not a number means 1."""

    page: str = "1"


class SessionsQuery(msgspec.Struct, frozen=True):
    """`with_flags` (or `with_tags`) has the names of tags, `restrict_flags` the value of each, separated by commas.

    A tag without a value must exist and not be empty. `method` says whether one tag (match_any) or all (match_all) must
    match.
    """

    with_flags: str = ""
    with_tags: str = ""
    restrict_flags: str = ""
    method: str = "match_any"
    page: str = "1"


class RunsQuery(msgspec.Struct, frozen=True):
    """`before` is the cursor in the `next_url` of an earlier answer."""

    before: str | None = None
    limit: model.Limit = 50


class LimitQuery(msgspec.Struct, frozen=True):
    """The largest number of rows to return."""

    limit: model.Limit = 100


class VerdictQuery(msgspec.Struct, frozen=True):
    """The resource that is compared."""

    resource: Resource = "total_time"


class SeriesQuery(msgspec.Struct, frozen=True):
    """The largest number of executions to return; the latest are returned."""

    limit: model.Limit = 500


class AppendQuery(msgspec.Struct, frozen=True):
    """The number of metrics that the session already has."""

    offset: model.Offset


class PageBody(msgspec.Struct, frozen=True):
    """The body of a GET request, in which monitor-server-api also sends the number of a page."""

    page: int | float | str | None = None


PAGE_BODY = msgspec.json.Decoder(PageBody)


def tag_filter(names: str, values: str) -> tuple[tuple[str, str], ...]:
    """Return the pairs of tag and value in a query; a missing value is "", a value without a tag is ignored."""
    if not names:
        return ()
    wanted = names.split(",")
    given = values.split(",")
    return tuple(zip(wanted, given + [""] * len(wanted), strict=False))


def envelope(name: str, rows: Any, links: dict[str, Any], **head: str) -> dict[str, Any]:
    """Return the document of a page."""
    return {**head, name: rows, **links}
