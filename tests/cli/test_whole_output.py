"""The whole output of each command, on a terminal of 80 columns and in a pipe.

What is expected stands in `whole_output.txt`, with times, ids and sizes masked. To write it anew
after a change that is meant: `SMARTMOB_WRITE_EXPECTED=1 python -m pytest tests/cli/test_whole_output.py`.
"""

from __future__ import annotations

import itertools
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import msgspec
import pytest
from click.testing import CliRunner

from smartmob.cli import main
from smartmob.feature_settings import HostsSettings
from tests.acceptance.commands import run
from tests.cli.terminal import typed
from tests.experiments.reports import report
from tests.metrics.suites import describe, send
from tests.waiting import until

pytestmark = pytest.mark.timeout(1800)

EXPECTED = Path(__file__).with_name("whole_output.txt")
TOKEN = "a-token-of-32-characters-or-more"
COLUMNS = 80
_KEY = re.compile(r"(?<!\S)\S{40,}(?!\S)")
_PROGRESS = re.compile(r"━|-:--:--|\?/|/\? |^\w+\s+0/|\s\d:\d\d:\d\d\s*$")
"""A frame of a progress bar: which frames are drawn depends on the time."""
_MASKS = (
    (re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d"), "2026-01-01 00:00:00"),
    (re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"), "01234567-0123-0123-0123-0123456789ab"),
    (re.compile(r"127\.0\.0\.1:\d+"), "127.0.0.1:PORT"),
    (_KEY, "SECRET"),
    (re.compile(r"PORT=\d+"), "PORT=N"),
    (re.compile(r"\d+(\.\d+)? k?B(?= packed)"), "N B"),
    (re.compile(r"\d+(\.\d+)? (ns|µs|ms|s)\b(?= |$)", re.MULTILINE), "T"),
    (re.compile(r"\d+(,\d{3})* seconds"), "N seconds"),
)

_CALLS = """
tests ls
tests show s2
tests show latest --sort time
tests history test_3
tests trends
tests retag s0 --tag how=plain
tests export -o measures.csv
tests import report.xml
tests rm s0 --yes
compare
compare s1 latest --all
compare nope nada
ab nowhere
bisect nowhere
experiments show nowhere
experiments rm nowhere
experiments send nothing.json
reserve nowhere
release
run app --detach
ps
logs app.web.0
stop app
restart app
stop app
exec echo hello
exec --detach true
output 2
output 77
kill 77
nodes ls
nodes show nowhere
nodes label nowhere rack=7
nodes drain nowhere
nodes rm nowhere
import-results night.jtl --format jmeter-csv --name night
report last -o night.html
report lst
compare-runs last last
results-to-csv last night.csv
rebuild-results last -o again.html
new-project shop
har-to-project shop.har recorded
try-script nothing.py
pack-turrets recorded
keys new hq
keys turret laptop
keys list hq.pub
keys public nothing.key
keys allow
keys revoke
turret
check-turret
fire nowhere
attach nowhere
hosts show nowhere
join nowhere
report-host --to nowhere
serve --port 99999
demo --speed 7
bench --seconds soon
db restore
db dump --nothing
db status --port 1
db migrate --nothing
db vacuum --nothing
db distribute --nothing
db rebalance --nothing
doctor --nothing
install-service --role nothing
token add wall --role read
token ls
token revoke wall
token revoke wall
alerts ls
alerts add full service.free<1B
alerts rules
alerts receiver add team mailto:team@example.com
alerts receiver ls
alerts test nobody
alerts history
alerts messages
alerts retry
alerts silence rack* --for 2h
alerts silence rack*
alerts rm full
alerts receiver rm team
mark new-kernel --author me@rack7
marks
"""
"""Each call by its words; those that change something are in the order in which they can follow each other."""

_VARYING = (
    "hosts ls",
    "hosts show rack7",
    "hosts watch --times 1",
    "jobs",
    "audit",
    "ps",
    "experiments send experiment.json",
    "experiments ls",
    "experiments show latest",
    "reserve --for 10m --reason benchmark",
    "reservations",
    "release --force",
    "cp report.xml :{folder}/copy.xml",
)
"""Calls whose figures and lengths differ from run to run: only the rules for all calls are checked."""


def _commands(command: click.Command, context: click.Context, words: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    if not isinstance(command, click.Group):
        yield words
        return
    for name in command.list_commands(context):
        child = command.get_command(context, name)
        assert child is not None
        yield from _commands(child, click.Context(child, info_name=name, parent=context), (*words, name))


ALL = tuple(_commands(main.group, click.Context(main.group, info_name="smartmob")))


def _masked(text: str, folder: Path) -> str:
    text = text.replace(str(folder), "FOLDER")
    for pattern, mask in _MASKS:
        text = pattern.sub(mask, text)
    return "\n".join(re.sub(r"(?<=\S) {2,}", "  ", line).rstrip() for line in text.splitlines()).strip("\n")


def _faults(words: str, shown: str, piped: str) -> Iterator[str]:
    """Yield what is wrong with any output: lines that are too long, torn words, control characters."""
    for line in shown.splitlines():
        if len(line) > COLUMNS and " " in line.strip():
            yield f"{words}: a line of {len(line)} columns: {line}"
    if control := re.search(r"[^\n\t\x20-\x7e\xa0-\U0010ffff]", piped):
        yield f"{words}: {control[0]!r} in the pipe"
    whole, lines = set(piped.split()), [line.split() for line in shown.splitlines() if line.strip()]
    ends = [(one[-1], other[0]) for one, other in itertools.pairwise(lines) if not one[-1].endswith("-")]
    if torn := [pair for pair in ends if "".join(pair) in whole and pair[0] not in whole]:
        yield f"{words}: torn words {torn}"


class _Caller:
    """Calls commands in a folder, on a terminal and in a pipe."""

    def __init__(self, folder: Path, address: str) -> None:
        self.folder = folder
        self.variables = {"SMARTMOB_SERVER": address, "SMARTMOB_TOKEN": TOKEN, "TZ": "UTC", "FORCE_COLOR": ""}
        self.faults: list[str] = []

    async def both(self, words: str) -> tuple[str, str, int]:
        """Return what a call says in a pipe and on a terminal, and its exit code."""
        given = [word.replace("{folder}", str(self.folder)) for word in words.split()]
        code, output, errors = await run(*given, **self.variables)
        async with typed(*given, terminal=True, columns=COLUMNS, **self.variables | {"NO_COLOR": "1"}) as command:
            await command.wait()
        piped, shown = output + errors, command.text.replace("\r\n", "\n")
        shown = "".join(line for line in shown.splitlines(keepends=True) if not _PROGRESS.search(_KEY.sub("", line)))
        self.faults += _faults(words, shown, piped)
        return piped, shown, code

    async def _has_written(self) -> bool:
        return (await run("logs", "app.web.0", **self.variables))[1] != ""

    async def section(self, words: str) -> str:
        """Return the section of the expected file for a call. Output is shown once the program has written it."""
        if words.startswith("logs "):
            await until(self._has_written)
        piped, shown, code = await self.both(words)
        parts = {"pipe": _masked(piped, self.folder), "terminal": _masked(shown, self.folder)}
        said = [f"[{name}]\n{text}" for name, text in parts.items() if name == "pipe" or text != parts["pipe"]]
        return "\n".join([f"$ smartmob {words}", *said, f"[exit {code}]\n"])


def _lay_files(folder: Path) -> None:
    """Write the files that the commands read."""
    (folder / "app").mkdir()
    (folder / "app" / "Procfile").write_text("web: echo ready; sleep 1000\n")
    cases = "".join(f'<testcase classname="tests.a" name="test_{n}" time="0.{n}"/>' for n in range(1, 4))
    (folder / "report.xml").write_text(
        f'<testsuite name="a" tests="3" timestamp="2026-01-01T00:00:00" hostname="rack7">{cases}</testsuite>'
    )
    rows = [f"{1_700_000_000_000 + n * 100},{20 + n % 7},page,200,OK,true" for n in range(300)]
    lines = ["timeStamp,elapsed,label,responseCode,responseMessage,success", *rows]
    (folder / "night.jtl").write_text("\n".join(lines) + "\n")
    entry = {
        "startedDateTime": "2026-01-01T00:00:00.000Z",
        "time": 5,
        "request": {"method": "GET", "url": "http://shop.example/cart", "headers": [], "queryString": []},
        "response": {"status": 200, "headers": [], "content": {"mimeType": "text/html"}},
    }
    (folder / "shop.har").write_text(json.dumps({"log": {"version": "1.2", "entries": [entry]}}))
    (folder / "experiment.json").write_bytes(msgspec.json.encode(report()))


@pytest.mark.long
async def test_each_command_by_its_whole_output(
    with_settings: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Output is as expected; no line is too long, no word is torn, and a pipe gets no control characters."""
    client = await with_settings(token=TOKEN, hosts=HostsSettings(name="rack7"))
    client.session.headers["Authorization"] = f"Bearer {TOKEN}"
    await describe(client)
    for hour in range(3):
        await send(client, f"s{hour}", hour, {"test_3": 0.2} if hour == 2 else {}, tags={"machine": "rack7"})
    _lay_files(tmp_path)
    monkeypatch.chdir(tmp_path)
    caller = _Caller(tmp_path, f"http://127.0.0.1:{client.server.port}")
    calls = [line for line in _CALLS.splitlines() if line and line not in _VARYING]
    found = "\n".join([await caller.section(words) for words in calls])
    for words in _VARYING:
        await caller.both(words)
    if os.environ.get("SMARTMOB_WRITE_EXPECTED"):
        EXPECTED.write_text(found)
    assert caller.faults == []
    called = {words.strip() for words in (*calls, *_VARYING)}
    assert [words for words in ALL if not any(f"{call} ".startswith(" ".join(words) + " ") for call in called)] == []
    assert found.splitlines() == EXPECTED.read_text().splitlines()


def test_each_help_fits_a_terminal() -> None:
    """The help of each command has no line above 80 columns, no control character, and wraps between words."""
    faults = []
    for words in ALL:
        wide, narrow = (
            CliRunner().invoke(main.group, [*words, "--help"], terminal_width=width, max_content_width=width).output
            for width in (1000, COLUMNS)
        )
        faults += _faults(" ".join(words), narrow, wide)
    assert faults == []
