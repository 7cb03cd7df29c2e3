"""Formats of a comparison: Markdown for a pull request, JUnit XML, and the parts that all formats share."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Container, Iterable, Mapping, Sequence
from typing import Any
from xml.etree import ElementTree

from smartmob.cli import printing
from smartmob.verdict_words import word

_WORST = ("regression", "suspect", "unfit")
_ICONS = {"regression": "🔴", "suspect": "🟡", "unfit": "🟣", "improvement": "🟢", "noise": "⚪"}
_STILL = "🟠"
_SHORT = 12  # characters of a hash
_MAX_ROWS = 20  # of the table of the worst tests
_MAX_FOLDED_ROWS = 200
_KNOWN_RUNS = 5  # earlier runs from which the variation of a test itself is known
_LEAST_SHOWN = 0.001  # a smaller variation has no digit
_HEAD = ("", "Test", "Base", "Head", "Change", "Varies", "Reason")
_MARKDOWN = re.compile(r"([\\`*_\[\]<>#|~$])")
# Characters that make a heading, a list or a rule at the beginning of a line.
_BEGINNING = re.compile(r"([0-9]*)([-+=.)])")
# Sites make links and mentions of these, in plain text too. A zero-width space splits the word.
_LINKED = re.compile(
    r"([@#](?=[\w\\])|:(?=//?)|\bwww(?=\.)|\b(?:mailto|xmpp)(?=:)|\bGH(?=-)|!(?=[0-9])|%(?=\w))", re.IGNORECASE
)
_ZERO_WIDTH_SPACE = "&#8203;"

Row = Mapping[str, Any]


def title(found: Row) -> str:
    """Return the two sides of a comparison in one line."""
    base = side(found["base"]) if found["base"] is not None else "its history"
    return f"{side(found['head'])} against {base}, by {found['resource']}"


def side(one: Row) -> str:
    """Return a base or a head in one phrase."""
    of_commit = f" ({one['scm_ref'][:_SHORT]})" if one["kind"] != "commit" and one["scm_ref"] else ""
    return f"{one['kind']} {one['id'][:_SHORT]}{of_commit}"


def notes(found: Row) -> list[str]:
    """Return the notes on the machines: the shift of all tests, and the load where the verdict does not tell it."""
    said = []
    many = len(found["contexts"]) > 1
    for context in found["contexts"]:
        where = f"{context['machine_node']}, {context['python_info'].partition(' ')[0]}: " if many else ""
        said.append(f"{where}{context['shift']['explanation']}")
        if context["host"] is not None and context["host"]["explanation"].rstrip(".") not in found["explanation"]:
            said.append(f"{where}{context['host']['explanation']}")
    places = (found.get("places") or {}).get("explanation")
    if not said and not (places and found["verdict"] == "unfit"):
        said = [found["shift"]["explanation"]]  # of different machines one reason is enough
    return said if places is None else [*said, places]


def without_repetitions(rows: Sequence[Row]) -> tuple[list[Row], list[str]]:
    """Return the rows without the tests that share a reason why they cannot be judged, and a line for each reason.

    A reason that several tests have is said once, with the number of tests.
    """
    shared = Counter(row["reason"] for row in rows if row["verdict"] == "unfit")
    repeated = {reason: number for reason, number in shared.items() if number > 1}
    kept = [row for row in rows if row["verdict"] != "unfit" or row["reason"] not in repeated]
    return kept, [f"{word('unfit')}: {number} tests: {reason}." for reason, number in repeated.items()]


def verdict(one: Row) -> str:
    """Return the verdict of a comparison or of a test as people read it."""
    return str(one.get("word") or word(one["verdict"]))


def test_name(row: Row) -> str:
    """Return a test as pytest names it."""
    return f"{row['path']}::{row['variant'] or row['item']}"


def value(number: float | None, unit: str) -> str:
    """Return a value with its unit."""
    if number is None:
        return printing.NOTHING
    if unit == "MB":
        return f"{number:,.1f} MB"
    return f"{number:.0%}" if unit == "cores" else printing.seconds(number)


def is_notable(row: Row) -> bool:
    """Return whether a row is shown: not a test without a change, unless it was renamed or is still slower."""
    return row["verdict"] != "noise" or row["renamed_from"] is not None or row.get("since") is not None


def change(row: Row, unit: str) -> str:
    """Return the change of a test, corrected by the shift of all tests; from a value of zero it is a difference."""
    ratio = row["corrected_ratio"]
    if ratio is None:
        if row["head"] is None or row["level"] is None:
            return printing.NOTHING
        difference = row["head"] - row["level"]
        return f"{'+' if difference >= 0 else '-'}{value(abs(difference), unit)}"
    return f"x{ratio:.2f}" if ratio >= 2 else f"{ratio - 1:+.1%}"


def variation(row: Row) -> str:
    """Return the usual variation of a test (its relative median absolute deviation), once enough runs tell it."""
    if row["mad"] is None or row["sessions"] < _KNOWN_RUNS:
        return printing.NOTHING
    return f"±{row['mad']:.1%}" if row["mad"] >= _LEAST_SHOWN else f"<{_LEAST_SHOWN:.1%}"


# -- Markdown -----------------------------------------------------------------------------------------------------


def markdown(found: Row, failed: Sequence[str] = ()) -> str:
    """Return a comparison as a comment on a pull request: the verdict, the tests to look at, the rest folded up.

    `failed` are the words of `--fail-on` that apply.
    """
    worst_verdicts = (*_WORST, *(word for word in failed if word == "gone"))
    icon = _STILL if verdict(found).startswith("still ") else _ICONS.get(found["verdict"], "")
    parts = [
        f"### {icon} {escaped(capitalised(verdict(found)))}: {escaped(found['explanation'])}",
        f"{escaped(title(found))}: {escaped(counted(found))}.",
    ]
    if failed:
        parts.append(f"**Failed** on: {escaped(', '.join(map(word, failed)))}.")
    worst = [row for row in found["items"] if row["verdict"] in worst_verdicts]
    rest = [row for row in found["items"] if row["verdict"] not in worst_verdicts and is_notable(row)]
    worst, repeated = without_repetitions(worst)
    if worst:
        parts.append(_table(worst[:_MAX_ROWS], found["unit"]))
    parts.append("\n".join(f"> {escaped(note)}" for note in [*not_in_headline(repeated, found), *notes(found)]))
    more = [*worst[_MAX_ROWS:], *rest]
    if more:
        shown = more[:_MAX_FOLDED_ROWS]
        left_out = f"\n\n{len(more) - len(shown)} more are left out." if len(more) > len(shown) else ""
        parts.append(
            f"<details><summary>{len(more)} more</summary>\n\n{_table(shown, found['unit'])}{left_out}\n\n</details>"
        )
    return "\n\n".join(parts) + "\n"


def not_in_headline(repeated: Sequence[str], found: Row) -> list[str]:
    """Return the lines of repeated reasons that the headline does not state."""
    return [line for line in repeated if line.split(": ", 2)[2].casefold() not in found["explanation"].casefold()]


def capitalised(text: str) -> str:
    """Return a text that begins with a capital letter, its other letters as they are."""
    return f"{text[:1].upper()}{text[1:]}"


def counted(found: Row) -> str:
    """Return the number of tests of each verdict in words; those that are still slower are counted apart."""
    words, counts = found.get("words") or {}, dict(found["counts"])
    still = Counter(row["word"] for row in found["items"] if row.get("since") is not None)
    if still:
        counts["noise"] -= still.total()
    parts = [f"{number:d} {words.get(key) or word(key)}" for key, number in counts.items() if number]
    return ", ".join([*parts, *(f"{number} {text}" for text, number in still.items())]) or "no tests"


def _table(rows: Iterable[Row], unit: str) -> str:
    lines = [_line(_HEAD), _line(("---", "---", "---:", "---:", "---:", "---:", "---"))]
    for row in rows:
        cells = (
            *(_icon(row), escaped(test_name(row))),
            *(
                value(row["base"], unit),
                value(row["head"], unit),
                change(row, unit),
                variation(row),
                escaped(row["reason"]),
            ),
        )
        lines.append(_line(cells))
    return "\n".join(lines)


def _icon(row: Row) -> str:
    return (
        f"{_STILL} {escaped(verdict(row))}" if row.get("since") else _ICONS.get(row["verdict"]) or escaped(verdict(row))
    )


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def escaped(text: str) -> str:
    """Return a text that Markdown and its HTML take literally, on one line, since any client may have chosen it.

    It makes no link and no mention, and contains no characters that control a terminal or a page.
    """
    line = _MARKDOWN.sub(r"\\\1", printing.printable(" ".join(text.split())).replace("&", "&amp;"))
    line = _LINKED.sub(rf"\1{_ZERO_WIDTH_SPACE}", line)
    return _BEGINNING.sub(r"\1\\\2", line, count=1) if _BEGINNING.match(line) else line


# -- JUnit --------------------------------------------------------------------------------------------------------


_MACHINE_CASE = ("smartmob.compare", "machine")
"""The class and the name of the case for a shift of all tests."""


def junit(found: Row, failed: Sequence[str] = ()) -> str:
    """Return a comparison as JUnit XML: a test is a case, a slower one a failure, one that cannot be judged is skipped.

    Each key of `--fail-on` that applies is `failed`: its rows are failures too, so that a report that only counts
    failures agrees with the exit code. A `shift` that is failed adds a case for the machine. Types and properties have
    the keys, which are stable; messages have the words.
    """
    failing = {"regression", *(word for word in failed if word != "shift")}
    rows = [row for row in found["items"] if row["verdict"] != "gone" or "gone" in failing]
    failures = sum(row["verdict"] in failing for row in rows)
    nothing_judged = "unfit" in failing and not found["counts"]["unfit"]
    machine = [word for word in ("shift", "unfit") if word in failed and (word == "shift" or nothing_judged)]
    suite = ElementTree.Element(
        "testsuite",
        name=_xml(title(found)),
        tests=str(len(rows) + len(machine)),
        failures=str(failures + len(machine)),
        errors="0",
        skipped=str(sum(row["verdict"] == "unfit" for row in rows) if "unfit" not in failing else 0),
    )
    properties = ElementTree.SubElement(suite, "properties")
    counts = [(name, str(number)) for name, number in found["counts"].items()]
    said = [("verdict", found["verdict"]), ("word", verdict(found)), ("explanation", found["explanation"]), *counts]
    for name, text in (*said, ("renamed", str(found["renamed"])), ("alarms", " ".join(found["alarms"]))):
        ElementTree.SubElement(properties, "property", name=name, value=_xml(text))
    for key in machine:
        case = ElementTree.SubElement(suite, "testcase", classname=_MACHINE_CASE[0], name=_MACHINE_CASE[1], time="0")
        ElementTree.SubElement(case, "failure", message=_xml(found["explanation"]), type=key)
    for row in rows:
        _junit_case(suite, row, found["unit"], failing)
    gone = [f"gone: {test_name(row)}" for row in found["items"] if row["verdict"] == "gone"][:_MAX_FOLDED_ROWS]
    ElementTree.SubElement(suite, "system-out").text = _xml("\n".join([*notes(found), *gone]))
    suites = ElementTree.Element("testsuites")
    suites.append(suite)
    ElementTree.indent(suites)
    return '<?xml version="1.0" encoding="utf-8"?>\n' + ElementTree.tostring(suites, encoding="unicode") + "\n"


def _junit_case(suite: ElementTree.Element, row: Row, unit: str, failing: Container[str]) -> None:
    """Add the case of a test; `failing` are the verdicts that are failures."""
    seconds = (row["head"] or 0.0) if unit == "s" else 0.0
    case = ElementTree.SubElement(
        suite,
        "testcase",
        classname=_xml(row["path"]),
        name=_xml(row["variant"] or row["item"]),
        time=f"{max(seconds, 0.0):.6f}",
    )
    if row["level"] is None:
        message = row["reason"]
    else:
        message = f"{change(row, unit)} against the usual {value(row['level'], unit)}, {row['reason']}"
    message = f"{verdict(row)}: {message}"
    if row["verdict"] in failing:
        failure = ElementTree.SubElement(case, "failure", message=_xml(message), type=row["verdict"])
        failure.text = _xml(f"{value(row['base'], unit)} became {value(row['head'], unit)}")
    elif row["verdict"] == "unfit":
        ElementTree.SubElement(case, "skipped", message=_xml(f"{verdict(row)}: {row['reason']}"))
    elif is_notable(row):
        ElementTree.SubElement(case, "system-out").text = _xml(message)


def _xml(text: str) -> str:
    """Return a text that XML 1.0 can hold, without characters that control a terminal."""
    return printing.printable(text)
