"""The words of a case's story: event types of the house and of workflow histories, in Chinese and English.

A type reads ``service.object.happened``; object and happening are worded apart, so that a new transition of
a known object is told at once. What no table knows is told as it is.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from services.kit.catalogue import LOCALES, REASONS, describe_action, describe_reason, describe_state, describe_value
from services.kit.dates import last_day_before
from services.kit.ledger import REFUSED
from services.kit.methods import METHODS

Words = tuple[str, str]
BATCHES = frozenset({"directory.site.imported", "hazard.hazard.imported", "inspection.visit.imported"})
"""Types of entries about many resources at once, each of which the entry is as much about as the first."""

OBJECTS: Mapping[str, Words] = {
    "hazard": ("隐患", "the hazard"),
    "site": ("检查对象", "the site"),
    "tour": ("巡查", "the tour"),
    "visit": ("检查", "the visit"),
    "list": ("清单", "the list"),
    "plan.list": ("年度任务清单", "the annual task list"),
    "item": ("职责条目", "the duty item"),
    "task": ("任务", "the task"),
    "supervision_case": ("督办事项", "the supervision case"),
    "accountability_case": ("问责案件", "the accountability case"),
    "escalation_policy": ("升级策略", "the escalation policy"),
    "measure": ("措施", "the measure"),
    "appointment": ("任职", "the appointment"),
    "post": ("岗位", "the post"),
    "person": ("人员", "the person"),
    "unit": ("单位", "the unit"),
    "region": ("行政区划", "the region"),
    "clock": ("业务时钟", "the business clock"),
    "holiday_notice": ("放假通知", "the holiday notice"),
    "register": ("旧系统台账", "the legacy register"),
    "installation": ("系统", "the installation"),
}
"""A word with its service before it is of that service's object."""
ABOUT: Mapping[str, str] = {"hazard.site": "sites/", "duty.list": "responsibilityLists/"}
"""Objects of which an entry tells beside the order, or the acknowledgement, that comes first in it."""
HAPPENED: Mapping[str, Words] = {
    "reported": ("已上报", "was reported"),
    "assigned": ("已交办", "was assigned"),
    "planned": ("已制定方案", "was planned"),
    "rectified": ("已报告整改", "was reported rectified"),
    "written_off": ("已销号", "was written off"),
    "reinspection_failed": ("复查未通过", "did not pass reinspection"),
    "reopened": ("已重新立案", "was reopened"),
    "closed": ("已办结", "was closed"),
    "closed_down": ("已关闭取缔", "was closed down"),
    "suspended": ("已责令停产整改", "was suspended"),
    "resumed": ("已同意恢复", "was resumed"),
    "extension_requested": ("已申请延期", "had more time asked for"),
    "extension_granted": ("延期已批准", "was given more time"),
    "extension_refused": ("延期未批准", "was refused more time"),
    "overdue": ("已逾期", "fell overdue"),
    "reprojected": ("期限已按新公布的放假通知重新推算", "had its term counted anew by a new holiday notice"),
    "imported": ("已导入", "was imported"),
    "recorded": ("已记录", "was recorded"),
    "created": ("已建立", "was created"),
    "changed": ("已变更", "was changed"),
    "registered": ("已登记", "was registered"),
    "opened": ("已立案", "was opened"),
    "concluded": ("已结案", "was concluded"),
    "handed_on": ("已随事项移交", "followed its matter to another unit"),
    "rung_fired": ("已触发升级", "climbed a rung"),
    "progress_reported": ("已报告进展", "had progress reported"),
    "progressed": ("已报告进展", "had progress reported"),
    "facts_submitted": ("已提交事实", "had its facts submitted"),
    "facts_overdue": ("逾期未提交事实", "had its facts fall overdue"),
    "decision_overdue": ("逾期未作出决定", "had its decision fall overdue"),
    "decided": ("已作出决定", "was decided"),
    "exempted": ("已免责", "was exempted"),
    "appeal_filed": ("已提出申诉", "was appealed"),
    "taken": ("已采取", "was taken"),
    "generated": ("已生成", "was generated"),
    "published": ("已发布", "was published"),
    "drafted": ("已起草", "was drafted"),
    "edited": ("已修改", "was edited"),
    "submitted": ("已提交", "was submitted"),
    "returned": ("已退回", "was returned"),
    "superseded": ("已被替代", "was superseded"),
    "acknowledged": ("已知责确认", "was acknowledged"),
    "confirmed": ("已确认", "was confirmed"),
    "rejected": ("未通过", "was rejected"),
    "drawn": ("已抽取", "was drawn"),
    "started": ("已开始", "was started"),
    "made": ("已作出", "was made"),
    "ended": ("已终止", "was ended"),
    "advanced": ("已前移", "was advanced"),
    "bootstrapped": ("已初始化", "was set up"),
    "letter_issued": ("已印发反馈函", "had its feedback letter issued"),
    "notice_given": ("已告知", "had its notice given"),
    "visits_ended": ("检查已结束", "had its visits ended"),
    "rectification_reported": ("已报告整改情况", "had its rectification reported"),
    "reminded": ("已提醒", "was reminded of"),
}
RUNG_FIRED = "accountability.supervision_case.rung_fired"
WAYS: Mapping[str, tuple[str, str]] = {
    "accountability.measure.taken": ("kind", "MEASURE_KIND_"),
    "accountability.accountability_case.decided": ("decision", "DECISION_"),
    "plan.task.reminded": ("kind", "REMINDER_KIND_"),
    "hazard.hazard.written_off": ("write_off_reason", "WRITE_OFF_REASON_"),
}
"""The field of an entry's payload that says in which way it happened, and what its values are called with."""
HISTORY: Mapping[str, Words] = {
    "workflow_execution_started": ("流程启动", "the workflow started"),
    "workflow_execution_completed": ("流程结束", "the workflow completed"),
    "workflow_execution_failed": ("流程失败", "the workflow failed"),
    "workflow_execution_timed_out": ("流程超时", "the workflow timed out"),
    "workflow_execution_canceled": ("流程被取消", "the workflow was cancelled"),
    "workflow_execution_terminated": ("流程被强制终止", "the workflow was terminated"),
    "workflow_execution_continued_as_new": ("流程转入新一轮运行", "the workflow continued as a new run"),
    "workflow_execution_signaled": ("流程收到信号{name}", "the workflow was signalled{name}"),
    "workflow_execution_cancel_requested": ("请求取消流程", "cancellation of the workflow was asked for"),
    "workflow_execution_update_accepted": ("流程受理操作{name}", "the workflow accepted an action{name}"),
    "workflow_execution_update_rejected": ("流程拒绝操作{name}", "the workflow refused an action{name}"),
    "workflow_task_failed": ("流程一步未成，将自动重试", "a step of the workflow failed and is tried again"),
    "workflow_task_timed_out": ("流程一步超时，将自动重试", "a step of the workflow timed out and is tried again"),
    "timer_fired": ("期限届满", "a term ran out"),
    "activity_task_scheduled": ("流程调用服务{name}", "the workflow called a service{name}"),
    "activity_task_failed": ("调用失败", "a call failed"),
    "activity_task_timed_out": ("调用超时", "a call timed out"),
    "activity_task_cancel_requested": ("请求取消调用", "cancellation of a call was asked for"),
    "activity_task_canceled": ("调用被取消", "a call was cancelled"),
    "marker_recorded": ("流程作标记{name}", "the workflow set a mark{name}"),
}
UNKNOWN_EVENT: Words = ("流程引擎的记录", "the workflow engine noted something")
ACTIVITIES: Mapping[str, Words] = {
    "open_supervision": ("立项督办", "open a supervision case"),
    "conclude_supervision": ("办结督办", "conclude the supervision case"),
    "hand_on_supervision": ("移交督办", "hand the supervision case on"),
    "open_accountability": ("启动问责", "open an accountability case"),
    "record_rung": ("记录升级措施", "record a rung"),
    "record_supervision_transition": ("记录督办进展", "record the supervision case"),
    "record_accountability_transition": ("记录问责进展", "record the accountability case"),
    "record_tour_transition": ("记录巡查进展", "record the tour"),
    "record_hazard_transition": ("记录隐患进展", "record the hazard"),
    "record_task_reminders": ("记录任务提醒", "record reminders of tasks"),
    "list_due_tasks": ("查找到期任务", "look for tasks that come due"),
    "make_seed": ("生成抽取种子", "make the seed of the draw"),
    "count_unvisited_targets": ("统计未检查对象", "count the targets not visited"),
    "explain_due_time": ("推算期限", "compute a deadline"),
    "explain_statutory_clock": ("推算法定期限", "compute a statutory deadline"),
    "find_addressee": ("查找措施对象", "find whom a measure addresses"),
    "core_patch": ("程序版本", "version of the program"),
}
"""What workflows call and mark. What is not here is told without its name, which says nothing to people."""


