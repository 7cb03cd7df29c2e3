"""Durations and points in time of test reports, in the notations of their many writers.

A value that has no meaning, or more than one, is returned as None: the caller makes a remark, and never invents a
number.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from email.utils import parsedate_to_datetime

MAX_SECONDS = 1e9
"""The longest duration that is accepted, about 30 years. Writers that subtract unset times give longer ones."""

MAX_CHARACTERS = 64
"""Longest text of a time; a longer one has no meaning."""

FIRST_YEAR = 1970
"""The first year that is accepted in a report. Unset times are written as year 1, 1601 or 1900."""

LAST_YEAR = 2999
"""The last year that is accepted in a report. Unset times are written as year 9999 as well."""

COMMA_DECIMAL = "decimal"
COMMA_THOUSANDS = "thousands"

_NUMBER = re.compile(r"[+-]?(?:\d[\d.,]*|[.,]\d+)(?:[eE][+-]?\d{1,3})?")
_GROUPED = re.compile(r"(?<=\d)[\s'\u2019_](?=\d{3}(?!\d))")
_THOUSANDS = {separator: re.compile(rf"\d{{1,3}}(?:\{separator}\d{{3}})+") for separator in ".,"}
_AMBIGUOUS = re.compile(r"[1-9]\d{0,2}[.,]\d{3}")
# The decimal and the thousands separator of Arabic, and the sign for minus.
_SEPARATORS = {0x066B: ".", 0x066C: None, 0x2212: "-"}
_UNITS = {
    **dict.fromkeys(("ns", "nsec", "nsecs", "nanosecond", "nanoseconds"), 1e-9),
    **dict.fromkeys(("us", "µs", "μs", "usec", "usecs", "microsecond", "microseconds"), 1e-6),
    **dict.fromkeys(("ms", "msec", "msecs", "millis", "millisecond", "milliseconds"), 1e-3),
    **dict.fromkeys(("s", "sec", "secs", "second", "seconds"), 1.0),
    **dict.fromkeys(("m", "min", "mins", "minute", "minutes"), 60.0),
    **dict.fromkeys(("h", "hr", "hrs", "hour", "hours"), 3600.0),
    **dict.fromkeys(("d", "day", "days"), 86400.0),
}
"""Seconds of each unit."""
_WITH_UNIT = re.compile(r"([\d.,]+(?:e[+-]?\d{1,3})?)\s*([a-zµμ]+)(?:\s*,?\s+|\s*)")
_ISO_DURATION = re.compile(r"P(?:([\d.,]+)D)?(?:T(?:([\d.,]+)H)?(?:([\d.,]+)M)?(?:([\d.,]+)S)?)?", re.IGNORECASE)
_CLOCK = re.compile(r"(?:(\d{1,6})(?:[.:](?=\d+:\d+:)| days?,\s*))?(\d{1,6}):([0-5]?\d):([0-5]?\d(?:[.,]\d+)?)")
_MINUTES = re.compile(r"(\d{1,6}):([0-5]\d[.,]\d+)")


class Durations:
    """Reads the durations of one report. `comma` returns the meaning of the comma in it if a value does not show it."""

    def __init__(self, comma: Callable[[], str | None] = lambda: None) -> None:
        self._comma = comma
        self._seen: set[str] = set()

    def seconds(self, text: str) -> float | None:
        """Return a duration in seconds; a number without a unit is in seconds. None if it has no meaning."""
        if len(text) > MAX_CHARACTERS:
            return None
        text = _plain_digits(text.strip())
        value = self._number(text)
        if value is None:
            value = self._with_units(text)
        if value is None or not math.isfinite(value) or not 0 <= value <= MAX_SECONDS:
            return None
        return value + 0.0  # "-0.0" is 0

    def _number(self, text: str) -> float | None:
        text = _GROUPED.sub("", text)
        if not _NUMBER.fullmatch(text):
            return None
        self._seen |= comma_evidence(text)
        if "," in text and _AMBIGUOUS.fullmatch(text):
            meaning = self._comma()
            if meaning is None:
                return None
            return float(text.replace(",", "." if meaning == COMMA_DECIMAL else ""))
        # In a report with decimal commas, 1.234 can be 1234 as well.
        if COMMA_DECIMAL in self._seen and _AMBIGUOUS.fullmatch(text):
            return None
        return _clear_number(text)

    def _with_units(self, text: str) -> float | None:
        clock = _CLOCK.fullmatch(text)
        if clock:
            days, hours, minutes, seconds = (float((part or "0").replace(",", ".")) for part in clock.groups())
            return days * 86400 + hours * 3600 + minutes * 60 + seconds
        short = _MINUTES.fullmatch(text)
        if short:
            return float(short[1]) * 60 + float(short[2].replace(",", "."))
        iso = _ISO_DURATION.fullmatch(text)
        if iso and any(iso.groups()):
            numbers = [self._number(part) if part else 0.0 for part in iso.groups()]
            return _sum(numbers, (86400.0, 3600.0, 60.0, 1.0))
        return self._with_words(text)

    def _with_words(self, text: str) -> float | None:
        """Return the seconds of a text such as "1 min 2 s", or None."""
        parts, end = [], 0
        lowered = text.lower()
        while end < len(lowered):
            match = _WITH_UNIT.match(lowered, end)
            if not match or match[2] not in _UNITS:
                return None
            parts.append((self._number(match[1]), _UNITS[match[2]]))
            end = match.end()
        return _sum([number for number, _ in parts], [unit for _, unit in parts]) if parts else None


def comma_evidence(text: str) -> set[str]:
    """Return the meanings of the comma that a number of a report shows: at most one, as a set."""
    text = _GROUPED.sub("", _plain_digits(text[: MAX_CHARACTERS + 1].strip()))
    if len(text) > MAX_CHARACTERS or not _NUMBER.fullmatch(text) or _AMBIGUOUS.fullmatch(text):
        return set()
    if "," in text:
        decimal = text.count(",") == 1 and text.rfind(",") > text.rfind(".")
        return {COMMA_DECIMAL if decimal else COMMA_THOUSANDS} if _clear_number(text) is not None else set()
    return {COMMA_THOUSANDS} if text.count(".") == 1 else set()


def _clear_number(text: str) -> float | None:
    """Return a number whose separators have one meaning."""
    mantissa = re.split("[eE]", text)[0].lstrip("+-")
    last = max(mantissa.rfind("."), mantissa.rfind(","))
    if last < 0:
        return float(text)
    separator = mantissa[last]
    other = "," if separator == "." else "."
    if mantissa.count(separator) > 1:
        if other in mantissa or not _THOUSANDS[separator].fullmatch(mantissa):
            return None
        return float(text.replace(separator, ""))
    if other in mantissa and not _THOUSANDS[other].fullmatch(mantissa[:last]):
        return None
    return float(text.replace(other, "").replace(separator, "."))


def _sum(numbers: list[float | None], units: list[float] | tuple[float, ...]) -> float | None:
    total = 0.0
    for number, unit in zip(numbers, units, strict=True):
        if number is None:
            return None
        total += number * unit
    return total


def _plain_digits(text: str) -> str:
    """Return `text` with digits and separators of ASCII: Java writes numbers in the digits of the locale."""
    if text.isascii():
        return text
    digits = [str(unicodedata.decimal(character, character)) for character in text]
    return "".join(digits).translate(_SEPARATORS)


_ISO = re.compile(
    r"(\d{4})-?(\d{2})-?(\d{2})(?:T\s*|\s+|_)(\d{2}):?(\d{2})(?::?(\d{2})(?:[.,](\d+))?)?\s*(.*)", re.IGNORECASE
)
_DIGITS = re.compile(r"\d+(?:\.\d+)?")
_OFFSET = re.compile(
    r"(?:[A-Z]{2,5}\s+)?([+-])(\d{2}):?(\d{2})?(?::?\d{2})?\s*(?:\[[\w/+-]+\]|[A-Z]{2,5})?(?:\s+m=[+-][\d.]+)?"
)
_LOCAL_DATE = re.compile(
    r"(\d{1,4})([/.-])(\d{1,2})\2(\d{1,4}),?[\sT]+(\d{1,2}):(\d{2})(?::(\d{2})(?:[.,](\d+))?)?"
    r"\s*([AaPp]\.?\s?[Mm]\.?)?\s*(.*)"
)
_MONTH_NAMES = "jan feb mar apr may jun jul aug sep oct nov dec"
_MONTHS = {name: number for number, name in enumerate(_MONTH_NAMES.split(), 1)}
_NAMED_MONTH = re.compile(
    r"(?:[A-Za-z]{3,9},?\s+)?(?:(?P<m1>[A-Za-z]{3})[a-z]*\.?\s+(?P<d1>\d{1,2})|(?P<d2>\d{1,2})[\s-](?P<m2>[A-Za-z]{3})[a-z]*)"
    r"(?:[\s,-]+(?P<y1>\d{4}))?,?\s+(?:at\s+)?(?P<h>\d{1,2}):(?P<min>\d{2})(?::(?P<s>\d{2})(?:[.,](?P<f>\d+))?)?"
    r"\s*(?P<ap>[AaPp][Mm])?(?:\s+(?P<z>[A-Za-z+:\d-]+?))??(?:\s+(?P<y2>\d{4}))?"
)
_UTC_NAMES = {"z", "utc", "gmt", "utc+0", "gmt+0", "utc+00:00", "gmt+00:00", "etc/utc", "zulu", "[utc]", "(utc)"}
# Seconds since 1970 by the number of digits before the point: 9 or 10, then in milli-, micro- and nanoseconds.
_EPOCH_UNITS = {9: 1, 10: 1, 12: 10**3, 13: 10**3, 15: 10**6, 16: 10**6, 18: 10**9, 19: 10**9}


def moment(text: str) -> datetime | None:
    """Return the time that `text` means, without a zone if it has none; None if it has no meaning or two."""
    text = _plain_digits(text.strip())
    if not text or len(text) > MAX_CHARACTERS:
        return None
    for read in (_iso, _epoch, _local_date, _named_month, _mail_date):
        try:
            found = read(text)
        except (ValueError, OverflowError, IndexError, TypeError):
            continue
        if found is not None:
            return found if FIRST_YEAR <= found.year <= LAST_YEAR else None
    return None


def _iso(text: str) -> datetime | None:
    match = _ISO.fullmatch(text)
    if not match:
        return None
    year, month, day, hour, minute = (int(match[number]) for number in range(1, 6))
    return _in_zone(_assemble((year, month, day), (hour, minute, int(match[6] or 0)), match[7]), match[8])


def _assemble(date: tuple[int, int, int], clock: tuple[int, int, int], fraction: str | None) -> datetime:
    """Return a time. The second 60 and the hour 24 are those after the last ones. Raises ValueError, OverflowError."""
    hour, minute, second = clock
    if hour > 24 or minute > 59 or second > 60:
        raise ValueError("no time of a day")
    micros = int((fraction or "0")[:6].ljust(6, "0"))
    return datetime(*date) + timedelta(hours=hour, minutes=minute, seconds=second, microseconds=micros)


def _in_zone(local: datetime, zone: str) -> datetime | None:
    """Return `local` in the zone that follows it; None if the zone is not understood."""
    zone = zone.strip()
    if not zone:
        return local
    if zone.lower() in _UTC_NAMES:
        return local.replace(tzinfo=UTC)
    offset = _OFFSET.fullmatch(zone)
    if offset is None:
        return None
    delta = timedelta(hours=int(offset[2]), minutes=int(offset[3] or 0))
    found = local.replace(tzinfo=timezone(-delta if offset[1] == "-" else delta))
    found.astimezone(UTC)  # raises OverflowError at the ends of the calendar
    return found


def _epoch(text: str) -> datetime | None:
    if not _DIGITS.fullmatch(text):
        return None
    whole, _, fraction = text.partition(".")
    unit = _EPOCH_UNITS.get(len(whole))
    if unit is None:
        if len(whole) == 14:
            return _assemble(
                (int(whole[:4]), int(whole[4:6]), int(whole[6:8])),
                (int(whole[8:10]), int(whole[10:12]), int(whole[12:])),
                fraction,
            )
        return None
    micros = int(whole) * 10**6 // unit + (int(fraction[:6].ljust(6, "0")) // unit if fraction else 0)
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=micros)


def _local_date(text: str) -> datetime | None:
    """Return a time whose date is in numbers. Day and month are distinguished if one is above 12, or by points."""
    match = _LOCAL_DATE.fullmatch(text)
    if not match:
        return None
    first, second, third = int(match[1]), int(match[3]), int(match[4])
    if len(match[1]) == 4:
        date = (first, second, third)
    elif len(match[4]) != 4:
        return None
    elif match[2] == "." or first > 12 or first == second:
        date = (third, second, first)
    elif second > 12:
        date = (third, first, second)
    else:
        return None
    hour = _hour(int(match[5]), match[9])
    return _in_zone(_assemble(date, (hour, int(match[6]), int(match[7] or 0)), match[8]), match[10])


def _hour(hour: int, half: str | None) -> int:
    """Return the hour of the 24-hour clock for one with AM or PM. Raises ValueError."""
    if not half:
        return hour
    if not 1 <= hour <= 12:
        raise ValueError("not an hour of a 12-hour clock")
    return hour % 12 + (12 if half[0] in "Pp" else 0)


def _named_month(text: str) -> datetime | None:
    """Return a time such as "Fri Mar  6 10:00:00 2020" or "Mar 6, 2020 10:00:00 AM"."""
    match = _NAMED_MONTH.fullmatch(text)
    if not match:
        return None
    month = _MONTHS.get((match["m1"] or match["m2"]).lower())
    years = [year for year in (match["y1"], match["y2"]) if year]
    if month is None or len(years) != 1:
        return None
    date = (int(years[0]), month, int(match["d1"] or match["d2"]))
    clock = (_hour(int(match["h"]), match["ap"]), int(match["min"]), int(match["s"] or 0))
    return _in_zone(_assemble(date, clock, match["f"]), match["z"] or "")


def _mail_date(text: str) -> datetime | None:
    """Return a time of RFC 2822, whose section 4.3 defines the zones of North America by name."""
    if not re.search(r"\d{1,2}\s+[A-Za-z]{3}\s+\d{4}\s+\d", text):
        return None
    zone = text.rsplit(None, 1)[-1].upper()
    if not re.fullmatch(r"[+-]\d{4}|[ECMP][SD]T|UT|GMT|Z|\d\d:\d\d(:\d\d)?", zone):
        return None
    return parsedate_to_datetime(text)
