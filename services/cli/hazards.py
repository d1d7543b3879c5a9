"""Verbs of the hazard ledger and of orders on sites."""

import typer

from services.cli.verbs import Verb, sub_app

HAZARD_COLUMNS = (
    "name",
    "site",
    "grade",
    "disposition",
    "state",
    "unit",
    "open_time",
    "due_time",
    "write_off_time",
    "light",
)
VERBS = (
    Verb("list", "hazard.ListHazards", "隐患台账", "the hazard ledger", columns=HAZARD_COLUMNS),
    Verb("show", "hazard.GetHazard", "查看一条隐患", "show one hazard"),
    Verb("report", "hazard.ReportHazard", "登记隐患", "report a hazard"),
    Verb("assign", "hazard.AssignHazard", "交办", "assign to the responsible unit"),
    Verb("plan", "hazard.SubmitRectificationPlan", "提交五落实整改方案", "submit the plan with its five elements"),
    Verb("rectify", "hazard.SubmitRectification", "提交整改结果", "submit the rectification"),
    Verb("extend", "hazard.RequestExtension", "申请延期", "ask for an extension"),
    Verb("decide", "hazard.DecideExtension", "审批延期", "decide an extension"),
    Verb("reinspect", "hazard.Reinspect", "复查（不得由整改人进行）", "reinspect, never by who rectified"),
    Verb("lookback", "hazard.LookBack", "回头看", "look back at a hazard written off"),
    Verb("suspend", "hazard.SuspendSite", "责令停产整改", "suspend a site", ("site",)),
    Verb("resume", "hazard.ResumeSite", "恢复生产", "resume a suspended site"),
    Verb("closedown", "hazard.CloseDownSite", "关闭取缔", "close a site down", ("site",)),
)


def register(app: typer.Typer) -> None:
    """Add ``dutyloop hazards``."""
    sub_app(app, "hazards", ("隐患排查治理", "hazards and their rectification"), VERBS)
