"""Verbs of regions, units, people, posts, sites, the calendar and the clock."""

import typer

from dutyloop.directory.v1 import directory_pb2
from services.cli.cells import term_end_text
from services.cli.output import out
from services.cli.verbs import Verb, sub_app
from services.cli.words import say
from services.kit.dates import time_of


def _show_deadline(answer: directory_pb2.ExplainDeadlineResponse) -> None:
    for step in answer.steps_zh if say("zh", "en") == "zh" else answer.steps_en:
        out.print(f"  {step}", highlight=False, markup=False)
    due = term_end_text(time_of(answer.due_time))
    out.print(say(f"到期：{due}", f"due: {due}"), highlight=False)
    if answer.source:
        label = say("法定", "statutory") if answer.statutory else say("非法定", "not statutory")
        source = say(f"依据：{answer.source}（{label}）", f"source: {answer.source} ({label})")
        out.print(source, highlight=False, markup=False)
    if answer.provisional:
        out.print(say("暂定：该年度放假通知尚未发布", "provisional: the year's holiday notice is not out yet"))


VERBS = (
    Verb("regions", "directory.ListRegions", columns=("name", "display_name", "level", "parent")),
    Verb("units", "directory.ListUnits", columns=("name", "display_name", "kind", "region", "parent")),
    Verb("show-unit", "directory.GetUnit"),
    Verb("create-unit", "directory.CreateUnit"),
    Verb("update-unit", "directory.UpdateUnit"),
    Verb("show-person", "directory.GetPerson"),
    Verb("create-person", "directory.CreatePerson"),
    Verb("posts", "directory.ListPosts", columns=("name", "display_name", "unit", "roles", "reach")),
    Verb("create-post", "directory.CreatePost"),
    Verb(
        "appointments",
        "directory.ListAppointments",
        columns=("name", "post", "person", "start_date", "end_date"),
    ),
    Verb("appoint", "directory.Appoint"),
    Verb("end-appointment", "directory.EndAppointment"),
    Verb(
        "sites",
        "directory.ListSites",
        columns=("name", "display_name", "credit_code", "region", "sector", "colour", "legacy_id", "source_region"),
    ),
    Verb("show-site", "directory.GetSite"),
    Verb("create-site", "directory.CreateSite"),
    Verb("update-site", "directory.UpdateSite"),
    Verb(
        "explain-deadline",
        "directory.ExplainDeadline",
        show=_show_deadline,
    ),
    Verb(
        "statutory-clocks",
        "directory.ListStatutoryClocks",
        columns=("key", "matter", "term", "bound", "statutory", "source"),
    ),
    Verb(
        "publish-holidays",
        "directory.PublishHolidayNotice",
    ),
    Verb("clock", "directory.GetClock"),
    Verb("advance-clock", "directory.AdvanceClock", ("time",)),
)


def register(app: typer.Typer) -> None:
    """Add ``dutyloop directory``."""
    sub_app(app, "directory", ("组织、对象与时限", "units, sites and clocks"), VERBS)
