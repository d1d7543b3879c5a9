"""Layouts of legacy tables: their columns, what a row means as a row of an import, and what counts as the same row."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from functools import lru_cache
from hashlib import sha256
from typing import Any

from google.protobuf.descriptor import EnumDescriptor
from google.protobuf.message import Message
from google.type.date_pb2 import Date

from dutyloop.directory.v1 import directory_pb2
from dutyloop.hazard.v1 import hazard_pb2
from dutyloop.inspection.v1 import inspection_pb2
from services.cli import legacy
from services.cli.bodies import ValueProblem
from services.cli.fields import choices_of, day_of, enum_words
from services.cli.sheets import Row
from services.cli.words import LOCALE, label, say
from services.kit.catalogue import describe_problem
from services.kit.dates import day_message

ROW = "row"
"""The column named when a whole row is at fault."""
DAYS_REMEMBERED = 20_000
"""Days of half a century: a ledger has few days and many rows."""
KEY_CHARACTERS = 40
"""Of the keys by which rows are compared; longer ones are kept as hashes, so that a million take little memory."""
SITE_HEADINGS: Mapping[str, Sequence[str]] = {
    "site_name": ("site_name", "企业名称", "检查对象名称"),
    "sector": ("sector", "site_kind", "行业"),
    "region": ("region", "region_code", "区划代码"),
}
LEGACY_ID = ("legacy_id", "inspection_id", "id", "编号")
SITE = ("site", "site_legacy_id", "site_id", "企业编号", "检查对象编号")
DAY = ("visit_date", "inspection_date", "date", "检查日期")
SYNONYMS: Mapping[str, str] = {
    "一般": "general",
    "一般隐患": "general",
    "重大": "major",
    "重大隐患": "major",
    "现场整改": "on-the-spot",
    "立即整改": "on-the-spot",
    "限期整改": "time-limited",
    "停产整改": "suspend",
    "停产停业": "suspend",
    "关闭取缔": "close-down",
    "蓝": "blue",
    "黄": "yellow",
    "橙": "orange",
    "红": "red",
}


class CellProblem(ValueProblem):
    """A cell cannot be taken: the field of ours and the reason for people."""

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(reason)
        self.field = field
        self.reason = reason


@dataclass(slots=True)
class Faults:
    """Rows refused before anything was sent."""

    rows: list[tuple[int, str, str]] = field(default_factory=list)

    def add(self, row: int, at: str, reason: str) -> None:
        """Refuse a row."""
        self.rows.append((row, at, reason))


@dataclass(frozen=True, slots=True)
class Place:
    """Where sites go whose rows do not say it."""

    region: str = ""
    unit: str = ""


@dataclass(frozen=True, slots=True)
class Phase:
    """One import of several that a file becomes; ``names`` says which field of ours a column of the API is."""

    name: str
    method: str
    rows: Callable[[Faults], Iterator[Message]]
    names: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Layout:
    """What a kind of table looks like. ``phases`` may read the table once for each phase."""

    fields: Mapping[str, Sequence[str]]
    required: Sequence[str]
    phases: Callable[[Callable[[], Iterator[Row]], Place], Sequence[Phase]]
    figures: Callable[[Callable[[], Iterator[Row]]], legacy.Figures] | None = None


def column_shown(columns: Mapping[str, str], at: str) -> str:
    """Return what people call the place of a fault: the heading in their file, else what the field is called."""
    return say("整行", "whole row") if at == ROW else columns.get(at) or label(at)


def once(rows: Iterator[Row], identity: Callable[[Row], Sequence[str]], faults: Faults) -> Iterator[Row]:
    """Yield each row that is whole and not the same as an earlier one; report the others.

    ``identity`` gives the field that tells the row from others, or ROW, and what makes it the same as another.
    """
    first: dict[str | bytes, int] = {}
    for row in rows:
        if row.surplus:
            faults.add(row.number, ROW, say("单元格多于表头", "has more cells than the header"))
            continue
        told = "\x1f".join(identity(row))
        key = told if len(told) <= KEY_CHARACTERS else sha256(told.encode()).digest()[:16]
        earlier = first.setdefault(key, row.number)
        if earlier == row.number:
            yield row
        else:
            what = describe_problem("duplicate", LOCALE)
            faults.add(row.number, identity(row)[0], say(f"{what}：与第 {earlier} 行相同", f"{what} of row {earlier}"))


def _taken(
    rows: Iterator[Row],
    identity: Callable[[Row], Sequence[str]],
    make: Callable[[Row], Any],
    faults: Faults,
) -> Iterator[Any]:
    for row in once(rows, identity, faults):
        try:
            yield make(row)
        except CellProblem as problem:
            faults.add(row.number, problem.field, problem.reason)


def _by_id(row: Row) -> Sequence[str]:
    return ("legacy_id", row["legacy_id"] or f"\x1f{row.number}")


def _by_id_or_content(*content: str) -> Callable[[Row], Sequence[str]]:
    def identity(row: Row) -> Sequence[str]:
        return ("legacy_id", row["legacy_id"]) if row["legacy_id"] else (ROW, *(row[name] for name in content))

    return identity


def _need(row: Row, *names: str) -> None:
    for name in names:
        if not row[name]:
            raise CellProblem(name, describe_problem("required", LOCALE))


@lru_cache(maxsize=DAYS_REMEMBERED)
def _date_in(text: str) -> date:
    return day_of(text.partition(" ")[0].partition("T")[0])


@lru_cache(maxsize=DAYS_REMEMBERED)
def _shared_day(day: date) -> Date:
    """Return the message of a day: for rows to copy, never to change."""
    return day_message(day)


def _date(row: Row, name: str) -> date:
    try:
        return _date_in(row[name])
    except ValueProblem as problem:
        raise CellProblem(name, str(problem)) from problem


def _day(row: Row, name: str) -> Date:
    return _shared_day(_date(row, name))


def _count(row: Row, name: str) -> int:
    text = row[name] or "0"
    if not text.isdecimal():
        raise CellProblem(name, say("应为非负整数", "must be a whole number"))
    return int(text)


def _word(row: Row, name: str, enum: EnumDescriptor) -> int:
    words = enum_words(enum)
    text = row[name]
    text = SYNONYMS.get(text) or text.lower().replace("_", "-").replace(" ", "-")
    number = words.get(text)
    if number is None:
        known = choices_of(enum)
        raise CellProblem(name, say(f"应为 {known} 之一", f"must be one of {known}"))
    return number


def qualified(collection: str, identifier: str) -> str:
    """Return a resource name for what may be a bare id; nothing stays nothing."""
    return identifier if not identifier or "/" in identifier else f"{collection}/{identifier}"


# Regions


def _region(row: Row) -> directory_pb2.RegionRow:
    return directory_pb2.RegionRow(
        row=row.number, code=row["code"], parent_code=row["parent_code"], display_name=row["display_name"]
    )


def _region_phases(read: Callable[[], Iterator[Row]], place: Place) -> Sequence[Phase]:
    def rows(faults: Faults) -> Iterator[Message]:
        yield from _taken(read(), lambda row: ("code", row["code"]), _region, faults)

    return [Phase("regions", "directory.ImportRegions", rows)]


# Sites, given as such or met in a ledger


def _site_row(row: Row, place: Place, legacy_id: str, display_name: str) -> directory_pb2.SiteRow:
    made = directory_pb2.SiteRow(row=row.number)
    site = made.site
    site.legacy_id, site.display_name = legacy_id, display_name or legacy_id
    site.credit_code, site.sector = row["credit_code"], row["sector"]
    site.region = qualified("regions", row["region"] or place.region)
    site.unit = qualified("units", row["unit"] or place.unit)
    if row["colour"]:
        site.colour = _word(row, "colour", directory_pb2.RiskColour.DESCRIPTOR)  # type: ignore[assignment]
    return made


def _site_phases(read: Callable[[], Iterator[Row]], place: Place) -> Sequence[Phase]:
    def make(row: Row) -> directory_pb2.SiteRow:
        return _site_row(row, place, row["legacy_id"], row["display_name"])

    def rows(faults: Faults) -> Iterator[Message]:
        yield from _taken(read(), _by_id_or_content("credit_code", "display_name"), make, faults)

    return [Phase("sites", "directory.ImportSites", rows)]


def _sites_met(read: Callable[[], Iterator[Row]], place: Place) -> Phase:
    """Return the phase that makes sure of the sites of a ledger: each as its first row has it."""

    def rows(faults: Faults) -> Iterator[Message]:
        met: set[str] = set()
        for row in read():
            if row["site"] and row["site"] not in met and not row.surplus:
                met.add(row["site"])
                yield _site_row(row, place, row["site"], row["site_name"])

    return Phase("sites", "directory.ImportSites", rows, {"legacy_id": "site", "display_name": "site_name"})


# Visits


def _visit_phases(read: Callable[[], Iterator[Row]], place: Place) -> Sequence[Phase]:
    def make(row: Row) -> inspection_pb2.LegacyVisitRow:
        _need(row, "site", "visit_date")
        return inspection_pb2.LegacyVisitRow(
            row=row.number,
            legacy_id=row["legacy_id"],
            site_legacy_id=row["site"],
            visit_date=_day(row, "visit_date"),
            purpose=row["purpose"],
            inspector=row["inspector"],
        )

    def rows(faults: Faults) -> Iterator[Message]:
        yield from _taken(read(), _by_id_or_content("site", "visit_date", "purpose", "inspector"), make, faults)

    return [
        _sites_met(read, place),
        Phase("visits", "inspection.ImportVisits", rows, {"site_legacy_id": "site"}),
    ]


# Hazards in our own layout


def _hazard_phases(read: Callable[[], Iterator[Row]], place: Place) -> Sequence[Phase]:
    def make(row: Row) -> hazard_pb2.LegacyHazardRow:
        _need(row, "legacy_id", "site", "grade", "disposition", "description", "open_date")
        return hazard_pb2.LegacyHazardRow(
            row=row.number,
            legacy_id=row["legacy_id"],
            site_legacy_id=row["site"],
            grade=_word(row, "grade", hazard_pb2.HazardGrade.DESCRIPTOR),  # type: ignore[arg-type]
            disposition=_word(row, "disposition", hazard_pb2.Disposition.DESCRIPTOR),  # type: ignore[arg-type]
            description=row["description"],
            open_date=_day(row, "open_date"),
            write_off_date=_day(row, "write_off_date") if row["write_off_date"] else None,
        )

    def rows(faults: Faults) -> Iterator[Message]:
        yield from _taken(read(), _by_id, make, faults)

    return [
        _sites_met(read, place),
        Phase("hazards", "hazard.ImportHazards", rows, {"site_legacy_id": "site"}),
    ]


# Hazards that a ledger of inspection results means


def _result(row: Row) -> legacy.Result:
    _need(row, "legacy_id", "site", "visit_date", "result")
    counts = {name: _count(row, name) for name in ("critical", "serious", "minor")}
    told = ", ".join(f"{name} {count}" for name, count in counts.items())
    return legacy.Result(
        row=row.number,
        legacy_id=row["legacy_id"],
        site=row["site"],
        day=_date(row, "visit_date"),
        word=row["result"],
        critical=counts["critical"],
        remark=f"{row['purpose']} {row['result']}: {told}; {row['risk']}".strip("; "),
    )


def results_of(rows: Iterator[Row], faults: Faults) -> Sequence[legacy.Result]:
    """Read a ledger of inspection results."""
    return list(_taken(rows, _by_id, _result, faults))


def result_figures(read: Callable[[], Iterator[Row]]) -> legacy.Figures:
    """Count what the file should come to."""
    results = results_of(read(), Faults())
    return legacy.figures_of((result.day for result in results), list(legacy.hazards_of(results)))


def _result_phases(read: Callable[[], Iterator[Row]], place: Place) -> Sequence[Phase]:
    def visit(row: Row) -> inspection_pb2.LegacyVisitRow:
        result = _result(row)
        return inspection_pb2.LegacyVisitRow(
            row=row.number,
            legacy_id=result.legacy_id,
            site_legacy_id=result.site,
            visit_date=_shared_day(result.day),
            purpose=row["purpose"],
        )

    def visits(faults: Faults) -> Iterator[Message]:
        yield from _taken(read(), _by_id, visit, faults)

    def hazards(faults: Faults) -> Iterator[Message]:
        # Rows that cannot be read are told once, with the visits.
        for hazard in legacy.hazards_of(results_of(read(), Faults())):
            written_off = hazard.write_off_day
            yield hazard_pb2.LegacyHazardRow(
                row=hazard.row,
                legacy_id=hazard.legacy_id,
                site_legacy_id=hazard.site,
                grade=enum_words(hazard_pb2.HazardGrade.DESCRIPTOR)[hazard.grade],  # type: ignore[arg-type]
                disposition=enum_words(hazard_pb2.Disposition.DESCRIPTOR)[hazard.disposition],  # type: ignore[arg-type]
                description=hazard.remark,
                open_date=_shared_day(hazard.open_day),
                write_off_date=None if written_off is None else _shared_day(written_off),
            )

    names = {"site_legacy_id": "site", "open_date": "visit_date", "description": "result"}
    return [
        _sites_met(read, place),
        Phase("visits", "inspection.ImportVisits", visits, names),
        Phase("hazards", "hazard.ImportHazards", hazards, names),
    ]


REGIONS = Layout(
    {
        "code": ("code", "代码", "区划代码"),
        "parent_code": ("parent_code", "上级代码"),
        "display_name": ("name", "display_name", "名称"),
    },
    ("code", "parent_code", "display_name"),
    _region_phases,
)
SITES = Layout(
    {
        "legacy_id": ("legacy_id", "site", "id", "编号"),
        "display_name": ("name", "display_name", "site_name", "名称", "企业名称"),
        "credit_code": ("credit_code", "统一社会信用代码"),
        "unit": ("unit", "责任单位"),
        "colour": ("colour", "风险颜色"),
        "sector": SITE_HEADINGS["sector"],
        "region": SITE_HEADINGS["region"],
    },
    ("display_name",),
    _site_phases,
)
VISITS = Layout(
    {
        "legacy_id": LEGACY_ID,
        "site": SITE,
        "visit_date": DAY,
        "purpose": ("purpose", "type", "检查目的"),
        "inspector": ("inspector", "检查人员"),
        **SITE_HEADINGS,
    },
    ("site", "visit_date"),
    _visit_phases,
)
HAZARDS = Layout(
    {
        "legacy_id": LEGACY_ID,
        "site": SITE,
        "grade": ("grade", "隐患等级", "等级"),
        "disposition": ("disposition", "处置方式"),
        "description": ("description", "隐患描述", "情况描述"),
        "open_date": ("open_date", "发现日期"),
        "write_off_date": ("write_off_date", "销号日期"),
        **SITE_HEADINGS,
    },
    ("legacy_id", "site", "grade", "disposition", "description", "open_date", "write_off_date"),
    _hazard_phases,
)
RESULTS = Layout(
    {
        "legacy_id": LEGACY_ID,
        "site": SITE,
        "visit_date": DAY,
        "purpose": ("type", "purpose"),
        "result": ("result", "检查结果"),
        "risk": ("risk",),
        "critical": ("critical",),
        "serious": ("serious",),
        "minor": ("minor",),
        **SITE_HEADINGS,
    },
    ("legacy_id", "site", "visit_date", "result", "critical"),
    _result_phases,
    result_figures,
)
