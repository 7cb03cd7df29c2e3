"""Containers, as far as they can be tried without an engine.

The files are read by the tools of their formats, the steps of the image are run in a folder, and what they made is
started as an engine starts it.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import cache
from pathlib import Path
from typing import Any

import pathspec
import psutil
import pytest

from smartmob.settings import OPTIONS
from tests.acceptance.commands import SECONDS, RunningCommand, environment, kill_postgres
from tests.acceptance.installed import link_required
from tests.interop.dockerfile import Stage, stages
from tests.interop.environments import DEPLOY, python_with
from tests.processes.commands import lay_quick_python

ROOT = Path(__file__).parents[2]
COMPOSE = ("compose.yaml", "compose.test.yaml")
USER = 10001

pytestmark = [pytest.mark.interop, pytest.mark.timeout(900)]


def _resolved(file: str) -> str:
    """Return a compose file with the defaults of its variables, as an engine reads it where none is set."""
    return re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", (ROOT / file).read_text())


@cache
def _read(file: str) -> dict[str, Any]:
    """Return a compose file as the library of its specification understands it."""
    script = Path(__file__).with_name("deploy_tools.py")
    done = subprocess.run(
        [python_with(DEPLOY), script], input=_resolved(file), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


class TestFiles:
    """Checks of the files by the tools of their formats."""

    def test_hadolint_accepts_the_dockerfile(self) -> None:
        """hadolint reads it, and has nothing to complain of."""
        hadolint = python_with(DEPLOY).with_name("hadolint")
        done = subprocess.run([hadolint, ROOT / "Dockerfile"], capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout) == (0, "")

    @pytest.mark.parametrize("file", COMPOSE)
    def test_compose_files_fit_the_specification(self, file: str) -> None:
        """Each fits the specification, and what services name is defined: volumes, secrets, other services."""
        compose = _read(file)
        services = compose["services"]
        assert services
        for service in services.values():
            assert set(service.get("depends_on") or ()) <= set(services)
            volumes = {volume.partition(":")[0] for volume in service.get("volumes") or ()}
            assert volumes <= set(compose.get("volumes", ()))

    def test_wrong_compose_files_are_found(self) -> None:
        """A secret that is not defined, and a key that does not exist, are found: the test above can fail."""
        python, script = python_with(DEPLOY), Path(__file__).with_name("deploy_tools.py")
        for wrong in ("secrets: [nothing]", "imag: x"):
            text = f"services:\n  a:\n    image: x\n    {wrong}\n"
            done = subprocess.run([python, script], input=text, capture_output=True, text=True, check=False)
            assert done.returncode != 0, wrong

    def test_secrets_come_as_files_and_into_no_image(self) -> None:
        """No secret is in a variable: each comes as a file, and those files go into no image and no repository."""
        compose = _read("compose.yaml")
        for service in compose["services"].values():
            for name, value in (service.get("environment") or {}).items():
                secret = re.search(r"TOKEN|PASSWORD|DATABASE_URL", name) is not None
                assert secret == str(value).startswith("/run/secrets/"), name
        assert all(secret["file"].startswith("./secrets/") for secret in compose["secrets"].values())
        assert _ignored().match_file("secrets/token")
        assert "/secrets/" in (ROOT / ".gitignore").read_text().splitlines()

    def test_the_settings_of_images_exist(self) -> None:
        """Image and compose files use settings that exist."""
        known = {option.variable for option in OPTIONS}
        texts = [(ROOT / file).read_text() for file in ("Dockerfile", "compose.yaml")]
        used = {name for text in texts for name in re.findall(r"^\s*(SMARTMOB_\w+)[:=]", text, re.MULTILINE)}
        assert used
        assert used <= known

    def test_the_image_of_the_service_is_the_last_stage(self) -> None:
        """The stage that the tests are built from exists, and the service's image is the last stage."""
        built = stages(ROOT / "Dockerfile")
        assert _read("compose.test.yaml")["services"]["tests"]["build"]["target"] in built
        assert list(built)[-1] == ""


def _ignored() -> pathspec.GitIgnoreSpec:
    """Return what does not reach the engine."""
    return pathspec.GitIgnoreSpec.from_lines((ROOT / ".dockerignore").read_text().splitlines())


