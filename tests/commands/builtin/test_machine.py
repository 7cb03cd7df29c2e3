"""What commands say of the machine itself."""

from __future__ import annotations

import getpass
import os
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from tests.commands.features import RunningFeature, feature


class TestMachine:
    """The machine itself."""

    async def test_what_it_is(self, commands: RunningFeature) -> None:
        """System, user, time and environment."""
        assert (await commands.call("os_info")).values == ["linux"]
        assert (await commands.call("user_name")).values == [getpass.getuser()]
        (reply,) = (await commands.call("get_time")).values
        assert abs(datetime.now() - reply) < timedelta(minutes=5)
        assert (await commands.call("env", "PATH")).values == [os.environ["PATH"]]
        assert (await commands.call("env")).values[0]["PATH"] == os.environ["PATH"]
        assert type((await commands.call("env", "NO_SUCH_VARIABLE")).error) is KeyError

    async def test_processes(self, commands: RunningFeature) -> None:
        """Each process with what it uses, or those of a name."""
        (own,) = [found for found in (await commands.call("ps")).values if found["pid"] == os.getpid()]
        assert own["rss"] > 1_000_000
        assert own["argv"]
        assert (await commands.call("ps", "no process has this name")).values == []

    async def test_sleeping(self, commands: RunningFeature) -> None:
        """It is not offered, as by the stock server."""
        assert type((await commands.call("sleep")).error) is NotImplementedError

    @pytest.mark.parametrize("name", ["reboot", "shutdown"])
    async def test_power(self, database_url: str, tmp_path: Path, name: str) -> None:
        """The program of the setting is started, with its arguments; without one the command is refused."""
        program = tmp_path / "power"
        program.write_text(f"#!/bin/sh\necho $1 > {tmp_path}/asked\n")
        program.chmod(0o755)
        async with feature(database_url, tmp_path, **{name: f"{program} now"}) as commands:
            reply = await commands.call(name)
            assert (reply.values, reply.code) == ([f"Requesting os to {name}"], 0)
            assert (tmp_path / "asked").read_text() == "now\n"
        async with feature(database_url, tmp_path, **{name: ""}) as commands:
            assert f"--commands-{name}" in str((await commands.call(name)).error)
