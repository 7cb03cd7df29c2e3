"""Reports the load of a node: the reporting agent with an account that the service has made for the node."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

from smartmob.client.backlog import Backlog
from smartmob.client.node_key import NodeKey
from smartmob.client.reporter import Clocks, HostCredentials, Reporter
from smartmob.errors import NotAllowed, NotAuthenticated, RemoteError

BACKLOG_BYTES = 64_000_000
"""Bytes of samples that wait on disk, as `report-host` has them: about two days, one sample a second."""


class NodeSamples:
    """Reports from the moment in which the account is known, which is at the start of a node that has joined before."""

    def __init__(
        self,
        folder: Path,
        ca_file: Path | None,
        clocks: Clocks,
        report: Callable[[str], None],
        proxy: str | None = None,
    ) -> None:
        self._backlog = Backlog(folder, BACKLOG_BYTES)
        self._ca_file = ca_file
        self._proxy = proxy
        self._clocks = clocks
        self._report = report
        self._account: HostCredentials | None = None
        self._changed = asyncio.Event()

    def use(self, key: NodeKey) -> None:
        """Report with the account of a key; nothing happens until the key has a host."""
        if key.host:
            self._account = HostCredentials(
                key.url, key.host, key.host_password, ca_file=self._ca_file, proxy=self._proxy
            )
            self._changed.set()

    async def run(self, interval: float) -> None:
        """Report until cancelled. An account that is refused waits for the next one."""
        while True:
            await self._changed.wait()
            self._changed.clear()
            if self._account is None:
                continue
            reporter = Reporter(self._account, self._backlog, self._clocks, interval, self._report)
            try:
                await reporter.run()
            except (NotAuthenticated, NotAllowed):
                pass  # the link tells the account again when it has connected
            except RemoteError as error:
                self._report(f"the load of this machine is not reported: {error}")
