"""The formats of results of other load testing tools: how each is recognised and read. No I/O but the given file."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from smartmob.errors import InvalidInput
from smartmob.turrets.result_files import jmeter_csv, jmeter_xml, k6_points, locust_tables, vegeta_hits
from smartmob.turrets.result_files.load_sample import Read

_NOT_READ = {
    "a log of Gatling": r"(?:RUN|ASSERTION|USER|REQUEST|GROUP)\t",
    "a report of Gatling": r'\{[^{}]*"type"\s*:\s*"GROUP"',
    "a report of Artillery": r'\{\s*"aggregate"\s*:',
    "a CSV of hey": r"response-time,DNS\+dialup,",
    "a table of ApacheBench": r"starttime\tseconds\tctime\t|Percentage served,Time in ms",
    "a report of wrk": r"Running \S+ test @ ",
    "a table of percentiles of Locust": r'"?Name"?,"?# requests"?,"?50%',
    "an aggregate report of JMeter, without its samples": r'"?Label"?,"?# Samples"?,',
}
"""Formats of other tools that are refused by name, with regular expressions for the beginning of their files."""

HEAD_BYTES = 64 * 1024
"""Bytes of a file by which its format is recognised."""


@dataclass(frozen=True, slots=True)
class ResultFormat:
    """A format. `read` is None for tables of statistics, which have no samples."""

    name: str
    spoken: str
    recognised: Callable[[str], bool]
    read: Read | None


FORMATS = (
    ResultFormat("jmeter-xml", "JMeter XML", jmeter_xml.recognised, jmeter_xml.read),
    ResultFormat("k6-json", "k6 JSON", k6_points.json_recognised, k6_points.read_json),
    ResultFormat("vegeta-json", "Vegeta JSON", vegeta_hits.json_recognised, vegeta_hits.read_json),
    ResultFormat("k6-csv", "k6 CSV", k6_points.csv_recognised, k6_points.read_csv),
    ResultFormat("locust", "Locust CSV", locust_tables.recognised, None),
    ResultFormat("jmeter-csv", "JMeter CSV", jmeter_csv.recognised, jmeter_csv.read),
    ResultFormat("vegeta-csv", "Vegeta CSV", vegeta_hits.csv_recognised, vegeta_hits.read_csv),
)
"""All formats, in the order in which they are tried."""

NAMES = [each.name for each in FORMATS]


def format_of(head: bytes, forced: str | None = None) -> ResultFormat:
    """Return the format of a file by its first bytes, or the `forced` one. Raises InvalidInput that says what to do."""
    if not head.strip():
        raise InvalidInput("is empty")
    if forced is not None:
        return next(each for each in FORMATS if each.name == forced)
    text = head.decode("utf-8-sig", "replace").lstrip()
    for each in FORMATS:
        # A text can have a NUL in a name or a message.
        if each.recognised(text):
            return each
    raise _of_binary(head) if b"\0" in head else _of_text(text)


def _of_binary(head: bytes) -> InvalidInput:
    if b"Latency" in head and b"Attack" in head:
        return InvalidInput("is Vegeta's binary format; import the output of: vegeta encode FILE")
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        return InvalidInput("is in UTF-16; save it as UTF-8")
    return InvalidInput(f"is a binary file of no known format; known are: {', '.join(NAMES)}")


def _of_text(text: str) -> InvalidInput:
    if text.startswith("{") and '"metrics"' in text:
        return InvalidInput(
            "is a summary of k6, without a time for each request; write one with: k6 run --out json=FILE"
        )
    if text.startswith("{") and '"latencies"' in text:
        return InvalidInput("is a report of Vegeta, without its hits; import the output of: vegeta encode FILE")
    for tool, begin in _NOT_READ.items():
        if re.match(begin, text):
            return InvalidInput(f"is {tool}, which is not read; known are: {', '.join(NAMES)}")
    return InvalidInput(f"is of no format that is known; with --format one of: {', '.join(NAMES)}")
