"""Which days are worked: published holiday notices, the calendar they make, and the seed notices.

The seed comes from the ``chinesecalendar`` package. It may differ from the wording of a notice only
in whether a weekend day that touches a holiday is named, which changes no working day.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from functools import cache
from types import MappingProxyType
from typing import Final

from chinese_calendar import constants

FIRST_DAY: Final = date(1949, 10, 1)
LAST_DAY: Final = date(2199, 12, 31)
"""Every date of a computation lies between these two; outside them a ``ValueError`` is raised."""

LAST_WEEK_OF_DECEMBER: Final = 25
"""From this day of December on, the next year's notice may still change the day (29-31 so far)."""

DAY_ZERO: Final = FIRST_DAY.toordinal()
DAY_LAST: Final = LAST_DAY.toordinal()
WORKING, HOLIDAY, ADJUSTED, PROVISIONAL = 1, 2, 4, 8
"""Flags of a day in `WorkCalendar.flags`, whose index is the day's ordinal less `DAY_ZERO`."""

_MARK_PROVISIONAL: Final = bytes(flags | PROVISIONAL for flags in range(256))

HOLIDAY_NAMES_EN: Final = {
    "元旦": "New Year's Day",
    "春节": "Spring Festival",
    "清明节": "Tomb-sweeping Day",
    "劳动节": "Labour Day",
    "端午节": "Dragon Boat Festival",
    "中秋节": "Mid-autumn Festival",
    "国庆节": "National Day",
    "中国人民抗日战争暨世界反法西斯战争胜利70周年纪念日": "Anti-Fascist 70th Day",
}

# The package names its holidays in English only.
_CHINESE_NAMES: Final = {english: chinese for chinese, english in HOLIDAY_NAMES_EN.items()}


def notice_year(day: date) -> int:
    """Return the year of the notice that lists a day off or an adjusted workday.

    The only holiday that reaches into December is New Year, and it belongs to the coming year:
    2006-12-30 (worked) is in the notice for 2007, 2022-12-31 (off) in the one for 2023.
    """
    return day.year + 1 if day.month == 12 else day.year


def ordinal_of(name: str, day: date) -> int:
    """Return the day's ordinal; an instant or a date out of range is a ``ValueError`` naming it."""
    if isinstance(day, datetime):
        raise ValueError(f"{name} must be a calendar date, not an instant")
    ordinal = day.toordinal()
    if not DAY_ZERO <= ordinal <= DAY_LAST:
        raise ValueError(f"{name} must lie between {FIRST_DAY} and {LAST_DAY}, got {day}")
    return ordinal


@dataclass(frozen=True, slots=True)
class HolidayYear:
    """One published State Council holiday notice; ``names`` maps its days to the Chinese holiday name.

    Its days may lie in the December before the year (2006-12-30 is in the notice for 2007).
    """

    year: int
    off: frozenset[date]
    work: frozenset[date]
    names: Mapping[date, str] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        if both := self.off & self.work:
            raise ValueError(f"{min(both)} is both off and a working day in the notice for {self.year}")
        first, last = date(self.year - 1, 12, 1), date(self.year + 1, 1, 31)
        for day in sorted(self.off | self.work):
            if not first <= day <= last:
                raise ValueError(f"{day} cannot belong to the notice for {self.year}")


class WorkCalendar:
    """Working days under the published notices; a later year's notice overrides an earlier one.

    ``flags`` has one byte a day, so that counting is plain indexing; ``names`` maps the ordinals of
    listed days to Chinese holiday names.
    """

    __slots__ = ("flags", "names", "years")

    def __init__(self, years: Mapping[int, HolidayYear]) -> None:
        self.years: Mapping[int, HolidayYear] = MappingProxyType(dict(sorted(years.items())))
        self.names: dict[int, str] = {}
        week = bytes(WORKING if (FIRST_DAY + timedelta(i)).weekday() < 5 else 0 for i in range(7))
        flags = bytearray((week * ((DAY_LAST - DAY_ZERO) // 7 + 1))[: DAY_LAST - DAY_ZERO + 1])
        for year in range(FIRST_DAY.year, LAST_DAY.year + 1):
            if year not in self.years:
                since = max(date(year, 1, 1), FIRST_DAY)
            elif year + 1 not in self.years:
                since = date(year, 12, LAST_WEEK_OF_DECEMBER)
            else:
                continue
            span = slice(since.toordinal() - DAY_ZERO, date(year, 12, 31).toordinal() - DAY_ZERO + 1)
            flags[span] = flags[span].translate(_MARK_PROVISIONAL)
        for key, notice in self.years.items():
            if key != notice.year:
                raise ValueError(f"the notice for {notice.year} is filed under {key}")
            for day in notice.off | notice.work:
                index = ordinal_of("notice day", day) - DAY_ZERO
                if day in notice.off:
                    flags[index] = HOLIDAY
                else:
                    flags[index] = WORKING | (ADJUSTED if day.weekday() >= 5 else 0)
                self.names[day.toordinal()] = notice.names.get(day, "")
        self.flags = bytes(flags)

    def awaited_notice(self, day: date) -> int | None:
        """Return the year of the unpublished notice that may change this day, if any.

        A day listed by a notice is settled. Any other day awaits its own year's notice and, in the
        last week of December, the next year's too: 2018-12-29 became a working Saturday only when
        the notice for 2019 came out.
        """
        if not self.flags[ordinal_of("day", day) - DAY_ZERO] & PROVISIONAL:
            return None
        return day.year if day.year not in self.years else day.year + 1


@cache
def seed_notices() -> dict[int, HolidayYear]:
    """Return the notices by year, 2004 to the last year that the package knows."""
    off: dict[int, set[date]] = defaultdict(set)
    work: dict[int, set[date]] = defaultdict(set)
    names: dict[int, dict[date, str]] = defaultdict(dict)
    for listed, days in ((constants.holidays, off), (constants.workdays, work)):
        for day, english in listed.items():
            year = notice_year(day)
            days[year].add(day)
            names[year][day] = _CHINESE_NAMES[english]
    return {
        year: HolidayYear(year, frozenset(off[year]), frozenset(work[year]), dict(sorted(names[year].items())))
        for year in sorted(names)
    }


def entered_notice(year: int, off: Iterable[date], work: Iterable[date]) -> HolidayYear:
    """Return a notice as it was entered, without names; those of the days that the seed knows are added."""
    seed = seed_notices().get(year)
    known = seed.names if seed else {}
    days_off, worked = frozenset(off), frozenset(work)
    names = {day: known[day] for day in sorted(days_off | worked) if day in known}
    return HolidayYear(year, days_off, worked, names)


def calendar_in_force(entered: Iterable[HolidayYear]) -> WorkCalendar:
    """Return the calendar of the seed notices and those entered since, which override them."""
    return WorkCalendar(seed_notices() | {notice.year: notice for notice in entered})
