"""Rows of policies, cases and measures as protobuf messages, and enum words as they are stored."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from dutyloop.accountability.v1 import accountability_pb2
from dutyloop.kit.v1 import kit_pb2
from services.kit.db import Row
from services.kit.lights import light
from services.kit.names import name_of
from services.kit.terms import TERM_UNIT
from services.kit.words_of import Words
from workflows.payloads import Term
from workflows.payloads.supervision import Policy, Rung

ACCOUNTABILITY_CASE_STATE = Words(accountability_pb2.AccountabilityCaseState)
CASE_SOURCE = Words(accountability_pb2.CaseSource)
DECISION = Words(accountability_pb2.Decision)
MEASURE_KIND = Words(accountability_pb2.MeasureKind)
RUNG_TARGET = Words(accountability_pb2.RungTarget)
SUPERVISION_CASE_STATE = Words(accountability_pb2.SupervisionCaseState)
LIGHT = Words(kit_pb2.Light)


def term_of(term: kit_pb2.Term) -> Term:
    """Return a term as workflows know it."""
    return Term(term.amount, TERM_UNIT.of(term.unit))


def rung_columns(rungs: Sequence[Rung]) -> list[dict[str, Any]]:
    """Return rungs as they are stored, and as the ledger keeps them."""
    return [
        {
            "kind": rung.kind,
            "target": rung.target,
            "wait": {"amount": rung.wait.amount, "unit": rung.wait.unit} if rung.wait else None,
            "label": rung.label,
        }
        for rung in rungs
    ]


def rungs_of(policy: accountability_pb2.EscalationPolicy) -> tuple[Rung, ...]:
    """Return the rungs of a policy as workflows know them."""
    return tuple(
        Rung(
            MEASURE_KIND.given(rung.kind),
            RUNG_TARGET.of(rung.target),
            term_of(rung.wait) if rung.HasField("wait") else None,
            rung.label,
        )
        for rung in policy.rungs
    )


def pinned_policy(row: Row) -> Policy:
    """Return a policy's row as the case pins it."""
    return Policy(name_of("escalationPolicies", row["id"]), row["version"], tuple(map(_stored_rung, row["rungs"])))


def _stored_rung(stored: Mapping[str, Any]) -> Rung:
    wait = stored["wait"]
    return Rung(stored["kind"], stored["target"], Term(wait["amount"], wait["unit"]) if wait else None, stored["label"])


def policy_message(row: Row) -> accountability_pb2.EscalationPolicy:
    """Return the message for a row of ``escalation_policy``."""
    message = accountability_pb2.EscalationPolicy()
    message.name = name_of("escalationPolicies", row["id"])
    message.code = row["code"]
    message.version = row["version"]
    message.display_name = row["display_name"]
    message.region = name_of("regions", row["region_code"])
    for rung in pinned_policy(row).rungs:
        added = message.rungs.add(
            kind=MEASURE_KIND.number(rung.kind),
            target=RUNG_TARGET.number(rung.target),
            label=rung.label,
        )
        if rung.wait is not None:
            added.wait.amount = rung.wait.amount
            added.wait.unit = TERM_UNIT.number(rung.wait.unit)
    message.source = row["source"]
    message.statutory = row["statutory"]
    message.creator = row["creator"]
    message.create_time.FromDatetime(row["create_time"])
    return message


def present_end(row: Row) -> datetime:
    """Return when a supervision case's present term ends: once the ladder climbs, the wait for its next rung."""
    end: datetime = row["next_rung_time"] or row["due_time"]
    return end


