"""Distributions of durations: recorded by turrets, sent as slices, merged by the headquarters. No I/O.

A slice holds an HdrHistogram of whole microseconds from 1 µs to one hour with three significant digits, in the
V2 compressed format (https://github.com/HdrHistogram/HdrHistogram) as base64, which libraries for other languages read.
So a percentile is exact to 0.1 %, however many slices were merged; count, sum, minimum and maximum are exact.
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

from smartmob.counts import counted
from smartmob.errors import InvalidInput
from smartmob.turrets.protocol import LONGEST_CODE, LONGEST_ERROR, LONGEST_NAME, ErrorKind, Slice

LOWEST, HIGHEST, DIGITS = 1, 3_600_000_000, 3
"""The range of the histograms in microseconds, and their significant digits."""

TRANSACTION = ""
"""The name of the timer of the transaction itself."""

_LONGEST_BEFORE_KIND = LONGEST_ERROR - LONGEST_NAME - LONGEST_CODE - 4
"""Characters of an error text that are kept before its kind."""
NO_KIND = ErrorKind()
"""The kind of an error of which only the text is known."""

_MICROSECONDS = 1_000_000  # of a second
_EXACT_BITS = 11
"""Values of at most this many bits are counted exactly: 2 * 10**3 needs 11 bits."""
_HIGHEST_COUNTED = HIGHEST >> HIGHEST.bit_length() - _EXACT_BITS << HIGHEST.bit_length() - _EXACT_BITS
_LONGEST_SECONDS = 1e9
"""Longer durations count as this one, so that sums of squares stay finite."""
_DOUBLE, _WORD = struct.Struct("=d"), struct.Struct("=Q")
_DROPPED_BITS = 52 - (_EXACT_BITS - 1)
"""The bits of a float that are dropped: of its 52 bits (IEEE 754, binary64) without the implicit first one."""
_COUNTERS = 23_552
"""The counters of a histogram with our range: 2,048 for the first 11 bits, 1,024 for each of 21 further bits."""
_LAST_SHIFT_BITS = 56
"""The ninth byte of a number holds eight bits (ZigZag LEB128 of HdrHistogram V2), those before it seven."""
_FEW_VALUES = 10
"""Fewer values than these are recorded one by one, which is faster for them."""
_ROUNDING = 1e-9  # keeps 99.9 % of 1000 values at the rank 999

_OUTER, _INNER = struct.Struct(">II"), struct.Struct(">IIIIQQ")
_OUTER_COOKIE, _INNER_COOKIE = 0x1C849304, 0x1C849303  # of HdrHistogram V2, compressed and not
_WORD_SIZE = 0x10
"""The bits of the word size of V2 in a cookie."""
_RATIO = struct.pack(">d", 1.0)  # of integer to double values
_COOKIE_MASK = ~0xF0  # bits 4 to 7 of a cookie are the word size, which does not matter in V2
MOST_UNPACKED = 1024 * 1024
"""Bytes of all unpacked histograms of one message; they are read in a tenth of a second."""
_LONGEST_BYTES = 512 * 1024
"""The size of an unpacked histogram: 9 bytes for each counter are 212 kB."""


class Distribution:
    """A distribution of durations in seconds, which are recorded or merged from slices.

    Recording a value takes a third of a microsecond; a new distribution is cheaper than emptying one.
    """

    __slots__ = (
        *("_prefixes", "_recorded", "count", "errors", "kinds", "late", "maximum", "minimum", "squares", "total"),
        "untimed",
    )

    def __init__(self) -> None:
        self.count = 0
        self.total = 0.0
        self.squares = 0.0
        self.minimum = math.inf
        self.maximum = 0.0
        self.errors: dict[str, int] = {}
        self.kinds: dict[str, ErrorKind] = {}
        self.late = 0
        self.untimed = 0
        self._recorded: dict[int, int] = {}
        self._prefixes: Counter[int] = Counter()

    def record(self, seconds: float) -> None:
        """Add one value. A negative one (the clock was set) counts as 0; percentiles end at one hour."""
        if not 0.0 <= seconds <= _LONGEST_SECONDS:
            seconds = min(max(seconds, 0.0), _LONGEST_SECONDS)
        self.count += 1
        self.total += seconds
        self.squares += seconds * seconds
        if seconds < self.minimum:
            self.minimum = seconds
        if seconds > self.maximum:
            self.maximum = seconds
        value = int(seconds * _MICROSECONDS + 0.5)
        if value > HIGHEST:
            value = HIGHEST
        # Values that have the same counter in a histogram are counted together.
        shift = value.bit_length() - _EXACT_BITS
        if shift > 0:
            value = value >> shift << shift
        recorded = self._recorded
        recorded[value] = recorded.get(value, 0) + 1

    def record_many(self, values: Sequence[float]) -> None:
        """Add several values; many take a quarter of the time of adding each with `record`.

        The first bits of a float are its exponent and its highest digits. Floats with the same first bits have the same
        counter in a histogram. So these prefixes are counted here, and converted to values when they are read.
        """
        if len(values) < _FEW_VALUES:
            for seconds in values:
                self.record(seconds)
            return
        lowest, highest = min(values), max(values)
        if lowest < 0.0 or highest > _LONGEST_SECONDS:
            values = [min(max(seconds, 0.0), _LONGEST_SECONDS) for seconds in values]
            lowest, highest = min(values), max(values)
        self._add(len(values), sum(values), sum(map(operator.mul, values, values)), lowest, highest)
        whole = array("d", [seconds * _MICROSECONDS + 0.5 for seconds in values])
        bits = memoryview(whole).cast("B").cast("Q").tolist()
        self._prefixes.update([number >> _DROPPED_BITS for number in bits])

    def fail(self, error: str, times: int = 1, kind: ErrorKind = NO_KIND) -> None:
        """Count an error by its text, and by its kind if two kinds have the same text."""
        if kind is not NO_KIND and self.kinds.setdefault(error, kind) != kind:
            error = f"{error[:_LONGEST_BEFORE_KIND]} ({kind.kind} {kind.code}".rstrip() + ")"
            self.kinds[error] = kind
        self.errors[error] = self.errors.get(error, 0) + times

    def merge(self, part: Slice) -> None:
        """Add the values of a slice. Raises InvalidInput if its histogram cannot be read or has another range."""
        if part.count:
            self._add_counts(read_histogram(part.histogram, part.count))
            self._add(part.count, part.total, part.squares, part.minimum, part.maximum)
        self.untimed += part.untimed
        self._add_errors(part.errors, part.kinds, part.late)

    def absorb(self, other: Distribution) -> None:
        """Add the values of another distribution."""
        if other.count:
            self._add_counts(other._all_counts())
            self._add(other.count, other.total, other.squares, other.minimum, other.maximum)
        self.untimed += other.untimed
        self._add_errors(other.errors, other.kinds, other.late)

    def slice(self, second: int, timer: str, *, failed: bool = False) -> Slice:
        """Return the values as the slice of a second; there must be at least one, or a failure without duration."""
        return Slice(
            second=second,
            timer=timer,
            count=self.count,
            total=self.total,
            squares=self.squares,
            minimum=self.minimum if self.count else 0.0,
            maximum=self.maximum,
            histogram=self._encoded() if self.count else "",
            errors=self.errors,
            late=self.late,
            failed=failed,
            untimed=self.untimed,
            kinds=self.kinds,
        )

    def percentiles(self, wanted: Sequence[float]) -> dict[float, float]:
        """Return the percentiles in seconds, {50: 0.012, 99.9: 0.8}; {} without values."""
        if not self.count:
            return {}
        found: dict[float, float] = {}
        counts = iter(sorted(self._all_counts().items()))
        value, seen = 0, 0
        for share in sorted(set(wanted)):
            rank = max(1, math.ceil(share / 100 * self.count - _ROUNDING))
            while seen < rank:
                value, count = next(counts)
                seen += count
            # The highest value that has the same counter.
            highest = value | (1 << max(value.bit_length() - _EXACT_BITS, 0)) - 1
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
        """Return the number of errors."""
        return sum(self.errors.values())

    def counts(self) -> dict[int, int]:
        """Return the count of each value in ascending order; values are microseconds, rounded down to three digits."""
        return dict(sorted(self._all_counts().items()))

    def _encoded(self) -> str:
        """Return the histogram, encoded like the library does, without creating its 23,552 counters."""
        return write_histogram(self._all_counts())

    def _all_counts(self) -> dict[int, int]:
        """Return the count of each value, after the conversion of the counted prefixes."""
        if self._prefixes:
            recorded = self._recorded
            for prefix, count in self._prefixes.items():
                (first,) = _DOUBLE.unpack(_WORD.pack(prefix << _DROPPED_BITS))
                value = min(int(first), _HIGHEST_COUNTED)
                recorded[value] = recorded.get(value, 0) + count
            self._prefixes.clear()
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

    def _add_errors(self, errors: Mapping[str, int], kinds: Mapping[str, ErrorKind], late: int) -> None:
        for text, times in errors.items():
            self.fail(text, times, kinds.get(text, NO_KIND))
        self.late += late


def check_histograms(parts: Sequence[Slice]) -> None:
    """Raise InvalidInput if a histogram of a message cannot be read, or if reading all of them takes too long.

    A few hundred bytes can unpack to a histogram with all counters, and ten thousand of them fit into a message.
    """
    left = MOST_UNPACKED
    for part in parts:
        if not part.count and not part.histogram:
            continue
        counters = _unpacked(part.histogram)
        left -= len(counters)
        if left < 0:
            raise InvalidInput.at("$.slices", f"the histograms unpack to more than {MOST_UNPACKED} bytes")
        _counted(counters, part.count)


def read_histogram(text: str, count: int) -> dict[int, int]:
    """Return the count of each value in a histogram that must hold `count` values. Raises InvalidInput.

    Values are microseconds, rounded down to three digits. Only counters that are not zero are read: the reader of the
    library creates 23,552 counters each time, which took most of the time of a report.
    """
    return _counted(_unpacked(text), count)


def write_histogram(counts: Mapping[int, int]) -> str:
    """Return the histogram of the count of each value, in the V2 compressed format as base64."""
    counters = bytearray()
    last = -1
    found: dict[int, int] = {}
    for value, count in counts.items():
        index = _counter_index(value)
        found[index] = found.get(index, 0) + count
    for index in sorted(found):
        if index - last > 1:
            _append(counters, 2 * (index - last - 1) - 1)  # the number of zeros, as a negative number in ZigZag
        _append(counters, 2 * found[index])
        last = index
    head = _INNER.pack(_INNER_COOKIE | _WORD_SIZE, len(counters), 0, DIGITS, LOWEST, HIGHEST) + _RATIO
    packed = zlib.compress(head + counters)
    return base64.b64encode(_OUTER.pack(_OUTER_COOKIE | _WORD_SIZE, len(packed)) + packed).decode()


def _counter_index(value: int) -> int:
    """Return the index of the counter of a value."""
    shift = max(value.bit_length() - _EXACT_BITS, 0)
    half = 1 << (_EXACT_BITS - 1)
    return value if not shift else (shift + 1) * half + (value >> shift) - half


def _append(counters: bytearray, number: int) -> None:
    """Append a number in ZigZag LEB128, whose ninth byte holds eight bits."""
    for _ in range(_LAST_SHIFT_BITS // 7):
        if number < 0x80:
            break
        counters.append(number & 0x7F | 0x80)
        number >>= 7
    counters.append(number)


def _counted(counters: bytes, count: int) -> dict[int, int]:
    """Return the count of each value by the encoded counters of a histogram."""
    found: dict[int, int] = {}
    values = _values()
    index = number = shift = 0
    try:
        for byte in counters:
            if shift < _LAST_SHIFT_BITS and byte & 0x80:
                number |= (byte & 0x7F) << shift
                shift += 7
                continue
            number |= byte << shift
            # ZigZag: the lowest bit is the sign, and a negative number counts consecutive counters that are zero.
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
        raise InvalidInput.at("$.histogram", "is cut off, or has more counters than such a histogram can have")
    total = sum(found.values())
    if total != count:
        raise InvalidInput.at("$.histogram", f"holds {counted(total, 'value')} where count is {count}")
    return found


@cache
def _values() -> tuple[int, ...]:
    """Return the lowest value of each counter."""
    half = 1 << (_EXACT_BITS - 1)
    first = range(1 << _EXACT_BITS)
    further = ((index % half + half) << (index // half - 1) for index in range(1 << _EXACT_BITS, _COUNTERS))
    return (*first, *further)


def _unpacked(text: str) -> bytes:
    """Return the encoded counters of a histogram that has our range and digits and a plausible size.

    Without the limit, a few bytes of zlib data could unpack to more than the memory.
    """
    try:
        data = base64.b64decode(text, validate=True)
        cookie, length = _OUTER.unpack_from(data)
        if cookie & _COOKIE_MASK != _OUTER_COOKIE or length != len(data) - _OUTER.size:
            raise InvalidInput.at("$.histogram", "is not an HdrHistogram in the V2 compressed format")
        unpacker = zlib.decompressobj()
        unpacked = unpacker.decompress(data[_OUTER.size :], _LONGEST_BYTES)
        if not unpacker.eof or unpacker.unused_data:
            raise InvalidInput.at("$.histogram", "is longer than a histogram can be, or cut off")
        cookie, length, offset, digits, lowest, highest = _INNER.unpack_from(unpacked)
    except (ValueError, binascii.Error, zlib.error, struct.error):
        raise InvalidInput.at("$.histogram", "is not an HdrHistogram as base64") from None
    if cookie & _COOKIE_MASK != _INNER_COOKIE or length != len(unpacked) - _INNER.size - 8 or offset:
        raise InvalidInput.at("$.histogram", "is not an HdrHistogram in the V2 format")
    if (lowest, highest, digits) != (LOWEST, HIGHEST, DIGITS):
        raise InvalidInput.at("$.histogram", f"must be from {LOWEST} to {HIGHEST} µs with {DIGITS} digits")
    return unpacked[_INNER.size + 8 :]
