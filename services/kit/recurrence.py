"""Recurrences of duties: RFC 5545 RRULE values counted from the first day of a year.

A duty list belongs to no year, so a rule means the same in every year: UNTIL (a date) is refused, COUNT is
honoured as "the first n of the year", and a yearly rule has no interval.
"""

from calendar import isleap
from datetime import date, datetime
from functools import lru_cache

from dateutil.rrule import rrulestr

MAX_CHARACTERS = 200
FREQUENCIES = ("YEARLY", "MONTHLY", "WEEKLY", "DAILY")
PARTS = ("FREQ", "INTERVAL", "COUNT", "WKST", "BYMONTH", "BYMONTHDAY", "BYYEARDAY", "BYWEEKNO", "BYDAY", "BYSETPOS")
"""No UNTIL, no parts finer than a day, none of dateutil's own (BYEASTER)."""
TWINS = {(date(year, 1, 1).weekday(), isleap(year), isleap(year - 1)): year for year in range(9972, 10_000)}
"""A late year with the same calendar for each kind of year. dateutil looks for the next day of a rule that gives
none up to year 9999, most of a second; so the days are sought in a twin, at most 28 years before that end."""
PROOF_YEARS = (2024, 2025, 2026, 2027)
"""A leap year and three common ones: a rule that gives no day in any of them is not meant."""


def is_recurrence(text: str) -> bool:
    """Tell whether the text is a rule that a duty may carry, and that does give days."""
    parts: dict[str, str] = {}
    for part in text.split(";"):
        key, separator, value = part.partition("=")
        if not separator or not value or key not in PARTS or key in parts:
            return False
        parts[key] = value
    yearly_interval = parts.get("FREQ") == "YEARLY" and parts.get("INTERVAL", "1") != "1"
    if len(text) > MAX_CHARACTERS or parts.get("FREQ") not in FREQUENCIES or yearly_interval:
        return False
    if any(not parts[key].isdecimal() or len(parts[key]) > 3 or int(parts[key]) < 1 for key in _positive(parts)):
        return False
    try:
        return any(occurrences(text, year) for year in PROOF_YEARS)
    except (ValueError, TypeError, IndexError, OverflowError, KeyError):  # dateutil's ways of refusing
        return False


def _positive(parts: dict[str, str]) -> list[str]:
    return [key for key in ("INTERVAL", "COUNT") if key in parts]


@lru_cache(maxsize=4_096)
def occurrences(text: str, year: int) -> tuple[date, ...]:
    """Return the days that the rule gives in a year, in order. Days that the year lacks (Feb 29) are left out.

    Raises ValueError on a malformed rule.
    """
    twin = TWINS[date(year, 1, 1).weekday(), isleap(year), isleap(year - 1)]
    first, last = datetime(twin, 1, 1), datetime(twin, 12, 31)  # noqa: DTZ001 (calendar days, no zone)
    days = []
    for moment in rrulestr(text, dtstart=first):
        if moment > last:
            break
        days.append(date(year, moment.month, moment.day))
    return tuple(days)
