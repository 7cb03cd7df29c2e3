"""CURVE keys of a turret."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import zmq
import zmq.auth

from smartmob.errors import InvalidInput
from smartmob.turrets.turret import configuration
from smartmob.turrets.turret.keys import keys, pair, public_of
from smartmob.turrets.turret.package import Package
from tests.turrets.turret.test_configuration import GIVEN


def _package(folder: Path, **further: Any) -> Package:
    given = GIVEN | further
    return Package(given, configuration.parse(given), folder / "v_user.py", (folder,))


def test_without_a_key_nothing_is_encrypted(tmp_path: Path) -> None:
    """Without a key of the headquarters there are no keys."""
    assert keys(_package(tmp_path), None) is None


def test_the_key_of_the_headquarters_is_read_from_each_place(tmp_path: Path) -> None:
    """The configuration, a file with the key, or a certificate; the turret generates its own pair."""
    public, _ = zmq.curve_keypair()
    certificate, _ = zmq.auth.create_certificates(tmp_path, "hq")
    (tmp_path / "key").write_bytes(public + b"\n")
    made = keys(_package(tmp_path, hq_public_key=public.decode()), None)
    assert made is not None
    assert (made.headquarters, len(made.public), len(made.secret)) == (public, 40, 40)
    alone = keys(_package(tmp_path), tmp_path / "key")
    certified = keys(_package(tmp_path), Path(certificate))
    assert alone is not None
    assert certified is not None
    assert (alone.headquarters, certified.headquarters) == (public, zmq.auth.load_certificate(certificate)[0])


def test_the_pair_of_the_turret_is_read_from_a_certificate(tmp_path: Path) -> None:
    """One without a secret key is refused."""
    public_file, secret_file = zmq.auth.create_certificates(tmp_path, "mine")
    hq = zmq.curve_keypair()[0].decode()
    made = keys(_package(tmp_path, hq_public_key=hq, curve_key_file=Path(secret_file).name), None)
    assert made is not None
    assert (made.public, made.secret) == zmq.auth.load_certificate(secret_file)
    with pytest.raises(InvalidInput, match="no secret key"):
        keys(_package(tmp_path, hq_public_key=hq, curve_key_file=Path(public_file).name), None)


def test_an_invalid_key_file_is_named(tmp_path: Path) -> None:
    """The error names the file."""
    (tmp_path / "key").write_text("nothing")
    for name in ("absent", "key"):
        with pytest.raises(InvalidInput, match=name):
            keys(_package(tmp_path), tmp_path / name)


def test_each_new_pair_is_different() -> None:
    """The public key can be derived from the secret one; an invalid key is refused."""
    (public, secret), other = pair(), pair()
    assert public_of(secret) == public != other[0]
    with pytest.raises(InvalidInput, match="not a secret CURVE key"):
        public_of("nothing")
