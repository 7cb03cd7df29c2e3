"""Contracts on words: names and sentences use the terms of the field, and numbers tell their unit."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from tests.contracts import sources

ROOT = Path(__file__).parent.parent.parent
PACKAGE = ROOT / "smartmob"
SCRIPTS = sorted(
    path for path in (PACKAGE / "console").rglob("*") if path.suffix in (".js", ".html") and ".min." not in path.name
)
SOURCES = sorted(path for path in PACKAGE.rglob("*.py") if "demo_suite" not in path.parts)
TESTS = sorted(path for folder in ("tests", "docs", "benchmarks") for path in (ROOT / folder).rglob("*.py"))
"""The code beside the package: tests, the documentation's extensions and examples, and the benchmarks."""
PAGES = sorted(
    [
        *(ROOT / "docs").rglob("*.md"),
        *(ROOT / "CHANGES").glob("*.md"),
        *(each for each in ROOT.glob("*.md") if each.name != "CHANGES.md"),
        ROOT / "benchmarks" / "README.md",
    ]
)

RETIRED_NAMES = {
    *("nursery", "brand", "brands", "bury", "buried", "born", "house", "room", "rooms", "face", "guests", "visitor"),
    *("entrance", "battery", "guns", "shots", "rehearse", "rehearsal", "rehearsed", "happening", "surroundings"),
    *("amend", "forever", "judgement", "occasion", "occasions", "upkeep", "mend", "mended"),
    *("guardian", "guardians", "keeper", "keepers", "audience", "audiences", "nobody", "whoever"),
}
"""Words that names may not contain: each had a meaning of its own here that no other program gives it."""

RETIRED_IN_PACKAGE = {
    *("told", "tell", "tells"),  # publish, report, notify
    *("figure", "figures"),  # statistic, field, measurement, metric
    *("place", "places", "placed", "placing"),  # index, path, folder, position
    *("lot", "tap", "ledger", "heed", "unsaid", "survey", "hopeless", "remedy", "prolong", "revive", "revived"),
    *("turn", "turns", "signs", "course", "courses", "news", "goodbye", "farewell", "telling", "look", "settled"),
}
"""Words that names of the package may not contain either, with the terms in their stead."""

ONE_MEANING = {
    "place": ("smartmob/metrics/", "smartmob/console/", "smartmob/cli/printing.py", "smartmob/cli/tests.py"),
    "places": ("smartmob/metrics/", "smartmob/console/", "smartmob/cli/verdict_formats.py"),
}
"""Words with one meaning, and where it is used: a place is the machine and the Python of a measure."""

NAMES_OF_OTHERS = {
    ("smartmob/commands/builtin/copies.py", "place"),  # a remote command is called like its function
    ("smartmob/cli/trend_list.py", "place"),
    ("smartmob/commands/call.py", "tell"),  # a name of earlier releases, for modules of commands
}
"""Names that stay because other programs use them."""

SAME_KIND = {
    # Messages of protocols, which have the words of the peers.
    *("Clock", "Hello", "Ping", "Pong", "Result", "StopRequested", "Welcome"),
    # The same thing, as it is seen by each side.
    *("CpuLoad", "HostLoad", "HostLoadSource", "Interpreter", "NodeJobs", "Outbox", "ProcessOutput", "Run", "Side"),
    # An answer to a request, on the side of the server and on that of a script; a failure that a person reads.
    *("Answer", "Failure"),
}
"""Names of classes that several features have, each for the same kind of thing."""

ALLOWED_NAMES = {
    "room": "space for more data: in names of flow control",
}

RETIRED_PHRASES = {
    r"\bfor ever\b": "say how long, or drop it",
    r"\bmend(s|ed|ing)?\b": "fix, correct, repair",
    r"(?<!`)\bnobody\b(?!`)(?! reads the data)": "name who: no client, no user, no test",
    r"\bthe nursery\b": "the process spawner",
    r"\bthe house\b": "the dependencies, or the code base",
    r"\b(the|a|each|every) rooms?\b(?! (for|left|again))": "feature",
    r"\bwhat it is given\b": "its arguments",
    r"\btake[sn]? note\b": "record",
    r"\b(?<!`)(guardian|keeper)s?\b": "watchdog, subreaper, authenticator",
    r"\b(is|are|was|were|be) told of\b": "is notified of, gets",
    r"\bin turns\b": "alternately",
    r"\b(is|are) not there\b": "does not exist, is missing",
}

