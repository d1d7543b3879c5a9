"""What a city has to be tried for access: things of every kind, in the state that a method starts from.

Everything is made by calls of the API. Colleagues make it, in the same roles as those who are tried afterwards, so
that separation of duties keeps nobody from his own work.
"""

import asyncio
import uuid
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta, timezone
from typing import Any, TypeVar, cast

import grpc
from google.protobuf.message import Message
from google.type.date_pb2 import Date

from dutyloop.accountability.v1 import accountability_pb2
from dutyloop.audit.v1 import audit_pb2
from dutyloop.directory.v1 import directory_pb2
from dutyloop.duty.v1 import duty_pb2
from dutyloop.duty.v1.duty_pb2_grpc import DutyServiceStub
from dutyloop.hazard.v1 import hazard_pb2
from dutyloop.inspection.v1 import inspection_pb2
from dutyloop.kit.v1 import kit_pb2
from dutyloop.plan.v1 import plan_pb2
from dutyloop.policy.v1 import policy_pb2
from tests.integration.house import Caller, RunningHouse, rules_of
from tests.integration.people import Place, Role, create_site, hire, new_hazard

BEIJING = timezone(timedelta(hours=8))
EFFECTIVE, LATER = Date(year=2000, month=1, day=1), Date(year=2001, month=1, day=1)
PATH_OF_REQUEST = {rule.request.full_name: rule.path for rule in rules_of().values()}
COVERAGE_TERM = "2026"
LEDGER_SECONDS = 20.0
T = TypeVar("T")

HAZARD_STEPS = ("REPORTED", "ASSIGNED", "PLANNED", "RECTIFIED", "WRITTEN_OFF")
TOUR_STEPS = ("PLANNED", "DRAWN", "STARTED", "FEEDBACK", "REPORTED")


@dataclass(frozen=True, slots=True)
class Desk:
    """A duty holder's post with its published list and the tasks of the coming year, none of which is overdue."""

    holder: Caller
    post: str
    responsibility_list: str
    duty_item: str
    annual_task_list: str
    tasks: Iterator[str]


