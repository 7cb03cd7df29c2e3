"""The search over all features: tests, test runs, programs, jobs, load tests and machines whose name has a text."""

from __future__ import annotations

from datetime import timedelta
from urllib.parse import quote, urlencode
from uuid import UUID

from smartmob import case_names
from smartmob.console import model
from smartmob.console.run_texts import run_machines, run_name
from smartmob.console.services import Services
from smartmob.kernel.runtime import clock

MAX_TEXT_CHARACTERS = 200
_MAX_ENTRIES = 20  # of each kind
_MAX_LOOKED_AT = 500  # the newest test runs, jobs and load tests that are searched
_MAX_MACHINES = 10_000  # more than a service watches
_NEWEST_JOB = 2**62  # above every job number


async def find(services: Services, text: str) -> model.SearchResults:
    """Return the things of each kind in whose names a text occurs, in any case; an empty text finds nothing."""
    wanted = text.strip().casefold()
    if not wanted:
        return model.SearchResults(text=text, groups=[])
    found = (
        _group("Tests", await _tests(services, wanted)),
        _group("Test runs", await _runs(services, wanted)),
        _group("Programs", _programs(services, wanted)),
        _group("Jobs", await _jobs(services, wanted)),
        _group("Load tests", await _load_tests(services, wanted)),
        _group("Machines", await _machines(services, wanted)),
    )
    return model.SearchResults(text=text, groups=[group for group in found if group.entries])


def _group(kind: str, entries: list[model.FoundEntry]) -> model.FoundGroup:
    return model.FoundGroup(kind=kind, entries=entries[:_MAX_ENTRIES], more=len(entries) > _MAX_ENTRIES)


def _has(wanted: str, *names: str) -> bool:
    return any(wanted in name.casefold() for name in names)


def _page(path: str, name: object) -> str:
    return f"/console/{path}/{quote(str(name), safe='')}"


async def _tests(services: Services, wanted: str) -> list[model.FoundEntry]:
    rows = await services.metrics.queries.find_tests(wanted, _MAX_ENTRIES + 1)
    return [
        model.FoundEntry(
            name=case_names.variant_with_class(row["item_fs_loc"], row["item"], row["item_variant"]) or row["item"],
            detail=row["item_path"],
            href=f"/console/tests/items?{urlencode({'path': row['item_path'], 'variant': row['item_variant']})}",
        )
        for row in rows
    ]


async def _runs(services: Services, wanted: str) -> list[model.FoundEntry]:
    runs = await services.metrics.runs.before((clock.now() + timedelta(days=1), ""), _MAX_LOOKED_AT)
    return [
        model.FoundEntry(
            name=run_name(run.id, run.scm_ref),
            detail=", ".join([*run_machines(run), *(f"{tag.name}={tag.value}" for tag in run.tags)]),
            href=_page("tests/runs", run.id),
        )
        for run in runs
        if _has(wanted, run.id, run.scm_ref, *run_machines(run), *(tag.value for tag in run.tags))
    ]


def _programs(services: Services, wanted: str) -> list[model.FoundEntry]:
    return [
        model.FoundEntry(
            name=program.definition.slug, detail=program.state, href=_page("processes", program.definition.slug)
        )
        for program in services.processes.processes()
        if _has(wanted, program.definition.slug)
    ]


async def _jobs(services: Services, wanted: str) -> list[model.FoundEntry]:
    jobs = await services.commands.jobs.page(_NEWEST_JOB, None, _MAX_LOOKED_AT)
    return [
        model.FoundEntry(name=f"Job {job.id}", detail=job.command_line, href=_page("commands", job.id))
        for job in jobs
        if _has(wanted, str(job.id), job.command_line)
    ]


async def _load_tests(services: Services, wanted: str) -> list[model.FoundEntry]:
    runs = await services.turrets.queries.runs((clock.now() + timedelta(days=1), str(UUID(int=0))), _MAX_LOOKED_AT)
    return [
        model.FoundEntry(name=run.name, detail=run.state, href=_page("load", run.id))
        for run in runs
        if _has(wanted, run.name, str(run.id))
    ]


async def _machines(services: Services, wanted: str) -> list[model.FoundEntry]:
    hosts = await services.hosts.queries.hosts("", _MAX_MACHINES)
    return [
        model.FoundEntry(name=host.name, detail="this service" if host.own else "", href=_page("hosts", host.name))
        for host in hosts
        if _has(wanted, host.name)
    ]
