"""Virtual environments by the real pip, without an index, and in one test by the real venv."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path

import pytest

from smartmob.kernel.runtime import disk
from smartmob.kernel.runtime.disk import free_bytes
from smartmob.kernel.runtime.tasks import TaskRegistry
from smartmob.processes.preparation.environments import (
    EnvironmentFailure,
    Environments,
    recipe,
)
from smartmob.processes.preparation.requirements import (
    MOST_DOTS,
    MOST_PROJECT,
    MOST_REQUIREMENTS,
    is_self_contained,
)
from tests.processes.archives import wheel
from tests.processes.commands import Runner, made_venv, variables

DIGEST = "0" * 64

BACKEND = '''
"""A builder of wheels that needs nothing."""
import pathlib, zipfile

def build_wheel(folder, config_settings=None, metadata_directory=None):
    about = "thing-1.0.dist-info"
    name = "thing-1.0-py3-none-any.whl"
    with zipfile.ZipFile(pathlib.Path(folder) / name, "w") as file:
        file.write("thing.py")
        file.writestr(about + "/METADATA", "Metadata-Version: 2.1\\nName: thing\\nVersion: 1.0\\n")
        file.writestr(about + "/WHEEL", "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n")
        file.writestr(about + "/RECORD", "")
    pathlib.Path("built").touch()
    return name
'''
PROJECT = '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'


@pytest.fixture(name="tasks")
async def _tasks() -> AsyncIterator[TaskRegistry]:
    tasks = TaskRegistry()
    yield tasks
    await tasks.close()


@pytest.fixture(name="runner")
def _runner() -> Runner:
    return Runner()


@pytest.fixture(name="quick_runner")
def _quick_runner() -> Runner:
    """Return a runner that copies an environment instead of making it."""
    return Runner(made_venv())


@pytest.fixture(name="quick_environments")
async def _quick_environments(tasks: TaskRegistry, quick_runner: Runner, tmp_path: Path) -> AsyncIterator[Environments]:
    """Return environments that are copies of one, for tests of what is installed into them."""
    environments = Environments(tmp_path / "environments", quick_runner, tasks, variables())
    await environments.open()
    yield environments
    environments.close()


@pytest.fixture(name="environments")
async def _environments(tasks: TaskRegistry, runner: Runner, tmp_path: Path) -> AsyncIterator[Environments]:
    environments = Environments(tmp_path / "environments", runner, tasks, variables())
    await environments.open()
    yield environments
    environments.close()


def _source(folder: Path, **files: str) -> Path:
    folder.mkdir()
    for name, content in files.items():
        (folder / name.replace("_", ".")).write_text(content)
    return folder


def _ignore(_: bytes) -> None:
    """Ignore output."""


def _wheel_beside(root: Path) -> str:
    """Write a wheel to a folder where pip finds it, and return the requirements for it."""
    wheels = root / "wheels"
    wheels.mkdir()
    (wheels / "thing-1.0-py3-none-any.whl").write_bytes(wheel("thing", "1.0", {"thing.py": "ANSWER = 42"}))
    return "--no-index\n--find-links ./wheels\nthing==1.0\n"


async def _says(environment: Path, runner: Runner, code: str) -> str:
    said = bytearray()
    assert await runner([str(environment / "bin" / "python"), "-c", code], environment, variables(), said.extend) == 0
    return said.decode().strip()


async def test_equal_requirements_share_one_environment(
    quick_environments: Environments, quick_runner: Runner, tmp_path: Path
) -> None:
    """Ten nodes and two releases use one environment, and all get the output of its build."""
    first = _source(tmp_path / "first")
    (first / "requirements.txt").write_text(_wheel_beside(first))
    outputs = [bytearray() for _ in range(10)]

    made = await asyncio.gather(*(quick_environments.provide(first, DIGEST, output.extend) for output in outputs))

    assert len(set(made)) == 1
    assert made[0] is not None
    assert await _says(made[0], quick_runner, "import thing; print(thing.ANSWER)") == "42"
    assert all(b"Successfully installed thing-1.0" in output for output in outputs)
    assert len(quick_runner.commands) == 3

    assert await quick_environments.provide(first, DIGEST, _ignore) == made[0]
    assert len(quick_runner.commands) == 3
    assert await quick_environments.provide(_source(tmp_path / "none", Procfile="x: y"), DIGEST, _ignore) is None


async def test_a_project_is_built_from_a_copy(
    quick_environments: Environments, quick_runner: Runner, tmp_path: Path
) -> None:
    """The program is installed, and its source does not change."""
    root = _source(tmp_path / "app", pyproject_toml=PROJECT, backend_py=BACKEND, thing_py="ANSWER = 43")

    made = await quick_environments.provide(root, DIGEST, _ignore)

    assert made is not None
    assert await _says(made, quick_runner, "import thing; print(thing.ANSWER)") == "43"
    assert sorted(path.name for path in root.iterdir()) == ["backend.py", "pyproject.toml", "thing.py"]


async def test_a_failed_pip_install_has_the_last_lines_of_output(
    quick_environments: Environments, tmp_path: Path
) -> None:
    """The environment is removed, and the next call tries again."""
    root = _source(tmp_path / "app", requirements_txt="--no-index\nnothing-of-this-name==1\n")

    with pytest.raises(EnvironmentFailure, match=r"`python -m pip install .*` ended with 1") as caught:
        await quick_environments.provide(root, DIGEST, _ignore)

    assert caught.value.state == "pip install failure"
    assert any("nothing-of-this-name" in line for line in caught.value.output)
    assert not list((tmp_path / "environments").iterdir())


async def test_a_failed_venv_has_its_own_state(tasks: TaskRegistry, tmp_path: Path) -> None:
    """It is the same when python fails and when it cannot be started."""
    root = _source(tmp_path / "app", requirements_txt="x\n")

    async def refuse(argv: object, cwd: object, env: object, on_output: Callable[[bytes], None]) -> int:
        on_output(b"no ensurepip\nnothing\n")
        return -9

    async def missing(argv: object, cwd: object, env: object, on_output: object) -> int:
        raise FileNotFoundError(2, "No such file or directory")

    environments = Environments(tmp_path / "environments", refuse, tasks, {})
    await environments.open()
    with pytest.raises(EnvironmentFailure, match=r"`python -m venv .*` was killed by signal 9") as caught:
        await environments.provide(root, DIGEST, _ignore)
    assert caught.value.state == "virtual environment failure"
    assert caught.value.output == ("no ensurepip", "nothing")
    environments.close()

    environments = Environments(tmp_path / "environments", missing, tasks, {})
    with pytest.raises(EnvironmentFailure, match="cannot be run: No such file or directory") as caught:
        await environments.provide(root, DIGEST, _ignore)
    assert caught.value.state == "virtual environment failure"
    environments.close()


async def test_a_source_is_not_copied_below_the_floor_of_free_space(
    tasks: TaskRegistry, runner: Runner, tmp_path: Path
) -> None:
    """The copy in which pip builds is refused before anything runs, and removed."""
    root = _source(tmp_path / "app", requirements_txt="-e .\n", setup_py="")
    environments = Environments(
        tmp_path / "environments", runner, tasks, variables(), least_free=2 * free_bytes(tmp_path)
    )
    await environments.open()
    with pytest.raises(EnvironmentFailure, match=r"cannot be created: \d+ MiB are free, and --least-free keeps"):
        await environments.provide(root, DIGEST, _ignore)

    assert list((tmp_path / "environments").iterdir()) == []
    environments.close()


async def test_pip_is_stopped_before_it_fills_the_disk(
    tasks: TaskRegistry, runner: Runner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is ended when too little space is free, the error has the reason, and the environment is removed."""
    root = _source(tmp_path / "app", requirements_txt="x\n")
    # Other tests write and remove more than this one would, so the disk is not asked.
    free = [100_000_000]
    monkeypatch.setattr(disk, "free_bytes", lambda _: free[0])

    async def fill(argv: object, cwd: Path, env: Mapping[str, str], on_output: Callable[[bytes], None]) -> int:
        free[0] = 49_000_000
        return await runner(["sleep", "600"], cwd, env, on_output)

    environments = Environments(tmp_path / "environments", fill, tasks, variables(), least_free=50_000_000)
    await environments.open()
    with pytest.raises(EnvironmentFailure, match=r"was stopped: \d+ MiB are free, and --least-free keeps") as caught:
        await environments.provide(root, DIGEST, _ignore)

    assert caught.value.state == "virtual environment failure"
    assert runner.killed == 1
    assert list((tmp_path / "environments").iterdir()) == []
    environments.close()


