"""Certificates for tests: an authority of the test's own, and files as an operator has them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import trustme


@dataclass(frozen=True, slots=True)
class Files:
    """Where a certificate and its key are."""

    cert: Path
    key: Path

    @property
    def options(self) -> tuple[str | Path, ...]:
        """Return the options of a service that uses them."""
        return ("--tls-cert", self.cert, "--tls-key", self.key)


class Authority:
    """Signs certificates; `file` is what those who trust it are given."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        self._ca = trustme.CA()
        self._folder = folder
        self.file = folder / "authority.pem"
        self._ca.cert_pem.write_to_path(self.file)

    def issue(self, name: str = "server", *hosts: str) -> Files:
        """Write a new certificate, for 127.0.0.1 and localhost unless it is for other hosts, over what is there."""
        issued = self._ca.issue_cert(*(hosts or ("127.0.0.1", "localhost")))
        files = Files(self._folder / f"{name}.pem", self._folder / f"{name}.key")
        files.cert.write_bytes(b"".join(part.bytes() for part in issued.cert_chain_pems))
        issued.private_key_pem.write_to_path(files.key)
        return files
