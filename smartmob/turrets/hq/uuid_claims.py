"""The turret key to which each uuid belongs, so that no turret can send messages under the uuid of another turret. No
I/O.
"""

from __future__ import annotations

from collections.abc import Mapping

from smartmob.errors import InvalidInput
from smartmob.turrets.protocol import MOST_TURRETS, Result, Slices, Status


class UuidClaims:
    """The public key that first used each uuid, for at most `most` uuids.

    When the limit is reached, a key with a new uuid loses the oldest uuid of its own, so that it cannot displace a uuid
    of another key. `changes` are the claims that are not stored yet: the key of a uuid, or None for a released uuid.
    """

    def __init__(self, most: int = MOST_TURRETS) -> None:
        self.changes: dict[str, str | None] = {}
        self._most = most
        self._keys: dict[str, str] = {}
        self._uuids: dict[str, dict[str, None]] = {}

    def load(self, keys: Mapping[str, str]) -> None:
        """Load the stored claims, the oldest first."""
        for uuid, key in keys.items():
            self._claim(uuid, key)
        self.changes.clear()

    def check(self, message: Result | Status | Slices, key: str) -> None:
        """Claim the uuid of a message for the key of its sender; "" means that the key is not known.

        Raises InvalidInput when the uuid belongs to another key.
        """
        uuid = message.identity if isinstance(message, Status) else message.uuid
        if not key or not isinstance(uuid, str):
            return
        owner = self._keys.get(uuid)
        if owner is None:
            self._claim(uuid, key)
        elif owner != key:
            raise InvalidInput.at("$.uuid", "belongs to a turret with another key")

    def take_changes(self) -> dict[str, str | None]:
        """Return the changes to store, and treat them as stored."""
        changes, self.changes = self.changes, {}
        return changes

    def restore_changes(self, changes: Mapping[str, str | None]) -> None:
        """Put back changes that could not be stored; changes made in the meantime are newer and take precedence."""
        self.changes = {**changes, **self.changes}

    def _claim(self, uuid: str, key: str) -> None:
        if len(self._keys) >= self._most:
            largest = key if key in self._uuids else max(self._uuids, key=lambda one: len(self._uuids[one]))
            self._release(next(iter(self._uuids[largest])), largest)
        self._keys[uuid] = self.changes[uuid] = key
        self._uuids.setdefault(key, {})[uuid] = None

    def _release(self, uuid: str, key: str) -> None:
        del self._keys[uuid], self._uuids[key][uuid]
        self.changes[uuid] = None
        if not self._uuids[key]:
            del self._uuids[key]
