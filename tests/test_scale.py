"""The arithmetic of docs/discussions/scale.md."""

from __future__ import annotations

from benchmarks import scale
from benchmarks.scale import Machines, Suite


def test_the_page_has_the_tables_of_the_script() -> None:
    """No figure there was written by hand."""
    page = scale.PAGE.read_text(encoding="utf-8")
    assert scale.replaced(page) == page
    assert page.count("\n| 100,000 |") == 1


def test_a_stage_costs_what_its_rows_cost() -> None:
    """Costs grow with the number of machines; processes are counted up."""
    one, many = Machines(1), Machines(20_001)
    # 14 days of samples and a year of minutes, in bytes.
    assert one.stored_bytes == 14 * 86_400 * 249 + 365 * 1_440 * 430
    assert many.stored_bytes == 20_001 * one.stored_bytes
    assert many.service_cores == 20_001 * one.service_cores
    assert (one.processes, many.processes) == (1, 3)
    # A masked frame of some 200 bytes, an answer of 60, and twice the headers.
    assert 2_500 < one.network_bits < 3_500


def test_a_suite_is_cheaper_as_a_file() -> None:
    """A post costs forty times what a line costs."""
    suite = Suite(50_000, 1_000)
    assert suite.rows_a_day == 50_000_000
    assert suite.stored_bytes == 50_000_000 * 457 * 365
    assert suite.service_cores(423.0) > 30 * suite.service_cores(10.7)
    assert 0.5 < suite.seconds_a_run < 0.6


def test_sizes_are_shown_with_three_digits() -> None:
    """Powers of a thousand, as disks and networks have them."""
    assert [scale.shown_bytes(size) for size in (999, 1e3, 22.85e9, 52.7e12, 2e15)] == [
        "999 B", "1 kB", "22.9 GB", "52.7 TB", "2 PB",
    ]  # fmt: skip
    assert scale.shown_bits(2.66e6) == "2.66 Mbit/s"
