"""The accountability case: facts, decision or exemption by somebody apart, appeal window, closure."""

import asyncio
import dataclasses
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest_asyncio
from temporalio.client import Client, WorkflowHandle

from services.kit.errors import DomainError, RuleNotMet, SeparationOfDuties, WrongState
from tests.workflow.cases import OPENED, CaseRoom, act, case_room, refused, replays
from workflows.payloads.accountability import WORKFLOW, AccountabilitySnapshot, AccountabilityStart, AccountabilityTimes

SUBJECT, HANDLER, LEADER = "people/subject", "people/handler", "people/leader"
START = AccountabilityStart("accountabilityCases/1", OPENED, OPENED + timedelta(days=15), SUBJECT, "city/office/")
EXEMPTION = {
    "duties": [{"duty_item": "dutyItems/1", "ledger_entries": ["ledgerEntries/a"]}],
    "grounds": "all shown",
}


def decision(clock: str = "servant_review_request", months: int = 0) -> dict[str, Any]:
    """Return a decision with or without an appeal window."""
    return {
        "decision": "DEMOTION" if clock else "CIRCULAR",
        "influence_months": months,
        "instrument_number": "2026-1",
        "grounds": "late",
        "appeal_clock": clock,
        "unit_paths": ["city/"],
    }


@pytest_asyncio.fixture
async def room(temporal_client: Client) -> AsyncIterator[CaseRoom]:
    """A worker with fake services."""
    async with case_room(temporal_client) as made:
        yield made


async def with_facts(room: CaseRoom) -> WorkflowHandle[Any, Any]:
    """Start a case and hand in its facts."""
    handle = await room.start(WORKFLOW, START)
    await act(handle, "submit_facts", HANDLER, facts="facts", evidence=["doc 1"])
    return handle


def story(room: CaseRoom) -> list[tuple[str, str]]:
    """Return the recorded transitions with the states they led to."""
    return [(transition, case.state) for transition, case in room.services.accountability]


async def test_case_is_closed_when_the_appeal_window_ends(room: CaseRoom) -> None:
    """A decision would be final while its subject may still appeal, or stay open for ever."""
    handle = await with_facts(room)
    await act(handle, "decide", LEADER, **decision(months=6))
    decided = room.services.accountability[-1][1]
    assert decided.decide_time is not None
    assert decided.appeal_due_time == decided.decide_time + timedelta(days=30)
    assert decided.influence_end_time == decided.decide_time + timedelta(days=180)
    await room.pass_to(handle, decided.appeal_due_time - timedelta(minutes=5))
    assert story(room)[-1] == ("decided", "DECIDED")
    await room.pass_to(handle, decided.appeal_due_time + timedelta(minutes=5))
    result = await handle.result()
    assert (result["state"], result["decision"], result["appealed"]) == ("CLOSED", "DEMOTION", False)
    assert story(room)[-1] == ("closed", "CLOSED")
    closed = room.services.accountability[-1][1]
    assert closed.close_time is not None
    assert abs(closed.close_time - decided.appeal_due_time) < timedelta(seconds=5)
    assert await replays(handle)


async def test_measure_without_remedy_closes_at_once(room: CaseRoom) -> None:
    """A circular or an admonition would hang open, waiting for an appeal the law does not give."""
    handle = await with_facts(room)
    await act(handle, "decide", LEADER, **decision(clock=""))
    assert (await handle.result())["state"] == "CLOSED"
    assert [word for word, _ in story(room)] == ["facts_submitted", "decided", "closed"]


async def test_appeal_in_time_stands_beside_the_case(room: CaseRoom) -> None:
    """A subject who appeals on the last day would be turned away, or his appeal forgotten at the closure."""
    handle = await with_facts(room)
    await act(handle, "decide", LEADER, **decision())
    due = room.services.accountability[-1][1].appeal_due_time
    assert due is not None
    await room.pass_to(handle, due - timedelta(minutes=10))
    await act(handle, "file_appeal", SUBJECT, reason="I did what the list says")
    assert story(room)[-1] == ("appeal_filed", "DECIDED")
    assert isinstance(await refused(handle, "file_appeal", SUBJECT, reason="again"), WrongState)
    await room.pass_to(handle, due + timedelta(minutes=1))
    assert (await handle.result())["appealed"] is True
    appeal = room.services.accountability[-1][1].appeal
    assert appeal is not None
    assert appeal.file_time < due
    assert await replays(handle)


