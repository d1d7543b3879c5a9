"""Recurrences in words: the common shapes of RFC 5545 rules that duties may carry, counted from January 1.

A rule of another shape has no words; it is then shown as it stands.
"""

from collections.abc import Mapping, Sequence

from services.cli.words import say

Words = tuple[str, str]
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
WEEKDAYS: Mapping[str, Words] = {
    "MO": ("周一", "Monday"),
    "TU": ("周二", "Tuesday"),
    "WE": ("周三", "Wednesday"),
    "TH": ("周四", "Thursday"),
    "FR": ("周五", "Friday"),
    "SA": ("周六", "Saturday"),
    "SU": ("周日", "Sunday"),
}
WORKDAYS = ("MO", "TU", "WE", "TH", "FR")
WORDED = frozenset({"FREQ", "INTERVAL", "COUNT", "WKST", "BYMONTH", "BYMONTHDAY", "BYDAY"})
EVERY_MONTH = tuple(range(1, 13))
SPACED: Mapping[tuple[int, ...], Words] = {
    EVERY_MONTH: ("每月", "every month"),
    (1, 4, 7, 10): ("每季度首月", "the first month of every quarter"),
    (3, 6, 9, 12): ("每季度末月", "the last month of every quarter"),
    (1, 7): ("每半年首月（1月、7月）", "the first month of every half-year (Jan, Jul)"),
}
ORDINALS: Mapping[int, Words] = {
    1: ("第一个", "first"),
    2: ("第二个", "second"),
    3: ("第三个", "third"),
    4: ("第四个", "fourth"),
    5: ("第五个", "fifth"),
    -1: ("最后一个", "last"),
    -2: ("倒数第二个", "last but one"),
}


def describe_recurrence(rule: str) -> str:
    """Return the rule in words of the reader's language, '' when it has none."""
    words = words_of(rule)
    return say(*words) if words else ""


def words_of(rule: str) -> Words | None:
    """Return the rule in Chinese and English, None when it has a shape of its own."""
    parts = dict(part.partition("=")[::2] for part in rule.split(";"))
    if not parts.keys() <= WORDED:
        return None
    try:
        words = _DESCRIBED[parts["FREQ"]](parts, int(parts.get("INTERVAL", "1")))
        count = int(parts.get("COUNT", "0"))
    except (KeyError, ValueError):
        return None
    if words is None or not count:
        return words
    return f"{words[0]}，每年前 {count} 次", f"{words[1]}, the first {count} of each year"


def _daily(parts: Mapping[str, str], interval: int) -> Words | None:
    if "BYMONTHDAY" in parts or "BYDAY" in parts:
        return None
    return _in_months(
        parts, ("每天", "every day") if interval == 1 else (f"每 {interval} 天", f"every {interval} days")
    )


def _weekly(parts: Mapping[str, str], interval: int) -> Words | None:
    if "BYMONTHDAY" in parts:
        return None
    zh, en = f"每 {interval} 周", f"every {interval} weeks"
    if "BYDAY" not in parts:
        return _in_months(parts, ("每周一次", "once a week") if interval == 1 else (f"{zh}一次", f"once {en}"))
    days = _weekdays(parts["BYDAY"].split(","))
    if interval == 1:
        return _in_months(parts, (f"每{days[0]}", f"every {days[1]}"))
    return _in_months(parts, (f"{zh}的{days[0]}", f"{days[1]} of {en}"))


def _monthly(parts: Mapping[str, str], interval: int) -> Words | None:
    chosen = _numbers(parts["BYMONTH"]) if "BYMONTH" in parts else EVERY_MONTH
    return _days_of_months(tuple(month for month in chosen if (month - 1) % interval == 0), parts)


def _yearly(parts: Mapping[str, str], interval: int) -> Words | None:
    if "BYMONTH" in parts:
        return _days_of_months(_numbers(parts["BYMONTH"]), parts)
    if "BYMONTHDAY" in parts:
        return _days_of_months(EVERY_MONTH, parts)
    if "BYDAY" not in parts:
        return "每年1月1日", "every year on 1 Jan"
    zh, en = _weekdays(parts["BYDAY"].split(","), each=True)
    return f"每年的{zh}", f"{en} of the year"


def _days_of_months(months: tuple[int, ...], parts: Mapping[str, str]) -> Words | None:
    if not months or ("BYDAY" in parts and "BYMONTHDAY" in parts):
        return None
    spaced = SPACED.get(months)
    where = spaced or (f"每年{_listed_months(months)[0]}", _listed_months(months)[1])
    if "BYDAY" in parts:
        zh, en = _weekdays(parts["BYDAY"].split(","), each=True)
        return f"{where[0]}{'' if spaced == SPACED[EVERY_MONTH] else '的'}{zh}", f"{en} of {where[1]}"
    days = _numbers(parts.get("BYMONTHDAY", "1"))
    zh, en = "、".join(map(_day_zh, days)), _joined([_day_en(day) for day in days])
    if spaced is None and len(months) == 1 and all(day > 0 for day in days):
        return f"{where[0]}{zh}", f"every year on {_joined([str(day) for day in days])} {where[1]}"
    return f"{where[0]}{'的' if spaced is None and len(months) > 1 else ''}{zh}", f"{en} of {where[1]}"


def _in_months(parts: Mapping[str, str], words: Words) -> Words:
    """Limit what happens every so many days or weeks to some months."""
    if "BYMONTH" not in parts:
        return words
    zh, en = _listed_months(_numbers(parts["BYMONTH"]))
    return f"{zh}期间{words[0]}", f"{words[1]}, in {en}"


def _weekdays(days: Sequence[str], *, each: bool = False) -> Words:
    """Word days such as MO, 1MO and -1FR; ``each``: one without a number is every such day. Raises KeyError."""
    if set(days) == set(WORKDAYS):
        return "每个周一至周五" if each else "周一至周五", "every Monday to Friday" if each else "Monday to Friday"
    found = [_weekday(day, each=each) for day in days]
    return "、".join(zh for zh, _ in found), _joined([en for _, en in found])


def _weekday(day: str, *, each: bool) -> Words:
    zh, en = WEEKDAYS[day[-2:]]
    if number := day[:-2]:
        ordinal = ORDINALS[int(number)]
        return f"{ordinal[0]}{zh}", f"the {ordinal[1]} {en}"
    return (f"每个{zh}", f"every {en}") if each else (zh, en)


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(sorted({int(each) for each in text.split(",")}, key=lambda number: (number < 0, number)))


def _listed_months(months: Sequence[int]) -> Words:
    """Raises KeyError for what is no month."""
    if not set(months) <= set(EVERY_MONTH):
        raise KeyError(months)
    return "、".join(map(str, months)) + "月", _joined([MONTHS[month - 1] for month in months])


def _day_zh(day: int) -> str:
    return f"{day}日" if day > 0 else "最后一天" if day == -1 else f"倒数第{-day}天"


def _day_en(day: int) -> str:
    if day < 0:
        return "the last day" if day == -1 else f"the last day but {-day - 1}"
    ending = {1: "st", 2: "nd", 3: "rd"}.get(day % 10 if day not in (11, 12, 13) else 0, "th")
    return f"the {day}{ending}"


def _joined(parts: Sequence[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"


_DESCRIBED = {"DAILY": _daily, "WEEKLY": _weekly, "MONTHLY": _monthly, "YEARLY": _yearly}