@dataclass(frozen=True, slots=True)
class Told:
    """One line in both languages."""

    zh: str
    en: str


def tell_entry(kind: str, objects: list[str], payload: Mapping[str, Any]) -> Told:
    """Tell a ledger entry: what it is about, what happened, in which way, and the state it came to."""
    if kind == REFUSED:
        return _tell_refusal(payload)
    subject, _, transition = kind.rpartition(".")
    known = OBJECTS.get(subject) or OBJECTS.get(subject.partition(".")[2])
    if known is None:
        return Told(kind, kind)
    zh, en = HAPPENED.get(transition, (transition, transition.replace("_", " ")))
    if kind == RUNG_FIRED and payload.get("fired_rung_count"):
        number = payload["fired_rung_count"]
        zh, en = f"已触发第 {number} 级措施", f"climbed rung {number}"
    name = next((each for each in objects if each.startswith(ABOUT.get(subject, ""))), "")
    zh = f"{known[0]} {name} {zh}" if name else f"{known[0]}{zh}"
    en = f"{known[1]} {name} {en}" if name else f"{known[1]} {en}"
    if way := _way(kind, payload):
        zh, en = f"{zh}：{way[0]}", f"{en}: {way[1]}"
    state = payload.get("state")
    if isinstance(state, str) and state and state.lower() != transition:
        zh, en = f"{zh}（状态：{describe_state(state, 'zh-CN')}）", f"{en} (state: {describe_state(state, 'en')})"
    return Told(zh, en[:1].upper() + en[1:])


