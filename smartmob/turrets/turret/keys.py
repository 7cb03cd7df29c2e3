"""CURVE keys: of the headquarters that a turret trusts, and the turret's own."""

from __future__ import annotations

from pathlib import Path

import zmq
import zmq.auth

from smartmob.errors import InvalidInput
from smartmob.turrets.turret.package import Package
from smartmob.turrets.turret.sockets import Keys

_Z85_LENGTH = 40


def keys(package: Package, file: Path | None, own: Path | None = None) -> Keys | None:
    """Return the keys, or None for a connection in clear text. Raises InvalidInput.

    `file` (a certificate as ZeroMQ's tools write it, or the key alone) goes before `hq_public_key`. Without
    `own` or `curve_key_file` (a certificate with a secret key, or that key alone) the turret makes a pair of its own
    for this time.
    """
    settings = package.configuration
    if file is not None:
        headquarters = _public(file)
    elif settings.hq_public_key is not None:
        headquarters = settings.hq_public_key.encode()
    else:
        return None
    if own is None and settings.curve_key_file is None:
        return Keys(headquarters, *zmq.curve_keypair())
    path = own or package.folders[-1] / str(settings.curve_key_file)
    text = _read(path)
    public, secret = (public_of(text.decode(errors="replace")).encode(), text) if _is_key(text) else _certificate(path)
    if secret is None:
        raise InvalidInput.at("$.curve_key_file", f"{path} has no secret key")
    return Keys(headquarters, public, secret)


def pair() -> tuple[str, str]:
    """Return a new public key and its secret one."""
    public, secret = zmq.curve_keypair()
    return public.decode(), secret.decode()


def public_of(secret: str) -> str:
    """Return the public key that belongs to a secret one; raises InvalidInput."""
    try:
        return zmq.curve_public(secret.encode()).decode()
    except (ValueError, zmq.ZMQError):
        raise InvalidInput("this is no secret key of CURVE, which has 40 characters of Z85") from None


def _public(path: Path) -> bytes:
    text = _read(path)
    return text if _is_key(text) else _certificate(path)[0]


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes().strip()
    except OSError as error:
        raise InvalidInput(f"cannot read {path}: {error.strerror}") from None


def _is_key(text: bytes) -> bool:
    return len(text) == _Z85_LENGTH


def _certificate(path: Path) -> tuple[bytes, bytes | None]:
    try:
        return zmq.auth.load_certificate(path)
    except (OSError, ValueError) as error:
        raise InvalidInput(f"{path} is no CURVE certificate: {error}") from None