async def test_only_the_subject_appeals(room: CaseRoom) -> None:
    """A leader could use up the subject's one appeal."""
    handle = await with_facts(room)
    await act(handle, "decide", LEADER, **decision())
    for person in (LEADER, HANDLER):
        assert isinstance(await refused(handle, "file_appeal", person, reason="mine"), RuleNotMet)


async def test_subject_has_no_hand_in_his_own_case(room: CaseRoom) -> None:
    """The subject could write the facts, decide, or exempt himself."""
    handle = await room.start(WORKFLOW, START)
    refusals = [await refused(handle, "submit_facts", SUBJECT, facts="none", evidence=[])]
    await act(handle, "submit_facts", HANDLER, facts="facts", evidence=[])
    refusals.append(await refused(handle, "decide", SUBJECT, **decision()))
    refusals.append(await refused(handle, "exempt", SUBJECT, exemption=EXEMPTION, unit_paths=["city/"]))
    assert [type(refusal) for refusal in refusals] == [SeparationOfDuties] * 3
    assert {refusal.metadata["person"] for refusal in refusals} == {SUBJECT}


async def test_handler_never_decides(room: CaseRoom) -> None:
    """Who handed in facts, even before somebody else's, could decide on them."""
    handle = await with_facts(room)
    await act(handle, "submit_facts", "people/second", facts="more facts", evidence=[])
    for person in (HANDLER, "people/second"):
        assert isinstance(await refused(handle, "decide", person, **decision()), SeparationOfDuties)
        refusal = await refused(handle, "exempt", person, exemption=EXEMPTION, unit_paths=["city/"])
        assert isinstance(refusal, SeparationOfDuties)
    await act(handle, "decide", LEADER, **decision(clock=""))
    await handle.result()


async def test_no_subordinate_of_the_subject_decides(room: CaseRoom) -> None:
    """Leaders below the subject would judge their own superior."""
    handle = await with_facts(room)
    below = {"unit_paths": ["city/office/section/"]}
    for refusal in (
        await refused(handle, "decide", LEADER, **{**decision(), **below}),
        await refused(handle, "exempt", LEADER, exemption=EXEMPTION, **below),
    ):
        assert refusal.metadata == {"rule": "decider_is_no_subordinate_of_the_subject"}
    peer = {"unit_paths": ["city/office/section/", "city/office/"]}
    await act(handle, "decide", LEADER, **{**decision(clock=""), **peer})
    await handle.result()


async def test_the_times_on_record_bind_the_case(room: CaseRoom) -> None:
    """A decision done over across midnight would give the subject another day to appeal than the letter says."""
    decided = OPENED + timedelta(hours=1)
    room.services.accountability_times["decided"] = AccountabilityTimes(
        due_time=decided + timedelta(days=7),
        decide_time=decided,
        influence_end_time=decided + timedelta(days=180),
        appeal_due_time=decided + timedelta(days=7),
        appeal_time=None,
        close_time=None,
    )
    handle = await with_facts(room)
    await act(handle, "decide", LEADER, **decision(months=6))
    case = await handle.query("case", result_type=AccountabilitySnapshot)
    assert (case.decide_time, case.influence_end_time) == (decided, decided + timedelta(days=180))
    await room.pass_days(handle, 7.5)
    await handle.result()
    assert room.services.accountability[-1][0] == "closed"
    assert await replays(handle)


async def test_opener_never_decides(room: CaseRoom) -> None:
    """Who brought a case against a person could judge it too, or let the person off."""
    handle = await room.start(WORKFLOW, dataclasses.replace(START, opener=LEADER))
    await act(handle, "submit_facts", HANDLER, facts="facts", evidence=[])
    refusals = [
        await refused(handle, "decide", LEADER, **decision()),
        await refused(handle, "exempt", LEADER, exemption=EXEMPTION, unit_paths=["city/"]),
    ]
    assert [type(refusal) for refusal in refusals] == [SeparationOfDuties] * 2
    await act(handle, "decide", "people/other_leader", **decision(clock=""))
    await handle.result()


