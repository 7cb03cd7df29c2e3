"""The documentation: it can be built, it leaves out nothing that the code has, and its examples work."""

from __future__ import annotations

import ast
import fcntl
import os
import re
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import click
import pytest

from docs._examples.documents import run
from docs._examples.matching import fits
from smartmob.app import build
from smartmob.cli.main import group
from smartmob.kernel.http import problems
from smartmob.settings import OPTIONS, Settings
from tests.contracts import sources

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "smartmob"
DOCS = ROOT / "docs"
PAGES = sorted([*DOCS.rglob("*.md"), *ROOT.glob("*.md"), *(ROOT / "examples").rglob("*.md")])
EXAMPLES = sorted((ROOT / "examples").rglob("*.py"))

EXECUTED = {"console", "python", "pycon", "sql"}
SHOWN_ONLY = {"sh", "ini", "yaml", "nginx", "text"}
"""Languages of blocks that no test can execute: other programs' configuration, and what needs more than a service."""
WRITTEN = {"json", "toml", "xml"}
"""Languages of files that an example uses."""

LONGEST_EXAMPLE = 60


class _Text(HTMLParser):
    """Gathers the text of a page, with a line for each cell and paragraph."""

    def __init__(self) -> None:
        super().__init__()
        self.parts: list[str] = []

    def handle_data(self, data: str) -> None:
        self.parts.append(data)

    def handle_starttag(self, tag: str, attrs: object) -> None:
        if tag == "br":
            self.parts.append("\n")

    def handle_endtag(self, tag: str) -> None:
        if tag in ("td", "th", "p", "tr", "h1", "h2", "h3", "pre"):
            self.parts.append("\n")


@pytest.fixture(name="built", scope="session")
def _built() -> Path:
    """Return the folder of the built documentation without its navigation; one worker builds it for all."""
    target = Path(os.environ["SMARTMOB_TEST_SHARED"]) / "html"
    with target.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not target.exists():
            done = _sphinx("-t", "content", "-d", target.with_suffix(".doctrees"), DOCS, target)
            if done.returncode:
                target.with_suffix(".failed").write_text(done.stdout + done.stderr)
    failed = target.with_suffix(".failed")
    assert not failed.exists(), failed.read_text()
    return target


_SPHINX = """
import gc, sys
gc.set_threshold(500_000, 20, 100)
from sphinx.cmd.build import main
sys.exit(main(sys.argv[1:]))
"""
"""The command of Sphinx. A fifth of its processor time would go into garbage: the nodes of all pages stay."""


