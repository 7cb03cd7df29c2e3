"""The membership of this machine in a service: it starts the link of this node, as the settings `join` say."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Protocol

import msgspec

from smartmob.client.node_key import JoinRefused, Membership, NodeKey
from smartmob.client.node_link import LocalServer, NodeLink, Outbox
from smartmob.errors import SettingsError
from smartmob.kernel.auth.node_access import make_secret
from smartmob.kernel.http.gate import RequestGate
from smartmob.kernel.http.server import Accept
from smartmob.kernel.observability.event_logger import get_logger
from smartmob.kernel.runtime import clock
from smartmob.kernel.runtime.tasks import TaskRegistry
from smartmob.nodes.model import JoinRequest
from smartmob.settings import Settings, secret

log = get_logger()


class Joining(Protocol):
    """A service, or a light node, that joins."""

    @property
    def tasks(self) -> TaskRegistry:
        """Return its background tasks."""

    @property
    def gate(self) -> RequestGate:
        """Return its gate, which accepts requests of the service."""


def membership(settings: Settings, option: str = "--join-token-file") -> Membership | None:
    """Return the membership that the settings ask for, or None; raises SettingsError."""
    join = settings.join
    if join.url is None:
        return None
    if not join.url.startswith(("http://", "https://")) or not join.url.partition("://")[2].strip("/"):
        raise SettingsError(f"--join {join.url}: expected an address such as https://lab:8080")
    key_file = settings.data_dir / "node.json"
    # The token is needed once; its file may be removed when the node has its key.
    needed = join.token_file is not None and (join.token_file.exists() or not key_file.exists())
    token = secret(join.token_file, option) if join.token_file is not None and needed else None
    if token is not None and not (token.isascii() and token.isprintable()):
        raise SettingsError(f"{option}: a token has printable ASCII characters only")
    labels = dict(label.partition("=")[::2] for label in join.labels)
    name = join.name or socket.gethostname()
    try:
        msgspec.convert({"name": name, "labels": labels}, JoinRequest)
    except msgspec.ValidationError as error:
        raise SettingsError(_wrong(name, str(error))) from None
    return Membership(join.url, name, key_file, labels, token, join.ca_file, option)


def _wrong(name: str, reason: str) -> str:
    if "$.name" in reason:
        return (
            f"--name {name!r} cannot be the name of a node: it has 1 to 64 letters, digits, dots, underscores and "
            "hyphens, and begins and ends with a letter or digit"
        )
    return (
        "--label: expected KEY or KEY=VALUE, each of at most 63 letters, digits, dots, underscores and hyphens "
        f"(keys also slashes) that begin and end with a letter or digit, at most 64 of them: {reason}"
    )


def link(
    node: Joining,
    member: Membership,
    accept: Accept,
    outbox: Outbox | None = None,
    on_host: Callable[[NodeKey], None] | None = None,
) -> NodeLink:
    """Return the link of this node, which has not started."""
    local = LocalServer(node.tasks.start, accept, node.gate.tokens.node_access.set_secret, make_secret)
    return NodeLink(member, local, clock.epoch, _report, outbox, on_host)


def start(service: Joining, member: Membership, accept: Accept) -> None:
    """Start the background task that keeps the link of a service; the service goes on when it is refused."""
    made = link(service, member, accept)

    async def run() -> None:
        try:
            await made.run()
        except JoinRefused as error:
            log.error("node.refused", reason=str(error))

    service.tasks.start("node-link", run())


def _report(text: str) -> None:
    log.info("node.link", reason=text)