class Image:
    """The files that the steps of the image create, below a folder instead of `/`.

    Its environment is a copy of one that was made, and pip installs the wheel that it builds. The packages that it
    would download with it, with the extras that the step names, are those of the test environment: an extra that lacks
    one is found, and 100 MB need not be unpacked.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._python = lay_quick_python(root / "bin", "python")
        self._stage = stages(ROOT / "Dockerfile")[""]
        self.data = root / "var" / "lib" / "smartmob"

    def build(self) -> None:
        """Run the steps of the stage `build`, and make what those of the last one make as root."""
        build = stages(ROOT / "Dockerfile")["build"]
        self._run(build)
        (extras,) = re.findall(r"pip install .*'\.\[([\w,]+)\]'", " ".join(build.texts("RUN")))
        link_required(next((self._root / "opt/smartmob/lib").glob("python*/site-packages")), f"smartmob[{extras}]")
        assert self._stage.texts("COPY") == ["--from=build /opt/smartmob /opt/smartmob"]
        self.data.mkdir(parents=True, mode=0o700)
        users = f"root:x:0:0::/root:/bin/sh\nsmartmob:x:{USER}:{USER}::/var/lib/smartmob:/usr/sbin/nologin\n"
        (self._root / "passwd").write_text(users)

    def _run(self, stage: Stage) -> None:
        cwd = self._root
        for instruction, text in stage.steps:
            if instruction == "WORKDIR":
                cwd = self._root / text.lstrip("/")
                cwd.mkdir(parents=True)
            elif instruction == "COPY":
                *sources, target = shlex.split(text)
                self._copy(sources, self._root / target.lstrip("/") if target.startswith("/") else cwd / target)
            else:
                assert instruction == "RUN"
                self._shell(text, cwd)

    def _copy(self, sources: list[str], target: Path) -> None:
        for source in sources:
            assert not _ignored().match_file(source), f"{source} never reaches the engine"
            if (ROOT / source).is_dir():
                shutil.copytree(ROOT / source, target, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(ROOT / source, target)

    def _shell(self, text: str, cwd: Path) -> None:
        command = text.replace("/opt/smartmob", str(self._root / "opt" / "smartmob"))
        # What is compiled ahead takes time, and is no difference to what the steps make.
        further = {"PIP_NO_COMPILE": "1", "PIP_NO_DEPS": "1"}
        env = environment(PATH=f"{self._python}:{os.environ['PATH']}", **further)
        done = subprocess.run(["sh", "-ec", command], cwd=cwd, env=env, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr

    def environment(self, **further: str) -> dict[str, str]:
        """Return the variables of a container."""
        folders = {"/opt/smartmob": str(self._root / "opt" / "smartmob"), "/var/lib/smartmob": str(self.data)}
        env = self._stage.environment()
        for there, here in folders.items():
            env = {name: value.replace(there, here) for name, value in env.items()}
        env["PATH"] = env["PATH"].replace("$PATH", os.environ["PATH"])
        return environment(**env, **further)

    @asynccontextmanager
    async def container(self, **env: str) -> AsyncIterator[RunningCommand]:
        """Start the image's command as process 1, as its user, with its name, and without any capability."""
        assert self._stage.texts("USER") == [f"{USER}:{USER}"]
        namespace = ("--user", f"--map-user={USER}", f"--map-group={USER}", "--keep-caps", "--mount")
        dropped = ("--ambient-caps", "-all", "--inh-caps", "-all", "--bounding-set", "-all", "--no-new-privs")
        script = f'mount --bind {self._root}/passwd /etc/passwd && exec setpriv {" ".join(dropped)} "$@"'
        process = await asyncio.create_subprocess_exec(
            *("unshare", *namespace, "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c", script, "sh"),
            *(*self._stage.words("ENTRYPOINT"), *self._stage.words("CMD")),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=self.environment(**env),
        )
        command = RunningCommand(process)
        try:
            yield command
        finally:
            if process.returncode is None:
                process.kill()
            await command.wait()
            kill_postgres(self.data)

    async def healthy(self, **env: str) -> bool:
        """Return whether the image's check of health finds the service well."""
        program, script = self._stage.words("HEALTHCHECK")
        script = script.replace("/opt/smartmob", str(self._root / "opt" / "smartmob"))
        process = await asyncio.create_subprocess_exec(program, script, env=self.environment(**env))
        return await process.wait() == 0


@pytest.mark.long
@pytest.mark.machine
async def test_the_image_refuses_to_start_without_a_token(reachable_path: Path) -> None:
    """Its steps make a service that refuses to start without a token, and with one answers, is healthy and stops."""
    image = Image(reachable_path)
    await asyncio.to_thread(image.build)

    async with image.container() as refused:
        assert await refused.wait() == 1
        assert b"--token-file" in refused.errors

    (reachable_path / "token").write_text("a-token-of-the-test\n")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
    env = {"SMARTMOB_TOKEN_FILE": str(reachable_path / "token"), "SMARTMOB_PORT": port}
    assert not await image.healthy(**env)
    async with image.container(**env) as service:
        bind = await service.event("bind", transport="tcp")
        assert (bind["host"], str(bind["port"])) == ("0.0.0.0", port)
        assert await image.healthy(**env)
        first = psutil.Process(service.process.pid).children()[0]
        inside = first.children(recursive=True)
        assert any(found.name().startswith("postgres") for found in inside)

        first.send_signal(signal.SIGTERM)

        assert await service.wait() == 0
        psutil.wait_procs(inside, SECONDS)
        assert not [found for found in inside if found.is_running()]
    assert not await image.healthy(**env)
