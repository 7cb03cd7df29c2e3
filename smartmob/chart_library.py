"""The chart library of the console and of reports: plotly.js with its cartesian traces only.

The file in `vendored` is `plotly-cartesian.min.js` of the npm package `plotly.js-cartesian-dist-min`, compressed by
`gzip -9 -n`. The complete library of plotly's Python package is three times as large, most of it for maps and 3D. Its
licence (MIT) stands beside it and in its first lines.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

VERSION = "4.1.1"
SHA256 = "79542150855a52c567260e3137095dbe2b744e6d702a5cabe67da246942fba7a"
"""The digest of the file before its compression, as the package has it."""
STYLES = ("ji27qzEtxXZW+7dun6UwjHXJ18e6WAin1VvNtkzIE/o=",)
"""The SHA-256 digests, in base64, of the style sheets that it adds to a page, for the policy of the page.

Its maps add one, which is present even in this build without maps. Without the digest a browser refuses the style sheet
and logs an error.
"""


@cache
def packed() -> bytes:
    """Return the library, compressed with gzip."""
    return (Path(__file__).with_name("vendored") / "plotly-cartesian.min.js.gz").read_bytes()


def script() -> bytes:
    """Return the library as JavaScript, 1.5 MB."""
    import gzip

    return gzip.decompress(packed())
