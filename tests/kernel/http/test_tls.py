"""The certificate: invalid files, and the reload."""

from __future__ import annotations

import asyncio
import socket
import ssl
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization

from smartmob.errors import SettingsError
from smartmob.kernel.http.tls import Certificate, certificate
from smartmob.settings import Settings
from tests.certificates import Authority, Files


@pytest.fixture(name="authority")
def _authority(tmp_path: Path) -> Authority:
    """Return an authority for the test."""
    return Authority(tmp_path)


def _shown(server: Certificate, client: ssl.SSLContext) -> tuple[bytes, str | None]:
    """Return the certificate and the TLS version that a client gets, by a handshake in memory."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    here = client.wrap_bio(to_client, to_server, server_hostname="localhost")
    there = server.context.wrap_bio(to_server, to_client, server_side=True)
    done = set[str]()
    for _ in range(10):
        for name, side in (("client", here), ("server", there)):
            try:
                side.do_handshake()
                done.add(name)
            except ssl.SSLWantReadError:
                pass
        if len(done) == 2:
            return here.getpeercert(binary_form=True) or b"", here.version()
    raise AssertionError("no handshake")


def _of(files: Files) -> bytes:
    return ssl.PEM_cert_to_DER_cert(files.cert.read_text().split("-----END")[0] + "-----END CERTIFICATE-----\n")


def test_without_a_certificate_there_is_no_tls() -> None:
    """Settings without a certificate give plain HTTP."""
    assert certificate(Settings()) is None


@pytest.mark.parametrize("half", [Settings(tls_cert=Path("x")), Settings(tls_key=Path("x"))])
def test_a_certificate_without_a_key_is_refused(half: Settings) -> None:
    """One file without the other is refused and not taken for plain HTTP."""
    with pytest.raises(SettingsError, match="belong together"):
        certificate(half)


def test_clients_get_the_certificate(authority: Authority) -> None:
    """A client that trusts the authority gets the certificate."""
    files = authority.issue()
    found = certificate(Settings(tls_cert=files.cert, tls_key=files.key))
    assert found is not None

    assert _shown(found, ssl.create_default_context(cafile=authority.file))[0] == _of(files)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_tls_1_2_and_1_3_are_accepted(authority: Authority, version: ssl.TLSVersion) -> None:
    """Clients with TLS 1.2 and 1.3 connect."""
    files, client = authority.issue(), ssl.create_default_context(cafile=authority.file)
    client.minimum_version = client.maximum_version = version

    assert _shown(Certificate(files.cert, files.key), client)[1] == version.name.replace("_", ".")


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1_1 is deprecated")
def test_tls_1_1_is_refused(authority: Authority) -> None:
    """A client with TLS 1.1 at most is refused."""
    files, client = authority.issue(), ssl.create_default_context(cafile=authority.file)
    client.minimum_version = client.maximum_version = ssl.TLSVersion.TLSv1_1
    client.set_ciphers("ALL:@SECLEVEL=0")

    with pytest.raises(ssl.SSLError, match=r"(?i)protocol version|unsupported protocol|no protocols"):
        _shown(Certificate(files.cert, files.key), client)


def test_a_reload_changes_the_certificate(authority: Authority) -> None:
    """After a reload new handshakes get the new certificate, with the same context."""
    first = authority.issue()
    used, client, before = (
        Certificate(first.cert, first.key),
        ssl.create_default_context(cafile=authority.file),
        _of(first),
    )
    second = authority.issue()

    assert _shown(used, client)[0] == before
    used.reload()

    assert before != _shown(used, client)[0] == _of(second)


def test_a_failed_reload_keeps_the_old_certificate(authority: Authority) -> None:
    """A new certificate with the old key is refused, and the old pair stays in use."""
    files = authority.issue()
    used, before = Certificate(files.cert, files.key), _of(files)
    files.cert.write_bytes(authority.issue("other").cert.read_bytes())

    with pytest.raises(SettingsError, match="is not the key of the certificate"):
        used.reload()

    assert _shown(used, ssl.create_default_context(cafile=authority.file))[0] == before


class TestRefused:
    """Errors for invalid files, with the names of the options."""

    @pytest.mark.parametrize("missing", ["cert", "key"])
    def test_a_missing_file_is_named(self, authority: Authority, missing: str) -> None:
        """The error names the missing file and its option."""
        files = authority.issue()
        getattr(files, missing).unlink()

        with pytest.raises(SettingsError, match=rf"^--tls-{missing}: cannot read .*: No such file"):
            Certificate(files.cert, files.key)

    def test_a_key_of_another_certificate_is_refused(self, authority: Authority) -> None:
        """The error names both files."""
        files, other = authority.issue(), authority.issue("other")

        with pytest.raises(SettingsError, match=r"--tls-key: .*other.key is not the key .* in .*server.pem"):
            Certificate(files.cert, other.key)

    @pytest.mark.parametrize(
        "text", ["", "no certificate", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----"]
    )
    def test_a_file_without_a_certificate_is_refused(self, authority: Authority, text: str) -> None:
        """The error says what each file must contain."""
        files = authority.issue()
        files.cert.write_text(text)

        with pytest.raises(SettingsError, match="must hold the certificate"):
            Certificate(files.cert, files.key)

    def test_an_encrypted_key_is_refused_without_a_prompt(self, authority: Authority) -> None:
        """An encrypted key is refused, and OpenSSL asks for no password."""
        files = authority.issue()
        key = serialization.load_pem_private_key(files.key.read_bytes(), None)
        files.key.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.BestAvailableEncryption(b"secret"),
            )
        )

        with pytest.raises(SettingsError, match="the key is encrypted"):
            Certificate(files.cert, files.key)


async def test_open_connections_survive_a_reload(authority: Authority) -> None:
    """A connection with the old certificate continues after a reload."""
    files = authority.issue()
    used, client = Certificate(files.cert, files.key), ssl.create_default_context(cafile=authority.file)

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            writer.write(line)
        writer.close()

    server = await asyncio.start_server(echo, "127.0.0.1", 0, ssl=used.context, family=socket.AF_INET)
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname(), ssl=client)
    authority.issue()
    used.reload()
    writer.write(b"still here\n")

    assert await reader.readline() == b"still here\n"
    writer.close()
    await writer.wait_closed()
    server.close()
    await server.wait_closed()
