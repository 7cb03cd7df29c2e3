"""The report of a run as one page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from smartmob.turrets.model import Summary
from smartmob.turrets.report.findings import Findings

Found = tuple[Summary, Findings, Sequence[Mapping[str, Any]]]


def render(summary: Summary, findings: Findings, health: Sequence[Mapping[str, Any]]) -> str:
    """Return the page of one run."""
    return ""


def compare(first: Found, second: Found) -> str:
    """Return the page of two runs side by side."""
    return ""
