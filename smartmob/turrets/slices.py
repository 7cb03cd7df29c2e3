"""Distributions of durations: recorded by turrets, sent as slices, merged by the headquarters. No I/O.

A slice holds an HdrHistogram of whole microseconds from 1 µs to one hour with three significant digits, in the
V2 compressed format as base64, which libraries for other languages read. So a percentile is right to 0.1 %, however
many slices were merged; count, sum, minimum and maximum are exact.
"""

from __future__ import annotations

import base64
import binascii
import math
import operator
import struct
import zlib
from array import array
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cache

from hdrh.histogram import HdrHistogram

from smartmob.errors import InvalidInput
from smartmob.turrets.protocol import Slice

LOWEST, HIGHEST, DIGITS = 1, 3_600_000_000, 3
"""Of the histograms: microseconds, and significant digits."""

TRANSACTION = ""
"""The name of the timer of the transaction itself."""

_MICROSECONDS = 1_000_000
_MAGNITUDE = 11
"""Values of so many bits are kept as they are: 2 * 10**3 needs 11."""
_HIGHEST_KEPT = HIGHEST >> HIGHEST.bit_length() - _MAGNITUDE << HIGHEST.bit_length() - _MAGNITUDE
_LONGEST_SECONDS = 1e9
"""What is longer counts as this, so that squares and sums stay finite."""
_DOUBLE, _WORD = struct.Struct("=d"), struct.Struct("=Q")
_CUT_OFF = 52 - (_MAGNITUDE - 1)
"""Bits of a float behind those that count: of its 52, and the first one of a number is not written."""
_COUNTERS = 23_552
"""Of a histogram with our range: 2,048 for the first bits, and 1,024 for each of 21 further ones."""
_LAST_SHIFT = 56
"""The ninth byte of a number has eight bits of it."""
_ROUNDING = 1e-9

_OUTER, _INNER = struct.Struct(">II"), struct.Struct(">IIIIQQ")
_OUTER_COOKIE, _INNER_COOKIE = 0x1C849304, 0x1C849303
_COOKIE_MASK = ~0xF0
MOST_UNPACKED = 1024 * 1024
"""Bytes of all unpacked histograms of one message, which are read in a tenth of a second."""
_LONGEST = 512 * 1024
"""Bytes of an unpacked histogram: 9 for each counter are 212 kB."""


