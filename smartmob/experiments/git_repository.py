"""Calls of git: the commit that a revision names, or why it names none."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from smartmob.environment import environment
from smartmob.errors import InvalidInput

_OF_A_HOOK = (
    *("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX", "GIT_COMMON_DIR", "GIT_OBJECT_DIRECTORY"),
    *("GIT_ALTERNATE_OBJECT_DIRECTORIES", "GIT_NAMESPACE", "GIT_QUARANTINE_PATH"),
)
"""Variables that git sets for a hook, which name a repository regardless of the folder; see
`git rev-parse --local-env-vars`."""

_NO_HOOKS = ("-c", "core.hooksPath=/dev/null")
"""Keeps hooks of the user from running in a worktree that is removed again; a failing hook would end the experiment."""


def command(here: Path, *words: str) -> list[str]:
    """Return the command line of git for a folder."""
    return ["git", *_NO_HOOKS, "-C", str(here), *words]


def without_repository(variables: Mapping[str, str]) -> dict[str, str]:
    """Return an environment in which the folder determines the repository, even within a hook of git."""
    return {name: value for name, value in variables.items() if name not in _OF_A_HOOK}


def run(here: Path, *words: str, passed: Sequence[int] = ()) -> subprocess.CompletedProcess[str]:
    """Run git to its end; without git it ends with 127, as in a shell."""
    return _run(command(here, *words), without_repository(environment()) | {"LC_ALL": "C"}, passed)


def commit_of(here: Path, given: str) -> str:
    """Return the commit that a revision names; raises InvalidInput with the reason if it names none."""
    # Two steps, since `:/text^{commit}` would look for a message with this text.
    found = run(here, "rev-parse", "--verify", "--quiet", "--end-of-options", given) if given else None
    if found is not None and found.returncode == 0 and found.stdout.strip().isalnum():  # not as in ^HEAD
        found = run(here, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{found.stdout.strip()}^{{commit}}")
        if found.returncode == 0:
            return found.stdout.strip()
    raise InvalidInput(f"{given!r} is not a revision of a git repository at {here}{why_none(here)}")


def commit_of_side(here: Path, given: str) -> str:
    """Return the commit of a side that is neither a folder nor a wheel; raises InvalidInput."""
    try:
        return commit_of(here, given)
    except InvalidInput as error:
        raise InvalidInput(
            str(error).replace(" is not a revision", " is not a folder, a wheel or a revision")
        ) from None


def why_none(here: Path) -> str:
    """Return what keeps git from finding a revision: no repository, one of another user, or a shallow clone."""
    looked = run(here, "rev-parse", "--is-shallow-repository")
    if looked.returncode == 0:
        if looked.stdout.strip() != "true":
            return ""
        return ": this clone is shallow, `git fetch --unshallow` (`fetch-depth: 0` in GitHub Actions) gets the rest"
    lines = [line.strip() for line in looked.stderr.splitlines() if line.strip()]
    advice = next((f"; call `{line}`" for line in lines if line.startswith("git config")), "")
    return f" ({lines[0].removeprefix('fatal: ')}{advice})" if lines else ""


def _run(line: Sequence[str], env: Mapping[str, str], passed: Sequence[int]) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            line, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", check=False,
            pass_fds=passed,
        )  # fmt: skip
    except FileNotFoundError:
        return subprocess.CompletedProcess(list(line), 127, "", "fatal: git is not installed")
