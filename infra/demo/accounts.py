"""The accountability chapter: one subject held to account, one exempted by the record; and what must be refused."""

from dutyloop.accountability.v1 import accountability_pb2
from dutyloop.duty.v1 import duty_pb2
from dutyloop.kit.v1 import kit_pb2
from dutyloop.policy.v1 import policy_pb2
from infra.demo import lists
from infra.demo.campaign import Campaign
from infra.demo.cast import Cast, engage
from services.kit.dates import day_message

FACTS_DAY, DECISION_DAY, APPEAL_DAY = 68, 72, 76
SANCTION_MONTHS = 6


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
    both_roles = [policy_pb2.ROLE_RESPONSIBLE_UNIT, policy_pb2.ROLE_INSPECTOR]
    fixer, _ = await engage(cast, "整改兼检查员1号", unit, both_roles, whole_region=False)
    await fixer.do("hazard.SubmitRectification", name=hazard, evidence=["照片"])
    passed = kit_pb2.VERDICT_PASS
    draft = await cast.editor.do(
        "duty.CreateResponsibilityList",
        key="refused",
        responsibility_list=duty_pb2.ResponsibilityList(
            kind=duty_pb2.LIST_KIND_NEGATIVE,
            display_name="安全责任负面清单",
            unit=cast.office,
            effective_date=day_message(cast.date(cast.today)),
        ),
    )
    head = cast.unit_heads[unit]
    return [
        # He rectified it himself: the inspector's role does not make him independent.
        await fixer.refused("hazard.Reinspect", name=hazard, verdict=passed),
        # Who drafts a list has no role to approve it, and a unit none to grant itself more time.
        await cast.editor.refused("duty.ApproveResponsibilityList", name=draft.name),
        await head.refused("hazard.DecideExtension", name=hazard, verdict=passed),
        # Handlers of facts do not decide, and an auditor only reads.
        await cast.supervisor.refused("accountability.ExemptSubject", name="accountabilityCases/any", exemption=None),
        await cast.auditor.refused("hazard.LookBack", name=hazard, verdict=passed),
    ]
