"""Distributions of durations and the slices that carry them."""

from __future__ import annotations

import base64
import random
import statistics
import struct
import zlib

import msgspec
import pytest
from hdrh.histogram import HdrHistogram
from hypothesis import given
from hypothesis import strategies as st

from smartmob.errors import InvalidInput
from smartmob.turrets.slices import DIGITS, HIGHEST, LOWEST, Distribution, read_histogram, write_histogram


def _recorded(values: list[float]) -> Distribution:
    made = Distribution()
    made.record_many(values)
    return made


def _packed(body: bytes, **header: int) -> str:
    """Return a histogram as it travels, with any content."""
    given = {"cookie": 0x1C849313, "length": len(body), "offset": 0, "digits": 3, "lowest": 1, "highest": HIGHEST}
    inner = struct.pack(">IIIIQQd", *(given | header).values(), 1.0) + body
    packed = zlib.compress(inner)
    return base64.b64encode(struct.pack(">II", 0x1C849314, len(packed)) + packed).decode()


class TestDistribution:
    """The statistics of a distribution."""

    def test_percentiles_are_right_to_a_thousandth(self) -> None:
        """They are compared with the sorted values, over four orders of magnitude."""
        values = [random.Random(7).lognormvariate(-5, 1.2) for _ in range(1)] + [
            random.Random(seed).lognormvariate(-5, 1.2) for seed in range(5000)
        ]
        made, ordered = _recorded(values), sorted(values)
        for share, found in made.percentiles([50, 90, 99, 99.9]).items():
            true = ordered[min(len(ordered) - 1, round(share / 100 * len(ordered)) - 1)]
            assert found == pytest.approx(true, rel=0.002, abs=2e-6)

    def test_count_sum_and_extremes_are_exact(self) -> None:
        """They do not come from the histogram."""
        values = [0.0105, 0.0201, 0.0399, 1.25]
        made = _recorded(values)
        assert (made.count, made.minimum, made.maximum) == (4, 0.0105, 1.25)
        assert made.mean == pytest.approx(statistics.fmean(values))
        assert made.stdev == pytest.approx(statistics.pstdev(values))

    @given(st.lists(st.floats(-1e10, 1e10) | st.floats(0, 10) | st.sampled_from([0.0, 1e9, 3600.0]), max_size=40))
    def test_many_values_are_recorded_like_single_ones(self, values: list[float]) -> None:
        """Few or many, also those outside of the range, as the negative ones of a clock that was set."""
        made, single = _recorded(values), Distribution()
        for seconds in values:
            single.record(seconds)
        assert made.counts() == single.counts()
        assert (made.count, made.minimum, made.maximum) == (single.count, single.minimum, single.maximum)
        assert (made.total, made.squares) == (pytest.approx(single.total), pytest.approx(single.squares))

    def test_the_last_percentile_is_the_maximum(self) -> None:
        """No percentile is outside the measured values."""
        made = _recorded([0.123456789, 0.5])
        assert made.percentiles([0, 100]) == {0: pytest.approx(0.123456789, rel=1e-3), 100: 0.5}
        assert made.percentiles([0])[0] >= 0.123456789

    def test_an_empty_distribution_has_no_percentiles(self) -> None:
        """Its average and count are 0."""
        made = Distribution()
        assert (made.percentiles([50]), made.mean, made.stdev, made.count) == ({}, 0.0, 0.0, 0)

    def test_impossible_durations_are_limited(self) -> None:
        """A negative one counts as 0, and one above an hour keeps its true maximum."""
        made = _recorded([-3.0, 7200.0])
        assert (made.minimum, made.maximum, made.count) == (0.0, 7200.0, 2)
        assert made.percentiles([100])[100] == pytest.approx(3600, rel=1e-3)

    def test_errors_are_counted_by_text(self) -> None:
        """They are added up when distributions are merged."""
        one, other = Distribution(), Distribution()
        one.record(1.0)
        one.fail("x", 2)
        other.record(1.0)
        other.fail("x")
        other.late = 3
        one.absorb(other)
        one.merge(other.slice(0, ""))
        assert (one.errors, one.failed, one.late, one.count) == ({"x": 4}, 4, 6, 3)

    @given(st.lists(st.floats(0, 3000), min_size=1, max_size=50), st.lists(st.floats(0, 3000), min_size=1, max_size=50))
    def test_merging_is_recording_together(self, some: list[float], others: list[float]) -> None:
        """Merging a slice gives the same as one distribution of all values."""
        merged, whole = _recorded(some), _recorded(some + others)
        merged.merge(msgspec.json.decode(msgspec.json.encode(_recorded(others).slice(3, "t")), type=type(_SAMPLE)))
        shares = [1, 50, 90, 100]
        assert merged.percentiles(shares) == whole.percentiles(shares)
        assert merged.counts() == whole.counts()
        assert (merged.count, merged.minimum, merged.maximum) == (whole.count, whole.minimum, whole.maximum)
        assert merged.total == pytest.approx(whole.total)

    def test_other_programs_can_read_a_slice(self) -> None:
        """Its histogram is that of the HdrHistogram library itself."""
        made = _recorded([0.001, 0.002, 0.003])
        read = HdrHistogram.decode(made.slice(0, "").histogram)
        assert (read.get_total_count(), read.get_value_at_percentile(50)) == (3, 2000)

    def test_other_programs_can_write_a_slice(self) -> None:
        """A histogram that the library itself recorded is merged."""
        written = HdrHistogram(LOWEST, HIGHEST, DIGITS)
        written.record_value(1500)
        part = msgspec.structs.replace(_SAMPLE, histogram=written.encode().decode(), count=1)
        made = Distribution()
        made.merge(part)
        assert made.counts() == {1500: 1}