_PARTS = (
    *("for ever", "mend", "nobody", "nursery", "house", "room", "what it is given", "note"),
    *("guardian", "keeper", "told of", "in turns", "not there"),
)
"""One of them is in each retired phrase; a text without them, as most are, needs no search for the phrases."""

HEADLESS = re.compile(r"(Who|Whom|Whose|What|Where|How|Of whom|For whom|For who|To whom|Whether|Whoever|That which)\b")

_PERHAPS_HEADLESS = re.compile(rf'"""\s*{HEADLESS.pattern}')

UNITS = re.compile(
    r"(SECONDS?|MINUTES?|HOURS?|DAYS?|MS|NS|BYTES?|KB|MB|GB|CHARACTERS?|CHARS|ROWS?|LINES?|LEVELS?|FILES?|PERCENT|PORT|"
    r"BITS?|HZ|PERCENTILES?|ROUNDS?|COUNT|ITEMS?|CONNECTIONS?|MESSAGES?|SAMPLES?|POINTS?|TRIES|WIDTH|HEIGHT|PIXELS|VERSION|STATUS|CODE|FLAGS?)(_|$)"
)


_IDENTIFIER = re.compile(r"[A-Za-z_]+")

_STARRED = re.compile(r"[(,]\s*(#.*\n\s*)*\*\s*[(\[]")
"""Begins what may be a starred literal."""


def _name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def _docstrings(path: Path) -> Iterator[tuple[int, str, str]]:
    """Yield the lines and names of what has a docstring, with the docstrings."""
    for node in (sources.tree(path), *sources.definitions(path)):
        text = ast.get_docstring(node)
        if text:
            yield getattr(node, "lineno", 1), getattr(node, "name", "module"), text


