"""The methods that the feature calls of other features. The composition root passes their services, which have them."""

from __future__ import annotations

from typing import Protocol

from smartmob.hosts.model import Host


class HostsSource(Protocol):
    """Lists machines with their newest samples."""

    async def hosts(self, after: str, limit: int) -> list[Host]:
        """Return up to `limit` machines in the order of their names, beginning after the name `after`."""
