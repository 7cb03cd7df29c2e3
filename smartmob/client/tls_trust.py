"""The certificates that a client trusts, and the addresses to which it follows redirects."""

from __future__ import annotations

import os
import ssl
import time
from typing import TYPE_CHECKING, TypeAlias

from smartmob import authorities
from smartmob.errors import RemoteError, SettingsError

if TYPE_CHECKING:
    import aiohttp  # commands that open no WebSocket do not import it, see `http_connection`

CAFile: TypeAlias = str | os.PathLike[str] | None
"""A file of trusted authorities' certificates in PEM; None for the authorities that the machine trusts."""

_NOT_YET_VALID_CODE, _EXPIRED_CODE = 9, 10  # X509_V_ERR_CERT_NOT_YET_VALID, X509_V_ERR_CERT_HAS_EXPIRED
_NAME_MISMATCH_CODES = (62, 64)  # X509_V_ERR_HOSTNAME_MISMATCH, X509_V_ERR_IP_ADDRESS_MISMATCH (openssl/x509_vfy.h)


def context(ca_file: CAFile = None) -> ssl.SSLContext:
    """Return TLS settings that trust the authorities in `ca_file`; raises SettingsError."""
    if ca_file is None:
        return ssl.create_default_context()
    try:
        return ssl.create_default_context(cafile=ca_file)
    except ssl.SSLError:
        raise SettingsError(f"--ca-file: {os.fspath(ca_file)} holds no certificate as PEM") from None
    except OSError as error:
        raise SettingsError(f"--ca-file: cannot read {os.fspath(ca_file)}: {error.strerror}") from None


def connector(ca_file: CAFile = None) -> aiohttp.TCPConnector:
    """Return a connector that trusts the authorities in `ca_file`; raises SettingsError."""
    import aiohttp

    if ca_file is None:
        return aiohttp.TCPConnector(ssl=authorities.verification())
    return aiohttp.TCPConnector(ssl=context(ca_file))


def may_become_valid(error: BaseException) -> bool:
    """Return whether the certificate of a server was refused for its time: a clock is set, a certificate renewed."""
    cause = getattr(error, "certificate_error", error)
    return getattr(cause, "verify_code", None) in (_NOT_YET_VALID_CODE, _EXPIRED_CODE)


def _clock() -> str:
    return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime())


class ReloadedTrust:
    """The authorities in `ca_file`, which is read again when it has changed: authorities are replaced, too.

    A file that cannot be read then changes nothing. Raises SettingsError at first.
    """

    def __init__(self, ca_file: CAFile) -> None:
        self._file = ca_file
        self._version = self._present_version()
        self._context = None if ca_file is None else context(ca_file)

    def connector(self) -> aiohttp.TCPConnector:
        """Return a connector that trusts the present authorities."""
        import aiohttp

        if self._context is None:
            return aiohttp.TCPConnector(ssl=authorities.verification())
        version = self._present_version()
        if version != self._version:
            try:
                self._context, self._version = context(self._file), version
            except SettingsError:
                pass  # it is being written; the next connection looks again
        return aiohttp.TCPConnector(ssl=self._context)

    def _present_version(self) -> tuple[int, ...] | None:
        try:
            found = None if self._file is None else os.stat(self._file)
        except OSError:
            return None
        return None if found is None else (found.st_mtime_ns, found.st_size, found.st_ino)


def redirect_guard() -> aiohttp.TraceConfig:
    """Return a trace that raises RemoteError for a redirect to another origin, which must not get the token."""
    import aiohttp

    trace = aiohttp.TraceConfig()
    trace.on_request_redirect.append(_redirected)
    return trace


async def _redirected(_session: object, _context: object, params: aiohttp.TraceRequestRedirectParams) -> None:
    from yarl import URL

    location = params.response.headers.get("Location", "")
    try:
        same = params.url.join(URL(location)).origin() == params.url.origin()
    except ValueError:
        same = False
    if not same:
        raise RemoteError(
            f"{params.url.origin()} redirects to another address, {location[:200]!r}; give that one if you trust it"
        )


def certificate_problem(error: BaseException) -> str | None:
    """Return why the certificate of a server was refused, and what to do; None for any other error."""
    cause = getattr(error, "certificate_error", error)  # of aiohttp's ClientConnectorCertificateError
    if not isinstance(cause, ssl.CertificateError):
        return None
    reason = str(getattr(cause, "verify_message", cause)).rstrip(".")
    code = getattr(cause, "verify_code", None)
    if code in _NAME_MISMATCH_CODES:
        return f"its certificate is for another name: {reason}"
    if code == _NOT_YET_VALID_CODE:
        return f"its certificate is not valid yet by the clock of this machine ({_clock()}); is that right?"
    if code == _EXPIRED_CODE:
        return (
            f"its certificate has expired by the clock of this machine ({_clock()}); renew it there, or set the clock"
        )
    return (
        f"its certificate is not trusted: {reason}. If an authority of your own has signed it, "
        "name the certificate of that authority with --ca-file (or SMARTMOB_CA_FILE)"
    )
