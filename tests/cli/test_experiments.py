"""`smartmob experiments`: the real commands against a running service."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.acceptance.commands import run
from tests.experiments.reports import report
from tests.experiments.test_routes import store

pytestmark = pytest.mark.timeout(900)


async def test_experiments_are_listed_shown_and_removed(client: Any, smartmob: Any) -> None:
    """An id may be shortened or `latest`; each format is the one of `smartmob ab`."""
    code, _, errors = await smartmob("experiments", "show")
    assert (code, "there is no experiment yet" in errors) == (1, True)
    older, found = report(ended="the time was up"), report()
    for each in (older, found):
        assert (await store(client, each))[0] == 201
    code, output, errors = await smartmob("experiments", "ls")
    assert (code, errors) == (0, "")
    assert [line.split()[0] for line in output.splitlines()[-2:]] == [str(each.id)[:13] for each in (found, older)]
    assert "main (111111111)" in output
    code, output, _ = await smartmob("experiments", "show", "latest", "--json")
    assert msgspec.json.decode(output, type=type(found)) == found
    code, output, _ = await smartmob("experiments", "show", str(older.id))
    assert "the time was up" in output
    assert "by instructions; the clock cannot tell" in " ".join(output.split())
    code, output, _ = await smartmob("experiments", "show", str(found.id), "--markdown")
    assert output.startswith("### 🔴 main → HEAD")
    assert (await smartmob("experiments", "rm", str(older.id)))[0] == 0
    code, output, _ = await smartmob("experiments", "ls", "--json", "--machine", "rack7")
    assert [row["id"] for row in json.loads(output)] == [str(found.id)]
    code, _, errors = await smartmob("experiments", "show", "ffff")
    assert (code, "there is no experiment ffff; `smartmob experiments ls` lists them" in errors) == (1, True)


async def test_the_file_of_an_experiment_is_sent_once(smartmob: Any, tmp_path: Path) -> None:
    """A document of `smartmob ab --json` is stored; the same one again is no error; others say what they are."""
    paths = [tmp_path / name for name in ("good.json", "old.json", "other.json")]
    found = msgspec.to_builtins(report())
    for path, content in zip(paths, (found, found | {"id": None}, {"verdict": 1}), strict=True):
        path.write_bytes(msgspec.json.encode(content))
    code, _, errors = await smartmob("experiments", "send", *map(str, paths), str(tmp_path / "absent"))
    assert code == 1
    said = errors.splitlines()
    assert [line.partition(".json: ")[2].split()[0] for line in said[:3]] == ["stored,", "has", "is"], said
    assert "cannot be read" in said[3]
    assert (await smartmob("experiments", "send", str(paths[0])))[0] == 0
    assert len(json.loads((await smartmob("experiments", "ls", "--json"))[1])) == 1
    assert paths[0].exists()


async def test_an_experiment_is_stored_or_waits(address: str, tmp_path: Path) -> None:
    """While the service is away the result is printed all the same, and a file waits that is sent later."""
    variables = {"XDG_STATE_HOME": str(tmp_path / "state"), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    words = ("ab", "--command", "true", "--command", "true", "--max-pairs", "1", "--max-time", "13m", "--json")
    code, output, errors = await run(*words, "--server", "http://127.0.0.1:9", **variables)
    waited = json.loads(output)["id"]
    file = tmp_path / "state" / "smartmob" / "experiments" / f"{waited}.json"
    assert code == 0
    assert "not stored: " in errors and "`smartmob experiments send --server http://127.0.0.1:9` sends it" in errors
    assert file.exists()
    variables["SMARTMOB_SERVER"] = address
    code, output, errors = await run(*words, **variables)
    stored = json.loads(output)["id"]
    assert (code, f"stored: `smartmob experiments show {stored}`" in errors) == (0, True), errors
    code, _, errors = await run("experiments", "send", **variables)
    assert (code, "stored, " in errors, file.exists()) == (0, True, False)
    code, output, _ = await run("experiments", "ls", "--json", **variables)
    assert [row["id"] for row in json.loads(output)] == [stored, waited]
    assert "no experiment waits" in (await run("experiments", "send", **variables))[2]
    assert "are not stored" in (await run("ab", ".", "--selftest", "--store", **variables))[2]