class Distribution:
    """How long something took: values in seconds are recorded one by one or merged from slices.

    Recording costs a third of a microsecond; a new distribution is cheaper than emptying one.
    """

    __slots__ = ("_beginnings", "_recorded", "count", "errors", "late", "maximum", "minimum", "squares", "total")

    def __init__(self) -> None:
        self.count = 0
        self.total = 0.0
        self.squares = 0.0
        self.minimum = math.inf
        self.maximum = 0.0
        self.errors: dict[str, int] = {}
        self.late = 0
        self._recorded: dict[int, int] = {}
        self._beginnings: Counter[int] = Counter()

    def record(self, seconds: float) -> None:
        """Add one value. One below 0 (a clock that was set) counts as 0, one above an hour keeps only its maximum."""
        seconds = min(max(seconds, 0.0), _LONGEST_SECONDS)
        self.count += 1
        self.total += seconds
        self.squares += seconds * seconds
        if seconds < self.minimum:
            self.minimum = seconds
        if seconds > self.maximum:
            self.maximum = seconds
        value = min(int(seconds * _MICROSECONDS + 0.5), HIGHEST)
        # Values that the histogram does not tell apart are counted together.
        shift = value.bit_length() - _MAGNITUDE
        if shift > 0:
            value = value >> shift << shift
        recorded = self._recorded
        recorded[value] = recorded.get(value, 0) + 1

    def record_many(self, values: Sequence[float]) -> None:
        """Add several values, which costs a quarter of adding each by itself.

        A float begins with its exponent and its highest bits, so that cutting off the others puts it among those that
        the histogram does not tell apart from it. These beginnings are counted, and made into values when they are
        looked at.
        """
        if not values:
            return
        lowest, highest = min(values), max(values)
        if lowest < 0.0 or highest > _LONGEST_SECONDS:
            values = [min(max(seconds, 0.0), _LONGEST_SECONDS) for seconds in values]
            lowest, highest = min(values), max(values)
        self._add(len(values), sum(values), sum(map(operator.mul, values, values)), lowest, highest)
        whole = array("d", [seconds * _MICROSECONDS + 0.5 for seconds in values])
        bits = memoryview(whole).cast("B").cast("Q").tolist()
        self._beginnings.update([number >> _CUT_OFF for number in bits])

    def fail(self, error: str, times: int = 1) -> None:
        """Count an error by its text."""
        self.errors[error] = self.errors.get(error, 0) + times

    def merge(self, part: Slice) -> None:
        """Add what a slice holds; raises InvalidInput for a histogram that is none or that is not like ours."""
        self._add_counts(read_histogram(part.histogram, part.count))
        self._add(part.count, part.total, part.squares, part.minimum, part.maximum)
        self._add_errors(part.errors, part.late)

    def absorb(self, other: Distribution) -> None:
        """Add what another distribution holds."""
        if other.count:
            self._add_counts(other._settled())
            self._add(other.count, other.total, other.squares, other.minimum, other.maximum)
        self._add_errors(other.errors, other.late)

    def slice(self, second: int, timer: str) -> Slice:
        """Return everything as the slice of a second; there must be at least one value."""
        return Slice(
            second=second,
            timer=timer,
            count=self.count,
            total=self.total,
            squares=self.squares,
            minimum=self.minimum,
            maximum=self.maximum,
            histogram=self._encoded(),
            errors=self.errors,
            late=self.late,
        )

    def percentiles(self, wanted: Sequence[float]) -> dict[float, float]:
        """Return the seconds within which each share of the values lies: {50: 0.012, 99.9: 0.8}; {} without values."""
        if not self.count:
            return {}
        found: dict[float, float] = {}
        counts = iter(sorted(self._settled().items()))
        value, seen = 0, 0
        for share in sorted(set(wanted)):
            rank = max(1, math.ceil(share / 100 * self.count - _ROUNDING))
            while seen < rank:
                value, count = next(counts)
                seen += count
            # The highest value that is not told apart from this one.
            highest = value | (1 << max(value.bit_length() - _MAGNITUDE, 0)) - 1
            found[share] = min(max(highest / _MICROSECONDS, self.minimum), self.maximum)
        return found

    @property
    def mean(self) -> float:
        """Return the average in seconds, 0 without values."""
        return self.total / self.count if self.count else 0.0

    @property
    def stdev(self) -> float:
        """Return the standard deviation in seconds, 0 without values."""
        return math.sqrt(max(self.squares / self.count - self.mean**2, 0.0)) if self.count else 0.0

    @property
    def failed(self) -> int:
        """Return how many errors there were."""
        return sum(self.errors.values())

    def counts(self) -> dict[int, int]:
        """Return how often each value occurred, in microseconds rounded down to three digits, in ascending order."""
        return dict(sorted(self._settled().items()))

    def _encoded(self) -> str:
        """Return the histogram as the library writes it."""
        histogram = HdrHistogram(LOWEST, HIGHEST, DIGITS)
        for value, count in self._settled().items():
            histogram.record_value(value, count)
        text: bytes = histogram.encode()
        return text.decode()

    def _settled(self) -> dict[int, int]:
        """Return how often each value occurred, with those that were recorded together."""
        if self._beginnings:
            recorded = self._recorded
            for beginning, count in self._beginnings.items():
                (first,) = _DOUBLE.unpack(_WORD.pack(beginning << _CUT_OFF))
                value = min(int(first), _HIGHEST_KEPT)
                recorded[value] = recorded.get(value, 0) + count
            self._beginnings.clear()
        return self._recorded

    def _add_counts(self, counts: Mapping[int, int]) -> None:
        recorded = self._recorded
        for value, count in counts.items():
            recorded[value] = recorded.get(value, 0) + count

    def _add(self, count: int, total: float, squares: float, minimum: float, maximum: float) -> None:
        self.count += count
        self.total += total
        self.squares += squares
        self.minimum = min(self.minimum, minimum)
        self.maximum = max(self.maximum, maximum)

    def _add_errors(self, errors: Mapping[str, int], late: int) -> None:
        for text, times in errors.items():
            self.fail(text, times)
        self.late += late


