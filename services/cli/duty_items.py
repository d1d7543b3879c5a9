"""Duty items from a table: what its columns are called, and what a row of it means."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence

from google.protobuf.message import Message

from dutyloop.duty.v1 import duty_pb2
from services.cli.bodies import ValueProblem
from services.cli.fields import put_value
from services.cli.layouts import ROW, CellProblem, Faults, Layout, Phase, Place
from services.cli.sheets import Row
from services.cli.words import LOCALE, say
from services.kit.catalogue import describe_problem

HEADINGS: Mapping[str, Sequence[str]] = {
    "number": ("number", "编号", "序号", "条目编号"),
    "text": ("text", "内容", "职责内容", "职责"),
    "law": ("law", "法律", "法律依据", "依据"),
    "article": ("article", "条款", "条文"),
    "type": ("type", "类型", "责任类型"),
    "sector": ("sector", "行业", "行业领域"),
    "function": ("function", "职能"),
    "area": ("area", "区域", "区划代码"),
    "involvement": ("involvement", "责任方式"),
    "recurrence": ("recurrence", "频次"),
    "expected_evidence": ("expected_evidence", "应附佐证材料", "佐证材料"),
    "term_days": ("term_days", "期限（天）", "期限天数"),
}
SEVERAL = re.compile("[、，,；;]")
"""What stands between several words of one cell."""


def _item_row(row: Row) -> duty_pb2.DutyItemRow:
    """Return the row as the API takes it. Raises CellProblem."""
    made = duty_pb2.DutyItemRow(row=row.number)
    fields = duty_pb2.DutyItem.DESCRIPTOR.fields_by_name
    for name in HEADINGS:
        for text in SEVERAL.split(row[name]) if fields[name].is_repeated else [row[name]]:
            try:
                if text.strip():
                    put_value(made.item, fields[name], text.strip())
            except ValueProblem as problem:
                raise CellProblem(name, str(problem)) from problem
            except ValueError as error:
                raise CellProblem(name, describe_problem("out_of_range", LOCALE)) from error
    return made


def _phases(read: Callable[[], Iterator[Row]], place: Place) -> Sequence[Phase]:
    def rows(faults: Faults) -> Iterator[Message]:
        for row in read():
            if row.surplus:
                faults.add(row.number, ROW, say("单元格多于表头", "has more cells than the header"))
                continue
            try:
                yield _item_row(row)
            except CellProblem as problem:
                faults.add(row.number, problem.field, problem.reason)

    return [Phase("duty_items", "duty.ImportDutyItems", rows)]


DUTY_ITEMS = Layout(HEADINGS, ("number", "text", "law", "article"), _phases)