class Stock:
    """Makes things in one place."""

    def __init__(self, house: RunningHouse, place: Place) -> None:
        self.house, self.place = house, place
        self.office, self.enterprise, self.site = place.office, place.enterprise, place.site
        self._made: dict[str, asyncio.Task[Any]] = {}

    async def once(self, key: str, make: Callable[[], Awaitable[T]]) -> T:
        """Make a thing the first time it is asked for."""
        if key not in self._made:
            self._made[key] = asyncio.ensure_future(make())
        return cast("T", await self._made[key])

    async def does(self, by: Caller, request: Message) -> Any:
        """Call the unary method of a request."""
        return await by.calls(self.house.method(PATH_OF_REQUEST[request.DESCRIPTOR.full_name]), request)

    async def colleague(self, role: Role, number: int = 1) -> Caller:
        """Return somebody else in a role, of the same unit as the one who is tried."""
        unit = self.enterprise if role == policy_pb2.ROLE_RESPONSIBLE_UNIT else self.office
        return await self.once(f"colleague {role} {number}", lambda: hire(self.house, unit, role))

    async def names(self) -> dict[str, str]:
        """Return one thing of each type that a place has; the things belong together."""
        return await self.once("names", self._names)

    async def _names(self) -> dict[str, str]:
        desk, hazard, tour = await asyncio.gather(
            self.desk(await self.colleague(policy_pb2.ROLE_DUTY_HOLDER)), self.hazard("ASSIGNED"), self.tour("FEEDBACK")
        )
        acknowledged = duty_pb2.AcknowledgeResponsibilityListRequest(name=desk.responsibility_list)
        order = hazard_pb2.SuspendSiteRequest(site=self.site, hazard=hazard.name, instrument_number=uuid.uuid4().hex)
        supervisor = await self.colleague(policy_pb2.ROLE_SUPERVISOR)
        task = next(desk.tasks)
        (visit,) = (await self.does(supervisor, inspection_pb2.ListVisitsRequest(tour=tour.name))).visits
        supervision = await self.supervision(hazard=hazard.name, task=task, post=desk.post, person=desk.holder.name)
        return {
            "dutyloop/Region": self.place.region,
            "dutyloop/Unit": self.office,
            "dutyloop/Person": desk.holder.name,
            "dutyloop/Post": desk.post,
            "dutyloop/Appointment": desk.holder.appointment,
            "dutyloop/Site": self.site,
            "dutyloop/ResponsibilityList": desk.responsibility_list,
            "dutyloop/DutyItem": desk.duty_item,
            "dutyloop/Acknowledgement": (await self.does(desk.holder, acknowledged)).name,
            "dutyloop/AnnualTaskList": desk.annual_task_list,
            "dutyloop/Task": task,
            "dutyloop/Tour": tour.name,
            "dutyloop/Draw": tour.draw,
            "dutyloop/Visit": visit.name,
            "dutyloop/Hazard": hazard.name,
            "dutyloop/SiteOrder": (await self.does(supervisor, order)).name,
            "dutyloop/EscalationPolicy": (await self.policy()).name,
            "dutyloop/SupervisionCase": supervision.name,
            "dutyloop/Measure": (await self.measure(supervision.name)).name,
            "dutyloop/AccountabilityCase": (await self.accountability(desk.holder.name, "DECIDED")).name,
            "dutyloop/LedgerEntry": await self.entry(actor=supervisor.name, object=hazard.name),
        }

    # Directory

    async def post(self, role: Role = policy_pb2.ROLE_DUTY_HOLDER) -> str:
        """Create a vacant post of the office."""
        post = directory_pb2.Post(
            unit=self.office, display_name="岗位", roles=[role], reach=directory_pb2.POST_REACH_REGION
        )
        answer = await self.does(self.house.operator, directory_pb2.CreatePostRequest(post=post))
        return str(answer.name)

    async def post_of(self, holder: Caller) -> str:
        """Return the one post that somebody holds."""
        request = directory_pb2.ListAppointmentsRequest(person=holder.name)
        (held,) = (await self.does(self.house.operator, request)).appointments
        return str(held.post)

    async def legacy_site(self) -> directory_pb2.Site:
        """Return a site that the old systems know."""
        site = directory_pb2.Site(
            display_name="老厂",
            region=self.place.region,
            unit=self.enterprise,
            legacy_id=uuid.uuid4().hex,
            source_region=self.place.region,
        )
        request = directory_pb2.CreateSiteRequest(site=site)
        return await self.once("legacy site", lambda: self.does(self.house.operator, request))

    async def fresh_site(self) -> str:
        """Create another site of the enterprise."""
        return await create_site(self.house, self.place.region, self.enterprise)

    # Duties and tasks

    async def draft(self, post: str, predecessor: str = "", *, recurring: bool = True, items: bool = True) -> str:
        """Draft a duty list of a post of the office; of one item, which recurs monthly or stands."""
        editor = await self.colleague(policy_pb2.ROLE_LIST_EDITOR)
        of = duty_pb2.ResponsibilityList(
            kind=duty_pb2.LIST_KIND_DUTY,
            display_name="职责清单",
            unit=self.office,
            post=post,
            effective_date=LATER if predecessor else EFFECTIVE,
            predecessor=predecessor,
        )
        made = await self.does(editor, duty_pb2.CreateResponsibilityListRequest(responsibility_list=of))
        if items and not predecessor:  # a further version starts with the items of the one before
            request = import_of(made.name, duty_item(recurring=recurring))
            report = await editor.sends(DutyServiceStub(self.house.channel).ImportDutyItems, request)
            assert report.created == 1, report
        return str(made.name)

    async def submitted(self, post: str, predecessor: str = "", *, recurring: bool = True) -> str:
        """Hand a list in."""
        name = await self.draft(post, predecessor, recurring=recurring)
        editor = await self.colleague(policy_pb2.ROLE_LIST_EDITOR)
        await self.does(editor, duty_pb2.SubmitResponsibilityListRequest(name=name))
        return name

    async def published(self, post: str, predecessor: str = "", *, recurring: bool = True) -> str:
        """Publish a list."""
        name = await self.submitted(post, predecessor, recurring=recurring)
        approver = await self.colleague(policy_pb2.ROLE_LIST_APPROVER)
        await self.does(approver, duty_pb2.ApproveResponsibilityListRequest(name=name))
        return name

    async def annual(self, responsibility_list: str, *, publish: bool) -> str:
        """Generate the coming year's tasks of a list."""
        editor = await self.colleague(policy_pb2.ROLE_LIST_EDITOR)
        request = plan_pb2.GenerateAnnualTaskListRequest(
            responsibility_list=responsibility_list, year=(await self.house.now()).year + 1
        )
        made = await self.does(editor, request)
        if publish:
            approver = await self.colleague(policy_pb2.ROLE_LIST_APPROVER)
            await self.does(approver, plan_pb2.PublishAnnualTaskListRequest(name=made.name))
        return str(made.name)

    async def desk(self, holder: Caller) -> Desk:
        """Return the desk of a duty holder."""
        return await self.once(f"desk {holder.name}", lambda: self._desk(holder))

    async def _desk(self, holder: Caller) -> Desk:
        post = await self.post_of(holder)
        of = await self.published(post)
        annual = await self.annual(of, publish=True)
        (item,) = (await self.does(holder, duty_pb2.ListDutyItemsRequest(responsibility_list=of))).duty_items
        listed = await self.does(holder, plan_pb2.ListTasksRequest(annual_task_list=annual))
        return Desk(holder, post, of, item.name, annual, iter([task.name for task in listed.tasks]))

    async def completed(self) -> str:
        """Have a task submitted by its holder, a colleague."""
        desk = await self.desk(await self.colleague(policy_pb2.ROLE_DUTY_HOLDER))
        task = next(desk.tasks)
        await self.does(desk.holder, plan_pb2.SubmitCompletionRequest(name=task))
        return task

    # Hazards

    async def hazard(self, state: str, site: str = "", visit: str = "") -> hazard_pb2.Hazard:
        """Bring a hazard to a state; to PLANNED means that the enterprise has handed in its plan."""
        inspector, supervisor, responsible = [
            await self.colleague(role)
            for role in (policy_pb2.ROLE_INSPECTOR, policy_pb2.ROLE_SUPERVISOR, policy_pb2.ROLE_RESPONSIBLE_UNIT)
        ]
        reported = new_hazard(site or self.site)
        reported.visit = visit
        hazard = await self.does(inspector, hazard_pb2.ReportHazardRequest(hazard=reported))
        name = hazard.name
        steps: list[tuple[Caller, Message]] = [
            (supervisor, hazard_pb2.AssignHazardRequest(name=name, unit=self.enterprise)),
            (responsible, hazard_pb2.SubmitRectificationPlanRequest(name=name, plan=await self.plan())),
            (responsible, hazard_pb2.SubmitRectificationRequest(name=name, evidence=["sha256:00"])),
            (inspector, hazard_pb2.ReinspectRequest(name=name, verdict=kit_pb2.VERDICT_PASS)),
        ]
        for by, request in steps[: HAZARD_STEPS.index(state)]:
            hazard = await self.does(by, request)
        return cast("hazard_pb2.Hazard", hazard)

    async def plan(self) -> hazard_pb2.RectificationPlan:
        """Return a five-element plan to be carried out within ten days."""
        responsible = await self.colleague(policy_pb2.ROLE_RESPONSIBLE_UNIT)
        return hazard_pb2.RectificationPlan(
            responsible=responsible.name,
            measures="更换配电箱",
            finish_date=await self.day(10),
            contingency="停用该回路",
        )

    async def extension(self) -> hazard_pb2.Extension:
        """Return what an extension is asked with."""
        return hazard_pb2.Extension(finish_date=await self.day(20), reason="配件未到")

    async def order(self, hazard: str, site: str) -> str:
        """Suspend a site for a hazard."""
        request = hazard_pb2.SuspendSiteRequest(site=site, hazard=hazard, instrument_number=uuid.uuid4().hex)
        return str((await self.does(await self.colleague(policy_pb2.ROLE_SUPERVISOR), request)).name)

    # Tours and visits

    async def inspectors(self) -> list[str]:
        """Return three inspectors; the first is the one who is tried."""
        role = policy_pb2.ROLE_INSPECTOR
        return [self.place.people[role].name, *[(await self.colleague(role, number)).name for number in (1, 2)]]

    async def planned_tour(self, candidates: int) -> inspection_pb2.Tour:
        """Return a tour of the site as it is planned, for today and the weeks after."""
        return inspection_pb2.Tour(
            display_name="安全生产巡查",
            unit=self.office,
            enforcement_unit=self.office,
            targets=[self.site],
            coverage_term=COVERAGE_TERM,
            start_date=await self.day(),
            end_date=await self.day(20),
            candidates=(await self.inspectors())[:candidates],
        )

    async def tour(self, state: str, candidates: int = 2) -> inspection_pb2.Tour:
        """Bring a tour to a state; of two candidates both are drawn. FEEDBACK: the visited site got the letter."""
        supervisor = await self.colleague(policy_pb2.ROLE_SUPERVISOR)
        responsible = await self.colleague(policy_pb2.ROLE_RESPONSIBLE_UNIT)
        request = inspection_pb2.CreateTourRequest(tour=await self.planned_tour(candidates))
        tour = await self.does(supervisor, request)
        letter = inspection_pb2.FeedbackLetter(number=uuid.uuid4().hex, summary="两处问题", addressees=[self.site])
        steps: list[tuple[Caller, Message]] = [
            (supervisor, inspection_pb2.DrawInspectorsRequest(name=tour.name)),
            (supervisor, inspection_pb2.StartTourRequest(name=tour.name)),
            (supervisor, inspection_pb2.IssueFeedbackLetterRequest(name=tour.name, letter=letter)),
            (
                responsible,
                inspection_pb2.SubmitRectificationReportRequest(
                    name=tour.name, target=self.site, number="整改1号", document_hash=bytes(32)
                ),
            ),
        ]
        for by, each in steps[: TOUR_STEPS.index(state)]:
            if isinstance(each, inspection_pb2.IssueFeedbackLetterRequest):
                await self.visit(tour.name)
            tour = await self.does(by, each)
        return cast("inspection_pb2.Tour", tour)

    async def visit_record(self, tour: str = "") -> inspection_pb2.Visit:
        """Return a record of a visit to the site, as two inspectors sign it now."""
        inspectors = (await self.inspectors())[:2]
        visit = inspection_pb2.Visit(
            tour=tour,
            target=self.site,
            enforcement_unit=self.office,
            inspectors=inspectors,
            certificate_shown=True,
            signatures=[inspection_pb2.Signature(inspector=each, reference="sha256:1") for each in inspectors],
            target_signature="sha256:2",
        )
        visit.check_in_time.FromDatetime(await self.house.arrival())
        return visit

    async def visit(self, tour: str = "") -> inspection_pb2.Visit:
        """Record a visit to the site."""
        request = inspection_pb2.RecordVisitRequest(visit=await self.visit_record(tour))
        visit = await self.does(await self.colleague(policy_pb2.ROLE_INSPECTOR), request)
        return cast("inspection_pb2.Visit", visit)

    # Supervision and accountability

    async def policy(self) -> accountability_pb2.EscalationPolicy:
        """Return the place's own ladder."""
        supervisor = await self.colleague(policy_pb2.ROLE_SUPERVISOR)
        request = accountability_pb2.CreateEscalationPolicyRequest(escalation_policy=self.ladder())
        return await self.once("policy", lambda: self.does(supervisor, request))

    def ladder(self) -> accountability_pb2.EscalationPolicy:
        """Return a ladder of one reminder."""
        rung = accountability_pb2.Rung(
            kind=accountability_pb2.MEASURE_KIND_REMINDER, target=accountability_pb2.RUNG_TARGET_HOLDER
        )
        return accountability_pb2.EscalationPolicy(
            code=uuid.uuid4().hex, display_name="阶梯", region=self.place.region, rungs=[rung], source="市政府"
        )

    async def supervision(self, **about: Any) -> accountability_pb2.SupervisionCase:
        """Open a supervision case with a month's term, over the enterprise unless it is about a post."""
        case = accountability_pb2.SupervisionCase(
            display_name="督办",
            source=accountability_pb2.CASE_SOURCE_MEETING,
            matter="消除隐患",
            unit=self.office if "post" in about else self.enterprise,
            term=kit_pb2.Term(amount=1, unit=kit_pb2.TERM_UNIT_MONTHS),
            **about,
        )
        request = accountability_pb2.OpenSupervisionCaseRequest(supervision_case=case)
        opened = await self.does(await self.colleague(policy_pb2.ROLE_SUPERVISOR), request)
        return cast("accountability_pb2.SupervisionCase", opened)

    async def rung(self, supervision_case: str) -> accountability_pb2.RecordRungRequest:
        """Return the recording of a rung as the case's workflow makes it."""
        measure = accountability_pb2.Measure(
            supervision_case=supervision_case,
            kind=accountability_pb2.MEASURE_KIND_REMINDER,
            target=accountability_pb2.RUNG_TARGET_UNIT,
            target_unit=self.office,
            rung=1,
            cycle=1,
            escalation_policy=(await self.policy()).name,
        )
        request = accountability_pb2.RecordRungRequest(measure=measure)
        request.business_time.FromDatetime(await self.house.now())
        return request

    async def measure(self, supervision_case: str) -> accountability_pb2.Measure:
        """Have a rung fire."""
        fired = await self.does(self.house.worker(), await self.rung(supervision_case))
        return cast("accountability_pb2.Measure", fired)

    async def accountability(self, subject: str, state: str = "OPENED") -> accountability_pb2.AccountabilityCase:
        """Bring a case against somebody of the office to a state: OPENED, FACTS_SUBMITTED or DECIDED."""
        supervisor, leader = [
            await self.colleague(role) for role in (policy_pb2.ROLE_SUPERVISOR, policy_pb2.ROLE_LEADER)
        ]
        hazard = await self.once("reported hazard", lambda: self.hazard("REPORTED"))
        opening = accountability_pb2.AccountabilityCase(
            subject=subject, unit=self.office, matter="逾期未整改", hazard=hazard.name
        )
        case = await self.does(
            supervisor, accountability_pb2.OpenAccountabilityCaseRequest(accountability_case=opening)
        )
        steps: list[tuple[Caller, Message]] = [
            (supervisor, accountability_pb2.SubmitFactsRequest(name=case.name, facts="经查属实")),
            (leader, decision(case.name)),
        ]
        for by, request in steps[: ("OPENED", "FACTS_SUBMITTED", "DECIDED").index(state)]:
            case = await self.does(by, request)
        return cast("accountability_pb2.AccountabilityCase", case)

    # The ledger

    async def entry(self, *, actor: str, object: str = "", type_prefix: str = "") -> str:  # noqa: A002 (its name)
        """Return a sequenced entry of the ledger that a checkpoint covers."""
        auditor = await self.colleague(policy_pb2.ROLE_AUDITOR)
        request = audit_pb2.ListLedgerEntriesRequest(actor=actor, object=object, type_prefix=type_prefix)
        async with asyncio.timeout(LEDGER_SECONDS):
            while True:
                signed = await self.tree_size(auditor)
                for entry in (await self.does(auditor, request)).ledger_entries:
                    if entry.position < signed:
                        return str(entry.name)
                await asyncio.sleep(0.05)

    async def tree_size(self, auditor: Caller) -> int:
        """Return how many entries the latest checkpoint covers, 0 before the first."""
        try:
            return int((await self.does(auditor, audit_pb2.GetCheckpointRequest())).tree_size)
        except grpc.aio.AioRpcError as error:
            assert error.code() is grpc.StatusCode.NOT_FOUND, error
            return 0

    async def day(self, later: int = 0) -> Date:
        """Return a Beijing day, some days from now."""
        return day_of((await self.house.now()).astimezone(BEIJING).date() + timedelta(days=later))

    async def later(self) -> datetime:
        """Let a second of business time pass."""
        return await self.house.advance(timedelta(seconds=1))


