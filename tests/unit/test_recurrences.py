"""Recurrences in words, for those who keep lists and never heard of RFC 5545."""

import pytest

from services.cli.recurrences import words_of
from services.kit.recurrence import is_recurrence

WORDED = {
    "FREQ=YEARLY": ("每年1月1日", "every year on 1 Jan"),
    "FREQ=YEARLY;BYMONTH=3;BYMONTHDAY=15": ("每年3月15日", "every year on 15 Mar"),
    "FREQ=YEARLY;BYMONTH=12,6;BYMONTHDAY=1": ("每年6、12月的1日", "the 1st of Jun and Dec"),
    "FREQ=YEARLY;BYMONTH=6;BYMONTHDAY=1,16": ("每年6月1日、16日", "every year on 1 and 16 Jun"),
    "FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=-1": ("每年2月最后一天", "the last day of Feb"),
    "FREQ=YEARLY;BYMONTH=6;BYDAY=1MO": ("每年6月的第一个周一", "the first Monday of Jun"),
    "FREQ=YEARLY;BYDAY=-1FR": ("每年的最后一个周五", "the last Friday of the year"),
    "FREQ=YEARLY;BYMONTHDAY=5": ("每月5日", "the 5th of every month"),
    "FREQ=YEARLY;BYMONTH=3,6,9,12;BYMONTHDAY=-1": (
        "每季度末月最后一天",
        "the last day of the last month of every quarter",
    ),
    "FREQ=MONTHLY": ("每月1日", "the 1st of every month"),
    "FREQ=MONTHLY;BYMONTHDAY=2,22,-2": (
        "每月2日、22日、倒数第2天",
        "the 2nd, the 22nd and the last day but 1 of every month",
    ),
    "FREQ=MONTHLY;INTERVAL=3;BYMONTHDAY=10": ("每季度首月10日", "the 10th of the first month of every quarter"),
    "FREQ=MONTHLY;INTERVAL=2;BYMONTHDAY=15": (
        "每年1、3、5、7、9、11月的15日",
        "the 15th of Jan, Mar, May, Jul, Sep and Nov",
    ),
    "FREQ=MONTHLY;INTERVAL=6": (
        "每半年首月（1月、7月）1日",
        "the 1st of the first month of every half-year (Jan, Jul)",
    ),
    "FREQ=MONTHLY;INTERVAL=12;BYMONTHDAY=13": ("每年1月13日", "every year on 13 Jan"),
    "FREQ=MONTHLY;BYDAY=MO": ("每月每个周一", "every Monday of every month"),
    "FREQ=MONTHLY;BYDAY=1MO,-1FR": (
        "每月第一个周一、最后一个周五",
        "the first Monday and the last Friday of every month",
    ),
    "FREQ=MONTHLY;BYDAY=MO;BYMONTH=6": ("每年6月的每个周一", "every Monday of Jun"),
    "FREQ=WEEKLY": ("每周一次", "once a week"),
    "FREQ=WEEKLY;BYDAY=MO,TH": ("每周一、周四", "every Monday and Thursday"),
    "FREQ=WEEKLY;BYDAY=MO,TU,WE,TH,FR": ("每周一至周五", "every Monday to Friday"),
    "FREQ=WEEKLY;INTERVAL=2;BYDAY=MO;WKST=MO": ("每 2 周的周一", "Monday of every 2 weeks"),
    "FREQ=WEEKLY;INTERVAL=2": ("每 2 周一次", "once every 2 weeks"),
    "FREQ=WEEKLY;BYDAY=FR;COUNT=5": ("每周五，每年前 5 次", "every Friday, the first 5 of each year"),
    "FREQ=DAILY": ("每天", "every day"),
    "FREQ=DAILY;INTERVAL=3;BYMONTH=6,7": ("6、7月期间每 3 天", "every 3 days, in Jun and Jul"),
}
RAW = (
    "FREQ=YEARLY;BYYEARDAY=100",
    "FREQ=YEARLY;BYWEEKNO=20",
    "FREQ=MONTHLY;BYDAY=MO,TU,WE,TH,FR;BYSETPOS=-1",
    "FREQ=MONTHLY;BYDAY=FR;BYMONTHDAY=13",
    "FREQ=DAILY;BYDAY=MO",
    "FREQ=YEARLY;BYDAY=10MO",
)


@pytest.mark.parametrize("rule", WORDED)
def test_a_rule_of_a_common_shape_has_words(rule: str) -> None:
    """A post's holder would not know on which days his duties come due."""
    assert is_recurrence(rule)
    assert words_of(rule) == WORDED[rule]


@pytest.mark.parametrize("rule", RAW)
def test_a_rule_of_another_shape_has_none(rule: str) -> None:
    """The words would promise other days than those on which tasks are generated."""
    assert is_recurrence(rule)
    assert words_of(rule) is None


@pytest.mark.parametrize("rule", ["", "nonsense", "FREQ=HOURLY", "FREQ=MONTHLY;INTERVAL=x", "FREQ=WEEKLY;BYDAY=XX"])
def test_what_is_no_rule_has_none(rule: str) -> None:
    """A list imported long ago with a broken rule could not be shown at all."""
    assert words_of(rule) is None
