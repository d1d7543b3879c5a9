"""Lists: 16 leaders' duty lists drafted, approved, acknowledged; annual tasks generated, published, reported on."""

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


@dataclass(slots=True)
class LeaderLists:
    """A leader's published list and its annual tasks."""

    responsibility_list: str
    annual_list: str
    items: list[str] = field(default_factory=list)


async def publish_lists(cast: Cast) -> list[LeaderLists]:
    """Draft, submit, approve and acknowledge each leader's list, then generate and publish the year's tasks."""
    return await in_turn_of(AT_ONCE, [_publish(cast, leader) for leader in range(len(cast.leaders))])


async def _publish(cast: Cast, leader: int) -> LeaderLists:
    post = cast.leader_posts[leader]
    draft = await cast.editor.do(
        "duty.CreateResponsibilityList",
        key=post,
        responsibility_list=duty_pb2.ResponsibilityList(
            kind=duty_pb2.LIST_KIND_DUTY,
            display_name=f"市领导{leader + 1}号安全生产职责清单",
            unit=cast.city_unit,
            post=post,
            effective_date=day_message(cast.date(0)),
        ),
    )
    specs = city.duties()[city.group_of(leader)]
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
    header = kit_pb2.ImportHeader(request_id=f"demo-items-{leader}")
    report = await cast.editor.send(
        "duty.ImportDutyItems",
        [duty_pb2.ImportDutyItemsRequest(header=header, responsibility_list=draft.name, rows=rows)],
    )
    if report.rejected:
        raise AssertionError(f"duty items were rejected: {report.errors[0]}")
    await cast.editor.do("duty.SubmitResponsibilityList", name=draft.name)
    await cast.approver.do("duty.ApproveResponsibilityList", name=draft.name)
    await cast.leaders[leader].do("duty.AcknowledgeResponsibilityList", name=draft.name)
    annual = await cast.editor.do("plan.GenerateAnnualTaskList", responsibility_list=draft.name, year=cast.date(0).year)
    await cast.approver.do("plan.PublishAnnualTaskList", name=annual.name)
    items = [
        str(item.name)
        async for item in cast.editor.pages("duty.ListDutyItems", "duty_items", responsibility_list=draft.name)
    ]
    return LeaderLists(draft.name, annual.name, items)


async def perform_every_duty(cast: Cast, lists: LeaderLists) -> None:
    """Have one leader complete a task of each duty of the list, confirmed: the record that later exempts him."""
    leader = cast.leaders[EXEMPTED_LEADER]
    tasks = [task async for task in leader.pages("plan.ListTasks", "tasks", annual_task_list=lists.annual_list)]
    first_of_duty = {task.duty_item: task for task in reversed(tasks)}
    for task in first_of_duty.values():
        await _complete_task(cast, leader, task)


async def work_on_tasks(cast: Cast, lists: list[LeaderLists], until_day: int) -> None:
    """Every diligent leader completes what falls due by a day, and a supervisor confirms it."""
    before = day_message(cast.date(until_day))
    diligent = range(len(cast.leaders) - IDLE_LEADERS)
    await in_turn_of(AT_ONCE, [_complete(cast, leader, lists[leader], before) for leader in diligent])


async def catch_up(cast: Cast, lists: list[LeaderLists], until_day: int) -> None:
    """The idle leaders complete at last what is overdue; the ladder over it climbs no further."""
    before = day_message(cast.date(until_day))
    for leader in range(len(cast.leaders) - IDLE_LEADERS, len(cast.leaders)):
        await _complete(cast, leader, lists[leader], before)


async def _complete(cast: Cast, leader: int, lists: LeaderLists, before: object) -> None:
    holder = cast.leaders[leader]
    open_tasks = [
        task
        async for task in holder.pages(
            "plan.ListTasks",
            "tasks",
            annual_task_list=lists.annual_list,
            state=plan_pb2.TASK_STATE_OPEN,
            due_before_date=before,
        )
    ]
    for task in open_tasks:
        await _complete_task(cast, holder, task)


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
