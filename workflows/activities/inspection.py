"""Activities of the inspection service: recording what the tour decided, asking what was visited, making seeds."""

import os
from datetime import datetime

from temporalio import activity

from dutyloop.inspection.v1 import inspection_pb2
from services.kit.clients import Clients
from services.kit.dates import optional_time, timestamp
from services.kit.directory import Directory
from services.kit.terms import term_message
from services.kit.words_of import Words
from workflows.activities.calls import call, outer_command, refusals
from workflows.payloads.tour import RecordTransition

TOUR_STATE = Words(inspection_pb2.TourState)

SEED_BYTES = 32


class InspectionActivities:
    """Calls inspection."""

    def __init__(self, clients: Clients, directory: Directory) -> None:
        self._clients = clients
        self._directory = directory

    @activity.defn(name="make_seed")
    async def make_seed(self) -> str:
        """Return the random seed of a draw, in hex; the history keeps it."""
        return os.urandom(SEED_BYTES).hex()

    @activity.defn(name="count_unvisited_targets")
    async def count_unvisited_targets(self, tour: str) -> int:
        """Count the targets that nobody has visited on the tour."""
        found = await call(self._clients, self._clients.inspection.GetTour, inspection_pb2.GetTourRequest(name=tour))
        unvisited: int = len(found.targets) - found.visited_count
        return unvisited

    @activity.defn(name="record_tour_transition")
    async def record_transition(self, record: RecordTransition) -> datetime | None:
        """Record a transition, with the end of the term that begins; return the due time that stands on record.

        The same step is recorded once however often it is tried, and keeps the due time of its first time.
        """
        request = transition_request(record)
        if term := record.term:
            with refusals():
                due = await self._directory.due_time(record.business_time, term)
            request.tour.due_time.FromDatetime(due)
        answer = await call(self._clients, self._clients.inspection.RecordTourTransition, request)
        return optional_time(answer, "due_time")


def transition_request(record: RecordTransition) -> inspection_pb2.RecordTourTransitionRequest:
    """Return the protobuf form of a recording."""
    request = inspection_pb2.RecordTourTransitionRequest(
        request_id=record.step,
        name=record.snapshot.tour,
        business_time=timestamp(record.business_time),
        transition=record.transition,
        outer=outer_command(record.asked),
    )
    tour = request.tour
    tour.name = record.snapshot.tour
    tour.state = TOUR_STATE.number(record.snapshot.state)
    if record.snapshot.due_time is not None:
        tour.due_time.FromDatetime(record.snapshot.due_time)
    tour.conclusion = record.conclusion
    if letter := record.letter:
        tour.letter.number = letter.number
        tour.letter.summary = letter.summary
        tour.letter.addressees.extend(each.target for each in letter.addressees)
        if letter.term is not None:
            tour.letter.term.CopyFrom(term_message(letter.term))
    if report := record.report:
        tour.reports.add(target=report.target, number=report.number, document_hash=bytes.fromhex(report.document_hash))
    if draw := record.draw:
        request.draw_input.seed = bytes.fromhex(draw.seed)
        request.draw_input.pool_hash = bytes.fromhex(draw.pool_hash)
        request.draw_input.public_entropy = draw.public_entropy
        for recusal in draw.recusals:
            request.draw_input.exclusions.add(
                inspector=recusal.inspector,
                target=recusal.target,
                reason=inspection_pb2.EXCLUSION_REASON_RECUSAL,
            )
    return request