_SAMPLE = _recorded([0.0015]).slice(0, "")


class TestHostileSlices:
    """Histograms that cannot be read."""

    @pytest.mark.parametrize(
        "text",
        [
            "",
            "x",
            "AAAA",
            base64.b64encode(b"\x1c\x84\x93\x14\x00\x00\x00\x05hello").decode(),
            _SAMPLE.histogram[:-8],
            _packed(b"", cookie=1),
            _packed(b"", digits=2),
            _packed(b"", highest=5),
            _packed(b"", length=77),
            _packed(b"\0" * 600_000),
        ],
    )
    def test_wrong_histograms_are_refused(self, text: str) -> None:
        """They are refused before they are unpacked, so that a few bytes cannot take all memory."""
        with pytest.raises(InvalidInput):
            read_histogram(text, 1)

    @given(st.dictionaries(st.integers(0, HIGHEST), st.integers(1, 2**40), min_size=1, max_size=60))
    def test_a_written_histogram_is_that_of_the_library(self, counts: dict[int, int]) -> None:
        """Byte for byte after the library has read it, with the same percentiles; we read the same counts."""
        by_library = HdrHistogram(LOWEST, HIGHEST, DIGITS)
        for value, count in counts.items():
            by_library.record_value(value, count)
        text = write_histogram(counts)
        assert HdrHistogram.decode(text.encode()).encode() == by_library.encode()
        assert sum(read_histogram(text, sum(counts.values())).values()) == sum(counts.values())

    def test_a_bomb_is_not_unpacked(self) -> None:
        """A histogram that unpacks to megabytes is refused after the first half megabyte."""
        with pytest.raises(InvalidInput, match="longer than a histogram"):
            read_histogram(_packed(bytes(20_000_000)), 1)

    @given(st.binary(max_size=40))
    def test_any_counters_are_merged_or_refused(self, body: bytes) -> None:
        """Nothing is counted partly."""
        made = Distribution()
        try:
            made.merge(msgspec.structs.replace(_SAMPLE, histogram=_packed(body)))
        except InvalidInput:
            assert made.count == 0
        else:
            assert (made.count, sum(made.counts().values())) == (1, 1)

    def test_a_wrong_count_is_refused(self) -> None:
        """The histogram must hold as many values as the slice says."""
        with pytest.raises(InvalidInput, match="count is 5"):
            Distribution().merge(msgspec.structs.replace(_SAMPLE, count=5))
