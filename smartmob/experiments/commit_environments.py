"""The environments of many commits: made once for each set of requirements."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from smartmob.errors import InvalidInput
from smartmob.experiments.sides import Interpreter, Side, is_compiled, made_environment, probe, requirements_of


class CommitEnvironments(msgspec.Struct):
    """Makes environments below `folder`, or uses that of `python` for all sides. `extra` are arguments for pip."""

    folder: Path
    python: str | None
    extra: Sequence[str]
    _found: Interpreter | None = None
    _made: list[tuple[Mapping[str, bytes], Interpreter | str]] = msgspec.field(default_factory=list)

    def interpreter(self, side: Side) -> Interpreter:
        """Return the interpreter for a side; commits with the same requirements share one.

        A side with compiled modules gets its own. Raises InvalidInput, and raises it again for requirements that have
        failed before.
        """
        if self.python is not None:
            if self._found is None:
                self._found = probe(self.python)
            return self._found
        wanted = requirements_of(side)
        known = None if is_compiled(side) else next((made for key, made in self._made if key == wanted), None)
        if known is None:
            # All paths have the same length, because tests also compute with the texts of paths.
            target = self.folder / f"env-{len(self._made):04d}"
            try:
                known = made_environment(side, target, self.extra)
            except InvalidInput as error:
                known = str(error)
            self._made.append((wanted, known))
        if isinstance(known, str):
            raise InvalidInput(known)
        return known