def day_of(day: date) -> Date:
    """Return a day as protobuf."""
    return Date(year=day.year, month=day.month, day=day.day)


def duty_item(*, recurring: bool = True, area: str = "") -> duty_pb2.DutyItem:
    """Return a duty that recurs every month, or stands."""
    return duty_pb2.DutyItem(
        number="1",
        text="每月检查",
        law="安全生产法",
        article="第六十二条",
        type=duty_pb2.DUTY_TYPE_SUPERVISORY,
        involvement=duty_pb2.INVOLVEMENT_LEAD,
        recurrence="FREQ=MONTHLY;BYMONTHDAY=10" if recurring else "",
        area=area,
    )


def import_of(responsibility_list: str, item: duty_pb2.DutyItem) -> duty_pb2.ImportDutyItemsRequest:
    """Return the one message of an import of one item."""
    return duty_pb2.ImportDutyItemsRequest(
        header=kit_pb2.ImportHeader(request_id=uuid.uuid4().hex),
        responsibility_list=responsibility_list,
        rows=[duty_pb2.DutyItemRow(row=1, item=item)],
    )


def decision(case: str) -> accountability_pb2.DecideAccountabilityCaseRequest:
    """Return the request that decides a case with a measure against which there is an appeal."""
    return accountability_pb2.DecideAccountabilityCaseRequest(
        name=case, decision=accountability_pb2.DECISION_DEMOTION, instrument_number=uuid.uuid4().hex, grounds="逾期"
    )
