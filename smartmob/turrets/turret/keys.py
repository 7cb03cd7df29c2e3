"""CURVE keys: of the headquarters that a turret trusts, and the turret's own."""

from __future__ import annotations

from pathlib import Path

import zmq
import zmq.auth

from smartmob.errors import InvalidInput
from smartmob.turrets.turret.package import Package
from smartmob.turrets.turret.wire import Keys

_Z85_LENGTH = 40


def keys(package: Package, file: Path | None) -> Keys | None:
    """Return the keys, or None for a connection in clear text. Raises InvalidInput.

    `file` (a certificate as ZeroMQ's tools write it, or the key alone) goes before `hq_public_key`. Without
    `curve_key_file` (a certificate with a secret key) the turret makes a pair of its own for this time.
    """
    settings = package.configuration
    if file is not None:
        headquarters = _public(file)
    elif settings.hq_public_key is not None:
        headquarters = settings.hq_public_key.encode()
    else:
        return None
    if settings.curve_key_file is None:
        return Keys(headquarters, *zmq.curve_keypair())
    path = package.folders[-1] / settings.curve_key_file
    public, secret = _certificate(path)
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
    try:
        text = path.read_bytes().strip()
    except OSError as error:
        raise InvalidInput(f"cannot read {path}: {error.strerror}") from None
    return text if len(text) == _Z85_LENGTH else _certificate(path)[0]


def _certificate(path: Path) -> tuple[bytes, bytes | None]:
    try:
        return zmq.auth.load_certificate(path)
    except (OSError, ValueError) as error:
        raise InvalidInput(f"{path} is no CURVE certificate: {error}") from None