def check_histograms(parts: Sequence[Slice]) -> None:
    """Raise InvalidInput for a message with a histogram that is none, or that takes too long to read.

    A few hundred bytes unpack to one with all counters, and a message has room for ten thousand of them.
    """
    left = MOST_UNPACKED
    for part in parts:
        counters = _unpacked(part.histogram)
        left -= len(counters)
        if left < 0:
            raise InvalidInput.at("$.slices", f"the histograms unpack to more than {MOST_UNPACKED} bytes")
        _counted(counters, part.count)


def read_histogram(text: str, count: int) -> dict[int, int]:
    """Return how often each value occurs in a histogram that must hold `count` values; raises InvalidInput.

    Values are microseconds, rounded down to three digits. Only the counters that are not zero are looked at: the
    library's own reader makes 23,552 of them each time, which took most of the time of a report.
    """
    return _counted(_unpacked(text), count)


def _counted(counters: bytes, count: int) -> dict[int, int]:
    """Return how often each value occurs by the counters of a histogram."""
    found: dict[int, int] = {}
    values = _values()
    index = number = shift = 0
    try:
        for byte in counters:
            if shift < _LAST_SHIFT and byte & 0x80:
                number |= (byte & 0x7F) << shift
                shift += 7
                continue
            number |= byte << shift
            # ZigZag: the lowest bit is the sign, and a negative number tells how many counters are zero.
            if number & 1:
                index += (number + 1) >> 1
            else:
                if number:
                    found[values[index]] = number >> 1
                index += 1
            number = shift = 0
    except IndexError:
        index = _COUNTERS + 1
    if shift or index > _COUNTERS:
        raise InvalidInput.at("$.histogram", "is cut off, or has more counters than a histogram of ours")
    total = sum(found.values())
    if total != count:
        raise InvalidInput.at("$.histogram", f"holds {total} values where count is {count}")
    return found


@cache
def _values() -> tuple[int, ...]:
    """Return for each counter the lowest value that it counts."""
    half = 1 << (_MAGNITUDE - 1)
    first = range(1 << _MAGNITUDE)
    further = ((index % half + half) << (index // half - 1) for index in range(1 << _MAGNITUDE, _COUNTERS))
    return (*first, *further)


def _unpacked(text: str) -> bytes:
    """Return the counters of a histogram with our range and digits that unpacks to a possible size.

    A few bytes of zlib could otherwise take all memory.
    """
    try:
        data = base64.b64decode(text, validate=True)
        cookie, length = _OUTER.unpack_from(data)
        if cookie & _COOKIE_MASK != _OUTER_COOKIE or length != len(data) - _OUTER.size:
            raise InvalidInput.at("$.histogram", "is no HdrHistogram in the V2 compressed format")
        unpacker = zlib.decompressobj()
        unpacked = unpacker.decompress(data[_OUTER.size :], _LONGEST)
        if not unpacker.eof or unpacker.unused_data:
            raise InvalidInput.at("$.histogram", "is longer than a histogram can be, or cut off")
        cookie, length, offset, digits, lowest, highest = _INNER.unpack_from(unpacked)
    except (ValueError, binascii.Error, zlib.error, struct.error):
        raise InvalidInput.at("$.histogram", "is no HdrHistogram as base64") from None
    if cookie & _COOKIE_MASK != _INNER_COOKIE or length != len(unpacked) - _INNER.size - 8 or offset:
        raise InvalidInput.at("$.histogram", "is no HdrHistogram in the V2 format")
    if (lowest, highest, digits) != (LOWEST, HIGHEST, DIGITS):
        raise InvalidInput.at("$.histogram", f"must be from {LOWEST} to {HIGHEST} µs with {DIGITS} digits")
    return unpacked[_INNER.size + 8 :]
