"""The certificates that a client trusts; tests/acceptance/test_tls.py tests connections."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path

import aiohttp
import pytest
from aiohttp.client_reqrep import ConnectionKey

from smartmob.client.tls_trust import ReloadedTrust, certificate_problem, connector, may_become_valid
from smartmob.errors import SettingsError
from tests.certificates import Authority


async def test_an_own_authority_replaces_those_of_the_machine(tmp_path: Path) -> None:
    """The given authority replaces the list of the machine, and certificates and names are checked."""
    made = connector(Authority(tmp_path).file)

    context = made._ssl
    assert isinstance(context, ssl.SSLContext)
    assert (len(context.get_ca_certs()), context.verify_mode, context.check_hostname) == (1, ssl.CERT_REQUIRED, True)
    await made.close()


async def test_certificates_are_checked_without_a_file() -> None:
    """Without a file certificates are checked all the same."""
    made = connector()

    assert made._ssl is True
    await made.close()


@pytest.mark.parametrize(("text", "said"), [(None, "cannot read"), ("", "no certificate"), ("x", "no certificate")])
async def test_a_file_that_is_no_good(tmp_path: Path, text: str | None, said: str) -> None:
    """It is refused before anything is sent."""
    file = tmp_path / "authority.pem"
    if text is not None:
        file.write_text(text)

    with pytest.raises(SettingsError, match=rf"^--ca-file: .*{said}"):
        connector(file)


def _error(code: int, message: str) -> aiohttp.ClientConnectorCertificateError:
    cause = ssl.SSLCertVerificationError(1, "certificate verify failed")
    cause.verify_code, cause.verify_message = code, message
    return aiohttp.ClientConnectorCertificateError(ConnectionKey("lab", 443, True, True, None, None, None), cause)


def test_the_error_of_a_certificate_says_what_helps() -> None:
    """An unknown authority can be named; a wrong name cannot be helped by that; other errors are not about trust."""
    assert "with --ca-file" in str(certificate_problem(_error(20, "unable to get local issuer certificate")))
    said = certificate_problem(_error(62, "Hostname mismatch, certificate is not valid for 'lab'."))
    assert said == "its certificate is for another name: Hostname mismatch, certificate is not valid for 'lab'"
    assert certificate_problem(OSError("no route")) is None


def test_a_certificate_whose_time_is_wrong_may_become_valid() -> None:
    """The clock of a machine that has just started is wrong, and a certificate is renewed: both are tried again."""
    early, expired = _error(9, "certificate is not yet valid"), _error(10, "certificate has expired")
    assert "not valid yet by the clock of this machine" in str(certificate_problem(early))
    assert "has expired by the clock of this machine" in str(certificate_problem(expired))
    assert may_become_valid(early) and may_become_valid(expired)
    assert not may_become_valid(_error(20, "unable to get local issuer certificate"))
    assert not may_become_valid(OSError("no route"))


async def test_replaced_authorities_are_read_again(tmp_path: Path) -> None:
    """The next connection trusts them; a file that cannot be read changes nothing."""
    file = Authority(tmp_path).file
    trust = ReloadedTrust(file)

    async def trusted() -> list[object]:
        made = trust.connector()
        await made.close()
        assert isinstance(made._ssl, ssl.SSLContext)
        return [each["serialNumber"] for each in made._ssl.get_ca_certs()]

    first = await trusted()
    file.write_text("half a fi")
    assert await trusted() == first
    second = await asyncio.to_thread(Authority, tmp_path)
    assert await trusted() != first
    second.file.unlink()
    assert await trusted() != first
    with pytest.raises(SettingsError, match="cannot read"):
        ReloadedTrust(file)
