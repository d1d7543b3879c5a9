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
    Verb("list", "accountability.ListSupervisionCases", columns=CASE_COLUMNS),
    Verb("show", "accountability.GetSupervisionCase"),
    Verb("supervise", "accountability.OpenSupervisionCase"),
    Verb("progress", "accountability.ReportCaseProgress"),
    Verb("conclude", "accountability.ConcludeSupervisionCase"),
    Verb(
        "accountability",
        "accountability.ListAccountabilityCases",
        columns=("name", "subject", "unit", "post", "state", "measure", "supervision_case"),
    ),
    Verb("show-accountability", "accountability.GetAccountabilityCase"),
    Verb("open", "accountability.OpenAccountabilityCase"),
    Verb("facts", "accountability.SubmitFacts"),
    Verb("decide", "accountability.DecideAccountabilityCase"),
    Verb("exempt", "accountability.ExemptSubject"),
    Verb("appeal", "accountability.FileAppeal"),
    Verb(
        "measures",
        "accountability.ListMeasures",
        columns=("name", "kind", "label", "decision", "cycle", "rung", "target_unit", "target_person", "measure_time"),
    ),
    Verb(
        "policies",
        "accountability.ListEscalationPolicies",
        columns=("name", "code", "version", "display_name", "region", "statutory", "source"),
    ),
    Verb("show-policy", "accountability.GetEscalationPolicy"),
    Verb("create-policy", "accountability.CreateEscalationPolicy"),
)


def register(app: typer.Typer) -> None:
    """Add ``dutyloop cases``."""
    sub_app(app, "cases", ("督办与问责", "supervision and accountability cases"), VERBS)
