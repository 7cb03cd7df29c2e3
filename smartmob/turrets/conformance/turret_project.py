"""The configuration, script and package that a turret under check gets, and the command line that names them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from smartmob.errors import InvalidInput
from smartmob.turrets.conformance.frame_rules import Configured
from smartmob.turrets.turret import package

CONTEXT_KEY = "check"
"""The key of the context that the script of the check puts into the address that it asks for."""

_SCRIPT_NAME = "v_user.py"
_SCRIPT = """\
import urllib.request

from oct_turrets.base import BaseTransaction
from oct_turrets.tools import CustomTimer

opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class Transaction(BaseTransaction):
    def __init__(self, config, context=None):
        super(Transaction, self).__init__(config, context)
        self.url = config["url"]
        if (context or {}).get("check"):
            self.url += "?check=" + context["check"]

    def run(self):
        with CustomTimer(self, "page"):
            opener.open(self.url, timeout=10).read()
"""


class TurretProject(msgspec.Struct, frozen=True):
    """Writes into `folder` what a turret is started with.

    `command` may contain the placeholders of `PLACEHOLDERS`; without one, the path of the configuration is added.
    `script` is the test script; without one, a script in Python asks for the target. `url` is the target.
    """

    folder: Path
    command: tuple[str, ...]
    configured: Configured
    url: str
    script: Path | None = None

    def write(self, ports: tuple[int, int], key: str | None = None) -> tuple[list[str], dict[str, str]]:
        """Write the files for a headquarters; return the command and the variables. Raises InvalidInput.

        `key` is the public CURVE key of the headquarters.
        """
        name = _SCRIPT_NAME if self.script is None else self.script.name
        config: dict[str, Any] = {
            "name": self.configured.name,
            "cannons": self.configured.cannons,
            "canons": self.configured.cannons,
            "rampup": self.configured.rampup,
            "script": name,
            "hq_address": "127.0.0.1",
            "hq_publisher": ports[0],
            "hq_rc": ports[1],
            "url": self.url,
        }
        if key is not None:
            config["hq_public_key"] = key
        path, tar = self.folder / "config.json", self.folder / "turret.tar.gz"
        try:
            (self.folder / name).write_bytes(_SCRIPT.encode() if self.script is None else self.script.read_bytes())
            path.write_text(json.dumps(config, indent=4) + "\n", encoding="utf-8")
        except OSError as error:
            raise InvalidInput(f"cannot write {self.folder}: {error.strerror}") from None
        package.pack(self.folder, config, tar)
        values = {
            "config": str(path),
            "tar": str(tar),
            "script": str(self.folder / name),
            "hq_address": "127.0.0.1",
            "hq_publisher": str(ports[0]),
            "hq_rc": str(ports[1]),
            "url": self.url,
        }
        return _filled(self.command, values), {PLACEHOLDERS[key]: value for key, value in values.items()}


PLACEHOLDERS = {
    "config": "TURRET_CONFIG",
    "tar": "TURRET_TAR",
    "script": "TURRET_SCRIPT",
    "hq_address": "TURRET_HQ_ADDRESS",
    "hq_publisher": "TURRET_HQ_PUBLISHER",
    "hq_rc": "TURRET_HQ_RC",
    "url": "TURRET_URL",
}
"""The placeholders of the command, each with the environment variable that has the same value."""


def _filled(command: Sequence[str], values: dict[str, str]) -> list[str]:
    """Return the command with values in place of `{config}` and the like."""
    filled = []
    for argument in command:
        for name, value in values.items():
            argument = argument.replace("{" + name + "}", value)
        filled.append(argument)
    if filled == list(command):
        filled.append(values["config"])
    return filled
