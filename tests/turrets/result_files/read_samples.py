"""Texts of result files, read by the reader of their format."""

from __future__ import annotations

from io import BytesIO

from smartmob.turrets.result_files.load_sample import FileAccount, LoadSample
from smartmob.turrets.result_files.result_formats import format_of


def samples_of(text: str | bytes) -> tuple[list[LoadSample], FileAccount]:
    """Return the samples of a file and its account; its format is recognised by its content."""
    data = text.encode() if isinstance(text, str) else text
    account = FileAccount()
    read = format_of(data).read
    assert read is not None
    return list(read(BytesIO(data), account)), account
