"""Verbs of inspection tours."""

import typer

from services.cli.verbs import Verb, sub_app

VERBS = (
    Verb(
        "list",
        "inspection.ListTours",
        columns=("name", "display_name", "unit", "coverage_term", "start_date", "end_date", "state"),
    ),
    Verb("show", "inspection.GetTour"),
    Verb("create", "inspection.CreateTour"),
    Verb("draw", "inspection.DrawInspectors"),
    Verb("show-draw", "inspection.GetDraw"),
    Verb("verify-draw", "inspection.VerifyDraw"),
    Verb("start", "inspection.StartTour"),
    Verb("visit", "inspection.RecordVisit"),
    Verb(
        "visits",
        "inspection.ListVisits",
        columns=("name", "tour", "target", "visit_date", "inspectors", "purpose", "legacy_id", "source_region"),
    ),
    Verb(
        "coverage",
        "inspection.GetCoverage",
        places=("unit", "coverage_term"),
        columns=("target", "visit_count", "last_visit_date"),
    ),
    Verb("letter", "inspection.IssueFeedbackLetter"),
    Verb("report", "inspection.SubmitRectificationReport"),
    Verb("close", "inspection.CloseTour"),
)


def register(app: typer.Typer) -> None:
    """Add ``dutyloop tours``."""
    sub_app(app, "tours", ("巡查", "inspection tours"), VERBS)
