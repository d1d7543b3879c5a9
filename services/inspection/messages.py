"""Rows of the inspection schema as protobuf messages, and messages as columns."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from dutyloop.inspection.v1 import inspection_pb2
from dutyloop.kit.v1 import kit_pb2
from services.inspection import draw
from services.kit.dates import set_day
from services.kit.db import Row
from services.kit.lights import light
from services.kit.names import name_of
from services.kit.terms import TERM_UNIT
from services.kit.words_of import Words

EXCLUSION_REASON = Words(inspection_pb2.ExclusionReason)
TOUR_STATE = Words(inspection_pb2.TourState)


def tour_message(row: Row, now: datetime) -> inspection_pb2.Tour:
    """Return the message for a row of ``tour`` with its derived columns; the light is derived for ``now``."""
    message = inspection_pb2.Tour()
    message.name = name_of("tours", row["id"])
    message.etag = str(row["revision"])
    message.display_name = row["display_name"]
    message.unit = row["unit"]
    message.enforcement_unit = row["enforcement_unit"]
    message.targets.extend(row["targets"])
    message.coverage_term = row["coverage_term"]
    set_day(message.start_date, row["start_date"])
    set_day(message.end_date, row["end_date"])
    if row["notice_date"] is not None:
        set_day(message.notice_date, row["notice_date"])
    message.candidates.extend(row["candidates"])
    message.inspectors_per_visit = row["inspectors_per_visit"]
    message.region = name_of("regions", row["region_code"])
    message.state = TOUR_STATE.number(row["state"])
    message.planner = row["planner"]
    if row["drawn"]:
        message.draw = name_of("draws", row["id"])
    if row["letter"] is not None:
        _fill_letter(message.letter, row["letter"])
    for report in row["reports"]:
        filled = message.reports.add(
            target=report["target"],
            number=report["number"],
            document_hash=bytes.fromhex(report["document_hash"]),
            submitter=report["submitter"],
        )
        filled.submit_time.FromDatetime(datetime.fromisoformat(report["submit_time"]))
    message.visited_count = row["visited_count"]
    for field in ("due_time", "create_time", "start_time", "close_time"):
        if row[field] is not None:
            getattr(message, field).FromDatetime(row[field])
    message.closer = row["closer"]
    message.conclusion = row["conclusion"]
    message.light = light(row["due_time"], now)
    return message


def letter_columns(letter: inspection_pb2.FeedbackLetter, issue_time: datetime) -> dict[str, Any]:
    """Return a letter as it is stored."""
    return {
        "number": letter.number,
        "summary": letter.summary,
        "addressees": list(letter.addressees),
        "term": term_columns(letter.term) if letter.HasField("term") else None,
        "issuer": letter.issuer,
        "issue_time": issue_time.isoformat(),
    }


def term_columns(term: kit_pb2.Term) -> dict[str, Any]:
    """Return a term as it is stored and as workflows take it."""
    return {"amount": term.amount, "unit": TERM_UNIT.of(term.unit)}


def draw_message(row: Row) -> inspection_pb2.Draw:
    """Return the message for a row of ``draw`` with its tour's targets and its assignments."""
    message = inspection_pb2.Draw(
        name=name_of("draws", row["tour_id"]),
        tour=name_of("tours", row["tour_id"]),
        algorithm=row["algorithm"],
        seed=row["seed"],
        public_entropy=row["public_entropy"],
        pool_hash=row["pool_hash"],
        targets=row["targets"],
        inspectors_per_visit=row["inspectors_per_visit"],
        drawer=row["drawer"],
    )
    message.draw_time.FromDatetime(row["draw_time"])
    for person, unit in zip(row["candidates"], row["candidate_units"], strict=True):
        message.candidates.add(person=person, unit=unit)
    for inspector, target, reason in row["exclusions"]:
        message.exclusions.add(
            inspector=inspector,
            target=target,
            reason=EXCLUSION_REASON.number(reason),
        )
    fill_assignments(message.assignments, assignments_of(row))
    return message


def drawn_of(row: Row) -> draw.Drawn:
    """Return what is stored of a draw in the form in which it is verified."""
    pool = draw.Pool(
        tuple(row["targets"]),
        tuple(map(draw.Candidate, row["candidates"], row["candidate_units"])),
        tuple(draw.Exclusion(*each) for each in row["exclusions"]),
        row["inspectors_per_visit"],
    )
    return draw.Drawn(pool, row["pool_hash"], row["seed"], row["public_entropy"], assignments_of(row), row["algorithm"])


def assignments_of(row: Row) -> tuple[draw.Assignment, ...]:
    """Return the stored assignments, in the order of the tour's targets."""
    return tuple(draw.Assignment(target, tuple(inspectors)) for target, inspectors in row["assignments"])


def fill_assignments(into: Any, assignments: Sequence[draw.Assignment]) -> None:
    """Add assignments to a repeated field."""
    for each in assignments:
        into.add(target=each.target, inspectors=each.inspectors)


def visit_message(row: Row) -> inspection_pb2.Visit:
    """Return the message for a row of ``visit``."""
    message = inspection_pb2.Visit()
    message.name = name_of("visits", row["id"])
    message.tour = name_of("tours", row["tour_id"])
    message.target = row["target"]
    message.enforcement_unit = row["enforcement_unit"]
    message.inspectors.extend(row["inspectors"])
    if row["check_in_time"] is not None:
        message.check_in_time.FromDatetime(row["check_in_time"])
    message.purpose = row["purpose"]
    message.place = row["place"]
    message.content = row["content"]
    message.certificate_shown = row["certificate_shown"]
    for finding in row["findings"]:
        message.findings.add(**finding)
    for signature in row["signatures"]:
        message.signatures.add(**signature)
    message.target_signature = row["target_signature"]
    message.refusal_note = row["refusal_note"]
    set_day(message.visit_date, row["visit_date"])
    message.recorder = row["recorder"]
    message.record_time.FromDatetime(row["record_time"])
    message.region = name_of("regions", row["region_code"])
    message.legacy_id = row["legacy_id"] or ""
    message.source_region = name_of("regions", row["source_region_code"])
    message.legacy_inspector = row["legacy_inspector"]
    return message


def finding_columns(visit: inspection_pb2.Visit) -> list[dict[str, str]]:
    """Return findings as they are stored."""
    return [
        {"description": each.description, "basis": each.basis, "handling": each.handling} for each in visit.findings
    ]


def signature_columns(visit: inspection_pb2.Visit) -> list[dict[str, str]]:
    """Return signatures as they are stored."""
    return [{"inspector": each.inspector, "reference": each.reference} for each in visit.signatures]


def coverage_line(row: Row) -> inspection_pb2.CoverageLine:
    """Return a line of the coverage ledger."""
    line = inspection_pb2.CoverageLine(target=row["target"], visit_count=row["visit_count"])
    if row["last_visit_date"] is not None:
        set_day(line.last_visit_date, row["last_visit_date"])
    return line


def _fill_letter(message: inspection_pb2.FeedbackLetter, stored: dict[str, Any]) -> None:
    message.number = stored["number"]
    message.summary = stored["summary"]
    message.addressees.extend(stored["addressees"])
    if stored["term"] is not None:
        message.term.amount = stored["term"]["amount"]
        message.term.unit = TERM_UNIT.number(stored["term"]["unit"])
    message.issuer = stored["issuer"]
    message.issue_time.FromDatetime(datetime.fromisoformat(stored["issue_time"]))