def _tell_refusal(payload: Mapping[str, Any]) -> Told:
    """Tell which call was refused and why, as far as the payload is there to tell it."""
    service, _, method = str(payload.get("method", "")).removeprefix("/dutyloop.").partition(".v1.")
    zh, en = METHODS.get(f"{service}.{method.partition('/')[2]}", ("", ""))
    reason, metadata = str(payload.get("reason", "")), payload.get("metadata") or {}
    if reason in REASONS:
        why_zh, why_en = (describe_reason(reason, metadata, locale) for locale in LOCALES)
    else:
        why_zh = why_en = ""
    zh, en = f"请求{zh and f'“{zh}”'}被拒绝", f"The call{en and f' “{en}”'} was refused"
    return Told(f"{zh}（{why_zh}）" if why_zh else zh, f"{en} ({why_en})" if why_en else en)


def _way(kind: str, payload: Mapping[str, Any]) -> Words | None:
    """Return in which of several ways a thing happened, where one word covers them all."""
    if kind.startswith("hazard.site.") and payload.get("instrument_number"):
        number = str(payload["instrument_number"])
        return number, number
    if kind.endswith(".reprojected"):
        return _reprojection(payload)
    field, prefix = WAYS.get(kind, ("", ""))
    token = payload.get(field)
    if not isinstance(token, str) or token in ("", "UNSPECIFIED"):
        return None
    return describe_value(prefix + token, "zh-CN"), describe_value(prefix + token, "en")


def _reprojection(payload: Mapping[str, Any]) -> Words | None:
    """Return the notice's year, the last day before and the last day now, as far as the payload is there to tell it."""
    year, *times = (payload.get(key) for key in ("notice", "former_due_time", "due_time"))
    if not year or not all(times):
        return None
    former, now = (last_day_before(datetime.fromisoformat(str(each))) for each in times)
    if former == now:
        return f"{year} 年，到期日仍为 {now}", f"{year}, still due on {now}"
    return f"{year} 年，到期日由 {former} 改为 {now}", f"{year}, due on {now} instead of {former}"


def tell_event(kind: str, name: str) -> Told:
    """Tell a history event by its type and the name of what it calls."""
    zh, en = HISTORY.get(kind, UNKNOWN_EVENT)
    called = ACTIVITIES.get(name) or (describe_action(name, "zh-CN"), describe_action(name, "en"))
    known = called != (name, name)
    en = en.format(name=f": {called[1]}" if known else "")
    return Told(zh.format(name=f"：{called[0]}" if known else ""), en[:1].upper() + en[1:])
