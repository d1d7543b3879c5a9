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
    Verb(
        "regions", "directory.ListRegions", "行政区划", "regions", columns=("name", "display_name", "level", "parent")
    ),
    Verb("units", "directory.ListUnits", "单位", "units", columns=("name", "display_name", "kind", "region", "parent")),
    Verb("show-unit", "directory.GetUnit", "查看一个单位", "show one unit"),
    Verb("create-unit", "directory.CreateUnit", "新建单位", "create a unit"),
    Verb("update-unit", "directory.UpdateUnit", "修改单位", "change a unit"),
    Verb("show-person", "directory.GetPerson", "查看一名人员", "show one person"),
    Verb("create-person", "directory.CreatePerson", "新建人员", "create a person"),
    Verb("posts", "directory.ListPosts", "岗位", "posts", columns=("name", "display_name", "unit", "roles", "reach")),
    Verb("create-post", "directory.CreatePost", "新建岗位", "create a post"),
    Verb(
        "appointments",
        "directory.ListAppointments",
        "任职",
        "appointments",
        columns=("name", "post", "person", "start_date", "end_date"),
    ),
    Verb("appoint", "directory.Appoint", "任命", "appoint a person to a post"),
    Verb("end-appointment", "directory.EndAppointment", "免去任职", "end an appointment"),
    Verb(
        "sites",
        "directory.ListSites",
        "检查对象",
        "sites",
        columns=("name", "display_name", "credit_code", "region", "sector", "colour", "legacy_id", "source_region"),
    ),
    Verb("show-site", "directory.GetSite", "查看一个检查对象", "show one site"),
    Verb("create-site", "directory.CreateSite", "新建检查对象", "create a site"),
    Verb("update-site", "directory.UpdateSite", "修改检查对象", "change a site"),
    Verb(
        "explain-deadline",
        "directory.ExplainDeadline",
        "说明期限如何计算",
        "explain how a deadline is counted",
        show=_show_deadline,
    ),
    Verb(
        "statutory-clocks",
        "directory.ListStatutoryClocks",
        "时限目录：法定时限与系统默认值",
        "the catalogue of clocks: those that a law fixes, and defaults",
        columns=("key", "matter", "term", "bound", "statutory", "source"),
    ),
    Verb(
        "publish-holidays",
        "directory.PublishHolidayNotice",
        "录入一年的放假安排（年份、放假日期、调休上班日期）",
        "enter a year's holiday notice: the year, days off, weekend days worked",
    ),
    Verb("clock", "directory.GetClock", "查看业务时间", "show the business time"),
    Verb("advance-clock", "directory.AdvanceClock", "推进虚拟时间", "advance the virtual clock", ("time",)),
)


def register(app: typer.Typer) -> None:
    """Add ``dutyloop directory``."""
    sub_app(app, "directory", ("组织、对象与时限", "units, sites and clocks"), VERBS)
