"""Nodes: the machines that have joined the service, their labels and keys. No I/O."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated

import msgspec

KEY_PREFIX = "smn_"
"""The beginning of the key of a node, by which people and secret scanners recognise it."""

SERVICE_PREFIX = "@"
"""The beginning of names by which other services on the database are used like nodes; no node's name has it."""

Name = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9]([A-Za-z0-9._-]{0,62}[A-Za-z0-9])?$(?!\n)")]
"""The name of a node: like a host name, so it fits into an address. `$` alone would allow a line break at the end."""

LabelKey = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9]([A-Za-z0-9._/-]{0,61}[A-Za-z0-9])?$(?!\n)")]
LabelValue = Annotated[str, msgspec.Meta(pattern=r"^([A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?)?$(?!\n)")]
Labels = Annotated[dict[LabelKey, LabelValue], msgspec.Meta(max_length=64)]
"""Labels, with the characters that Kubernetes allows; a label without `=` has an empty value."""


_Text = Annotated[str, msgspec.Meta(max_length=200, pattern=r"^[^\x00-\x1f]*$(?!\n)")]
_Count = Annotated[int, msgspec.Meta(ge=0, le=2**62)]
_Seconds = Annotated[float, msgspec.Meta(ge=-1e10, le=1e10)]
"""Three centuries in either direction: a clock may be wrong, but its time must fit into a column."""


MAX_LINE = 300
"""Characters of a text in the activity of a node; longer ones are cut by the node."""
MOST_SHOWN = 500
"""Programs and jobs that a node reports to the service; a message of the link has space for more."""


class NodeFacts(msgspec.Struct, frozen=True, kw_only=True):
    """A node's description of itself, which it sends when it connects.

    `clock_offset` is the service's clock minus the node's, `clock_delay` the round trip of that exchange, both in
    seconds; `memory` is in bytes. `service` is the address of the service as the node reaches it.
    """

    version: _Text = ""
    machine: _Text = ""
    system: _Text = ""
    python: _Text = ""
    cpus: _Count = 0
    memory: _Count = 0
    clock_offset: _Seconds | None = None
    clock_delay: _Seconds | None = None
    service: Annotated[str, msgspec.Meta(max_length=2_000, pattern=r"^[^\x00-\x1f]*$(?!\n)")] = ""


_Line = Annotated[str, msgspec.Meta(max_length=MAX_LINE)]
_Slug = Annotated[str, msgspec.Meta(max_length=500)]


class NodeProgram(msgspec.Struct, frozen=True, kw_only=True):
    """A program of a node at one moment; the fields are those of the list of processes.

    `ready` is None when it has no readiness check.
    """

    slug: _Slug
    state: Annotated[str, msgspec.Meta(max_length=50)]
    detail: _Line = ""
    pid: _Count | None = None
    port: _Count | None = None
    restarts: _Count = 0
    ready: bool | None = None


class NodeCommand(msgspec.Struct, frozen=True, kw_only=True):
    """A job that runs on a node; `line` is its command line."""

    id: Annotated[int, msgspec.Meta(ge=1, le=2**62)]
    line: _Line


class NodeActivity(msgspec.Struct, frozen=True, kw_only=True):
    """The programs of a node and the jobs that run there, at most `MOST_SHOWN` of each.

    `programs_in_all` and `jobs_in_all` are their numbers.
    """

    programs: Annotated[list[NodeProgram], msgspec.Meta(max_length=MOST_SHOWN)] = []
    jobs: Annotated[list[NodeCommand], msgspec.Meta(max_length=MOST_SHOWN)] = []
    programs_in_all: _Count = 0
    jobs_in_all: _Count = 0


class Holder(msgspec.Struct, frozen=True):
    """A node that has a program or job, or another service on the database (`@` and its id)."""

    name: str
    connected: bool


class JoinRequest(msgspec.Struct, frozen=True, kw_only=True):
    """The request of a machine to become a node.

    With a `key` of its own, which it has stored before, it can repeat a request whose answer was lost.
    """

    name: Name
    labels: Labels = {}
    key: Annotated[str, msgspec.Meta(pattern=r"^smn_[A-Za-z0-9_-]{43}$(?!\n)")] | None = None


class Joined(msgspec.Struct, frozen=True, kw_only=True):
    """The answer to a machine that has become a node. No other answer contains its key."""

    name: str
    key: str


class NodeUpdate(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A change of a node; null leaves a field as it is. `labels` replaces all labels."""

    labels: Labels | None = None
    drained: bool | None = None


class StoredNode(msgspec.Struct, frozen=True, kw_only=True):
    """A node as it is stored. `service` is the id of the service that holds its connection, or None.

    `activity` is the last report of the node.
    """

    name: str
    digest: bytes
    labels: dict[str, str]
    drained: bool
    joined_at: datetime
    seen_at: datetime | None
    service: str | None
    facts: NodeFacts
    activity: NodeActivity = NodeActivity()


class Node(msgspec.Struct, frozen=True, kw_only=True):
    """A node as clients see it. It is `connected` if a service holds its connection."""

    name: str
    labels: dict[str, str]
    connected: bool
    drained: bool
    joined_at: datetime
    seen_at: datetime | None
    facts: NodeFacts


def make_key() -> str:
    """Return a new key of 256 random bits."""
    return KEY_PREFIX + secrets.token_urlsafe(32)


def digest(key: str) -> bytes:
    """Return the SHA-256 of a key, which is stored instead of the key."""
    return hashlib.sha256(key.encode(errors="surrogateescape")).digest()


def matches(labels: Mapping[str, str], wanted: Mapping[str, str | None]) -> bool:
    """Return whether labels contain all of the wanted ones; None stands for any value."""
    return all(key in labels and value in (None, labels[key]) for key, value in wanted.items())


def has(activity: NodeActivity, program: str | None, job: int | None) -> bool:
    """Return whether a machine has this program, has a program of this application, or runs this job."""
    beginning = f"{program}."
    return any(
        each.slug == program or each.slug.startswith(beginning) for each in activity.programs if program is not None
    ) or any(each.id == job for each in activity.jobs)
