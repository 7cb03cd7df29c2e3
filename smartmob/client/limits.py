"""Limits on the data that a client accepts from a server: bytes, messages and pages, all settable in one object.

from smartmob.client.limits import LIMITS

LIMITS.gathered_bytes = 2 * 1024**3
"""

from __future__ import annotations

import msgspec


class ClientLimits(msgspec.Struct):
    """The most data that a client accepts from a server. A command ends with one line when a server sends more."""

    line_bytes: int = 4 * 1024 * 1024
    """A line of a listing, or a message of a WebSocket other than `/commands`."""
    frame_bytes: int = 64 * 1024 * 1024
    """A frame of the WebSocket `/commands`."""
    document_bytes: int = 64 * 1024 * 1024
    """A JSON document, or a listing that is kept as a whole."""
    problem_bytes: int = 1024 * 1024
    """A document that says why a request was refused."""
    report_bytes: int = 256 * 1024 * 1024
    """The report of a load test."""
    listing_bytes: int = 64 * 1024 * 1024 * 1024
    """A listing that is passed on as it arrives."""
    pages: int = 10_000
    """Pages of a list."""
    silence_seconds: float = 600.0
    """Seconds without a byte within an answer."""
    first_answer_seconds: float = 10.0
    """Seconds until the first answer of a server, after which its health is requested."""
    health_seconds: float = 30.0
    """Seconds that this answer may take; a service on a busy machine answers within a few."""
    answer_seconds: float = 120.0
    """Seconds until the first answer to a command, which confirms that the server has accepted it. An accepted command
    may run without output for any time."""
    transfer_seconds: float = 600.0
    """Seconds without progress of a transfer of a file."""
    gathered_messages: int = 1_000_000
    """Messages of a command that are gathered until its end."""
    gathered_bytes: int = 256 * 1024 * 1024
    """Bytes of the frames of a command whose messages are gathered until its end."""
    unread_messages: int = 500_000
    """Messages that wait for the reader of a listener; further ones are left out."""
    unread_bytes: int = 64 * 1024 * 1024
    """Bytes of the frames of messages that wait for the reader of a listener; further ones are left out."""
    gaps: int = 1_000
    """Gaps in the output of a job that are listed."""
    output_line_characters: int = 16 * 1024 * 1024
    """Characters of a line of a job's output; a longer one arrives in parts."""


LIMITS = ClientLimits()
"""The limits of this process."""