async def test_a_build_ends_when_its_last_caller_is_cancelled(
    environments: Environments, runner: Runner, tmp_path: Path
) -> None:
    """The environment is removed."""
    root = _source(tmp_path / "app", requirements_txt="x\n")
    waiters = [asyncio.create_task(environments.provide(root, DIGEST, _ignore)) for _ in range(3)]
    await runner.began.wait()
    for waiter in waiters:
        waiter.cancel()
    await asyncio.wait(waiters)

    assert runner.killed == 1
    assert not list((tmp_path / "environments").iterdir())


async def test_a_late_caller_gets_the_earlier_output(tasks: TaskRegistry, tmp_path: Path) -> None:
    """It gets at most the last 64 KiB."""
    root = _source(tmp_path / "app", requirements_txt="x\n")
    said, go = asyncio.Event(), asyncio.Event()

    async def run(argv: object, cwd: Path, env: object, on_output: Callable[[bytes], None]) -> int:
        if not said.is_set():
            on_output(b"a" * 100_000)
            on_output(b"b")
            said.set()
        await go.wait()
        return 0

    environments = Environments(tmp_path / "environments", run, tasks, {})
    await environments.open()
    early, late = bytearray(), bytearray()
    received = asyncio.Event()

    def hear(data: bytes) -> None:
        late.extend(data)
        received.set()

    waiters = [asyncio.create_task(environments.provide(root, DIGEST, early.extend))]
    await said.wait()
    waiters.append(asyncio.create_task(environments.provide(root, DIGEST, hear)))
    await received.wait()
    go.set()
    await asyncio.gather(*waiters)

    assert early == b"a" * 100_000 + b"b"
    assert late == b"a" * 65_535 + b"b"
    environments.close()


