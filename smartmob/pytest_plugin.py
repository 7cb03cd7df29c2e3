"""Fixtures of pytest for programs that are tested against a service. Without a use of them, nothing is started.

pytest imports this module in each run of each project where smartmob is installed, so it imports nothing of the
service. The service is a process of its own: whatever a test does to its own process (patched clocks, closed sockets,
other loops, forks) does not reach it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import pytest

_STOP_SECONDS = 60  # that a service gets to end its programs and its database


@pytest.fixture(scope="session")
def smartmob_settings() -> dict[str, Any]:
    """Settings of the services of the other fixtures, by name: override this fixture in a `conftest.py`."""
    return {}


@pytest.fixture(scope="session")
def smartmob_url(smartmob_settings: Mapping[str, Any]) -> Iterator[str]:
    """Address of a smartmob service that all tests of this run share, with a database of its own."""
    with _service(smartmob_settings) as url:
        yield url


@pytest.fixture
def fresh_smartmob_url(smartmob_settings: Mapping[str, Any]) -> Iterator[str]:
    """Address of a new smartmob service, with an empty database of its own, for one test."""
    with _service(smartmob_settings) as url:
        yield url


@contextmanager
def _service(settings: Mapping[str, Any]) -> Iterator[str]:
    """Run a service in a process of its own until the end of the block, and give its address."""
    import json
    import os
    import subprocess
    import sys
    from pathlib import Path

    command = "import sys; sys.path.append(sys.argv[1]); from smartmob.embedded_service import main; main()"
    with subprocess.Popen(
        # With -P no module of the tests' folder stands in for one of the service.
        [sys.executable, "-P", "-c", command, str(Path(__file__).parents[1])],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,  # CTRL-C goes to pytest alone, which ends the service after the tests
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            text = json.dumps(dict(settings), default=os.fspath)
            process.stdin.write(f"{text}\n")
            process.stdin.flush()
            answer = json.loads(process.stdout.readline() or '{"error": "it ended, see its messages"}')
            if "error" in answer:
                pytest.fail(f"the smartmob service did not start: {answer['error']}", pytrace=False)
            yield answer["url"]
        finally:
            process.stdin.close()
            try:
                process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
