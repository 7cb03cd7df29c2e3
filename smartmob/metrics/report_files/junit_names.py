"""The name of a test without its parameters, in the notations of test frameworks."""

from __future__ import annotations

import re

MAX_CHARACTERS = 10_000
"""The longest name in which parameters are searched, in characters."""

_PARAMETERS = (
    # Go: the name of a subtest, "TestAdds/zero".
    re.compile(r"(?P<item>(?:Test|Example|Benchmark|Fuzz)\w*)/.+", re.DOTALL),
    # JUnit 5 and TestNG: the index of the set of parameters, and the parameters: "test[1] a, b", "test(int)[1]".
    re.compile(r"(?P<item>[^\s\[(]+(?:\([^)]*\))?)\[\d+\].*", re.DOTALL),
    # xUnit.net, NUnit and Surefire: the parameters in parentheses, "Ns.Test.Adds(x: 1)".
    re.compile(r"(?P<item>[^\W\d][\w.+`$<>,]*)\(.*\)", re.DOTALL),
    # Spock: "adds [a: 1, b: 2, #0]".
    re.compile(r"(?P<item>[^\[]*[^\s\[]) \[\w+: .*, #\d+\]", re.DOTALL),
    # PHPUnit: 'testAdds with data set "one"'.
    re.compile(r"(?P<item>\w+) with data set .*", re.DOTALL),
    # Examples of scenarios, behave "Adds -- @1.1 sizes" and Cucumber "Adds - Example #1.1".
    re.compile(r"(?P<item>\S.*?)(?: -- @\d+\.\d+| - Example #\d+(?:\.\d+)*)(?: .*)?", re.DOTALL),
    # Subtests of unittest: "test_adds (fruit='apple')".
    re.compile(r"(?P<item>[^\W\d]\w*) \(\w+=.*\)", re.DOTALL),
    # GoogleTest: the number of the parameter, "Adds/0".
    re.compile(r"(?P<item>\w+)/\d+"),
)


def without_parameters(name: str) -> str:
    """Return `name` without its parameters; the whole name if there are no parameters, or nothing but parameters.

    JUnit 5 names a parametrised test only by its parameters, "[1] a"; in this case they are the name.
    """
    if len(name) > MAX_CHARACTERS:
        return name
    item, bracket, _ = name.partition("[")
    # pytest "test[a-1]", JUnit 4 "test[0: a]": a bracket directly after the name; prose has a space before it.
    if not (bracket and item and not item[-1].isspace() and name.endswith("]")):
        matches = (pattern.fullmatch(name) for pattern in _PARAMETERS)
        match = next((match for match in matches if match is not None), None)
        if match is None:
            return name
        item = match["item"]
    elif go := _PARAMETERS[0].fullmatch(name):
        item = go["item"]
    # Surefire writes "test{int}[1]" for JUnit 5.
    if item.endswith("}"):
        item = item.partition("{")[0] or item
    # "test(int)[1]" has both.
    return without_parameters(item) if item.endswith(")") and item != name else item