def _sphinx(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    options = ("--fail-on-warning", "--nitpicky", "--keep-going", "-q", "-b", "html")
    command = [sys.executable, "-c", _SPHINX, *options, *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def _text(built: Path, page: str) -> str:
    text = _Text()
    html = (built / "reference" / f"{page}.html").read_text(encoding="utf-8")
    text.feed(html[html.index('<div class="body"') : html.index('<div class="sphinxsidebar"')])
    return "".join(text.parts)


def _rows(page: str) -> Iterator[list[str]]:
    """Yield the cells of the rows of a page's tables, as they are written."""
    for line in (DOCS / "reference" / f"{page}.md").read_text(encoding="utf-8").splitlines():
        if line.startswith("| `"):
            yield [cell.strip() for cell in line.strip("|").split(" | ")]


@pytest.mark.long
class TestReference:
    """Completeness of the reference."""

    @pytest.mark.timeout(900)
    def test_it_can_be_built(self, built: Path) -> None:
        """Sphinx finds nothing to complain of: no link leads nowhere and no page is left out of the contents."""
        assert (built / "index.html").exists()

    @pytest.mark.timeout(900)
    def test_it_can_be_built_with_its_theme(self, tmp_path: Path) -> None:
        """The theme knows its settings and shows a page with its title."""
        (tmp_path / "index.md").write_text("# A page of its own\n")

        done = _sphinx("-c", DOCS, "-D", "extensions=myst_parser", tmp_path, tmp_path / "html")

        assert done.returncode == 0, done.stdout + done.stderr
        html = (tmp_path / "html" / "index.html").read_text(encoding="utf-8")
        assert "furo" in html
        assert "A page of its own" in html

    @pytest.mark.timeout(900)
    def test_every_setting_is_documented(self, built: Path) -> None:
        """Each is there with its flag, its variable, its key and its meaning."""
        text = _text(built, "settings")
        for option in OPTIONS:
            for name in (option.flag, option.variable, option.name):
                assert re.search(rf"(?<![\w-]){re.escape(name)}(?![\w-])", text), name
            assert option.help.rstrip(".") in text

    @pytest.mark.timeout(900)
    def test_every_command_and_option(self, built: Path) -> None:
        """Each command is there with its help and each of its options."""
        text = _text(built, "commands")
        for name, command, context in _commands("smartmob", group, click.Context(group, info_name="smartmob")):
            section = text.split(f"\n{name}", 1)[1]
            assert " ".join((command.help or "").split("\n\n")[0].split()) in section, name
            for parameter in command.get_params(context):
                for option in parameter.opts if isinstance(parameter, click.Option) and not parameter.hidden else ():
                    assert option in section, (name, option)

    @pytest.mark.timeout(900)
    def test_every_route_and_type(self, built: Path) -> None:
        """Each route is there; those with and without a slash at the end are one. So is each type of a body."""
        text = _text(built, "routes")
        document = build(Settings(data_dir=Path("nowhere"))).document
        for path, item in document["paths"].items():
            for method, operation in item.items():
                shown = f"{path}/" if operation["operationId"].endswith("_no_slash") else path
                assert f"{method.upper()} {shown}\n" in text, shown
        for name, schema in document["components"]["schemas"].items():
            assert f"\n{name}" in text
            assert all(field in text for field in schema.get("properties", {}))

    def test_every_problem_is_documented(self) -> None:
        """Each kind of error is there with its status, and none that does not exist."""
        known = {name: int(status) for _, status, name in problems._KINDS}
        known |= {name: status for status, name in problems._HTTP_NAMES.items()} | {"internal": 500}
        rows = [row for row in _rows("problems") if row[1].isdigit()]
        assert {row[0].strip("`"): int(row[1]) for row in rows} == known

    def test_every_log_event_is_documented(self) -> None:
        """Each event is there with all its fields, and none that is never logged."""
        documented = {row[0].strip("`"): set(re.findall(r"`(\w+)`", row[2])) for row in _rows("log-events")}
        logged = _logged()
        assert set(logged) == set(documented)
        assert {
            event: fields - documented[event] for event, fields in logged.items() if fields - documented[event]
        } == {}

    def test_every_table_is_documented(self) -> None:
        """Each table of a migration is described."""
        assert {row[0].strip("`") for row in _rows("schema")} == _tables()

    def test_every_migration_is_shown(self) -> None:
        """The page of the schema includes the file of each migration."""
        text = (DOCS / "reference" / "schema.md").read_text(encoding="utf-8")
        shown = re.findall(r"\{literalinclude\} \.\./\.\./smartmob/(\S+)", text)
        assert sorted(shown) == sorted(str(path.relative_to(PACKAGE)) for path in PACKAGE.rglob("migrations/*.sql"))

    def test_every_folder_is_in_the_readme(self) -> None:
        """The overview of the code names each folder of the package."""
        text = (DOCS.parent / "README.md").read_text(encoding="utf-8")
        folders = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
        assert folders - set(re.findall(r"^  (\w+)/ ", text, re.MULTILINE)) == set()

    def test_the_retention_of_every_table_is_documented(self) -> None:
        """Of each table it is said what removes its rows, by settings and routes that there are."""
        rows = list(_rows("retention"))
        assert {row[0].strip("`") for row in rows if len(row) == 3 and row[0].strip("`") in _tables()} == _tables()
        text = (DOCS / "reference" / "retention.md").read_text(encoding="utf-8")
        assert set(re.findall(r"`(--[\w-]+)`", text)) <= {option.flag for option in OPTIONS}
        paths = build(Settings(data_dir=Path("nowhere"))).document["paths"]
        for method, path in re.findall(r"`(DELETE|POST) (/[^`]+)`", text):
            assert method.lower() in paths[path], path


def _tables() -> set[str]:
    made = {"schema_migrations"}
    for migration in PACKAGE.rglob("migrations/*.sql"):
        made |= set(re.findall(r"CREATE TABLE (\w+)", migration.read_text(encoding="utf-8")))
    return made


def _commands(
    name: str, command: click.Command, context: click.Context
) -> Iterator[tuple[str, click.Command, click.Context]]:
    yield name, command, context
    if isinstance(command, click.Group):
        for child_name in command.list_commands(context):
            child = command.get_command(context, child_name)
            assert child is not None
            inner = click.Context(child, info_name=child_name, parent=context)
            yield from _commands(f"{name} {child_name}", child, inner)


_METHODS = {"debug", "info", "warning", "error", "exception", "critical", "log"}
_CALLED = re.compile(rf"\.\s*(?:{'|'.join(_METHODS)})\s*\(")


def _logged() -> dict[str, set[str]]:
    """Return the names of all events in the code, with their fields."""
    # Written past structlog, since there is one for each request.
    found: dict[str, set[str]] = defaultdict(set)
    found["http.access"] = {"method", "path", "outcome", "duration", "request"}
    for path in PACKAGE.rglob("*.py"):
        if not _CALLED.search(sources.text(path)):
            continue
        for node in ast.walk(sources.tree(path)):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in _METHODS):
                continue
            names = [argument.value for argument in node.args[:2] if isinstance(argument, ast.Constant)]
            for name in (name for name in names if isinstance(name, str)):
                fields = {keyword.arg for keyword in node.keywords if keyword.arg is not None}
                found[name] |= fields - {"exc_info"}
    return found


class TestExamples:
    """Examples of the pages and of the folder `examples`."""

    @pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
    def test_blocks_are_executed_or_say_why_not(self, page: Path) -> None:
        """Each block has a language that tells whether it is executed, and a file is written for a command to use."""
        lines = page.read_text(encoding="utf-8").splitlines()
        inside = False
        for number, line in enumerate(lines):
            fence = re.match(r" *```(\{?[\w-]*)", line)
            if fence is None:
                continue
            inside = not inside
            if not inside or fence[1].startswith("{"):
                continue
            assert fence[1] in EXECUTED | SHOWN_ONLY | WRITTEN, (number + 1, fence[1])
            if fence[1] in WRITTEN:
                assert lines[number - 1].startswith("<!-- example: file "), number + 1

    @pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: str(example.relative_to(ROOT)))
    def test_examples_are_short_and_shown(self, example: Path) -> None:
        """An example can be read at a glance, and a page shows or uses it, so it is executed."""
        assert len(example.read_text(encoding="utf-8").splitlines()) <= LONGEST_EXAMPLE
        name = str(example.relative_to(ROOT))
        places = (name, str(Path(name).parent), f"../../{name}")
        assert any(re.search(rf"(?:copy |literalinclude}} ){re.escape(place)}(?: |$)", page.read_text(), re.MULTILINE)
                   for page in PAGES for place in places)  # fmt: skip

    @pytest.mark.interop
    @pytest.mark.acceptance
    @pytest.mark.timeout(900)
    @pytest.mark.parametrize("page", sorted((ROOT / "examples").rglob("*.md")), ids=lambda page: page.parent.name)
    def test_the_folder_of_examples(self, page: Path) -> None:
        """The README of an example shows what its programs print."""
        run(page)

    @pytest.mark.interop
    @pytest.mark.acceptance
    @pytest.mark.timeout(900)
    def test_a_machine_without_curl(self) -> None:
        """A program that stands in for it does what the page with most of its options shows."""
        run(DOCS / "howto" / "open-to-the-network.md", curl=False)