def _comments(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the comments of a file with their line numbers."""
    for token in tokenize.generate_tokens(io.StringIO(sources.text(path)).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string


def _words(name: str) -> set[str]:
    """Return the words of an identifier, in lower case."""
    return {word.lower() for word in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", name)}


def _names(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the names that a file defines, with their lines."""
    for node in ast.walk(sources.tree(path)):
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.lineno, node.name
        elif isinstance(node, ast.arg):
            yield node.lineno, node.arg
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.lineno, node.id
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.lineno, node.attr


@cache
def _has_retired(identifier: str) -> bool:
    return not _words(identifier).isdisjoint((RETIRED_NAMES - set(ALLOWED_NAMES)) | RETIRED_IN_PACKAGE)


def _retired(text: str) -> list[str]:
    """Return the retired phrases of a text, each with its advice."""
    if not _perhaps_retired(text):
        return []
    found = {phrase: re.search(phrase, text, re.IGNORECASE) for phrase in RETIRED_PHRASES}
    return [f"{match[0]!r}: {RETIRED_PHRASES[phrase]}" for phrase, match in found.items() if match]


def _perhaps_retired(text: str) -> bool:
    lowered = text.lower()
    return any(part in lowered for part in _PARTS)


def _at(path: Path, line: int, text: str) -> str:
    """Return a fault with its place, which an editor can open."""
    return f"{_name(path)}:{line}: {text}"


def test_names_use_no_retired_words() -> None:
    """No module, class, function, argument or variable has a word that was replaced by the field's term."""
    retired = RETIRED_NAMES - set(ALLOWED_NAMES)
    package = set(SOURCES)
    assert [
        _at(path, line, name)
        for path in (*SOURCES, *TESTS)
        # Most of the time is for the nodes, so only files are looked at that have such a word anywhere.
        if any(_has_retired(each) for each in {path.stem, *_IDENTIFIER.findall(sources.text(path))})
        for line, name in ((0, path.stem), *_names(path))
        if (found := _words(name) & (retired | RETIRED_IN_PACKAGE if path in package else retired))
        and not all(_name(path).startswith(ONE_MEANING.get(word, ("-",))) for word in found)
        and (_name(path), name) not in NAMES_OF_OTHERS
    ] == []


def test_sentences_in_code_are_plain() -> None:
    """Docstrings begin with a thing or a verb, and neither they nor comments use retired phrases."""
    wrong = []
    for path in (*SOURCES, *TESTS):
        # To parse all files takes 2 s, so only those are that have such words or phrases anywhere.
        written = sources.text(path)
        if _PERHAPS_HEADLESS.search(written):
            for line, name, text in _docstrings(path):
                if HEADLESS.match(text):
                    wrong.append(_at(path, line, f"{name}: {text.splitlines()[0]}"))
        if _perhaps_retired(written):
            described = ((line, f"{name}: {each}") for line, name, text in _docstrings(path) for each in _retired(text))
            commented = ((line, each) for line, text in _comments(path) for each in _retired(text))
            wrong += [_at(path, line, each) for line, each in (*described, *commented)]
    assert wrong == []


def test_messages_are_plain() -> None:
    """No text in the code, such as an error or a label, has a retired phrase; nor has a script or template."""
    described = (
        (path, node.lineno, node.value)
        for path in SOURCES
        if _perhaps_retired(sources.text(path))
        for node in ast.walk(sources.tree(path))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
        if not node.value.isidentifier()  # such as the name of a column
    )
    written = (
        (path, number, line)
        for path in SCRIPTS
        for number, line in enumerate(sources.text(path).splitlines(), 1)
        if len(line) < 1_000  # a longer one is a library
    )
    assert [_at(path, line, each) for path, line, text in (*described, *written) for each in _retired(text)] == []


def test_each_retired_phrase_is_found() -> None:
    """Each phrase has a part by which it is looked for, so a text with it is never taken for one without."""
    texts = ("for ever", "mended", "nobody", "the nursery", "the house", "each room", "what it is given", "takes note")
    texts += ("the keeper", "are told of", "in turns", "is not there")
    for phrase, text in zip(RETIRED_PHRASES, texts, strict=True):
        assert re.search(phrase, text) and len(_retired(f"One {text.upper()} of them.")) == 1


def test_pages_are_plain() -> None:
    """Pages use no retired phrases; the column "Before" of the examples in CONTRIBUTING is left out."""
    wrong = []
    for path in PAGES:
        text = sources.text(path)
        if path.name == "CONTRIBUTING.md":
            text = re.sub(r"(?m)^\| [^|]+\. \|", "", text)
        wrong += [
            _at(path, number, each) for number, line in enumerate(text.splitlines(), 1) for each in _retired(line)
        ]
    assert wrong == []


def test_no_line_of_a_page_is_a_comment() -> None:
    """In MyST a line that begins with % is a comment, also within a paragraph: its words would not be on the page."""
    assert [
        _at(path, number, line)
        for path in PAGES
        for number, line in enumerate(sources.text(path).splitlines(), 1)
        if re.match(r"\s*%", line)
    ] == []


def test_log_events_use_no_retired_words() -> None:
    """An event is named `noun.what_happened` in the field's terms; the page has all events (`test_documented`)."""
    text = (ROOT / "docs/reference/log-events.md").read_text(encoding="utf-8")
    events = re.findall(r"(?m)^\| `([a-z._]+)` \|", text)
    assert len(events) > 100
    assert {event for event in events if "." not in event} == {"bind", "stop", "process"}
    retired = RETIRED_NAMES | RETIRED_IN_PACKAGE | {"rubbish", "away", "back"}
    assert [event for event in events if retired & set(re.split(r"[._]", event))] == []


def test_class_names_are_unique_within_a_feature() -> None:
    """A class name has one meaning in a feature."""
    places: dict[tuple[str, str], list[str]] = defaultdict(list)
    for path in SOURCES:
        for node in sources.definitions(path):
            if isinstance(node, ast.ClassDef):
                places[path.relative_to(PACKAGE).parts[0], node.name.lstrip("_")].append(_name(path))
    assert {key: where for key, where in places.items() if len(where) > 1} == {}


def test_a_class_name_of_several_features_has_one_meaning() -> None:
    """Public classes of the same name are the same kind of thing in each feature; `SAME_KIND` lists these names."""
    features: dict[str, set[str]] = defaultdict(set)
    for path in SOURCES:
        for node in sources.definitions(path):
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                features[node.name].add(path.relative_to(PACKAGE).parts[0])
    assert {name for name, found in features.items() if len(found) > 1} == SAME_KIND


def test_numbers_tell_their_unit() -> None:
    """A numeric constant has its unit in its name, or a comment beside or above it, or a docstring below."""
    assert [_at(path, line, name) for path in SOURCES for line, name in _without_unit(path)] == []


def test_each_form_of_a_constant_without_a_unit_is_found(tmp_path: Path) -> None:
    """Also in a tuple, as a tuple, and in a class; a comment above a block stands for all of it."""
    file = tmp_path / "constants.py"
    file.write_text(
        "_A, _B_SECONDS = 1, 2\n_C = (3, 4)\nclass K:\n    _D = 5\n    value = 6\n\n# Bytes.\n_E = 7\n_F = 8\n\n"
        '_G = 9\n_H = 10\n"""Rows."""\n_I: int = 2 * 6  # in a dozen\n'
    )
    assert [name for _, name in _without_unit(file)] == ["_A", "_C", "_G", "_D"]


def _without_unit(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the numeric constants of a file and its classes that do not tell their unit, with their lines."""
    lines = sources.text(path).splitlines()
    tree = sources.tree(path)
    for part in (tree, *(node for node in sources.definitions(path) if isinstance(node, ast.ClassDef))):
        for number, node in enumerate(part.body):
            if isinstance(node, ast.Assign) or (isinstance(node, ast.AnnAssign) and part is tree):
                following = part.body[number + 1] if number + 1 < len(part.body) else None
                is_described = isinstance(following, ast.Expr) and isinstance(following.value, ast.Constant)
                for name, value in _assigned(node):
                    is_constant = part is tree or name.isupper()
                    has_unit = is_described or UNITS.search(name.upper()) or _has_comment(lines, node.lineno - 1)
                    if is_constant and _is_numeric(value) and not has_unit:
                        yield node.lineno, name


def _assigned(node: ast.Assign | ast.AnnAssign) -> Iterator[tuple[str, ast.expr | None]]:
    """Yield the names that an assignment gives values to, each with its own value."""
    target = node.targets[0] if isinstance(node, ast.Assign) else node.target
    if isinstance(target, ast.Tuple) and isinstance(node.value, ast.Tuple):
        pairs = list(zip(target.elts, node.value.elts, strict=False))
    else:
        pairs = [(target, node.value)] if node.value is not None else []
    yield from ((name.id, value) for name, value in pairs if isinstance(name, ast.Name))


def _has_comment(lines: list[str], index: int) -> bool:
    """Return whether a line has a comment, or stands in a block of assignments below one."""
    if "#" in lines[index]:
        return True
    while index and re.match(r"\s*[A-Z_, ]+ = ", lines[index]):
        index -= 1
    return lines[index].lstrip().startswith("#")


def _is_numeric(node: ast.expr | None) -> bool:
    """Return whether an expression is a number or a tuple of numbers."""
    if isinstance(node, ast.Tuple):
        return bool(node.elts) and all(map(_is_number, node.elts))
    return _is_number(node)


def _is_number(node: ast.expr | None) -> bool:
    """Return whether an expression is a number, or arithmetic on numbers."""
    if isinstance(node, ast.BinOp):
        return _is_number(node.left) and _is_number(node.right)
    if isinstance(node, ast.UnaryOp):
        return _is_number(node.operand)
    return isinstance(node, ast.Constant) and type(node.value) in (int, float)


def test_calls_pass_no_starred_literals() -> None:
    """Arguments stand by themselves or by name: `f(*(1, 2), x=3)` hides which argument is which."""
    assert [
        _at(path, node.lineno, "starred literal")
        for path in SOURCES
        if _STARRED.search(sources.text(path))
        for node in ast.walk(sources.tree(path))
        if isinstance(node, ast.Call)
        for argument in node.args
        if isinstance(argument, ast.Starred) and isinstance(argument.value, ast.Tuple | ast.List)
    ] == []
