"""Claims of THREAT_MODEL.md about the code itself."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_no_module_loads_a_pickle() -> None:
    """No module of the service loads a pickle: the one that writes them imports only `dumps`."""
    users = {
        (str(path.relative_to(ROOT)), found)
        for path in (ROOT / "smartmob").rglob("*.py")
        for found in re.findall(
            r"\b(?:import|from)\s+_?(?:pickle|pickletools|marshal|shelve|dill)\b.*", path.read_text(encoding="utf-8")
        )
    }
    assert users == {("smartmob/commands/conplyent/pickles.py", "from pickle import dumps")}
