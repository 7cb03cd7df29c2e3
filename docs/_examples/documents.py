"""Finds the examples of a page, and makes one test of them."""

from __future__ import annotations

import doctest
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sybil import Document, Example, Region, Sybil
from sybil.evaluators.doctest import DocTestEvaluator
from sybil.evaluators.python import PythonEvaluator
from sybil.parsers.abstract.doctest import DocTestStringParser
from sybil.parsers.markdown.lexers import FencedCodeBlockLexer
from sybil.parsers.myst.lexers import DirectiveLexer

from docs._examples.stage import ExampleError, Stage

COMMENT = re.compile(
    r"^[ ]*<!-- example: (?P<verb>exit|file|copy|folder|use|alone|soon|beside)(?: (?P<argument>[^ ]+))? -->$",
    re.MULTILINE,
)
SQL, CONSOLE, PYTHON = "sql", "console", "python"

_PLUGIN = re.compile(r"^\$ (?:\w+=\S+ )*pytest\b", re.MULTILINE)
_python, _doctest = PythonEvaluator(), DocTestEvaluator(doctest.ELLIPSIS)


class Page:
    """The state of a page while its examples are collected: a comment counts for the next example only."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.code = 0
        self.soon = False
        self.beside = False
        self.file: str | None = None


def _comment(example: Example) -> None:
    page: Page = example.namespace["page"]
    verb, argument = example.parsed
    if verb == "exit":
        page.code = int(argument)
    elif verb == "file":
        page.file = argument
    elif verb == "copy":
        page.stage.copy(argument)
    elif verb == "folder":
        page.stage.copy_folder(argument)
    elif verb == "soon":
        page.soon = True
    elif verb == "beside":
        page.beside = True
    elif verb == "use":
        page.stage.use_python(argument)
    else:
        page.stage.be_alone()


def _block(example: Example) -> None:
    page: Page = example.namespace["page"]
    language, source = example.parsed
    file, page.file = page.file, None
    code, page.code = page.code, 0
    soon, page.soon = page.soon, False
    beside, page.beside = page.beside, False
    if file is not None:
        page.stage.write(file, source)
    elif beside:
        page.stage.beside(source)
    elif language == CONSOLE:
        page.stage.console(source, code, soon)
    elif language == SQL:
        page.stage.execute(source)
    elif language == PYTHON:
        example.parsed = type(source)(page.stage.real(source), source.offset, source.line_offset)
        _python(example)


def _included(example: Example) -> None:
    example.namespace["page"].stage.copy(example.parsed)


def _prompted(sybil_example: Example) -> str:
    real, example = sybil_example.namespace["page"].stage.real, sybil_example.parsed
    example.source, example.want = real(example.source), real(example.want)
    return _doctest(sybil_example)


def _pycon(document: Document, block: Region) -> Iterator[Region]:
    source = block.lexemes["source"]
    for region in DocTestStringParser(_prompted)(source, document.path):
        region.adjust(block, source)
        yield region


def parse(document: Document) -> Iterator[Region]:
    """Yield the comments, blocks and included files of a page."""
    for match in COMMENT.finditer(document.text):
        yield Region(match.start(), match.end(), (match["verb"], match["argument"]), _comment)
    for block in FencedCodeBlockLexer(r"[\w-]+")(document):
        if block.lexemes["language"] == "pycon":
            yield from _pycon(document, block)
        else:
            block.parsed = (block.lexemes["language"], block.lexemes["source"])
            block.evaluator = _block
            yield block
    for block in DirectiveLexer("literalinclude", r"\S+")(document):
        block.parsed = (Path(document.path).parent / block.lexemes["arguments"]).resolve()
        block.evaluator = _included
        yield block


_SYBIL = Sybil(parsers=[parse])


def run(path: Path, curl: bool = shutil.which("curl") is not None) -> None:
    """Run the examples of a page; raises ExampleError, AssertionError or what a block of Python raises.

    Without `curl` a program of our own takes its place.
    """
    document = _SYBIL.parse(path)
    stage = Stage(curl)
    try:
        document.namespace["page"] = Page(stage)
        if needs_plugin(document.text):
            stage.use_python("pytest-monitor")
        for example in document.examples():
            try:
                example.evaluate()
            except ExampleError as error:
                raise ExampleError(error.line + example.line, str(error)) from None
    finally:
        stage.close()


def needs_plugin(text: str) -> bool:
    """Return whether the examples of a page run pytest."""
    return _PLUGIN.search(text) is not None


def runs_something(text: str) -> bool:
    """Return whether a page has examples that can be executed."""
    return re.search(rf"^```(?:{CONSOLE}|{PYTHON}|pycon|{SQL})$", text, re.MULTILINE) is not None


class ExamplesItem(pytest.Item):
    """The examples of one page as one test, since each may need what those before it have done."""

    def runtest(self) -> None:
        run(self.path)

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        error = excinfo.value
        if isinstance(error, ExampleError):
            return f"{self.path}:{error.line}:\n{error}"
        return super().repr_failure(excinfo, style)

    def reportinfo(self) -> tuple[Path, int, str]:
        return self.path, 0, "examples"


class ExamplesFile(pytest.File):
    """A page."""

    def collect(self) -> Iterator[pytest.Item]:
        text = self.path.read_text(encoding="utf-8")
        if not runs_something(text):
            return
        item = ExamplesItem.from_parent(self, name="examples")
        item.add_marker(pytest.mark.timeout(900))
        item.add_marker("acceptance")
        if needs_plugin(text) or "<!-- example: use " in text:
            item.add_marker("interop")
        yield item
