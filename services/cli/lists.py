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
    Verb("list", "duty.ListResponsibilityLists", "责任清单", "responsibility lists", columns=LIST_COLUMNS),
    Verb("show", "duty.GetResponsibilityList", "查看一份清单", "show one list"),
    Verb(
        "items",
        "duty.ListDutyItems",
        "职责条目",
        "duty items",
        places=("responsibility_list",),
        columns=("name", "number", "text", "law", "article", "recurrence"),
    ),
    Verb("create", "duty.CreateResponsibilityList", "起草清单", "draft a list"),
    Verb("update", "duty.UpdateResponsibilityList", "修改草稿", "change a draft"),
    Verb("submit", "duty.SubmitResponsibilityList", "提交审批", "submit for approval"),
    Verb(
        "approve",
        "duty.ApproveResponsibilityList",
        "批准并发布（须为另一人）",
        "approve and publish, by another person",
    ),
    Verb("return", "duty.ReturnResponsibilityList", "退回修改", "return to its editor"),
    Verb("supersede", "duty.SupersedeResponsibilityList", "以新版本替代", "supersede by the next version"),
    Verb("acknowledge", "duty.AcknowledgeResponsibilityList", "知责确认", "acknowledge one's duties"),
    Verb(
        "acknowledgements",
        "duty.ListAcknowledgements",
        "知责记录",
        "acknowledgements",
        columns=("responsibility_list", "version", "person", "acknowledge_time"),
    ),
)


def register(app: typer.Typer) -> None:
    """Add ``dutyloop lists``."""
    added = sub_app(app, "lists", ("责任清单", "responsibility lists"), VERBS)
    words = ("从表格导入职责条目（CSV 或 XLSX）", "import duty items from a table (CSV or XLSX)")
    added.command("import-items", help=say(*words))(items)
