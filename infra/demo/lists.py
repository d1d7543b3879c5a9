"""Lists: 16 leaders' duty lists and the campaign's, drafted, approved, acknowledged; their tasks of the year done."""

from dataclasses import dataclass, field

from dutyloop.duty.v1 import duty_pb2
from dutyloop.kit.v1 import kit_pb2
from dutyloop.plan.v1 import plan_pb2
from infra.demo import city
from infra.demo.actors import Actor, in_turn_of
from infra.demo.cast import AT_ONCE, Cast
from services.kit.dates import day_message

IDLE_LEADERS = 2
"""The last leaders report nothing, so that tasks fall overdue."""
EXEMPTED_LEADER = 4
"""This leader performs every duty at once; later the record exempts him."""
CAMPAIGN_TASK_DAYS = (8, 24, 40, 60, 68, 84, 100, 104)
"""When the commander does what falls due within the next days; of what is due on day 58 he thinks two days late."""


@dataclass(slots=True)
class LeaderLists:
    """A published list of a leader's post, and its annual tasks."""

    holder: Actor
    responsibility_list: str
    annual_list: str
    items: list[str] = field(default_factory=list)


async def publish_lists(cast: Cast) -> list[LeaderLists]:
    """Draft, submit, approve and acknowledge each leader's list, then generate and publish the year's tasks."""
    published: list[LeaderLists] = await in_turn_of(
        AT_ONCE,
        [
            _publish(cast, holder, cast.city_unit, post, f"市领导{number}号安全生产职责清单", city.group_of(number - 1))
            for number, (holder, post) in enumerate(zip(cast.leaders, cast.leader_posts, strict=True), 1)
        ],
    )
    return published


async def publish_campaign_list(cast: Cast) -> LeaderLists:
    """Publish the special list of the hundred days, with its tasks."""
    title = "百日行动专项任务清单"
    return await _publish(cast, cast.commander, cast.office, cast.command_post, title, city.CAMPAIGN_GROUP)


async def _publish(cast: Cast, holder: Actor, unit: str, post: str, title: str, group: str) -> LeaderLists:
    draft = await cast.editor.do(
        "duty.CreateResponsibilityList",
        key=post,
        responsibility_list=duty_pb2.ResponsibilityList(
            kind=duty_pb2.LIST_KIND_DUTY,
            display_name=title,
            unit=unit,
            post=post,
            effective_date=day_message(cast.date(0)),
        ),
    )
    specs = city.duties()[group]
    rows = [
        duty_pb2.DutyItemRow(
            row=index,
            item=duty_pb2.DutyItem(
                number=spec.number,
                text=spec.text,
                law=spec.law,
                article=spec.article,
                type=duty_pb2.DutyType.Value(f"DUTY_TYPE_{spec.type}"),
                involvement=duty_pb2.Involvement.Value(f"INVOLVEMENT_{spec.involvement}"),
                recurrence=spec.recurrence,
                term_days=spec.term_days,
                expected_evidence=[duty_pb2.EvidenceType.Value(f"EVIDENCE_TYPE_{spec.evidence}")],
            ),
        )
        for index, spec in enumerate(specs, 1)
    ]
    header = kit_pb2.ImportHeader(request_id=f"demo-items-{post.rpartition('/')[2]}")
    report = await cast.editor.send(
        "duty.ImportDutyItems",
        [duty_pb2.ImportDutyItemsRequest(header=header, responsibility_list=draft.name, rows=rows)],
    )
    if report.rejected:
        raise AssertionError(f"duty items were rejected: {report.errors[0]}")
    await cast.editor.do("duty.SubmitResponsibilityList", name=draft.name)
    await cast.approver.do("duty.ApproveResponsibilityList", name=draft.name)
    await holder.do("duty.AcknowledgeResponsibilityList", name=draft.name)
    annual = await cast.editor.do("plan.GenerateAnnualTaskList", responsibility_list=draft.name, year=cast.date(0).year)
    await cast.approver.do("plan.PublishAnnualTaskList", name=annual.name)
    items = [
        str(item.name)
        async for item in cast.editor.pages("duty.ListDutyItems", "duty_items", responsibility_list=draft.name)
    ]
    return LeaderLists(holder, draft.name, annual.name, items)


async def perform_every_duty(cast: Cast, lists: LeaderLists) -> None:
    """Have one leader complete a task of each duty of the list, confirmed: the record that later exempts him."""
    holder = lists.holder
    tasks = [task async for task in holder.pages("plan.ListTasks", "tasks", annual_task_list=lists.annual_list)]
    first_of_duty = {task.duty_item: task for task in reversed(tasks)}
    for task in first_of_duty.values():
        await _complete_task(cast, holder, task)


async def work_on_tasks(cast: Cast, lists: list[LeaderLists], until_day: int) -> None:
    """Every diligent leader completes what falls due by a day, and a supervisor confirms it."""
    await in_turn_of(AT_ONCE, [complete_due(cast, each, until_day) for each in lists[:-IDLE_LEADERS]])


async def catch_up(cast: Cast, lists: list[LeaderLists], until_day: int) -> None:
    """The idle leaders complete at last what is overdue; the ladder over it climbs no further."""
    for each in lists[-IDLE_LEADERS:]:
        await complete_due(cast, each, until_day)


async def complete_due(cast: Cast, lists: LeaderLists, until_day: int) -> None:
    """Have the holder complete what falls due before a day and is still open, and a supervisor confirm it."""
    open_tasks = [
        task
        async for task in lists.holder.pages(
            "plan.ListTasks",
            "tasks",
            annual_task_list=lists.annual_list,
            state=plan_pb2.TASK_STATE_OPEN,
            due_before_date=day_message(cast.date(until_day)),
        )
    ]
    for task in open_tasks:
        await _complete_task(cast, lists.holder, task)


async def _complete_task(cast: Cast, holder: Actor, task: plan_pb2.Task) -> None:
    evidence = [
        plan_pb2.Evidence(type=expected, reference=f"doc-{task.name.rpartition('/')[2]}")
        for expected in task.expected_evidence
    ]
    await holder.do("plan.SubmitCompletion", name=task.name, evidence=evidence)
    await cast.supervisor.do("plan.ConfirmCompletion", name=task.name)


async def task_record(cast: Cast, leader: int) -> dict[str, str]:
    """Return, for each recurring duty of a leader, the ledger entry of the first completion of a task of it."""
    entries: dict[str, str] = {}
    async for entry in cast.auditor.pages(
        "audit.ListLedgerEntries", "ledger_entries", actor=cast.leaders[leader].name, type_prefix="plan.task.submitted"
    ):
        for item in entry.objects:
            if item.startswith("dutyItems/"):
                entries.setdefault(item, entry.name)
    return entries
