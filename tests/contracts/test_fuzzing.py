"""Requests made from the OpenAPI document, good and bad ones: none is a bug, and no answer is undocumented."""

from __future__ import annotations

import asyncio
import re
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.commands import environment
from tests.metrics.samples import context, metric, session

CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_schema_conformance",
    "unsupported_method",
    "negative_data_rejection",
)
EXAMPLES = "1"
"""Random requests of each operation, beside some 20 that have each boundary of each parameter.

The seed is fixed, so more would be the same ones each time: three took a fifth longer.
"""

SEED = "20261123"

ELSEWHERE = "|".join(
    (
        "/service/",  # what a node answers, and 503 while it is away
        "^/api/monitor/",  # the routes of `/monitor/` under another prefix
        "^/(contexts|sessions|components|pipelines|runs|client|hosts|api)$",  # the same routes without their slash
        # The routes of one function differ in the part of the path that selects metrics: a few are asked for all.
        r"^/(components/)?(items|variants)/\{\w+\}/metrics",
        r"^/(contexts/\{context_h\}|sessions/\{session_h\}|filters/scm/\{ref\}|variants/like/\{variant\})/metrics",
        r"^/components/(metrics|\{component\}/(metrics|variants))",
        r"^/resources/\{resource\}/(components|pipelines)/",
    )
)
"""Paths that are left out."""

ASKED = {
    *(
        "/metrics/",
        "/metrics/count",
        "/items/like/{item}/metrics",
        "/components/{component}/items/{item}/metrics/count",
    ),
    *("/filters/scope/{kind}/metrics", "/resources/{resource}/head/metrics", "/resources/{resource}/tail/{n}/metrics"),
    *("/sessions/{h}/metrics", "/runs/{id}/metrics", "/contexts/{h}", "/sessions/{h}", "/components/{prefix}"),
}
"""Paths that stand for those that are left out, and neighbours of those."""


CONFIGURATION = """
[phases.coverage]
unexpected-methods = ["delete", "trace"]
"""
"""Methods that a path may not have. The router refuses all others alike, and a test of routes tries PATCH at each."""

_PROGRAM = """
import gc
gc.set_threshold(100_000, 20, 100)
from schemathesis.cli import schemathesis
schemathesis(prog_name="schemathesis")
"""
"""The command of schemathesis, which looks for garbage less often: its schemas are a large heap that stays."""


@pytest.mark.long
@pytest.mark.timeout(3000)
async def test_the_document_is_true(client: Any, tmp_path: Path) -> None:
    """A bounded, seeded run of schemathesis finds nothing; the paths that stand for others are not left out."""
    paths = set((await (await client.get("/openapi.json")).json())["paths"])
    assert {path for path in paths if not re.search(ELSEWHERE, path)} >= ASKED
    for path, document in (("/contexts/", context()), ("/sessions/", session()), ("/metrics/", metric())):
        assert (await client.post(path, json=document)).status == 201
    (tmp_path / "schemathesis.toml").write_text(CONFIGURATION)
    # Hypothesis keeps its tables of characters in the folder from which it runs; to make them takes four seconds.
    kept = Path(__file__).parents[2] / ".hypothesis"
    kept.mkdir(exist_ok=True)
    (tmp_path / ".hypothesis").symlink_to(kept)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", _PROGRAM),
        *("run", f"http://127.0.0.1:{client.server.port}/openapi.json", "--checks", ",".join(CHECKS)),
        *("--max-examples", EXAMPLES, "--seed", SEED, "--no-color", "--warnings", "off"),
        *("--exclude-path-regex", ELSEWHERE),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        cwd=tmp_path,
        env=environment(),
    )
    output, _ = await process.communicate()

    assert process.returncode == 0, output.decode()
