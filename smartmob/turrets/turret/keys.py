"""CURVE keys of a turret: the public key of its headquarters and its own key pair."""

from __future__ import annotations

from pathlib import Path

import zmq
import zmq.auth

from smartmob.errors import InvalidInput
from smartmob.turrets.turret.package import Package
from smartmob.turrets.turret.sockets import Keys

_Z85_CHARACTERS = 40
"""Characters of a CURVE key of 32 bytes in Z85 (ZeroMQ RFC 32)."""


def keys(package: Package, file: Path | None, own: Path | None = None) -> Keys | None:
    """Return the keys, or None for an unencrypted connection. Raises InvalidInput.

    `file` holds the public key of the headquarters (a certificate of ZeroMQ's tools, or the key alone) and overrides
    the setting `hq_public_key`. `own` holds the secret key of this turret (again a certificate or the key alone) and
    overrides the setting `curve_key_file`; without both a temporary key pair is generated.
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
    """Return a new key pair: the public key and the secret key."""
    public, secret = zmq.curve_keypair()
    return public.decode(), secret.decode()


def public_of(secret: str) -> str:
    """Return the public key of a secret key; raises InvalidInput."""
    try:
        return zmq.curve_public(secret.encode()).decode()
    except (ValueError, zmq.ZMQError):
        raise InvalidInput("this is not a secret CURVE key, which has 40 characters of Z85") from None


def _public(path: Path) -> bytes:
    text = _read(path)
    return text if _is_key(text) else _certificate(path)[0]


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes().strip()
    except OSError as error:
        raise InvalidInput(f"cannot read {path}: {error.strerror}") from None


def _is_key(text: bytes) -> bool:
    return len(text) == _Z85_CHARACTERS


def _certificate(path: Path) -> tuple[bytes, bytes | None]:
    try:
        return zmq.auth.load_certificate(path)
    except (OSError, ValueError) as error:
        raise InvalidInput(f"{path} is not a CURVE certificate: {error}") from None