async def test_an_incomplete_environment_is_removed_at_start(
    environments: Environments, runner: Runner, tmp_path: Path
) -> None:
    """An environment whose build was interrupted by a crash is not used."""
    half, whole = tmp_path / "environments" / "half", tmp_path / "environments" / "whole"
    for place in (half, whole):
        (place / "venv").mkdir(parents=True)
    (whole / "complete").touch()

    await environments.open()

    assert [path.name for path in (tmp_path / "environments").iterdir()] == ["whole"]


async def test_unused_environments_are_removed(environments: Environments, tmp_path: Path) -> None:
    """Those of sources in use stay, and recently used ones."""
    root = _source(tmp_path / "app", requirements_txt="thing==1\n")
    used = recipe(root, DIGEST, {})
    assert used is not None
    for name in (used.key, "old", "young"):
        place = tmp_path / "environments" / name
        place.mkdir()
        (place / "complete").touch()
        os.utime(place, (1000, 1000) if name != "young" else (3000, 3000))
    gone: list[str] = []

    environments.remove_unused([used, None], 2000, lambda path: gone.append(path.name))

    assert gone == ["old"]


async def test_a_lock_file_is_installed_by_its_tool(tasks: TaskRegistry, quick_runner: Runner, tmp_path: Path) -> None:
    """uv runs in a copy of the source, for the environment of the program; another archive is installed anew."""
    tool = tmp_path / "bin" / "uv"
    tool.parent.mkdir()
    tool.write_text('#!/bin/sh\necho "$@" in "$PWD" for "$UV_PROJECT_ENVIRONMENT" "$VIRTUAL_ENV"\n')
    tool.chmod(0o755)
    there = variables()
    environments = Environments(
        tmp_path / "e", quick_runner, tasks, {**there, "PATH": f"{tool.parent}:{there['PATH']}"}
    )
    await environments.open()
    source = _source(tmp_path / "app", pyproject_toml="[project]\nname = 'x'\n", uv_lock="version = 1\n")
    output: list[bytes] = []

    venv = await environments.provide(source, DIGEST, output.append)

    assert venv is not None
    written = b"".join(output).decode().strip()
    assert written == f"sync --locked --no-dev in {venv.parent / 'source'} for {venv} {venv}"
    tool.write_text("#!/bin/sh\necho the lock is old >&2\nexit 2\n")
    with pytest.raises(EnvironmentFailure, match="`uv sync --locked --no-dev` ended with 2") as failed:
        await environments.provide(source, "1" * 64, _ignore)
    assert (failed.value.state, failed.value.output) == ("pip install failure", ("the lock is old",))
    environments.close()


