"""The table of sample fields and what is derived from it."""

from __future__ import annotations

import inspect
import json
import re
import subprocess
import sys
from pathlib import Path

from smartmob.cli import hosts as cli
from smartmob.hosts import fields, model, time_series
from smartmob.hosts.fields import FIELDS, NAMES, Unit
from smartmob.hosts.routes import reporting
from smartmob.hosts.sampler import gauges
from smartmob.hosts.sampler.sampler import Sampler
from smartmob.hosts.store import reader, writer
from tests.hosts.samples import snapshot

PACKAGE = Path(fields.__file__).parent.parent

NEW_FIELD = """
    SampleField(
        name="threads",
        unit=Unit.NONE,
        title="Threads",
        help="Threads of all processes.",
        measure=lambda: 5.0,
        gauge="smartmob_host_threads",
        listed=True,
        live="Threads",
    ),
"""


def test_the_typed_values_have_the_fields_of_the_table() -> None:
    """`SampleValues` lists the names of `FIELDS` in the same order."""
    assert fields.SampleValues.__struct_fields__ == NAMES


def test_each_field_is_read_in_one_way_and_described() -> None:
    """A field is read from a snapshot or measured, never both, and has a title, a sentence and a valid gauge name."""
    for field in FIELDS:
        assert (field.read is None) != (field.measure is None)
        assert field.title
        assert field.help.endswith(".")
        assert field.gauge is None or re.fullmatch(r"smartmob_host_[a-z_]+", field.gauge)
    assert len(set(NAMES)) == len(NAMES)


def test_sizes_that_cannot_be_stored_are_named() -> None:
    """A size that is negative or no number, or a name that cannot be printed, leaves out the whole key."""
    disk = fields.FileSystem(1.0, 2.0)
    assert fields.wrong_sizes({"mem": 1.0}, {"/": disk}) == []
    assert fields.wrong_sizes({"mem": float("nan")}, {"/": fields.FileSystem(-1.0, 2.0)}) == ["totals", "file_systems"]
    assert fields.wrong_sizes({}, {"/\0": disk}) == ["file_systems"]


def test_messages_and_answers_have_all_fields() -> None:
    """Samples as sent, as described, as answered and as exported have each field under its name."""
    for kind in (model.SampleData, reporting.Sample, model.Latest, time_series.Point):
        assert set(NAMES) <= set(kind.__struct_fields__), kind
    assert time_series.POINT_COLUMNS[3:] == tuple(f"{name}_{part}" for name in NAMES for part in ("min", "avg", "max"))
    assert set(model.sample_fields(snapshot())) == {
        *((*field.aliases, field.name)[0] for field in FIELDS),
        *("cores", "temperatures", "totals"),
    }


def test_queries_and_migrations_have_all_columns() -> None:
    """Each field has its column in the samples and its four aggregates in the minutes."""
    sql = "".join(path.read_text(encoding="utf-8") for path in (PACKAGE / "hosts" / "migrations").glob("*.sql"))
    loaded = reader.load_queries()
    assert writer._COLUMNS[3:-1] == NAMES
    for field in FIELDS:
        assert re.search(rf"\b{field.name} {field.column_type}", sql)
        for part in fields.MINUTE_PARTS:
            column = f"{field.name}_{part}"
            assert re.search(rf"\b{column} (double precision|integer)", sql)
            assert re.search(rf"\b{column}\b", loaded["roll_up"])
        for query in ("insert_samples", "select_samples", "select_hosts", "bucket_samples", "bucket_minutes"):
            assert re.search(rf"\b{field.name}(_min)?\b", loaded[query])


def test_sizes_are_stored_in_megabytes_and_shown_to_prometheus_in_bytes() -> None:
    """The gauge of a field has the value of the snapshot; the sample has it in the unit of the field."""
    sampler = Sampler()
    sampler.newest = taken = snapshot()
    found = {gauge.name: gauge for gauge in gauges.host_gauges(sampler, lambda: 0, lambda: 0)}
    for field in FIELDS:
        factor = fields.MEGABYTE if field.unit is Unit.MEGABYTES else 1
        assert field.value(taken) == field.raw(taken) // factor if factor > 1 else field.raw(taken)
        if field.gauge is not None and field.raw(taken) is not None:
            assert found[field.gauge].values == {"": field.raw(taken)}
        assert field.measure is not None or field.raw(taken) is not None, "the snapshot has all that fields read"


def test_the_command_shows_all_fields() -> None:
    """`smartmob hosts show` has a row for each field, and every unit has a format."""
    points = [{"samples": 1, **{name: {"min": 1.0, "avg": 1.0, "max": 1.0} for name in NAMES}}]
    assert [row[0] for row in cli._statistics(points)] == [field.title for field in FIELDS]
    assert set(cli._FORMATS) == set(Unit)


def test_no_other_module_lists_fields() -> None:
    """Only the table names a field such as `disk_write`; the console has a layout of its own."""
    name = re.compile(r'["\'.](disk_read|disk_write|net_received|net_sent)\b')
    allowed = {PACKAGE / "hosts" / "fields.py", *(PACKAGE / "console").rglob("*.py")}
    found = [path for path in PACKAGE.rglob("*.py") if name.search(path.read_text(encoding="utf-8"))]
    assert set(found) <= allowed


def test_a_new_field_needs_the_table_only() -> None:
    """A field that is added to the table is in messages, queries, gauges and the command; only columns are missing."""
    source = inspect.getsource(fields)
    source = source.replace("FIELDS = (", f"FIELDS = ({NEW_FIELD}", 1).replace(
        "    cpu: T\n", "    threads: T\n    cpu: T\n"
    )
    program = f"""
import importlib, json, sys, types
module = types.ModuleType("smartmob.hosts.fields")
sys.modules[module.__name__] = module
exec(compile({source!r}, "fields.py", "exec"), module.__dict__)
from smartmob.cli import hosts as cli
from smartmob.hosts import model, time_series
from smartmob.hosts.routes import reporting
from smartmob.hosts.sampler.gauges import host_gauges
from smartmob.hosts.sampler.sampler import Sampler
from smartmob.hosts.sampler.snapshot import SnapshotReader
from smartmob.hosts.store import reader
sampler = Sampler()
sampler.newest = SnapshotReader().read(0.0)
data = model.SampleData(time=1.0, threads=7.0)
print(json.dumps({{
    "kinds": [kind.__name__ for kind in (model.SampleData, model.Latest, time_series.Point, reporting.Sample)
              if "threads" in kind.__struct_fields__],
    "sent": model.sample_fields(sampler.newest)["threads"],
    "row": model.sample_row("a", data, 1).values[0],
    "queries": sum("threads" in text for text in reader.load_queries().values()),
    "gauge": [gauge.values[""] for gauge in host_gauges(sampler, int, int) if gauge.name == "smartmob_host_threads"],
    "column": [name for name in cli._COLUMNS if "Threads" in name],
}}))
"""
    made = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert made.stderr == ""
    assert json.loads(made.stdout) == {
        "kinds": ["SampleData", "Latest", "Point", "Sample"],
        "sent": 5.0,
        "row": 7.0,
        "queries": 6,
        "gauge": [5.0],
        "column": [">Threads"],
    }
