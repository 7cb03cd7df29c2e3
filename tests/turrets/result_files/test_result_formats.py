"""The recognition of formats."""

from __future__ import annotations

import pytest

from smartmob.errors import InvalidInput
from smartmob.turrets.result_files.result_formats import format_of


@pytest.mark.parametrize(
    ("head", "name"),
    [
        ("timeStamp,elapsed,label,success\n", "jmeter-csv"),
        ("\ufefftimeStamp;elapsed;label;success\n", "jmeter-csv"),
        ('\n\n<?xml version="1.0"?><testResults version="1.2">', "jmeter-xml"),
        ('{"type":"Metric","data":{},"metric":"vus"}\n', "k6-json"),
        ('{"metric": "vus", "type": "Metric", "data": {}}\n', "k6-json"),
        ("metric_name,timestamp,metric_value,check\n", "k6-csv"),
        ('{"attack":"","seq":0,"code":200,"timestamp":"2024","latency":1}\n', "vegeta-json"),
        ("1714550400000000000,200,1500000,0,17,,aGVsbG8=,big,3\n", "vegeta-csv"),
        ("Type,Name,Request Count,Failure Count\n", "locust"),
        ("Timestamp,User Count,Type,Name\n", "locust"),
        ('"Method","Name","# requests","# failures"\n', "locust"),
        ("timeStamp,elapsed,label,success\n1700000000000,5,a\0b,true\n", "jmeter-csv"),
    ],
)
def test_each_format_is_recognised(head: str, name: str) -> None:
    """By the begin of its content, with a byte order mark or blank lines before it."""
    assert format_of(head.encode()).name == name


@pytest.mark.parametrize(
    ("head", "advice"),
    [
        (b"", "is empty"),
        (b" \n", "is empty"),
        (
            b"\x7f\xff\x81\x03\x01\x01\x06Result\x01\xff\x82\x00\x01\x0c\x01\x06Attack\x01\x0c\x00\x01\x07Latency",
            "vegeta encode",
        ),
        (b'{"latencies":{"total":1},"requests":2}', "vegeta encode"),
        (b'{"metrics": {"http_reqs": {}}}', "--out json"),
        ("timeStamp,elapsed".encode("utf-16"), "UTF-16"),
        (b"RUN\tcomputerdatabase\t", "Gatling"),
        (b"REQUEST\t1\t\treq\t1700000000000\t1700000000100\tOK\t", "Gatling"),
        (b'{\n"type": "GROUP",\n"name": "All Requests"', "report of Gatling"),
        (b'{\n  "aggregate": {"counters": {}}', "Artillery, which is not read"),
        (b"response-time,DNS+dialup,DNS,Request-write\n", "hey"),
        (b"starttime\tseconds\tctime\tdtime\tttime\twait\n", "ApacheBench"),
        (b"Running 30s test @ http://h/\n", "wrk"),
        (b'"Name","# requests","50%","66%"\n', "percentiles of Locust"),
        (b"Label,# Samples,Average,Median\n", "without its samples"),
        (b"Label,# Samples,Average\n", "jmeter -n -t PLAN -l FILE.jtl"),
        (b"sim.Shop\tshop\tRUN\t1448309155252\t \t2.0\n", "a log of Gatling"),
        (b"\0\0\0\0\x063.14.3\0\0\r\0", "a log of Gatling"),
        (b'var stats = {\n    type: "GROUP",\nname: "All Requests"', "report of Gatling"),
        (b"--------\nSummary report @ 10:00:00(+0000)\n", "Artillery"),
        (b"\nSummary:\n  Total:\t1.5 secs\n", "a report of hey"),
        (b"This is ApacheBench, Version 2.3", "ApacheBench"),
        (b'{"url":"http://h","latency":{"p50":1},"throughput":{"mean":1},"1xx":0,"2xx":5}', "autocannon"),
        (b"\x1b[0;34m   4,HTTP/1.1,200,  0.36,   33,/,0,2015-12-20 21:30:13\x1b[0m\n", "Siege"),
        (b'{\n "stats": [\n {"timestamp": 1461690087,  "samples": []},', "Tsung"),
        (b'[{"name": "/", "safe_name": "/", "num_requests": 2}]', "locust --csv"),
        (b'{"Total": {"transaction": "Total", "sampleCount": 3}}', "dashboard of JMeter"),
        (b'<?xml version="1.0"?>\n<jmeterTestPlan version="1.2">', "a test plan of JMeter"),
        (b"2014/05/22 14:50:15 INFO  - jmeter.JMeter: Version 5\n", "a log of JMeter"),
        (b"\n  execution: local\n\n  http_req_duration..............: avg=1ms min=0s\n", "--out json=FILE"),
        (b"Requests      [total, rate, throughput]  10, 1.11, 1.11\n", "vegeta encode"),
        (b"<!DOCTYPE html><title>Locust Test Report</title>", "a page, which is not read"),
        (b"a,b\rc\n1,2\r3\n", "--format"),
        (b"a,b,c\n1,2,3\n", "--format"),
        (b"\0\1\2", "binary"),
    ],
)
def test_what_cannot_be_read_is_refused_with_the_way_out(head: bytes, advice: str) -> None:
    """One line that says what to do."""
    with pytest.raises(InvalidInput, match=advice):
        format_of(head)
