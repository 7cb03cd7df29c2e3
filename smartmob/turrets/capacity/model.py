"""The data of capacity searches: their settings, steps and results. No I/O.

Rates are transactions per second, durations seconds, shares from 0 to 1, times aware UTC times.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

import msgspec

from smartmob.turrets.protocol import ArrivalRate

MOST_STEPS = 1_000
"""Steps of a stored search."""

Share = Annotated[float, msgspec.Meta(ge=0, le=1)]
Seconds = Annotated[float, msgspec.Meta(ge=0, le=366 * 86_400)]
Line = Annotated[str, msgspec.Meta(max_length=1_000)]
Ident = Annotated[str, msgspec.Meta(max_length=36)]
Name = Annotated[str, msgspec.Meta(max_length=300)]
Count = Annotated[int, msgspec.Meta(ge=0, le=1_000_000_000)]


class SearchSettings(msgspec.Struct, frozen=True, kw_only=True):
    """The settings of a search.

    Each step fires for `warm_up` seconds and then for the `step_time` seconds that count, followed by `cool_down`
    seconds without load. `target_host` is the machine of the target, as it reports to the service.
    """

    conditions: Annotated[list[Line], msgspec.Meta(min_length=1, max_length=20)]
    start_rate: ArrivalRate
    max_rate: ArrivalRate
    growth: Annotated[float, msgspec.Meta(gt=1, le=100)]
    resolution: Share
    repeats: Annotated[int, msgspec.Meta(ge=1, le=100)]
    step_time: Seconds
    warm_up: Seconds
    cool_down: Seconds
    max_time: Seconds
    target_host: Name | None = None


class SearchStep(msgspec.Struct, frozen=True, kw_only=True):
    """A step: the run `run` at the planned rate `rate`, of which `achieved` transactions started per second.

    `outcome`: the conditions held, the target broke them, or the generator was at its limit; `reasons` says why.
    `errors` is the share of transactions that failed; the latencies are those of the others. `target_cpu` is the
    average use of the processors of the target's machine in percent, or null if it did not report.
    """

    run: Ident
    rate: ArrivalRate
    achieved: ArrivalRate
    outcome: Literal["held", "broken", "saturated"]
    reasons: Annotated[list[Line], msgspec.Meta(max_length=100)] = []
    p50: Seconds | None = None
    p95: Seconds | None = None
    p99: Seconds | None = None
    errors: Share = 0.0
    transactions: Count = 0
    target_cpu: Annotated[float, msgspec.Meta(ge=0, le=100)] | None = None


class SearchResult(msgspec.Struct, frozen=True, kw_only=True):
    """The result of a search, or of what was done of it.

    `ending` is `found`, `bound` (each rate up to the highest held), `generator` (which was at its limit), `not met`
    (the lowest rate did not hold) or `unfinished`. `held` is the highest rate that held, in `holds` of `steps` steps;
    `confidence` is the 95 % interval of the share of such steps that hold. `refused` is the lowest rate that did not
    hold. `limit` says what limited the rate; `words` states the whole result in a sentence.
    """

    ending: Literal["found", "bound", "generator", "not met", "unfinished"]
    held: ArrivalRate | None
    refused: ArrivalRate | None
    holds: Count
    steps: Count
    confidence: tuple[Share, Share] | None
    limit: Line
    words: Line


class SearchRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A search as its program stores it after each step; `result` is null until its end."""

    name: Name
    settings: SearchSettings
    steps: Annotated[list[SearchStep], msgspec.Meta(max_length=MOST_STEPS)] = []
    result: SearchResult | None = None


class StoredSearch(SearchRequest, frozen=True, kw_only=True):
    """A stored search: `changed_at` is the time of its last step."""

    id: str
    created_at: datetime
    changed_at: datetime
    report: str


class SearchList(msgspec.Struct, frozen=True):
    """Capacity searches, newest first, without their steps."""

    searches: list[StoredSearch]
