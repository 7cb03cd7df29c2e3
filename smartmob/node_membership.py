"""The membership of this service in another one: it starts the link of this node, as the settings `join` say."""

from __future__ import annotations

import socket

from smartmob.app import Service
from smartmob.client.node_link import JoinRefused, LocalServer, Membership, NodeLink
from smartmob.errors import SettingsError
from smartmob.kernel.auth.node_access import make_secret
from smartmob.kernel.http.server import Accept
from smartmob.kernel.observability.event_logger import get_logger
from smartmob.kernel.runtime import clock
from smartmob.settings import Settings, secret

log = get_logger()


def membership(settings: Settings) -> Membership | None:
    """Return the membership that the settings ask for, or None; raises SettingsError."""
    join = settings.join
    if join.url is None:
        return None
    if not join.url.startswith(("http://", "https://")):
        raise SettingsError(f"--join {join.url}: expected an address such as https://lab:8080")
    token = None if join.token_file is None else secret(join.token_file, "--join-token-file")
    labels = dict(label.partition("=")[::2] for label in join.labels)
    name = join.name or socket.gethostname()
    return Membership(join.url, name, settings.data_dir / "node.json", labels, token, join.ca_file)


def start(service: Service, member: Membership, accept: Accept) -> None:
    """Start the background task that keeps the link of this node."""
    local = LocalServer(service.tasks.start, accept, service.gate.tokens.node_access.set_secret, make_secret)
    link = NodeLink(member, local, clock.epoch, _report)

    async def run() -> None:
        try:
            await link.run()
        except JoinRefused as error:
            log.error("node.refused", reason=str(error))

    service.tasks.start("node-link", run())


def _report(text: str) -> None:
    log.info("node.link", reason=text)
