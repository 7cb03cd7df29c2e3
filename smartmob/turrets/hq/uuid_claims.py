"""Which turret key each uuid belongs to, so that no turret speaks in the name of another. No I/O."""

from __future__ import annotations

from collections.abc import Mapping

from smartmob.errors import InvalidInput
from smartmob.turrets.protocol import MOST_TURRETS, Result, Slices, Status


class UuidClaims:
    """The key that was the first to use each uuid, for at most `most` of them.

    Beyond that a key gives up the oldest of its own, so that none displaces what belongs to others. `changes` are
    those that are not stored yet: the key of a uuid, or None where it was given up.
    """

    def __init__(self, most: int = MOST_TURRETS) -> None:
        self.changes: dict[str, str | None] = {}
        self._most = most
        self._keys: dict[str, str] = {}
        self._uuids: dict[str, dict[str, None]] = {}

    def load(self, keys: Mapping[str, str]) -> None:
        """Take over what was stored, the oldest first."""
        for uuid, key in keys.items():
            self._claim(uuid, key)
        self.changes.clear()

    def check(self, message: Result | Status | Slices, key: str) -> None:
        """Raise InvalidInput for a message that speaks of a uuid of another key; "" is one that is not known."""
        uuid = message.identity if isinstance(message, Status) else message.uuid
        if not key or not isinstance(uuid, str):
            return
        owner = self._keys.get(uuid)
        if owner is None:
            self._claim(uuid, key)
        elif owner != key:
            raise InvalidInput.at("$.uuid", "belongs to a turret with another key")

    def take_changes(self) -> dict[str, str | None]:
        """Return what is to be stored, and take it for stored."""
        changes, self.changes = self.changes, {}
        return changes

    def give_back(self, changes: Mapping[str, str | None]) -> None:
        """Take back what could not be stored; what came meanwhile is newer."""
        self.changes = {**changes, **self.changes}

    def _claim(self, uuid: str, key: str) -> None:
        if len(self._keys) >= self._most:
            most = key if key in self._uuids else max(self._uuids, key=lambda one: len(self._uuids[one]))
            self._give_up(next(iter(self._uuids[most])), most)
        self._keys[uuid] = self.changes[uuid] = key
        self._uuids.setdefault(key, {})[uuid] = None

    def _give_up(self, uuid: str, key: str) -> None:
        del self._keys[uuid], self._uuids[key][uuid]
        self.changes[uuid] = None
        if not self._uuids[key]:
            del self._uuids[key]
