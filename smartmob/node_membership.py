"""The membership of this machine in a service: it starts the link of this node, as the settings `join` say."""

from __future__ import annotations

import socket
from typing import Protocol

import msgspec

from smartmob.client import proxies
from smartmob.client.node_key import JoinRefused, Membership
from smartmob.client.node_link import LocalServer, NodeLink, Outbox
from smartmob.client.node_samples import NodeSamples
from smartmob.client.reporter import Clocks
from smartmob.environment import environment
from smartmob.errors import SettingsError
from smartmob.kernel.auth.node_access import make_secret
from smartmob.kernel.http.gate import RequestGate
from smartmob.kernel.http.server import Accept
from smartmob.kernel.observability.event_logger import get_logger
from smartmob.kernel.runtime import clock
from smartmob.kernel.runtime.tasks import TaskRegistry
from smartmob.nodes.model import JoinRequest, NodeActivity
from smartmob.settings import Settings, secret

log = get_logger()

_INTERVAL_SECONDS = 1.0
"""The interval of the samples of this machine's load."""


class Joining(Protocol):
    """A service, or a node without a database, that joins another service."""

    @property
    def tasks(self) -> TaskRegistry:
        """Return its background tasks."""

    @property
    def gate(self) -> RequestGate:
        """Return its gate, which accepts requests of the service."""

    def activity(self) -> NodeActivity:
        """Return its programs and running jobs."""


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
    proxy = proxies.proxy_of(join.url, environment())
    return Membership(join.url, name, key_file, labels, token, join.ca_file, option, proxy, named=join.name is not None)


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


class JoiningService(Joining, Protocol):
    """A service that joins; its outbox has its records for the other one."""

    @property
    def outbox(self) -> Outbox | None:
        """Return its outbox."""


def link(node: Joining, member: Membership, accept: Accept, outbox: Outbox | None) -> NodeLink:
    """Return the link of this node, which has not started; its samples are sent from the moment it has an account."""
    samples = NodeSamples(
        member.key_file.parent / "samples",
        member.ca_file,
        Clocks(clock.epoch, clock.steady),
        lambda text: log.info("node.reporting_changed", reason=text),
        member.proxy,
    )
    set_secret = node.gate.tokens.node_access.set_secret
    local = LocalServer(node.tasks.start, accept, set_secret, make_secret, node.activity)
    made = NodeLink(member, local, clock.epoch, _report, outbox, samples.use)
    if made.key is not None:
        samples.use(made.key)
    node.tasks.supervise("node-samples", lambda: samples.run(_INTERVAL_SECONDS))
    return made


def start(service: JoiningService, member: Membership, accept: Accept) -> None:
    """Start the background task that keeps the link of a service; the service goes on when it is refused."""
    made = link(service, member, accept, service.outbox)

    async def run() -> None:
        try:
            await made.run()
        except JoinRefused as error:
            log.error("node.refused", reason=str(error))

    service.tasks.start("node-link", run())


def _report(text: str) -> None:
    log.info("node.link_changed", reason=text)
