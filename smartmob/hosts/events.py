"""What happens in the feature `hosts`, as it is told on the bus."""

from __future__ import annotations

from dataclasses import dataclass

from smartmob.hosts.model import Snapshot


@dataclass(frozen=True, slots=True)
class HostRegistered:
    """A machine was registered."""

    host: str


@dataclass(frozen=True, slots=True)
class HostSampled:
    """The machine on which the service runs was looked at; `host` is its name."""

    host: str
    sweep: Snapshot


@dataclass(frozen=True, slots=True)
class SamplesStored:
    """Samples of machines were stored together."""

    count: int
