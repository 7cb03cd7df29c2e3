"""The conditions of `--fail-if`, under the names by which the commands use them."""

from __future__ import annotations

from smartmob.turrets.conditions import ALL, UNTRUSTED, Threshold, parse, parse_all

__all__ = ["ALL", "UNTRUSTED", "Threshold", "parse", "parse_all"]
