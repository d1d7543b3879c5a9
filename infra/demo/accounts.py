"""The accountability chapter: one subject held to account, one exempted by the record; and what must be refused."""

from dutyloop.accountability.v1 import accountability_pb2
from dutyloop.duty.v1 import duty_pb2
from dutyloop.hazard.v1 import hazard_pb2
from dutyloop.kit.v1 import kit_pb2
from dutyloop.policy.v1 import policy_pb2
from infra.demo import lists
from infra.demo.actors import Actor
from infra.demo.campaign import Campaign
from infra.demo.cast import Cast, appoint, engage
from services.kit.dates import day_message

FACTS_DAY, DECISION_DAY, APPEAL_DAY = 68, 72, 76
SANCTION_MONTHS = 6
ASKED_DAYS = 60
"""How much further a person would set the term of his own hazard."""


async def _case_against(cast: Cast, subject: str) -> accountability_pb2.AccountabilityCase:
    async for case in cast.decider.pages(
        "accountability.ListAccountabilityCases", "accountability_cases", subject=subject
    ):
        found: accountability_pb2.AccountabilityCase = case
        return found
    raise AssertionError(f"the ladder opened no accountability case against {subject}")


async def submit_facts(campaign: Campaign) -> None:
    """A supervisor hands in the facts of both cases that the ladder opened."""
    cast = campaign.cast
    for subject in (campaign.held_to_account, cast.leaders[lists.EXEMPTED_LEADER].name):
        case = await _case_against(cast, subject)
        await cast.supervisor.do(
            "accountability.SubmitFacts", name=case.name, facts="隐患逾期未整改，历经四级督促", evidence=["卷宗1"]
        )


async def decide(campaign: Campaign) -> None:
    """A leader sanctions one subject and exempts the other, whose record shows every duty performed."""
    cast = campaign.cast
    sanctioned = await _case_against(cast, campaign.held_to_account)
    await cast.decider.do(
        "accountability.DecideAccountabilityCase",
        name=sanctioned.name,
        decision=accountability_pb2.DECISION_SANCTION,
        influence_months=SANCTION_MONTHS,
        instrument_number="问责〔1〕号",
        grounds="逾期未整改且经督办、约谈、通报仍未落实",
    )
    exempted = await _case_against(cast, cast.leaders[lists.EXEMPTED_LEADER].name)
    record = await lists.task_record(cast, lists.EXEMPTED_LEADER)
    await cast.decider.do(
        "accountability.ExemptSubject",
        name=exempted.name,
        exemption=accountability_pb2.Exemption(
            duties=[
                accountability_pb2.PerformedDuty(duty_item=item, ledger_entries=[entry])
                for item, entry in sorted(record.items())
            ],
            grounds="清单所列职责均已履行，依单免责",
        ),
    )


async def appeal(campaign: Campaign) -> None:
    """The sanctioned subject appeals within the window."""
    cast = campaign.cast
    case = await _case_against(cast, campaign.held_to_account)
    subject = cast.stage.actor(campaign.held_to_account)
    await subject.do("accountability.FileAppeal", name=case.name, reason="对处分期限有异议，申请复审")


async def be_refused(campaign: Campaign, hazard: str) -> list[str]:
    """Try what the house must refuse, on a hazard under rectification; return the reasons it gave."""
    cast = campaign.cast
    unit = (await cast.supervisor.do("hazard.GetHazard", name=hazard)).unit
    passed = kit_pb2.VERDICT_PASS
    # Two people hold every role their steps ask for: that alone never lets anybody check his own work.
    checking = [policy_pb2.ROLE_SUPERVISOR, policy_pb2.ROLE_INSPECTOR]
    fixer, _ = await engage(cast, "园区整改员1号", unit, [policy_pb2.ROLE_RESPONSIBLE_UNIT], whole_region=False)
    await appoint(cast, fixer, "督查兼检查员1号", cast.office, checking, whole_region=True)
    both_roles = [policy_pb2.ROLE_LIST_EDITOR, policy_pb2.ROLE_LIST_APPROVER]
    drafter, _ = await engage(cast, "清单编制兼审定人1号", cast.office, both_roles, whole_region=True)
    reasons: list[str] = []

    later = hazard_pb2.Extension(finish_date=day_message(cast.date(cast.today + ASKED_DAYS)), reason="设备到货推迟")
    await fixer.do("hazard.RequestExtension", name=hazard, extension=later)
    reasons.append(await fixer.refused("hazard.DecideExtension", name=hazard, verdict=passed))
    await fixer.do("hazard.SubmitRectification", name=hazard, evidence=["照片"])
    reasons.append(await fixer.refused("hazard.Reinspect", name=hazard, verdict=passed))
    draft = await _submit_negative_list(cast, drafter)
    reasons.append(await drafter.refused("duty.ApproveResponsibilityList", name=draft))

    # Nor does a colleague check it who did no part of it himself, but has no post outside their unit.
    colleague, _ = await engage(cast, "园区督查兼检查员1号", unit, checking, whole_region=False)
    reasons.append(await colleague.refused("hazard.Reinspect", name=hazard, verdict=passed))

    # And without the role nobody gets as far: a unit grants itself no time, handlers of facts do not decide,
    # an auditor only reads.
    head = cast.unit_heads[unit]
    reasons.append(await head.refused("hazard.DecideExtension", name=hazard, verdict=passed))
    any_case = "accountabilityCases/any"
    reasons.append(await cast.supervisor.refused("accountability.ExemptSubject", name=any_case, exemption=None))
    reasons.append(await cast.auditor.refused("hazard.LookBack", name=hazard, verdict=passed))
    return reasons


async def _submit_negative_list(cast: Cast, drafter: Actor) -> str:
    """Draft a list of what the office must never do, and hand it in for approval; return its name."""
    draft = await drafter.do(
        "duty.CreateResponsibilityList",
        responsibility_list=duty_pb2.ResponsibilityList(
            kind=duty_pb2.LIST_KIND_NEGATIVE,
            display_name="安全责任负面清单",
            unit=cast.office,
            effective_date=day_message(cast.date(cast.today)),
        ),
    )
    item = duty_pb2.DutyItem(
        number="1",
        text="不得要求被检查单位购买指定品牌的安全设备",
        law="安全生产法",
        article="第六十四条",
        type=duty_pb2.DUTY_TYPE_REGULATORY,
        involvement=duty_pb2.INVOLVEMENT_LEAD,
    )
    header = kit_pb2.ImportHeader(request_id="demo-negative-items")
    rows = [duty_pb2.DutyItemRow(row=1, item=item)]
    messages = [duty_pb2.ImportDutyItemsRequest(header=header, responsibility_list=draft.name, rows=rows)]
    report = await drafter.send("duty.ImportDutyItems", messages)
    if report.rejected:
        raise AssertionError(f"the item was rejected: {report.errors[0]}")
    await drafter.do("duty.SubmitResponsibilityList", name=draft.name)
    return str(draft.name)
