"""The chart library: the file is that of its project, and fits the policies of our pages."""

from __future__ import annotations

import base64
import hashlib
import re
from pathlib import Path

from smartmob import chart_library

VENDORED = Path(chart_library.__file__).parent / "vendored"


def test_the_file_is_the_published_one() -> None:
    """Its digest and its version are those that are written down, and its licence is beside it."""
    script = chart_library.script()
    assert hashlib.sha256(script).hexdigest() == chart_library.SHA256
    assert f"v{chart_library.VERSION}".encode() in script[:200]
    assert b"MIT license" in script[:200]
    assert (VENDORED / "plotly-LICENSE.txt").read_text().startswith("MIT License")


def test_the_policy_allows_the_style_sheets_that_it_adds() -> None:
    """A new release that adds another style sheet is noticed here, since the policy of a page would refuse it."""
    sheets = re.findall(rb"\.(?:innerHTML|textContent)='([^'\\]*)',document\.head\.appendChild", chart_library.script())
    found = tuple(base64.b64encode(hashlib.sha256(sheet).digest()).decode() for sheet in sheets)
    assert found == chart_library.STYLES


def test_it_has_no_code_that_our_policies_forbid() -> None:
    """It compiles no text, and cannot end a script element."""
    script = chart_library.script()
    assert not re.search(rb"\bnew Function\(|[^\w.]eval\(|</script|<!--", script)
