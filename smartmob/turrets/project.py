"""The project of a requested run: its configuration, as JSON or in a package. No I/O except in memory."""

from __future__ import annotations

import math

import msgspec

from smartmob.errors import InvalidInput, SettingsError
from smartmob.turrets.conditions import KEY, planned
from smartmob.turrets.model import RunConfig

DECODER = msgspec.json.Decoder(RunConfig)


class Project(msgspec.Struct, frozen=True):
    """A configuration, its JSON as it was received, and the package that contained it."""

    config: RunConfig
    raw: bytes
    package: bytes | None = None

    def with_warm_up(self, seconds: float | None) -> Project:
        """Return the project with another warm-up; with None, the same project."""
        if seconds is None:
            return self
        document = msgspec.json.decode(self.raw) | {"warm_up": seconds}
        config = msgspec.structs.replace(self.config, warm_up=seconds)
        return Project(config, msgspec.json.encode(document), self.package)


def check_conditions(config: RunConfig, where: str) -> None:
    """Raise InvalidInput if a condition of a configuration, which stands at the JSON path `where`, is wrong."""
    try:
        planned(config.fail_if, KEY, run_time=config.run_time, may_repeat=True)
    except SettingsError as error:
        raise InvalidInput.at(f"{where}.{KEY}", str(error).removeprefix(f"{KEY} ")) from None


def check_warm_up(config: RunConfig, where: str) -> None:
    """Raise InvalidInput if the warm-up, in whole seconds as in the statistics, leaves nothing of the run."""
    if config.warm_up and math.ceil(config.warm_up) >= config.run_time:
        raise InvalidInput.at(
            f"{where}.warm_up",
            f"{config.warm_up:g} s of warm-up leave nothing of a run of {config.run_time:g} s; give less",
        )
