"""The jobs of GitHub and GitLab that the documentation has: their syntax, and their steps run on a small repository."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import yaml

from tests.acceptance.installed import python_with_pytest
from tests.experiments.repositories import Commit, make_repository

_PAGE = Path(__file__).parents[2] / "docs" / "howto" / "compare-two-versions.md"
_SUITE = {"tests/test_x.py": "def test_x():\n    assert sum(range(1000)) > 0\n"}
_PROGRAMS = {
    # What a fresh machine would install is here; one pair shows that the command line works.
    "sudo": 'exec "$@"',
    "apt-get": "exit 0",
    "pip": "exit 0",
    "python": (
        "mkdir -p env/bin; printf '#!/bin/sh\\nexit 0\\n' > env/bin/pip; "
        "printf '#!/bin/sh\\nexec {python} \"$@\"\\n' > env/bin/python; chmod 755 env/bin/*"
    ),
    "smartmob": f'shift; exec {sys.executable} -m smartmob ab --max-pairs 1 --witness clock "$@"',
    "gh": 'printf "%s\\n" "$@" > "$GH_LOG"; while [ "$1" != --body-file ]; do shift; done; cat "$2" >> "$GH_LOG"',
}


def _jobs() -> list[dict[str, Any]]:
    """Return the documents of the page that are YAML: that of GitHub, and that of GitLab."""
    return [yaml.safe_load(text) for text in re.findall(r"^```yaml\n(.*?)^```", _PAGE.read_text(), re.M | re.S)]


@pytest.fixture(name="machine")
def _machine(tmp_path: Path) -> tuple[Path, dict[str, str]]:
    """Return a checkout with the branches main and HEAD, and the environment of a machine of CI."""
    here = tmp_path / "here"
    names = make_repository(here, {"main": Commit([], _SUITE), "head": Commit(["main"], {"more": "x"})})
    for words in (["update-ref", "refs/remotes/origin/main", names["main"]], ["checkout", "-q", "head"]):
        subprocess.run(["git", "-C", str(here), *words], check=True)
    programs = tmp_path / "bin"
    programs.mkdir()
    for name, text in _PROGRAMS.items():
        (programs / name).write_text(f"#!/bin/sh\n{text}\n".replace("{python}", str(python_with_pytest())))
        (programs / name).chmod(0o755)
    for name in ("git", "mkdir", "chmod", "cat", "sh", "bash", "env"):
        found = shutil.which(name)
        assert found is not None
        (programs / name).symlink_to(found)
    variables = {
        "PATH": str(programs), "HOME": str(tmp_path), "GH_LOG": str(tmp_path / "gh"), "LANG": "C.UTF-8",
        "XDG_CACHE_HOME": str(tmp_path / "cache"), "CI_MERGE_REQUEST_DIFF_BASE_SHA": names["main"],
    }  # fmt: skip
    return here, variables


def _run(text: str, machine: tuple[Path, dict[str, str]]) -> None:
    """Run a step as both services do: by a shell that ends with the first command that fails."""
    here, variables = machine
    done = subprocess.run(
        ["bash", "-e", "-c", text], cwd=here, env=variables, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{text}\n{done.stdout}{done.stderr}"


def test_the_job_of_github_comments_on_a_pull_request(machine: tuple[Path, dict[str, str]], tmp_path: Path) -> None:
    """Each step has one of `uses` and `run`, and the comment is the Markdown of the command."""
    [job] = _jobs()[0]["jobs"].values()
    assert job["runs-on"] == "ubuntu-latest"
    assert job["permissions"]["pull-requests"] == "write"
    checkout = job["steps"][0]
    assert (checkout["uses"].partition("@")[0], checkout["with"]["fetch-depth"]) == ("actions/checkout", 0)
    assert job["steps"][-1]["if"] == "always()"
    for step in job["steps"]:
        assert ("uses" in step) != ("run" in step)
        assert set(step) <= {"uses", "with", "run", "if", "env", "name"}
        if "run" in step:
            text = step["run"].replace("${{ github.base_ref }}", "main").replace("${{ github.event.number }}", "7")
            assert "${{" not in text
            _run(text, machine)
    said = (tmp_path / "gh").read_text()
    assert said.startswith("pr\ncomment\n7\n")
    assert "### 🟡 origin/main → HEAD: 1 undecided" in said
    assert "tests/test\\_x.py::test\\_x" in said
    assert os.listdir(tmp_path / "cache" / "smartmob" / "experiments") == []


def test_the_job_of_gitlab_makes_a_junit_report(machine: tuple[Path, dict[str, str]]) -> None:
    """The report is the artifact that the merge request shows."""
    [job] = _jobs()[1].values()
    assert set(job) <= {"image", "variables", "rules", "script", "artifacts"}
    assert job["variables"]["GIT_DEPTH"] == 0
    assert job["artifacts"]["when"] == "always"
    for line in job["script"]:
        assert isinstance(line, str)
        _run(line, machine)
    report = ElementTree.parse(machine[0] / job["artifacts"]["reports"]["junit"])  # it was just written
    assert [case.get("name") for case in report.iter("testcase")] == ["test_x"]
