"""Verbs of annual task lists and tasks."""

import typer

from services.cli.verbs import Verb, sub_app

TASK_COLUMNS = ("name", "title", "post", "scheduled_date", "due_date", "state", "progress_percent", "light", "overdue")
VERBS = (
    Verb("list", "plan.ListTasks", columns=TASK_COLUMNS),
    Verb("show", "plan.GetTask"),
    Verb(
        "generate",
        "plan.GenerateAnnualTaskList",
        ("responsibility_list", "year"),
    ),
    Verb("publish", "plan.PublishAnnualTaskList"),
    Verb("progress", "plan.ReportProgress"),
    Verb("complete", "plan.SubmitCompletion"),
    Verb("confirm", "plan.ConfirmCompletion"),
    Verb("reject", "plan.RejectCompletion"),
    Verb(
        "years",
        "plan.ListAnnualTaskLists",
        columns=("name", "year", "unit", "post", "state", "task_count", "done_count"),
    ),
    Verb("year", "plan.GetAnnualTaskList"),
)


def register(app: typer.Typer) -> None:
    """Add ``dutyloop tasks``."""
    sub_app(app, "tasks", ("年度任务", "annual tasks"), VERBS)