async def test_a_program_gets_the_python_that_it_asks_for(
    quick_environments: Environments, quick_runner: Runner, tmp_path: Path
) -> None:
    """Also without requirements; a version that is missing is a failure of its environment."""
    own = f"{sys.version_info.major}.{sys.version_info.minor}"
    source = _source(tmp_path / "app", runtime_txt=f"python-{own}\n")
    venv = await quick_environments.provide(source, DIGEST, _ignore)
    assert venv is not None
    (made_by, *_), said = quick_runner.commands[0], bytearray()
    assert await quick_runner([made_by, "--version"], tmp_path, variables(), said.extend) == 0
    assert said.decode().startswith(f"Python {own}.")

    (source / "runtime.txt").write_text("python-2.7.18\n")
    with pytest.raises(EnvironmentFailure, match=r"runtime.txt asks for Python 2.7.18, .* there is") as failed:
        await quick_environments.provide(source, DIGEST, _ignore)
    assert failed.value.state == "virtual environment failure"


async def test_requirements_of_powershell_are_installed(
    quick_environments: Environments, quick_runner: Runner, tmp_path: Path
) -> None:
    """They are UTF-16 with a byte order mark and CRLF, as `pip freeze > requirements.txt` writes them there."""
    source = _source(tmp_path / "app")
    wheel_line = _wheel_beside(source)
    (source / "requirements.txt").write_bytes(("\ufeff" + wheel_line.replace("\n", "\r\n")).encode("utf-16-le"))
    venv = await quick_environments.provide(source, DIGEST, _ignore)
    assert venv is not None
    assert await _says(venv, quick_runner, "import thing; print(thing.__name__)") == "thing"


def test_the_recipe_follows_the_requirements_or_the_project(tmp_path: Path) -> None:
    """The digest of the source is a part of the key when the requirements refer to the source."""
    plain = _source(tmp_path / "plain", requirements_txt="thing==1\n", pyproject_toml=PROJECT)
    local = _source(tmp_path / "local", requirements_txt="-e .\n")
    project = _source(tmp_path / "project", pyproject_toml="[project]\nname = 'x'\nversion = '1'\n")
    tools = _source(tmp_path / "tools", pyproject_toml="[tool.ruff]\n")

    one, other = recipe(plain, DIGEST, {}), recipe(plain, "1" * 64, {})
    assert one is not None
    assert one == other
    assert one.installation is not None
    assert (one.installation.command[6:], one.needs_source) == (("-r", "requirements.txt"), False)
    for root, install in ((local, ("-r", "requirements.txt")), (project, (".",))):
        made, again = recipe(root, DIGEST, {}), recipe(root, "1" * 64, {})
        assert made is not None
        assert again is not None
        assert made.installation is not None
        assert (made.installation.command[6:], made.needs_source) == (install, True)
        assert made.key != again.key
    assert recipe(tools, DIGEST, {}) is None


