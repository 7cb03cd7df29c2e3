"""Handlers of the load of the service's own machine, which answer from the newest snapshot."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any, TypeVar

import msgspec
import psutil
from aiohttp import web

from smartmob import __version__
from smartmob.errors import InvalidInput, Unavailable
from smartmob.hosts import protocol
from smartmob.hosts.fields import Memory
from smartmob.hosts.sampler.sampler import Sampler
from smartmob.hosts.service import HostsService
from smartmob.kernel.http.bodies import query
from smartmob.kernel.http.json_response import json_response
from smartmob.kernel.runtime import clock

T = TypeVar("T")

UNITS = {"TB": 2**40, "GB": 2**30, "MB": 2**20, "KB": 2**10, "B": 1}


class UnitsQuery(msgspec.Struct, frozen=True):
    """The unit of sizes in the answer."""

    units: str = "GB"


class Load(msgspec.Struct, frozen=True):
    """The load of all processors in percent."""

    load: float


class Processors(msgspec.Struct, frozen=True):
    """The processors. The frequencies (current, minimum, maximum) are in MHz, and empty where they are unknown."""

    physical: int | None = msgspec.field(name="physical cores count")
    logical: int | None = msgspec.field(name="logical cores count")
    frequency: list[float] = msgspec.field(name="cores frequency")


class MemoryInfo(Memory, frozen=True):
    """Memory in a unit instead of bytes, rounded down."""


class MemoryTotal(msgspec.Struct, frozen=True):
    """The size of the memory in a unit, rounded down."""

    total: int
    units: str


class StorageInfo(msgspec.Struct, frozen=True):
    """The disk in a unit, rounded down."""

    total: int
    used: int
    percent: float
    free: int
    units: str


class StorageTotal(msgspec.Struct, frozen=True):
    """The size of the disk in a unit, rounded down."""

    total: int
    used: int
    units: str


class About(msgspec.Struct, frozen=True):
    """The name and version of the service."""

    name: str
    version: str


class StartTime(msgspec.Struct, frozen=True):
    """The start of the service and its current time."""

    start_work: str
    actual_time: str


class WorkTimeMessage(msgspec.Struct, frozen=True):
    """A WORK_TIME message of the echo protocol."""

    type: str
    payload: StartTime


class MonitorHandlers:
    """Handlers of the routes below /monitor and /api."""

    def __init__(self, service: HostsService, sampler: Sampler) -> None:
        self._service = service
        self._sampler = sampler

    async def cpu_load(self, _: web.Request) -> web.StreamResponse:
        return json_response(Load(self._measured("cpu", self._sampler.latest.cpu)))

    async def cpu_info(self, _: web.Request) -> web.StreamResponse:
        return json_response(await asyncio.to_thread(_processors))

    async def memory_info(self, request: web.Request) -> web.StreamResponse:
        _, unit = _unit(request)
        sizes = msgspec.structs.asdict(self._memory()).items()
        return json_response(MemoryInfo(**{n: value if n == "percent" else value // unit for n, value in sizes}))

    async def memory_total(self, request: web.Request) -> web.StreamResponse:
        units, unit = _unit(request)
        return json_response(MemoryTotal(self._memory().total // unit, units))

    async def storage_info(self, request: web.Request) -> web.StreamResponse:
        units, unit = _unit(request)
        return json_response(StorageInfo(**self._storage(unit), units=units))

    async def storage_total(self, request: web.Request) -> web.StreamResponse:
        units, unit = _unit(request)
        storage = self._storage(unit)
        return json_response(StorageTotal(storage["total"], storage["used"], units))

    async def about(self, _: web.Request) -> web.StreamResponse:
        return json_response(About("system monitor", __version__))

    async def start_time(self, _: web.Request) -> web.StreamResponse:
        return json_response(protocol.work_time(self._service.started, clock.now()))

    def _storage(self, unit: int) -> dict[str, Any]:
        return protocol.storage_in(self._measured("storage", self._sampler.latest.storage), unit)

    def _memory(self) -> Memory:
        return self._measured("mem", self._sampler.latest.memory)

    def _measured(self, field: str, value: T | None) -> T:
        """Return a part of the newest snapshot; raises Unavailable with the reason when it could not be measured."""
        if value is not None:
            return value
        stale = self._sampler.latest.stale.get(field)
        raise Unavailable(f"{field} cannot be measured now: {stale.reason if stale is not None else 'see the log'}")


def _processors() -> Processors:
    """Return the processors; values that psutil cannot read on this platform are unknown."""
    frequency: Any = None
    with suppress(OSError, NotImplementedError, psutil.Error, ValueError):
        frequency = psutil.cpu_freq()  # None on some platforms
    return Processors(_count(logical=False), _count(logical=True), list(frequency or ()))


def _count(*, logical: bool) -> int | None:
    with suppress(OSError, NotImplementedError, psutil.Error, ValueError):
        return psutil.cpu_count(logical=logical)
    return None


def _unit(request: web.Request) -> tuple[str, int]:
    units = query(request, UnitsQuery).units
    if units not in UNITS:
        raise InvalidInput.at("units", f"Bad units provided: expected one of {', '.join(UNITS)}, got {units!r}")
    return units, UNITS[units]
