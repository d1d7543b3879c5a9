"""What a ledger of inspection results means as hazards: pure, so that it can be checked against any file.

Each row is a visit. A failed visit opens one time-limited hazard, major when anything critical was found,
and it is written off on the site's first later day with a passing visit; a conditional pass is a hazard
rectified on the spot. Any other result is a visit and nothing else.
"""

from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from enum import StrEnum

FAIL = "Fail"
PASS = "Pass"  # noqa: S105 (a result word of the ledger, not a secret)
PASS_WITH_CONDITIONS = "Pass w/ Conditions"  # noqa: S105


class Grade(StrEnum):
    """The grades that a legacy hazard can have."""

    GENERAL = "general"
    MAJOR = "major"


class Disposition(StrEnum):
    """The dispositions that a result can mean."""

    ON_THE_SPOT = "on-the-spot"
    TIME_LIMITED = "time-limited"


@dataclass(frozen=True, slots=True)
class Result:
    """One row of a ledger of results."""

    row: int
    legacy_id: str
    site: str
    day: date
    word: str
    critical: int
    remark: str = ""


@dataclass(frozen=True, slots=True)
class LegacyHazard:
    """A hazard that a result means; ``write_off_day`` is None while it is open."""

    row: int
    legacy_id: str
    site: str
    grade: Grade
    disposition: Disposition
    open_day: date
    write_off_day: date | None
    remark: str = ""

    def is_open_on(self, day: date) -> bool:
        """Tell whether it stood open at the end of a day."""
        return self.open_day <= day and (self.write_off_day is None or self.write_off_day > day)


def hazards_of(results: Sequence[Result]) -> Iterator[LegacyHazard]:
    """Yield the hazards in the order of their rows; the rows may come in any order of days.

    Only a strictly later day writes off: two results of one day do not tell which came first.
    """
    passing_days: defaultdict[str, list[date]] = defaultdict(list)
    for result in results:
        if result.word in (PASS, PASS_WITH_CONDITIONS):
            passing_days[result.site].append(result.day)
    for days in passing_days.values():
        days.sort()
    for result in results:
        if result.word == FAIL:
            days = passing_days.get(result.site, [])
            later = bisect_right(days, result.day)
            grade = Grade.MAJOR if result.critical > 0 else Grade.GENERAL
            written_off = days[later] if later < len(days) else None
            yield _hazard(result, grade, Disposition.TIME_LIMITED, written_off)
        elif result.word == PASS_WITH_CONDITIONS:
            yield _hazard(result, Grade.GENERAL, Disposition.ON_THE_SPOT, result.day)


def _hazard(result: Result, grade: Grade, disposition: Disposition, written_off: date | None) -> LegacyHazard:
    return LegacyHazard(
        row=result.row,
        legacy_id=result.legacy_id,
        site=result.site,
        grade=grade,
        disposition=disposition,
        open_day=result.day,
        write_off_day=written_off,
        remark=result.remark,
    )


@dataclass(frozen=True, slots=True)
class Figures:
    """What a ledger of results adds up to."""

    visits_by_year: Mapping[int, int]
    hazards_by_grade: Mapping[str, int]
    hazards_by_disposition: Mapping[str, int]
    written_off: int
    open_at_end_of_year: Mapping[int, int]
    sites_open_at_end_of_year: Mapping[int, int]


def figures_of(visit_days: Iterable[date], hazards: Sequence[LegacyHazard]) -> Figures:
    """Count visits and hazards; what is open is counted at the end of each year that had a visit."""
    years = Counter(day.year for day in visit_days)
    open_then = {
        year: [hazard.site for hazard in hazards if hazard.is_open_on(date(year, 12, 31))] for year in sorted(years)
    }
    return Figures(
        visits_by_year=dict(sorted(years.items())),
        hazards_by_grade=dict(sorted(Counter(str(hazard.grade) for hazard in hazards).items())),
        hazards_by_disposition=dict(sorted(Counter(str(hazard.disposition) for hazard in hazards).items())),
        written_off=sum(hazard.write_off_day is not None for hazard in hazards),
        open_at_end_of_year={year: len(sites) for year, sites in open_then.items()},
        sites_open_at_end_of_year={year: len(set(sites)) for year, sites in open_then.items()},
    )
