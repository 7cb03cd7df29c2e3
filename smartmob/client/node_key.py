"""Joining: a machine gets a key of its own from a service, once, and keeps it in a file."""

from __future__ import annotations

import hashlib
import hmac
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import msgspec

from smartmob.client import tls_trust
from smartmob.errors import RemoteError, StartupError
from smartmob.nodes.model import make_key

_RETRIED = (408, 425, 429)
"""Statuses below 500 of answers that may be others a moment later."""


_CONFLICT_STATUS = 409


class JoinRefused(RemoteError):
    """The service refuses this machine, and would do so again."""


@dataclass(frozen=True, slots=True)
class Membership:
    """The service that this machine joins, and its name and labels there. `key_file` keeps its key between starts.

    It is `named` if a person chose the name. `option` is that of the command line for the token.
    """

    url: str
    name: str
    key_file: Path
    labels: Mapping[str, str] = field(default_factory=dict)
    token: str | None = None
    ca_file: Path | None = None
    option: str = "--join-token-file"
    proxy: str | None = field(default=None, repr=False)
    """The address of the HTTP proxy on the way to the service, which may contain a password."""
    named: bool = False


class NodeKey(msgspec.Struct, frozen=True):
    """The content of the key file. `host` is the machine as which the node reports its load, once it is known."""

    url: str
    name: str
    key: str
    host: str = ""

    @property
    def host_password(self) -> str:
        """Return the password of that machine: it is derived from the key, which it does not reveal."""
        return hmac.digest(self.key.encode(), b"smartmob host password", hashlib.sha256).hex()


def read_key(membership: Membership) -> NodeKey | None:
    """Return the key of this node at this service, or None before it has joined; raises StartupError."""
    file = membership.key_file
    try:
        key = msgspec.json.decode(file.read_bytes(), type=NodeKey)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.DecodeError) as error:
        raise StartupError(f"cannot read the key of this node in {file}: {error}") from None
    return key if key.url == membership.url.rstrip("/") else None


def write_key(file: Path, key: NodeKey) -> None:
    """Store a key so that a crash leaves the old file or the new one; raises StartupError."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(new := f"{file}.new", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            os.write(descriptor, msgspec.json.encode(key))
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        os.replace(new, file)
    except OSError as error:
        raise StartupError(f"{file} cannot be written: {error.strerror}") from None


async def join(session: aiohttp.ClientSession, membership: Membership) -> NodeKey:
    """Join with the token, store the key and return it.

    The key is made here and on the disk before the request: when the answer, or this process, is lost, the next request
    is for the same node.
    Raises JoinRefused when it makes no sense to try again, else RemoteError or an error of aiohttp.
    """
    url = membership.url.rstrip("/")
    if membership.token is None:
        if (other := _other_service(membership)) is not None:
            raise JoinRefused(other)
        raise JoinRefused(
            "this machine has not joined yet, which needs a token: make one with "
            f"`smartmob token add NAME --role node`, and give {membership.option} FILE"
        )
    try:
        async with session.post(
            f"{url}/api/v1/nodes/join",
            json={"name": membership.name, "labels": dict(membership.labels), "key": _new_key(membership).key},
            headers={"Authorization": f"Bearer {membership.token}"},
        ) as answer:
            body = await answer.content.read(16 * 1024)
            status, reason = answer.status, answer.reason
    except aiohttp.ClientConnectorCertificateError as error:
        if tls_trust.may_become_valid(error):
            raise
        raise JoinRefused(f"cannot join {url}: {tls_trust.certificate_problem(error)}") from None
    except aiohttp.ClientConnectorSSLError as error:
        raise JoinRefused(f"cannot join {url}: it does not speak TLS ({error.os_error}); try http://") from None
    except RemoteError as error:  # a redirect to another address
        raise JoinRefused(f"cannot join: {error}") from None
    if status == 201:
        try:
            joined = msgspec.json.decode(body, type=_Joined)
        except msgspec.DecodeError:
            raise JoinRefused(f"{url} is not a smartmob service: its answer cannot be read") from None
        key = NodeKey(url, joined.name, joined.key)
        write_key(membership.key_file, key)
        _joining_file(membership).unlink(missing_ok=True)
        return key
    detail = _detail(body) or f"it answered {status} {reason}"
    if status in (404, 405):
        detail = "it knows no nodes: it is an older smartmob, or another service"
    elif status == 401:
        detail = "it does not accept the token; make one with `smartmob token add NAME --role node`"
    elif status == _CONFLICT_STATUS and (other := _other_service(membership)) is not None:
        detail = f"{detail}. Or else {other}"
    if status < 500 and status not in _RETRIED:
        raise JoinRefused(f"{url} refuses this machine: {detail}", None if status in (404, 405) else status)
    raise RemoteError(detail, status)


def _other_service(membership: Membership) -> str | None:
    """Return what to do when the key file has a key for another address, or None if it has none."""
    with suppress(OSError, msgspec.DecodeError):
        known = msgspec.json.decode(membership.key_file.read_bytes(), type=NodeKey)
        return (
            f"this machine is the node {known.name} of {known.url}: if that is the same service under another address, "
            f"change `url` in {membership.key_file}; to join a second one, name another folder"
        )
    return None


def _joining_file(membership: Membership) -> Path:
    """Return the file of the key with which this machine is joining."""
    return membership.key_file.with_name(f"{membership.key_file.name}.joining")


def _new_key(membership: Membership) -> NodeKey:
    """Return the key of the last attempt to join this service under this name, or a new one, which is stored."""
    url, file = membership.url.rstrip("/"), _joining_file(membership)
    with suppress(OSError, msgspec.DecodeError):
        known = msgspec.json.decode(file.read_bytes(), type=NodeKey)
        if (known.url, known.name) == (url, membership.name):
            return known
    key = NodeKey(url, membership.name, make_key())
    write_key(file, key)
    return key


class _Joined(msgspec.Struct, frozen=True):
    name: str
    key: str


def _detail(body: bytes) -> str | None:
    """Return the reason of a refusal in a problem document."""
    with suppress(msgspec.DecodeError):
        if detail := msgspec.json.decode(body, type=dict[str, object]).get("detail"):
            return str(detail)[:500]
    return None
