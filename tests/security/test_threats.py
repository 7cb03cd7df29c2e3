"""What THREAT_MODEL.md says of the code itself."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_no_pickle_is_loaded_elsewhere() -> None:
    """Nothing of the service loads a pickle: the one module that writes them takes no more of `pickle` than `dumps`."""
    users = {
        (str(path.relative_to(ROOT)), found)
        for path in (ROOT / "smartmob").rglob("*.py")
        for found in re.findall(
            r"\b(?:import|from)\s+_?(?:pickle|pickletools|marshal|shelve|dill)\b.*", path.read_text(encoding="utf-8")
        )
    }
    assert users == {("smartmob/commands/conplyent/pickles.py", "from pickle import dumps")}
