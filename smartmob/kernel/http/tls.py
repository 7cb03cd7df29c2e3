"""The TLS certificate of the service: read at the start and at each reload, and used by every later handshake."""

from __future__ import annotations

import ssl
from pathlib import Path

from smartmob.errors import SettingsError
from smartmob.settings import Settings


class Certificate:
    """A certificate with its key, and the SSL context made of them. Raises SettingsError that names the option."""

    def __init__(self, cert: Path, key: Path) -> None:
        self.cert = cert
        self._key = key
        self.context = self._read()

    def reload(self) -> None:
        """Read both files again; raises SettingsError, and then the old certificate stays in use."""
        # Checked in another context first: loading that fails halfway leaves the new certificate with the old key.
        self._read()
        self.context.load_cert_chain(self.cert, self._key, _no_password)

    def _read(self) -> ssl.SSLContext:
        for option, path in (("--tls-cert", self.cert), ("--tls-key", self._key)):
            try:
                path.open("rb").close()
            except OSError as error:
                raise SettingsError(f"{option}: cannot read {path}: {error.strerror}") from None
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_alpn_protocols(["http/1.1"])
        try:
            context.load_cert_chain(self.cert, self._key, _no_password)
        except ssl.SSLError as error:
            raise SettingsError(self._describe(error)) from None
        return context

    def _describe(self, error: ssl.SSLError) -> str:
        if error.reason == "KEY_VALUES_MISMATCH":
            return f"--tls-key: {self._key} is not the key of the certificate in {self.cert}"
        return (
            f"--tls-cert, --tls-key: {self.cert} must hold the certificate followed by those that signed it, and "
            f"{self._key} its private key, both as PEM ({error.reason or 'nothing of that kind was found'})"
        )


def certificate(settings: Settings) -> Certificate | None:
    """Return the certificate of the settings, or None for plain HTTP; raises SettingsError."""
    if settings.tls_cert is None and settings.tls_key is None:
        return None
    if settings.tls_cert is None or settings.tls_key is None:
        raise SettingsError("--tls-cert and --tls-key belong together: give both, or none for plain HTTP")
    return Certificate(settings.tls_cert, settings.tls_key)


def _no_password() -> str:
    # Without this callback OpenSSL asks for the password on the terminal, which a service does not have.
    raise SettingsError("--tls-key: the key is encrypted; give one without a password that only the service can read")
