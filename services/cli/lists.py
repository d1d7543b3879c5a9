"""Verbs of responsibility lists."""

import typer

from services.cli.imports import items
from services.cli.verbs import Verb, sub_app
from services.cli.words import say

LIST_COLUMNS = (
    "name",
    "kind",
    "display_name",
    "unit",
    "post",
    "version",
    "state",
    "item_count",
    "acknowledgement_count",
)
VERBS = (
    Verb("list", "duty.ListResponsibilityLists", columns=LIST_COLUMNS),
    Verb("show", "duty.GetResponsibilityList"),
    Verb(
        "items",
        "duty.ListDutyItems",
        places=("responsibility_list",),
        columns=("name", "number", "text", "law", "article", "recurrence"),
    ),
    Verb("create", "duty.CreateResponsibilityList"),
    Verb("update", "duty.UpdateResponsibilityList"),
    Verb("submit", "duty.SubmitResponsibilityList"),
    Verb(
        "approve",
        "duty.ApproveResponsibilityList",
    ),
    Verb("return", "duty.ReturnResponsibilityList"),
    Verb("supersede", "duty.SupersedeResponsibilityList"),
    Verb("acknowledge", "duty.AcknowledgeResponsibilityList"),
    Verb(
        "acknowledgements",
        "duty.ListAcknowledgements",
        columns=("responsibility_list", "version", "person", "acknowledge_time"),
    ),
)


def register(app: typer.Typer) -> None:
    """Add ``dutyloop lists``."""
    added = sub_app(app, "lists", ("责任清单", "responsibility lists"), VERBS)
    words = ("从表格导入职责条目（CSV 或 XLSX）", "import duty items from a table (CSV or XLSX)")
    added.command("import-items", help=say(*words))(items)
