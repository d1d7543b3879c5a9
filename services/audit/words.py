"""The words of a case's story: event types of the house and of workflow histories, in Chinese and English.

A type reads ``service.object.happened``; object and happening are worded apart, so that a new transition of
a known object is told at once. What no table knows is told as it is.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from services.kit.catalogue import LOCALES, describe_reason, describe_state, describe_value
from services.kit.ledger import REFUSED

Words = tuple[str, str]
BATCHES = frozenset({"directory.site.imported", "hazard.hazard.imported", "inspection.visit.imported"})
"""Types of entries about many resources at once, each of which the entry is as much about as the first."""

OBJECTS: Mapping[str, Words] = {
    "hazard": ("隐患", "the hazard"),
    "site": ("检查对象", "the site"),
    "tour": ("巡查", "the tour"),
    "visit": ("检查", "the visit"),
    "list": ("清单", "the list"),
    "item": ("清单事项", "the list item"),
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
    "holiday_notice": ("放假安排", "the holiday notice"),
    "register": ("旧系统台账", "the legacy register"),
    "installation": ("系统", "the installation"),
}
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
HISTORY: Mapping[str, Words] = {
    "workflow_execution_started": ("流程启动", "the workflow started"),
    "workflow_execution_completed": ("流程结束", "the workflow completed"),
    "workflow_execution_failed": ("流程失败", "the workflow failed"),
    "workflow_execution_timed_out": ("流程超时", "the workflow timed out"),
    "workflow_execution_canceled": ("流程被取消", "the workflow was cancelled"),
    "workflow_execution_terminated": ("流程被强制终止", "the workflow was terminated"),
    "workflow_execution_continued_as_new": ("流程转入新一轮运行", "the workflow continued as a new run"),
    "workflow_execution_signaled": ("流程收到信号 {name}", "the workflow was signalled: {name}"),
    "workflow_execution_cancel_requested": ("请求取消流程", "cancellation of the workflow was asked for"),
    "workflow_execution_update_accepted": ("流程受理操作 {name}", "the workflow accepted the action {name}"),
    "timer_fired": ("期限届满", "a term ran out"),
    "activity_task_scheduled": ("流程调用 {name}", "the workflow called {name}"),
    "activity_task_failed": ("调用失败", "a call failed"),
    "activity_task_timed_out": ("调用超时", "a call timed out"),
    "marker_recorded": ("流程记录 {name}", "the workflow recorded {name}"),
}


@dataclass(frozen=True, slots=True)
class Told:
    """One line in both languages."""

    zh: str
    en: str


def tell_entry(kind: str, objects: list[str], payload: Mapping[str, Any]) -> Told:
    """Tell a ledger entry: what it is about, what happened, and the state it came to."""
    if kind == REFUSED:
        method = str(payload.get("method", "")).rpartition("/")[2]
        reason, metadata = str(payload.get("reason", "")), payload.get("metadata") or {}
        zh, en = (describe_reason(reason, metadata, locale) for locale in LOCALES)
        return Told(f"请求 {method} 被拒绝（{zh}）", f"The call {method} was refused ({en})")
    parts = kind.split(".")
    known = OBJECTS.get(parts[1]) if len(parts) == 3 else None
    if known is None:
        return Told(kind, kind)
    happened = HAPPENED.get(parts[2], (parts[2], parts[2].replace("_", " ")))
    name = objects[0] if objects else ""
    zh = f"{known[0]} {name} {happened[0]}" if name else f"{known[0]}{happened[0]}"
    en = f"{known[1]} {name} {happened[1]}" if name else f"{known[1]} {happened[1]}"
    state = payload.get("state")
    if kind == "accountability.measure.taken" and payload.get("kind"):
        rung = f"MEASURE_KIND_{payload['kind']}"
        zh, en = f"{zh}：{describe_value(rung, 'zh-CN')}", f"{en}: {describe_value(rung, 'en')}"
    if isinstance(state, str) and state and state.lower() != parts[2]:
        zh, en = f"{zh}（状态：{describe_state(state, 'zh-CN')}）", f"{en} (state: {describe_state(state, 'en')})"
    return Told(zh, en[:1].upper() + en[1:])


def tell_event(kind: str, name: str) -> Told:
    """Tell a history event by its type and the name of what it calls."""
    zh, en = HISTORY.get(kind, (kind, kind.replace("_", " ")))
    en = en.format(name=name)
    return Told(zh.format(name=name).strip(), en[:1].upper() + en[1:].rstrip())
