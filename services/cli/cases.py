"""Verbs of supervision cases, the ladder, and accountability cases."""

import typer

from services.cli.verbs import Verb, sub_app

CASE_COLUMNS = (
    "name",
    "display_name",
    "source",
    "unit",
    "state",
    "due_time",
    "fired_rung_count",
    "next_rung_time",
    "light",
)
VERBS = (
    Verb("list", "accountability.ListSupervisionCases", "督办事项", "supervision cases", columns=CASE_COLUMNS),
    Verb("show", "accountability.GetSupervisionCase", "查看一件督办", "show one supervision case"),
    Verb("supervise", "accountability.OpenSupervisionCase", "立项督办", "open a supervision case"),
    Verb("progress", "accountability.ReportCaseProgress", "报告办理进展", "report how the matter is handled"),
    Verb("conclude", "accountability.ConcludeSupervisionCase", "办结督办", "conclude a supervision case"),
    Verb(
        "accountability",
        "accountability.ListAccountabilityCases",
        "问责案件",
        "accountability cases",
        columns=("name", "subject", "unit", "post", "state", "measure", "supervision_case"),
    ),
    Verb("show-accountability", "accountability.GetAccountabilityCase", "查看一件问责", "show one accountability case"),
    Verb("open", "accountability.OpenAccountabilityCase", "启动问责", "open an accountability case"),
    Verb("facts", "accountability.SubmitFacts", "提交事实材料", "hand in the facts"),
    Verb("decide", "accountability.DecideAccountabilityCase", "作出处理决定", "decide with a measure"),
    Verb("exempt", "accountability.ExemptSubject", "尽职免责", "exempt who performed every duty"),
    Verb("appeal", "accountability.FileAppeal", "提出申诉", "file the subject's appeal"),
    Verb(
        "measures",
        "accountability.ListMeasures",
        "措施",
        "measures taken",
        columns=("name", "kind", "label", "decision", "cycle", "rung", "target_unit", "target_person", "measure_time"),
    ),
    Verb(
        "policies",
        "accountability.ListEscalationPolicies",
        "升级策略",
        "escalation policies",
        columns=("name", "code", "version", "display_name", "region", "statutory", "source"),
    ),
    Verb("show-policy", "accountability.GetEscalationPolicy", "查看一项升级策略", "show one escalation policy"),
    Verb("create-policy", "accountability.CreateEscalationPolicy", "新建升级策略", "create an escalation policy"),
)


def register(app: typer.Typer) -> None:
    """Add ``dutyloop cases``."""
    sub_app(app, "cases", ("督办与问责", "supervision and accountability cases"), VERBS)