async def test_missed_terms_are_recorded_once(room: CaseRoom) -> None:
    """A case that nobody attends to would lie silent, or fill the ledger with the same line."""
    handle = await room.start(WORKFLOW, START)
    await room.pass_days(handle, 14.9)
    assert story(room) == []
    await room.pass_days(handle, 40)
    assert story(room) == [("facts_overdue", "OPENED")]
    await act(handle, "submit_facts", HANDLER, facts="facts", evidence=[])
    await room.pass_days(handle, 54.9)
    assert story(room)[1:] == [("facts_submitted", "FACTS_SUBMITTED")]
    await room.pass_days(handle, 90)
    assert story(room)[2:] == [("decision_overdue", "FACTS_SUBMITTED")]
    overdue, submitted = room.services.accountability[2][1], room.services.accountability[1][1]
    assert overdue == submitted
    await act(handle, "decide", LEADER, **decision(clock=""))
    assert (await handle.result())["state"] == "CLOSED"
    assert [word for word, _ in story(room)[3:]] == ["decided", "closed"]
    assert await replays(handle)


async def test_facts_in_time_leave_no_mark(room: CaseRoom) -> None:
    """A supervisor who was in time would stand in the ledger as late."""
    handle = await with_facts(room)
    await room.pass_days(handle, 14)
    await act(handle, "submit_facts", HANDLER, facts="more facts", evidence=[])
    await room.pass_days(handle, 28)
    await act(handle, "decide", LEADER, **decision(clock=""))
    await handle.result()
    assert [word for word, _ in story(room)] == ["facts_submitted", "facts_submitted", "decided", "closed"]


async def test_nothing_is_decided_without_facts(room: CaseRoom) -> None:
    """A person would be held to account before anybody looked into the matter."""
    handle = await room.start(WORKFLOW, START)
    assert isinstance(await refused(handle, "decide", LEADER, **decision()), WrongState)
    assert isinstance(await refused(handle, "exempt", LEADER, exemption=EXEMPTION, unit_paths=["city/"]), WrongState)
    assert isinstance(await refused(handle, "file_appeal", SUBJECT, reason="early"), WrongState)


async def test_two_decisions_at_once_have_one_winner(room: CaseRoom) -> None:
    """Two leaders could both decide, and the subject would face both measures or be exempt and punished."""
    handle = await with_facts(room)
    outcomes = await asyncio.gather(
        act(handle, "decide", LEADER, **decision()),
        act(handle, "exempt", "people/other_leader", exemption=EXEMPTION, unit_paths=["city/"]),
        return_exceptions=True,
    )
    assert sum(outcome is None for outcome in outcomes) == 1
    assert sum(word in ("decided", "exempted") for word, _ in story(room)) == 1


async def test_exemption_ends_the_case(room: CaseRoom) -> None:
    """An exempted person would go on being a subject."""
    handle = await with_facts(room)
    await act(handle, "exempt", LEADER, exemption=EXEMPTION, unit_paths=["city/"])
    result = await handle.result()
    assert (result["state"], result["decision"]) == ("EXEMPTED", "")
    word, case = room.services.accountability[-1]
    assert (word, case.decider, case.close_time) == ("exempted", LEADER, case.decide_time)
    assert case.exemption is not None
    assert case.exemption.duties[0].ledger_entries == ("ledgerEntries/a",)
    assert await replays(handle)


async def test_decided_case_takes_no_new_facts(room: CaseRoom) -> None:
    """Facts could be changed after the decision that rests on them."""
    handle = await with_facts(room)
    await act(handle, "decide", LEADER, **decision())
    refusal: DomainError = await refused(handle, "submit_facts", HANDLER, facts="other", evidence=[])
    assert isinstance(refusal, WrongState)
    assert refusal.metadata["state"] == "DECIDED"


async def test_a_notice_moves_the_terms_until_they_are_missed(room: CaseRoom) -> None:
    """Facts due on a holiday would be noted as late, or a term noted as missed be given again."""
    handle = await room.start(WORKFLOW, START)
    for _ in range(2):
        await room.reproject(handle, 5, "reproject-1")
    await room.pass_days(handle, 19.9)
    assert [word for word, _ in story(room)] == ["reprojected"]
    await act(handle, "submit_facts", HANDLER, facts="facts", evidence=["doc 1"])
    await room.pass_days(handle, 31)
    await room.reproject(handle, -5, "reproject-3")
    await room.pass_days(handle, 31.1)
    assert [word for word, _ in story(room)] == ["reprojected", "facts_submitted", "reprojected", "decision_overdue"]
    await room.reproject(handle, 5, "reproject-5")
    await act(handle, "decide", LEADER, **decision(clock=""))
    await handle.result()
    assert [word for word, _ in story(room)][4:] == ["decided", "closed"]
    assert await replays(handle)