@pytest.mark.parametrize("content", [b"[project", b"\xff"])
@pytest.mark.parametrize("name", ["pyproject.toml", "requirements.txt"])
def test_a_file_that_cannot_be_read_is_a_failure(name: str, content: bytes, tmp_path: Path) -> None:
    """The error has its name."""
    (tmp_path / name).write_bytes(content)
    if (name, content) == ("requirements.txt", b"[project"):
        assert recipe(tmp_path, DIGEST, {}) is not None
        return
    with pytest.raises(EnvironmentFailure, match=f"{name} cannot be read"):
        recipe(tmp_path, DIGEST, {})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", True),
        ("# only a comment\n\n", True),
        ("flask\nrequests==2.0 # why\naiohttp[speedups]>=3,<4 ; python_version < '3.13'\n", True),
        ("a (>=1)\nb~=1.0\nc!=2\nd === 1.0\n", True),
        ("thing==1 \\\n  --hash=sha256:abc \\\n  --hash=sha256:def\n", True),
        ("thing @ https://example.org/thing.whl\n", True),
        ("--index-url https://example.org/simple\n-i https://x\n--no-index\nthing\n", True),
        ("-r other.txt\n", False),
        ("-c constraints.txt\nthing\n", False),
        ("-e .\n", False),
        (".\n", False),
        ("./wheels/thing.whl\n", False),
        ("wheels/thing.whl\n", False),
        ("--find-links wheels\nthing\n", False),
        ("thing @ file:///x\n", False),
        ("git+https://example.org/x\n", False),
        ("/absolute\n", False),
    ],
)
def test_requirements_that_refer_to_files_are_recognised(text: str, expected: bool) -> None:
    """Requirements that may refer to the source count as dependent on it."""
    assert is_self_contained(text) is expected


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        ("requirements.txt", b"x\n" * (MOST_REQUIREMENTS // 2 + 1), f"it has more than {MOST_REQUIREMENTS} bytes"),
        ("pyproject.toml", b"# x\n" * (MOST_PROJECT // 4 + 1), f"it has more than {MOST_PROJECT} bytes"),
        (
            "pyproject.toml",
            b"[project]\n" + b"a." * (MOST_DOTS + 1) + b"a=1\n",
            f"line 2 has more than {MOST_DOTS} dots",
        ),
        ("pyproject.toml", b"x = " + b"[" * 20_000 + b"]" * 20_000, "it is nested too deeply"),
        ("pyproject.toml", b"x = " + b"{a=" * 20_000 + b"1" + b"}" * 20_000, "it is nested too deeply"),
        ("pyproject.toml", b"x = " + b"9" * 10_000, "Exceeds the limit"),
        ("pyproject.toml", b"x = 2000-02-30", "Invalid"),
    ],
)
def test_requirements_and_projects_beyond_the_limits_are_failures(
    name: str, content: bytes, why: str, tmp_path: Path
) -> None:
    """The error has the file and the reason, in one line."""
    (tmp_path / name).write_bytes(content)
    with pytest.raises(EnvironmentFailure) as caught:
        recipe(tmp_path, DIGEST, {})
    assert str(caught.value).startswith(f"{name} cannot be read: ")
    assert why in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("head", "repeated", "tail", "expected"),
    [
        ("a", " ", "$", False),
        ("a", "--hash=x", " $", True),
        ("a ", "--hash=x ", "$", False),
        ("a ", "--hash=x", " @", False),
        ("a", "[", "", False),
        ("a[", "b,", "", False),
        ("a", ">=1,", "@", False),
        ("a @ https://x", "https://", " $", False),
        ("a", ".-", "/", False),
        ("", "a #", "\n$", False),
        ("", "-i", "\n", True),
    ],
)
def test_checking_a_requirement_takes_linear_time(head: str, repeated: str, tail: str, expected: bool) -> None:
    """A line of megabytes that almost matches is read: a search that goes back would not end within a test's limit."""
    assert is_self_contained(head + repeated * 1_000_000 + tail) is expected


def test_parsing_the_largest_project_takes_few_steps(tmp_path: Path) -> None:
    """Its table has as many parts as allowed; the calls of the parser grow with the keys, not with their square."""
    assert _calls(tmp_path, 4_000) < 2.2 * _calls(tmp_path, 2_000)


def _calls(folder: Path, keys: int) -> int:
    """Return how many functions are called to read a project with so many keys."""
    header = f"[{'.'.join('a' * (MOST_DOTS + 1))}]\n"
    lines = [f"{chr(97 + n % 26)}{n}=1\n" for n in range(keys)]
    content = header + "".join(lines)
    (folder / "pyproject.toml").write_text(content[:MOST_PROJECT].rpartition("\n")[0] + "\n")
    calls = 0

    def count(*_: object) -> None:
        nonlocal calls
        calls += 1

    sys.setprofile(count)
    try:
        assert recipe(folder, DIGEST, {}) is None
    finally:
        sys.setprofile(None)
    return calls
