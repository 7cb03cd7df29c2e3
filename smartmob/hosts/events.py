"""The events of the feature `hosts` on the event bus."""

from __future__ import annotations

import msgspec

from smartmob.hosts.fields import Snapshot


class HostRegistered(msgspec.Struct, frozen=True):
    """A machine was registered."""

    host: str


class HostRemoved(msgspec.Struct, frozen=True):
    """A machine was removed with its samples."""

    host: str


class AddressSeen(msgspec.Struct, frozen=True):
    """A machine reports from another address than before; None means that it is not known."""

    host: str
    address: str | None


class HostSampled(msgspec.Struct, frozen=True):
    """A snapshot of the service's own machine was read; `host` is its name."""

    host: str
    snapshot: Snapshot


class SamplesStored(msgspec.Struct, frozen=True):
    """`count` samples of machines were committed together."""

    count: int
