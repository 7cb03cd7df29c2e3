"""The messages of the feature `metrics`: what a request may hold, and the envelopes of the answers. No I/O."""

from __future__ import annotations

from typing import Any

import msgspec

from smartmob.metrics import model
from smartmob.metrics.verdict.verdicts import Resource

CONTEXT = msgspec.json.Decoder(model.NewContext)
SESSION = msgspec.json.Decoder(model.NewSession)
METRIC = msgspec.json.Decoder(model.NewMetric)
METRICS = msgspec.json.Decoder(list[model.NewMetric])
IMPORTED = msgspec.json.Decoder(model.ImportedMetric)
IMPORTED_MANY = msgspec.json.Decoder(list[model.ImportedMetric])

CSV_HEADER = model.Metric.__struct_fields__


class _Page(msgspec.Struct, frozen=True, kw_only=True):
    """A page; a link is absent where there is no such page."""

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
    """A page of a sub-list; a link is null where there is no such page."""

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
    """How many there are."""

    count: int


class Deleted(msgspec.Struct, frozen=True):
    """A removed session and how many metrics went with it."""

    session_h: str
    metrics: int


class Runs(msgspec.Struct, frozen=True, kw_only=True):
    """Runs, newest first."""

    runs: list[model.Run]
    next_url: str | msgspec.UnsetType = msgspec.UNSET


class Orphan(msgspec.Struct, frozen=True):
    """A hash under which metrics arrived whose session never came; the times are those of its tests."""

    session_h: str
    metrics: int
    first: str
    last: str


class Orphans(msgspec.Struct, frozen=True):
    """Sessions that never came."""

    orphans: list[Orphan]


class HistoryEntry(msgspec.Struct, frozen=True):
    """One execution in the history of a test; `scm_ref` and `machine_node` are null while they are not known."""

    session_h: str
    context_h: str
    item_start_time: str
    started_at: str
    item_path: str
    item: str
    item_variant: str
    component: str
    total_time: float
    user_time: float | None
    kernel_time: float | None
    cpu_usage: float | None
    mem_usage: float | None
    scm_ref: str | None
    machine_node: str | None


class History(msgspec.Struct, frozen=True):
    """The executions of a test, newest first."""

    item: str
    history: list[HistoryEntry]


class PageQuery(msgspec.Struct, frozen=True):
    """`page` counts from 1, a negative number from the end; what is no number means 1."""

    page: str = "1"


class SessionsQuery(msgspec.Struct, frozen=True):
    """`with_flags` (also `with_tags`) names tags, `restrict_flags` the value of each, all separated by commas.

    A tag without a value must be there and not be empty. `method` tells whether any or all must fit.
    """

    with_flags: str = ""
    with_tags: str = ""
    restrict_flags: str = ""
    method: str = "match_any"
    page: str = "1"


class RunsQuery(msgspec.Struct, frozen=True):
    """`before` is the cursor of an earlier answer's `next_url`."""

    before: str | None = None
    limit: model.Limit = 50


class LimitQuery(msgspec.Struct, frozen=True):
    """How many at most."""

    limit: model.Limit = 100


class VerdictQuery(msgspec.Struct, frozen=True):
    """Which resource to judge by."""

    resource: Resource = "total_time"


class SeriesQuery(msgspec.Struct, frozen=True):
    """How many executions at most; the latest are given."""

    limit: model.Limit = 500


class AppendQuery(msgspec.Struct, frozen=True):
    """How many metrics the session has already."""

    offset: model.Offset


def tag_filter(names: str, values: str) -> tuple[tuple[str, str], ...]:
    """Return the pairs of tag and value that a client asks for; a missing value is "", one too many is not read."""
    if not names:
        return ()
    wanted = names.split(",")
    given = values.split(",")
    return tuple(zip(wanted, given + [""] * len(wanted), strict=False))


def envelope(name: str, rows: Any, links: dict[str, Any], **head: str) -> dict[str, Any]:
    """Return a page as it is sent."""
    return {**head, name: rows, **links}
