"""The events of the feature `hosts` on the event bus."""

from __future__ import annotations

from dataclasses import dataclass

from smartmob.hosts.fields import Snapshot


@dataclass(frozen=True, slots=True)
class HostRegistered:
    """A machine was registered."""

    host: str


@dataclass(frozen=True, slots=True)
class HostRemoved:
    """A machine was removed with its samples."""

    host: str


@dataclass(frozen=True, slots=True)
class AddressSeen:
    """A machine reports from another address than before; None means that it is not known."""

    host: str
    address: str | None


@dataclass(frozen=True, slots=True)
class HostSampled:
    """A snapshot of the service's own machine was read; `host` is its name."""

    host: str
    snapshot: Snapshot


@dataclass(frozen=True, slots=True)
class SamplesStored:
    """`count` samples of machines were committed together."""

    count: int
