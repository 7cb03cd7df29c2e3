"""Certificates for tests: an authority for each test, and files as an operator has them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import trustme


@dataclass(frozen=True, slots=True)
class Files:
    """The paths of a certificate and its key."""

    cert: Path
    key: Path

    @property
    def options(self) -> tuple[str | Path, ...]:
        """Return the options of a service that uses the files."""
        return ("--tls-cert", self.cert, "--tls-key", self.key)


class Authority:
    """A certificate authority; `file` is its certificate, for clients that trust it."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        self._ca = trustme.CA()
        self._folder = folder
        self.file = folder / "authority.pem"
        self._ca.cert_pem.write_to_path(self.file)

    def issue(self, name: str = "server", *hosts: str, not_before: datetime | None = None) -> Files:
        """Write a new certificate, by default for 127.0.0.1 and localhost, over existing files."""
        issued = self._ca.issue_cert(*(hosts or ("127.0.0.1", "localhost")), not_before=not_before)
        files = Files(self._folder / f"{name}.pem", self._folder / f"{name}.key")
        files.cert.write_bytes(b"".join(part.bytes() for part in issued.cert_chain_pems))
        issued.private_key_pem.write_to_path(files.key)
        return files
