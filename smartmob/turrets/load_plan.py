"""The load plan of a run in words, and the planned rate over time. No I/O.

A turret of smartmob reports the rate that it fires with. For a run without such a report, the plan is that of the
configuration of the run; turrets of OCT have no rate.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any, Literal
from urllib.parse import urlsplit

from smartmob.counts import counted
from smartmob.turrets.model import LoadPlan, Member, RunConfig
from smartmob.turrets.protocol import RateStage

_TARGETS = ("url", "target", "base_url", "host")
"""Keys of a configuration by which scripts name their target; the first one that is a text is shown."""
_MOST_STAGES_IN_WORDS = 12  # stages; the sentence says how many further ones there are
_OPEN = "Open model: transactions start at the planned rate, whether or not the target keeps up."
_CLOSED = "Closed model: each cannon starts its next transaction when the previous one is over."
_MIXED = "Both models: some turrets start transactions at a planned rate, others when the previous one is over."
_CLOSED_TOOLS = ("Locust",)
"""Tools that only have users, each of which waits for its answer. Other tools can also fire by a rate."""
_NO_TURRET = "The model is known when a turret takes part."
_NO_WAIT = "Think time: none between transactions, except what the script waits for in setup and tear_down."


def plan_of(config: RunConfig, document: Mapping[str, Any], members: Sequence[Member]) -> LoadPlan:
    """Return the plan of a run from its turrets and its configuration; `document` is the configuration as received."""
    if isinstance(source := document.get("source"), dict):
        return _of_import(config, source)
    turrets = _turrets(config, document, members)
    if config.total_rate is not None:
        return _of_total_rate(config, config.total_rate, document, turrets)
    model = _model([stages for *_, stages in turrets])
    words = [{"open": _OPEN, "closed": _CLOSED, "mixed": _MIXED}.get(model, _NO_TURRET)]
    words += [_line(*turret) for turret in _counted(turrets)]
    if model in ("closed", "mixed"):
        words.append(_NO_WAIT)
    words += _ends(config, document)
    rates = _rates([stages for *_, stages in turrets if stages is not None], config.run_time)
    return LoadPlan(model=model, words=words, rates=rates)


def _ends(config: RunConfig, document: Mapping[str, Any]) -> list[str]:
    """Return the duration and the targets in words."""
    seconds, warm_up = _seconds(config.run_time), _seconds(config.warm_up)
    left_out = f", of which the first {warm_up} are warm-up, which the statistics leave out" if config.warm_up else ""
    return [
        f"Duration: {seconds}{left_out}.",
        *(f"Target: {target} (from config.json)." for target in _targets(document)),
    ]


def _of_total_rate(config: RunConfig, rate: float, document: Mapping[str, Any], turrets: Sequence[_Turret]) -> LoadPlan:
    """Return the plan of a rate that the headquarters sets for all turrets together, in place of their own rates."""
    alike: list[_Turret] = [(name, cannons, 0.0, None) for name, cannons, *_ in turrets]
    words = [_OPEN, f"Planned rate: {rate:g}/s by all turrets together, in equal shares."]
    words += [_line(*turret, shared=True) for turret in _counted(alike)]
    words += _ends(config, document)
    return LoadPlan(model="open", words=words, rates=_rates([[RateStage(0.0, rate, rate)]], config.run_time))


def _of_import(config: RunConfig, source: Mapping[str, Any]) -> LoadPlan:
    """Return the known parts of the plan of a run that another tool fired, from the `source` in its configuration."""
    tool = str(source.get("format", "another tool")).partition(" ")[0]
    closed = tool in _CLOSED_TOOLS
    words = [f"Closed model: a user of {tool} starts its next request when the previous one is over." if closed else (
        "The file does not state the model: whether requests started at a rate or when the previous one was over."
    )]  # fmt: skip
    words.append(f"Fired by {tool}; the file states neither a planned rate nor the think time.")
    if users := source.get("users"):
        words.append(f"Users: at most {max(count for _, count in users):,}.")
    words.append(f"Duration: {_seconds(float(f'{config.run_time:.4g}'))}.")
    return LoadPlan(model="closed" if closed else "unknown", words=words)


def _model(plans: Sequence[object]) -> Literal["open", "closed", "mixed", "unknown"]:
    """Return the model of turrets from the stages of each, which are None in the closed model."""
    if not plans:
        return "unknown"
    closed = sum(1 for stages in plans if stages is None)
    return "open" if not closed else "closed" if closed == len(plans) else "mixed"


_Turret = tuple[str, int | None, float, list[RateStage] | None]
"""The name, the cannons, the rampup in seconds, and the stages of the rate, or None for the closed model."""


def _turrets(config: RunConfig, document: Mapping[str, Any], members: Sequence[Member]) -> list[_Turret]:
    planned = {turret["name"]: turret for turret in _given(document)}
    if members:
        return [_of_member(member, planned.get(member.name)) for member in members]
    return [
        (name, _integer(turret.get("cannons", turret.get("canons"))), _number(turret.get("rampup")), _stages(turret))
        for name, turret in planned.items()
    ]


def _of_member(member: Member, planned: Mapping[str, Any] | None) -> _Turret:
    stages = None
    if member.report is not None and member.report.plan is not None:
        stages = member.report.plan.stages
    elif member.ours and planned is not None:
        stages = _stages(planned)
    return member.name, member.cannons, member.rampup or 0.0, stages


def _given(document: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the turrets of a configuration that are written in it, not in other files."""
    given = document.get("turrets")
    turrets = given if isinstance(given, list) else []
    return [turret for turret in turrets if isinstance(turret, dict) and isinstance(turret.get("name"), str)]


