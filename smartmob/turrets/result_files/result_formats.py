"""The formats of results of other load testing tools: how each is recognised and read. No I/O but the given file."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable
from contextlib import suppress

import msgspec

from smartmob.errors import InvalidInput
from smartmob.turrets.result_files import jmeter_csv, jmeter_xml, k6_points, locust_tables, vegeta_hits
from smartmob.turrets.result_files.load_sample import Read

_VEGETA = "import the output of: vegeta encode FILE"
_K6 = "write one with: k6 run --out json=FILE"
_JMETER = "import its JTL: jmeter -n -t PLAN -l FILE.jtl"
_LOCUST = "import the tables of: locust --csv PREFIX"
_WITHOUT_EXPORT = "it has no other export with a time for each request"
_NOT_READ = (
    ("a log of Gatling", r"(?:RUN|ASSERTION|USER|REQUEST|GROUP)\t|[^\t\n]+\t[^\t\n]+\tRUN\t\d", _WITHOUT_EXPORT),
    (
        "a report of Gatling",
        r'(?:var stats = )?\{[^{}]*"?type"?\s*:\s*"GROUP"|\{\s*"name"\s*:\s*"(?:All|Global) ',
        _WITHOUT_EXPORT,
    ),
    ("a report of Artillery", r'\{\s*"aggregate"\s*:|(?s:.{0,4000}^Summary report @ )', _WITHOUT_EXPORT),
    ("a CSV of hey", r"response-time,DNS\+dialup", _WITHOUT_EXPORT),
    ("a report of hey", r"Summary:\s+Total:\s", _WITHOUT_EXPORT),
    ("a table of ApacheBench", r"starttime\tseconds\tctime\t|Percentage served,Time in ms", _WITHOUT_EXPORT),
    ("a report of ApacheBench", r"This is ApacheBench", _WITHOUT_EXPORT),
    ("a report of wrk or autocannon", r"Running \S+ test @ ", _WITHOUT_EXPORT),
    ("a report of autocannon", r'\{(?s:.{0,20000}"2xx"\s*:)', _WITHOUT_EXPORT),
    ("a report of bombardier", r'Bombarding http|\{\s*"spec"\s*:\s*\{\s*"numberOfConnections"', _WITHOUT_EXPORT),
    ("a report of oha", r'\{\s*"summary"\s*:\s*\{\s*"successRate"|Summary:\s+Success rate:', _WITHOUT_EXPORT),
    (
        "a log of Siege",
        r"(?:\x1b\[[\d;]*m)?\s*\d+,HTTP/\d|\*\* SIEGE|(?:Transactions:|\{\s*\"transactions\":)\s+\d",
        _WITHOUT_EXPORT,
    ),
    ("a log of Tsung", r'\{\s*"stats"\s*:\s*\[\s*\{\s*"timestamp"|# stats: dump at ', _WITHOUT_EXPORT),
    ("a report of Molotov", r'\{"ts": [\d.]+, ', _WITHOUT_EXPORT),
    ("a table of percentiles of Locust", r'"?Name"?,"?# requests"?,"?50%', _LOCUST),
    ("a report of Locust as JSON", r'\[\s*\{\s*"name"(?s:.{0,2000}"num_requests"\s*:)', _LOCUST),
    ("an aggregate report of JMeter, without its samples", r'"?Label"?,"?# Samples"?,', _JMETER),
    ("the statistics of a dashboard of JMeter", r'\{\s*"[^"]*"\s*:\s*\{\s*"transaction"\s*:', _JMETER),
    ("a test plan of JMeter", r"(?s:(?:<\?xml[^>]*>\s*)?<jmeterTestPlan)", _JMETER),
    ("a log of JMeter", r"\d{4}[-/]\d\d[-/]\d\d \d\d:\d\d:\d\d\S* (?:INFO|WARN|ERROR|DEBUG)\b", _JMETER),
    ("a summary of k6 as text", r"(?s:.{0,20000}http_req_duration\W*: avg=)", _K6),
    ("a report of Vegeta", r"Requests\s+\[total, rate", _VEGETA),
    ("a page", r"(?i:<!doctype html|<html\b)", "import the results that it was made of"),
)
"""Files that are refused by name, with regular expressions for their beginning and what to do instead."""

HEAD_BYTES = 64 * 1024
"""Bytes of a file by which its format is recognised."""


class ResultFormat(msgspec.Struct, frozen=True):
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
        with suppress(csv.Error):
            if each.recognised(text):
                return each
    raise _of_binary(head) if b"\0" in head else _of_text(text)


def _of_binary(head: bytes) -> InvalidInput:
    if b"Latency" in head and b"Attack" in head:
        return InvalidInput(f"is Vegeta's binary format; {_VEGETA}")
    if re.match(rb"\0\0\0\0[\x03-\x10]\d+\.\d+\.", head):
        return InvalidInput(f"is a log of Gatling, which is not read; {_WITHOUT_EXPORT}")
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        return InvalidInput("is in UTF-16; save it as UTF-8")
    return InvalidInput(f"is a binary file of an unknown format; known formats: {', '.join(NAMES)}")


def _of_text(text: str) -> InvalidInput:
    if text.startswith("{") and '"metrics"' in text:
        return InvalidInput(f"is a summary of k6, without a time for each request; {_K6}")
    if text.startswith("{") and '"latencies"' in text:
        return InvalidInput(f"is a report of Vegeta, without its hits; {_VEGETA}")
    for tool, begin, instead in _NOT_READ:
        if re.match(begin, text, re.MULTILINE):
            return InvalidInput(f"is {tool}, which is not read; {instead}")
    return InvalidInput(f"has an unknown format; choose one with --format: {', '.join(NAMES)}")