class TestMatching:
    """When what a command printed counts as what its page shows."""

    @pytest.mark.parametrize(
        ("shown", "printed"),
        [
            ("a  b\nc", "a b   \nc\n"),
            ("first\n...\nlast", "first\n1\n2\nlast"),
            ("first\n...\nlast", "first\nlast"),
            ("first\n...", "first"),
            ("web.0 running 4711 3 s\nstarted, pid 4711", "web.0  running  13  1 s\nstarted, pid 13"),
            ("2026-11-23 09:14:07  rack7  1.25 s", "2030-01-02 03:04:05 rack7 17.0 ms"),
            ('{"h":"0123456789abcdef","time":0.5}', '{"h":"fedcba9876543210","time":0.0625}'),
            ("▇▇ 8 %", "▇▇▇▇ 104 %"),
        ],
    )
    def test_a_shown_output_fits_with_other_times_and_hashes(self, shown: str, printed: str) -> None:
        """Times, durations, hashes and figures with a fraction may differ, blanks too; `...` is anything."""
        assert fits(shown, printed)

    @pytest.mark.parametrize(
        ("shown", "printed"),
        [
            ("4 passed", "3 passed"),
            ("Tests 4", "Tests 4 more"),
            ("first\n...\nlast", "first\n1\n2"),
            ("-", "0.5 s"),
            ("a.b", "aXb"),
            ("201", "503"),
        ],
    )
    def test_it_does_not_fit(self, shown: str, printed: str) -> None:
        """Counts, words, states and whatever follows must be the same."""
        assert not fits(shown, printed)
