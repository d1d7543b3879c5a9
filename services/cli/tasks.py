"""Verbs of annual task lists and tasks."""

import typer

from services.cli.verbs import Verb, sub_app

TASK_COLUMNS = ("name", "title", "post", "scheduled_date", "due_date", "state", "progress_percent", "light", "overdue")
VERBS = (
    Verb("list", "plan.ListTasks", "任务", "tasks", columns=TASK_COLUMNS),
    Verb("show", "plan.GetTask", "查看一项任务", "show one task"),
    Verb(
        "generate",
        "plan.GenerateAnnualTaskList",
        "由清单生成年度任务",
        "generate a year's tasks",
        ("responsibility_list", "year"),
    ),
    Verb("publish", "plan.PublishAnnualTaskList", "发布年度任务清单", "publish an annual task list"),
    Verb("progress", "plan.ReportProgress", "填报进展", "report progress"),
    Verb("complete", "plan.SubmitCompletion", "申报完成", "submit the completion"),
    Verb("confirm", "plan.ConfirmCompletion", "确认完成（须为另一人）", "confirm a completion, by another person"),
    Verb("reject", "plan.RejectCompletion", "退回完成申报", "reject a completion"),
    Verb(
        "years",
        "plan.ListAnnualTaskLists",
        "年度任务清单",
        "annual task lists",
        columns=("name", "year", "unit", "post", "state", "task_count", "done_count"),
    ),
    Verb("year", "plan.GetAnnualTaskList", "查看一份年度任务清单", "show one annual task list"),
)


def register(app: typer.Typer) -> None:
    """Add ``dutyloop tasks``."""
    sub_app(app, "tasks", ("年度任务", "annual tasks"), VERBS)
