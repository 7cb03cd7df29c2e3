"""The conditions of `--fail-if`, under the names by which the commands use them."""

from __future__ import annotations

from smartmob.turrets.conditions import ALL, UNTRUSTED, RunCondition, parse, parse_all

__all__ = ["ALL", "UNTRUSTED", "RunCondition", "parse", "parse_all"]