def supervision_message(row: Row, now: datetime) -> accountability_pb2.SupervisionCase:
    """Return the message for a row of ``supervision_case``; the light is derived for ``now``."""
    message = accountability_pb2.SupervisionCase()
    message.name = name_of("supervisionCases", row["id"])
    message.etag = str(row["revision"])
    message.display_name = row["display_name"]
    message.source = CASE_SOURCE.number(row["source"])
    message.matter = row["matter"]
    message.unit = row["unit"]
    message.post = row["post"]
    message.person = row["person"]
    message.escalation_policy = name_of("escalationPolicies", row["policy_id"])
    message.policy_version = row["policy_version"]
    if row["term_amount"] is not None:
        message.term.amount = row["term_amount"]
        message.term.unit = TERM_UNIT.number(row["term_unit"])
    message.task = row["task"]
    message.hazard = row["hazard"]
    message.tour = row["tour"]
    message.region = name_of("regions", row["region_code"])
    message.state = SUPERVISION_CASE_STATE.number(row["state"])
    message.open_time.FromDatetime(row["open_time"])
    message.due_time.FromDatetime(row["due_time"])
    if row["next_rung_time"] is not None:
        message.next_rung_time.FromDatetime(row["next_rung_time"])
    message.due_provisional = row["awaited_notice"] is not None and present_end(row) > now
    message.fired_rung_count = row["fired_rung_count"]
    message.cycle = row["cycle"]
    message.opener = row["opener"]
    message.progress = row["progress"]
    message.evidence.extend(row["evidence"])
    message.reporter = row["reporter"]
    message.conclusion = row["conclusion"]
    message.concluder = row["concluder"]
    if row["conclude_time"] is not None:
        message.conclude_time.FromDatetime(row["conclude_time"])
    message.accountability_case = row["accountability_case"]
    message.light = light(row["due_time"], now, ended=row["state"] == "CONCLUDED")
    return message


def accountability_message(row: Row, now: datetime) -> accountability_pb2.AccountabilityCase:
    """Return the message for a row of ``accountability_case``; while only the appeal window runs no light burns."""
    message = accountability_pb2.AccountabilityCase()
    message.name = name_of("accountabilityCases", row["id"])
    message.etag = str(row["revision"])
    message.subject = row["subject"]
    message.unit = row["unit"]
    message.post = row["post"]
    message.matter = row["matter"]
    message.measure = row["measure"]
    message.hazard = row["hazard"]
    message.task = row["task"]
    message.supervision_case = row["supervision_case"]
    message.region = name_of("regions", row["region_code"])
    message.state = ACCOUNTABILITY_CASE_STATE.number(row["state"])
    message.opener = row["opener"]
    message.facts = row["facts"]
    message.evidence.extend(row["evidence"])
    message.handler = row["handler"]
    message.decider = row["decider"]
    message.decision = DECISION.number(row["decision"])
    message.instrument_number = row["instrument_number"]
    message.influence_months = row["influence_months"]
    message.grounds = row["grounds"]
    message.appeal_basis = row["appeal_basis"]
    for field in ("open_time", "due_time", "decide_time", "influence_end_time", "appeal_due_time", "close_time"):
        if row[field] is not None:
            getattr(message, field).FromDatetime(row[field])
    if row["due_time"] is not None:
        message.due_provisional = row["awaited_notice"] is not None and row["due_time"] > now
    if row["exemption"] is not None:
        message.exemption.grounds = row["exemption"]["grounds"]
        for duty in row["exemption"]["duties"]:
            message.exemption.duties.add(duty_item=duty["duty_item"], ledger_entries=duty["ledger_entries"])
    if row["appeal_time"] is not None:
        message.appeal.reason = row["appeal_reason"]
        message.appeal.file_time.FromDatetime(row["appeal_time"])
    undecided = row["state"] in ("OPENED", "FACTS_SUBMITTED")
    message.light = light(row["due_time"], now, ended=not undecided)
    return message


def exemption_columns(exemption: accountability_pb2.Exemption) -> dict[str, Any]:
    """Return the exemption as it is stored, sent to the case and kept in the ledger."""
    return {
        "duties": [
            {"duty_item": duty.duty_item, "ledger_entries": list(duty.ledger_entries)} for duty in exemption.duties
        ],
        "grounds": exemption.grounds,
    }


def measure_message(row: Row) -> accountability_pb2.Measure:
    """Return the message for a row of ``measure``."""
    message = accountability_pb2.Measure()
    message.name = name_of("measures", row["id"])
    message.supervision_case = name_of("supervisionCases", row["supervision_case_id"])
    message.accountability_case = name_of("accountabilityCases", row["accountability_case_id"])
    message.kind = MEASURE_KIND.number(row["kind"])
    message.decision = DECISION.number(row["decision"])
    message.rung = row["rung"]
    message.cycle = row["cycle"]
    message.label = row["label"]
    message.target = RUNG_TARGET.number(row["target"])
    message.target_unit = row["target_unit"]
    message.target_post = row["target_post"]
    message.target_person = row["target_person"]
    message.escalation_policy = name_of("escalationPolicies", row["policy_id"])
    message.measure_time.FromDatetime(row["measure_time"])
    message.region = name_of("regions", row["region_code"])
    return message
