"""Numbers with their nouns."""

from __future__ import annotations

import ast
import re
from pathlib import Path

from smartmob.counts import counted

PACKAGE = Path(__file__).parents[1] / "smartmob"

_COUNTED = re.compile(
    r" (?:more |other |further |test )?(arguments|attempts|cannons|cases|errors|events|files|iterations|lines|measures"
    r"|messages|migrations|notifications|processes|programs|requests|results|rows|samples|sessions|steps|suites|tables|tests"
    r"|timers|transactions|turrets|values)\b"
)

_AT_LEAST_TWO = {
    "cli/compare.py": 1,
    "cli/find_capacity.py": 1,
    "cli/run.py": 1,
    "cli/stored_runs.py": 1,
    "cli/verdict_formats.py": 1,
    "client/messages.py": 1,
    "experiments/bisection.py": 1,
    "metrics/report_files/asv.py": 1,
    "metrics/report_files/trx.py": 1,
    "metrics/verdict/trends.py": 1,
    "metrics/verdict/verdicts.py": 1,
    "nodes/links.py": 1,
    "processes/preparation/procfile.py": 1,
    "processes/preparation/unpacked_tree.py": 1,
    "turrets/capacity/search_page.py": 1,
    "turrets/capacity/step_evaluation.py": 1,
    "turrets/har_script.py": 1,
    "turrets/hq/collector.py": 3,
    "turrets/hq/headquarters.py": 1,
    "turrets/project_archive.py": 1,
    "turrets/report/evidence.py": 1,
    "turrets/report/run_comparison.py": 1,
    "turrets/result_files/imported_run.py": 1,
    "turrets/turret/package.py": 1,
}
"""Texts of a number with a plural noun, by module, whose number is a limit, a share, or at least 2 where it is said."""


def test_counts_are_singular_or_plural() -> None:
    """One is singular, no and many are plural, with separators of thousands."""
    assert [counted(number, "timer") for number in (0, 1, 2, 1200)] == [
        "0 timers",
        "1 timer",
        "2 timers",
        "1,200 timers",
    ]
    assert [counted(number, "process", "processes") for number in (1, 3)] == ["1 process", "3 processes"]


def test_no_text_says_1_timers() -> None:
    """A text that counts something uses `counted`, unless its number is never 1."""
    found: dict[str, int] = {}
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.JoinedStr):
                for number, text in zip(node.values, node.values[1:], strict=False):
                    in_words = isinstance(number, ast.FormattedValue) and isinstance(text, ast.Constant)
                    if in_words and _COUNTED.match(str(text.value)) and "counted(" not in ast.unparse(number):
                        place = str(path.relative_to(PACKAGE))
                        found[place] = found.get(place, 0) + 1
    assert found == _AT_LEAST_TWO
