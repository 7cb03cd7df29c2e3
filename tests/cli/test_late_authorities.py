"""Certificate authorities are loaded before the first connection, and all else is as Python makes it."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest

from smartmob.cli.late_authorities import loaded_late
from tests.certificates import Authority


def _settings(context: ssl.SSLContext) -> tuple[object, ...]:
    return context.verify_mode, context.check_hostname, context.verify_flags, context.options, context.minimum_version


def test_a_client_loads_the_authorities_with_its_first_connection(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Until then there are none, so nothing would be trusted; then they are those of the machine."""
    authority = Authority(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.file))
    with loaded_late("not.imported"):
        late, given = ssl.create_default_context(), ssl.create_default_context(cafile=authority.file)
    plain = ssl.create_default_context()
    assert given.cert_store_stats()["x509_ca"] == 1
    assert (late.cert_store_stats()["x509_ca"], plain.cert_store_stats()["x509_ca"]) == (0, 1)
    assert _settings(late) == _settings(plain)
    late.wrap_bio(ssl.MemoryBIO(), ssl.MemoryBIO(), server_hostname="localhost")
    assert late.cert_store_stats() == plain.cert_store_stats()
    assert type(late) is type(plain)


def test_nothing_changes_when_the_module_has_been_imported() -> None:
    """A program that has imported it already keeps the contexts that it has."""
    make = ssl.create_default_context
    with loaded_late("ssl"):
        assert ssl.create_default_context is make
