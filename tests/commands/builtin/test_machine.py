"""Commands about the machine."""

from __future__ import annotations

import getpass
import os
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from tests.commands.features import RunningFeature, feature


class TestMachine:
    """The machine on which the service runs."""

    async def test_system_user_time_and_environment(self, commands: RunningFeature) -> None:
        """They are those of the test's own process."""
        assert (await commands.call("os_info")).values == ["linux"]
        assert (await commands.call("user_name")).values == [getpass.getuser()]
        (reply,) = (await commands.call("get_time")).values
        assert abs(datetime.now() - reply) < timedelta(minutes=5)
        assert (await commands.call("env", "PATH")).values == [os.environ["PATH"]]
        assert (await commands.call("env")).values[0]["PATH"] == os.environ["PATH"]
        assert type((await commands.call("env", "NO_SUCH_VARIABLE")).error) is KeyError

    async def test_ps_returns_the_processes(self, commands: RunningFeature) -> None:
        """A name selects some of them."""
        (own,) = [found for found in (await commands.call("ps")).values if found["pid"] == os.getpid()]
        assert own["rss"] > 1_000_000
        assert own["argv"]
        assert (await commands.call("ps", "no process has this name")).values == []

    async def test_sleep_is_not_supported(self, commands: RunningFeature) -> None:
        """conplyent's server does not support it either."""
        assert type((await commands.call("sleep")).error) is NotImplementedError

    @pytest.mark.parametrize("name", ["reboot", "shutdown"])
    async def test_reboot_and_shutdown_run_the_configured_program(
        self, database_url: str, tmp_path: Path, name: str
    ) -> None:
        """Without the setting the command is refused."""
        program = tmp_path / "power"
        program.write_text(f"#!/bin/sh\necho $1 > {tmp_path}/asked\n")
        program.chmod(0o755)
        async with feature(database_url, tmp_path, **{name: f"{program} now"}) as commands:
            reply = await commands.call(name)
            assert (reply.values, reply.code) == ([f"Requesting os to {name}"], 0)
            assert (tmp_path / "asked").read_text() == "now\n"
        async with feature(database_url, tmp_path, **{name: ""}) as commands:
            assert f"--commands-{name}" in str((await commands.call(name)).error)
