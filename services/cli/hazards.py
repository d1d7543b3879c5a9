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
    Verb("list", "hazard.ListHazards", columns=HAZARD_COLUMNS),
    Verb("show", "hazard.GetHazard"),
    Verb("report", "hazard.ReportHazard"),
    Verb("assign", "hazard.AssignHazard"),
    Verb("plan", "hazard.SubmitRectificationPlan"),
    Verb("rectify", "hazard.SubmitRectification"),
    Verb("extend", "hazard.RequestExtension"),
    Verb("decide", "hazard.DecideExtension"),
    Verb("reinspect", "hazard.Reinspect"),
    Verb("lookback", "hazard.LookBack"),
    Verb("suspend", "hazard.SuspendSite", ("site",)),
    Verb("resume", "hazard.ResumeSite"),
    Verb("closedown", "hazard.CloseDownSite", ("site",)),
)


def register(app: typer.Typer) -> None:
    """Add ``dutyloop hazards``."""
    sub_app(app, "hazards", ("隐患排查治理", "hazards and their rectification"), VERBS)
