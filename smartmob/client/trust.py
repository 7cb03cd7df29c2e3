"""Whom a client takes for its service: the certificates that it trusts, and what to say when it does not."""

from __future__ import annotations

import os
import ssl
from typing import TypeAlias

import aiohttp
from yarl import URL

from smartmob.errors import RemoteError, SettingsError

CAFile: TypeAlias = str | os.PathLike[str] | None
"""File of the certificates of the authorities to trust, as PEM; None for those that the machine trusts."""

_OTHER_NAME = (62, 64)  # X509_V_ERR_HOSTNAME_MISMATCH and _IP_ADDRESS_MISMATCH: no authority would help


def connector(ca_file: CAFile = None) -> aiohttp.TCPConnector:
    """Return what makes connections, over TLS only to who is trusted; raises SettingsError."""
    if ca_file is None:
        return aiohttp.TCPConnector()
    try:
        context = ssl.create_default_context(cafile=ca_file)
    except ssl.SSLError:
        raise SettingsError(f"--ca-file: {os.fspath(ca_file)} holds no certificate as PEM") from None
    except OSError as error:
        raise SettingsError(f"--ca-file: cannot read {os.fspath(ca_file)}: {error.strerror}") from None
    return aiohttp.TCPConnector(ssl=context)


def redirects() -> aiohttp.TraceConfig:
    """Return what keeps a session with the service that it was made for; a redirect elsewhere raises RemoteError."""
    watching = aiohttp.TraceConfig()
    watching.on_request_redirect.append(_redirected)
    return watching


async def _redirected(_session: object, _context: object, asked: aiohttp.TraceRequestRedirectParams) -> None:
    there = asked.response.headers.get("Location", "")
    try:
        same = asked.url.join(URL(there)).origin() == asked.url.origin()
    except ValueError:
        same = False
    if not same:
        raise RemoteError(
            f"{asked.url.origin()} leads to another address, {there[:200]!r}; give that one if you trust it"
        )


def distrust(error: BaseException) -> str | None:
    """Return why the certificate of a server was refused, and what to do; None when that was not what went wrong."""
    if not isinstance(error, aiohttp.ClientConnectorCertificateError):
        return None
    cause = error.certificate_error
    said = str(getattr(cause, "verify_message", cause)).rstrip(".")
    if getattr(cause, "verify_code", None) in _OTHER_NAME:
        return f"its certificate is for another name: {said}"
    return (
        f"its certificate is not trusted: {said}. If an authority of your own has signed it, "
        "name that one's certificate with --ca-file (or SMARTMOB_CA_FILE)"
    )
