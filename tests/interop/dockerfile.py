"""Reads the Dockerfile as far as its steps can be run without a container engine."""

from __future__ import annotations

import json
import re
import shlex
from dataclasses import dataclass, field
from pathlib import Path

_CONTINUED = re.compile(r"\\\n\s*")


@dataclass(slots=True)
class Stage:
    """One stage: what it is made of, and what a container of it is started with."""

    base: str
    steps: list[tuple[str, str]] = field(default_factory=list)

    def texts(self, instruction: str) -> list[str]:
        """Return what stands behind each such instruction."""
        return [text for name, text in self.steps if name == instruction]

    def words(self, instruction: str) -> list[str]:
        """Return the words of the last such instruction, which is written as a list."""
        text = self.texts(instruction)[-1]
        words: list[str] = json.loads(text[text.index("[") :])
        return words

    def environment(self) -> dict[str, str]:
        """Return what ENV sets."""
        return dict(word.split("=", 1) for text in self.texts("ENV") for word in shlex.split(text))


def stages(path: Path) -> dict[str, Stage]:
    """Return the stages by name; the last one, which is the image, has the name ''."""
    found: dict[str, Stage] = {}
    lines = (line for line in path.read_text().splitlines() if not line.startswith("#"))
    for line in _CONTINUED.sub(" ", "\n".join(lines)).splitlines():
        instruction, _, text = line.partition(" ")
        if instruction == "FROM":
            base, _, name = text.partition(" AS ")
            current = found[name] = Stage(base)
        elif line and found:
            current.steps.append((instruction, text))
    return found