def _stages(turret: Mapping[str, Any]) -> list[RateStage] | None:
    """Return the stages of the `rate` of a turret; None if it has none, or one that its turret will refuse."""
    rate = turret.get("rate")
    if isinstance(rate, int | float) and not isinstance(rate, bool):
        return [RateStage(0.0, float(rate), float(rate))]
    if not isinstance(rate, list):
        return None
    stages = []
    for stage in rate:
        if not isinstance(stage, dict):
            return None
        steady = stage.get("rate")
        first, last = (steady, steady) if steady is not None else (stage.get("from"), stage.get("to"))
        seconds = stage.get("seconds") or 0.0
        if not all(isinstance(value, int | float) for value in (seconds, first, last)):
            return None
        stages.append(RateStage(_number(seconds), _number(first), _number(last)))
    return stages or None


def _counted(turrets: Iterable[_Turret]) -> list[tuple[int, _Turret]]:
    """Return the different turrets, each with its number."""
    found: list[tuple[int, _Turret]] = []
    for turret in turrets:
        index = next((number for number, (_, known) in enumerate(found) if known == turret), None)
        if index is None:
            found.append((1, turret))
        else:
            found[index] = (found[index][0] + 1, turret)
    return found


def _line(number: int, turret: _Turret, *, shared: bool = False) -> str:
    """Return the plan of turrets that are alike in one sentence; `shared` ones have a rate together with the others."""
    name, cannons, rampup, stages = turret
    which = f"{name}: " if number == 1 else f"{name}, {counted(number, 'turret')}, each: "
    known = "an unknown number of cannons" if cannons is None else f"{cannons:,} cannon{'' if cannons == 1 else 's'}"
    if shared:
        return f"{which}at most {known}."
    if stages is not None:
        return f"{which}{_rate(stages)}, by at most {known}."
    return f"{which}{known}{f', started over {_seconds(rampup)}' if rampup else ', all started at once'}."


def _rate(stages: Sequence[RateStage]) -> str:
    """Return the stages of a rate in words: `10/s for 30 s, then from 10/s to 50/s over 1 min, then 50/s`."""
    parts = []
    for stage in stages[:_MOST_STAGES_IN_WORDS]:
        if stage.first != stage.last:
            parts.append(f"from {stage.first:g}/s to {stage.last:g}/s over {_seconds(stage.seconds)}")
        else:
            parts.append(f"{stage.first:g}/s" + (f" for {_seconds(stage.seconds)}" if stage.seconds else ""))
    if len(stages) > _MOST_STAGES_IN_WORDS:
        parts.append(counted(len(stages) - _MOST_STAGES_IN_WORDS, "further stage"))
    if stages[-1].seconds:
        parts.append(f"{stages[-1].last:g}/s to the end")
    return "planned rate " + ", then ".join(parts)


def _rates(plans: Sequence[Sequence[RateStage]], run_time: float) -> list[tuple[float, float]]:
    """Return the sum of the rates of all turrets as the corners of a line: seconds after the start, and per second."""
    if not plans:
        return []
    ends = {0.0, run_time}
    for stages in plans:
        at = 0.0
        for stage in stages:
            at += stage.seconds
            ends.add(min(at, run_time))
    corners: list[tuple[float, float]] = []
    times = sorted(ends)
    for begin, end in pairwise(times):
        for at in (begin, end):
            corner = (at, sum(_rate_at(stages, at, (begin + end) / 2) for stages in plans))
            if corners[-1:] != [corner]:
                corners.append(corner)
    return corners


def _rate_at(stages: Sequence[RateStage], at: float, inside: float) -> float:
    """Return the rate at a time, by the stage in which the time `inside` lies."""
    begin = 0.0
    for stage in stages:
        if inside < begin + stage.seconds:
            return stage.first + (stage.last - stage.first) * (at - begin) / stage.seconds
        begin += stage.seconds
    return stages[-1].last


def _targets(document: Mapping[str, Any]) -> list[str]:
    """Return the targets that a configuration names, without their possibly secret parts."""
    extra = document.get("extra_turret_config")
    configurations = [*_given(document), *([extra] if isinstance(extra, dict) else [])]
    texts = [next((each[key] for key in _TARGETS if isinstance(each.get(key), str)), None) for each in configurations]
    return list(dict.fromkeys(_without_secrets(text) for text in texts if text))


def _without_secrets(address: str) -> str:
    """Return an address without its user, password, query and fragment."""
    try:
        parts = urlsplit(address)
    except ValueError:
        return "an address that cannot be read"
    plain = parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="")
    return plain.geturl()[:200]


def _integer(value: object) -> int | None:
    return value if isinstance(value, int) else None


def _number(value: object) -> float:
    return float(value) if isinstance(value, int | float) else 0.0


def _seconds(value: float) -> str:
    return f"{value:g} s" if value < 120 or value % 60 else f"{value / 60:g} min"
