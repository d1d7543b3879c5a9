"""Verbs of inspection tours."""

import typer

from services.cli.verbs import Verb, sub_app

VERBS = (
    Verb(
        "list",
        "inspection.ListTours",
        "巡查",
        "tours",
        columns=("name", "display_name", "unit", "coverage_term", "start_date", "end_date", "state"),
    ),
    Verb("show", "inspection.GetTour", "查看一次巡查", "show one tour"),
    Verb("create", "inspection.CreateTour", "制定巡查方案", "plan a tour"),
    Verb("draw", "inspection.DrawInspectors", "随机抽取检查人员", "draw the inspectors"),
    Verb("show-draw", "inspection.GetDraw", "查看抽取结果", "show a draw"),
    Verb("verify-draw", "inspection.VerifyDraw", "重新计算并核对抽取结果", "compute a draw again and compare"),
    Verb("start", "inspection.StartTour", "进驻", "start a tour"),
    Verb("visit", "inspection.RecordVisit", "登记一次检查", "record a visit"),
    Verb(
        "visits",
        "inspection.ListVisits",
        "检查记录",
        "visits",
        columns=("name", "tour", "target", "visit_date", "inspectors", "purpose", "legacy_id", "source_region"),
    ),
    Verb(
        "coverage",
        "inspection.GetCoverage",
        "覆盖情况",
        "coverage of a term",
        places=("unit", "coverage_term"),
        columns=("target", "visit_count", "last_visit_date"),
    ),
    Verb("letter", "inspection.IssueFeedbackLetter", "发出反馈函", "issue the feedback letter"),
    Verb("report", "inspection.SubmitRectificationReport", "提交整改报告", "submit a rectification report"),
    Verb("close", "inspection.CloseTour", "办结", "close a tour"),
)


def register(app: typer.Typer) -> None:
    """Add ``dutyloop tours``."""
    sub_app(app, "tours", ("巡查", "inspection tours"), VERBS)
