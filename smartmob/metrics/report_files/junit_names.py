"""The name of a test without its parameters, in the notations of test frameworks."""

from __future__ import annotations

import re

_PARAMETERS = (
    # Go: the name of a subtest, "TestAdds/zero".
    re.compile(r"(?P<item>(?:Test|Example|Benchmark|Fuzz)\w*)/.+"),
    # pytest "test[a-1]", JUnit 4 "test[0: a]", TestNG and Surefire "test(int)[1]": a bracket right behind the name.
    re.compile(r"(?P<item>\S.*?)(?<!\s)\[.*\]"),
    # JUnit 5 and TestNG: the number of the parameters, and then what they are: "test[1] a, b".
    re.compile(r"(?P<item>[^\s\[(]+(?:\([^)]*\))?)\[\d+\].*"),
    # xUnit.net, NUnit and Surefire: the parameters in parentheses, "Ns.Test.Adds(x: 1)".
    re.compile(r"(?P<item>[^\W\d][\w.+`$<>,]*)\(.*\)"),
    # GoogleTest: the number of the parameter, "Adds/0".
    re.compile(r"(?P<item>\w+)/\d+"),
)


def without_parameters(name: str) -> str:
    """Return `name` without its parameters; the whole name if there are none, or nothing else.

    JUnit 5 names a parametrised test by its parameters only, "[1] a": then that is the name.
    """
    for pattern in _PARAMETERS:
        match = pattern.fullmatch(name)
        if match:
            item = match["item"]
            # "test(int)[1]" has both.
            return without_parameters(item) if item.endswith(")") else item
    return name
