"""The full-coverage tour: 37 of 37 units drawn for, visited, answered by letter and report."""

import hashlib

from dutyloop.inspection.v1 import inspection_pb2
from infra.demo.actors import Actor, in_turn_of
from infra.demo.cast import AT_ONCE, Cast
from services.kit.dates import day_message, timestamp

COVERAGE_TERM = "campaign"
PLANNED_DAY, START_DAY, END_DAY = 0, 4, 40
LETTER_DAY, REPORT_DAY, CLOSE_DAY = 44, 64, 68


async def plan_tour(cast: Cast) -> str:
    """Plan the tour of all units and draw its inspectors; return its name."""
    tour = await cast.supervisor.do(
        "inspection.CreateTour",
        tour=inspection_pb2.Tour(
            display_name="全覆盖安全生产巡查",
            unit=cast.office,
            targets=[*cast.county_units, *cast.member_units],
            coverage_term=COVERAGE_TERM,
            start_date=day_message(cast.date(START_DAY)),
            end_date=day_message(cast.date(END_DAY)),
            notice_date=day_message(cast.date(PLANNED_DAY)),
            candidates=[inspector.name for inspector in cast.tour_inspectors],
            inspectors_per_visit=2,
        ),
    )
    drawn = await cast.supervisor.do("inspection.DrawInspectors", name=tour.name)
    verified = await cast.auditor.do("inspection.VerifyDraw", name=drawn.draw)
    if not verified.matches:
        raise AssertionError("the draw does not recompute")
    return str(tour.name)


async def start_tour(cast: Cast, tour: str) -> None:
    """Start the tour on its day."""
    await cast.supervisor.do("inspection.StartTour", name=tour)


async def visit_units(cast: Cast, tour: str, part: int, parts: int) -> None:
    """Visit one part of the targets, by those drawn for each."""
    found = await cast.supervisor.do("inspection.GetTour", name=tour)
    draw = await cast.supervisor.do("inspection.GetDraw", name=found.draw)
    people = {inspector.name: inspector for inspector in cast.tour_inspectors}
    chosen = [each for index, each in enumerate(draw.assignments) if index % parts == part]
    await in_turn_of(
        AT_ONCE,
        [
            record_visit(cast, people[each.inspectors[0]], each.target, list(each.inspectors), tour=tour)
            for each in chosen
        ],
    )


async def record_visit(
    cast: Cast, recorder: Actor, target: str, inspectors: list[str], *, tour: str = "", enforcement_unit: str = ""
) -> str:
    """Record a visit with certificates shown and every signature; return its name."""
    visit = inspection_pb2.Visit(
        tour=tour,
        target=target,
        enforcement_unit=enforcement_unit,
        inspectors=inspectors,
        check_in_time=timestamp(await cast.now()),
        purpose="全覆盖巡查" if tour else "百日行动检查",
        content="查阅台账并现场检查",
        certificate_shown=True,
        signatures=[
            inspection_pb2.Signature(inspector=inspector, reference=f"sig-{inspector.rpartition('/')[2]}")
            for inspector in inspectors
        ],
        target_signature=f"sig-{target.rpartition('/')[2]}",
    )
    recorded = await recorder.do("inspection.RecordVisit", key=f"{tour}{target}", visit=visit)
    return str(recorded.name)


async def issue_letter(cast: Cast, tour: str) -> None:
    """Send the feedback letter to every unit visited."""
    letter = inspection_pb2.FeedbackLetter(
        number="巡查反馈〔1〕号",
        summary="台账不全、隐患整改不及时，请限期整改并书面反馈",
        addressees=[*cast.county_units, *cast.member_units],
    )
    await cast.supervisor.do("inspection.IssueFeedbackLetter", key=tour, name=tour, letter=letter)


async def report_rectification(cast: Cast, tour: str) -> None:
    """Have each unit's responsible person report; one after the other, since they share the tour's case."""
    for number, unit in enumerate([*cast.county_units, *cast.member_units], 1):
        await cast.unit_heads[unit].do(
            "inspection.SubmitRectificationReport",
            key=unit,
            name=tour,
            target=unit,
            number=f"整改报告〔{number}〕号",
            document_hash=hashlib.sha256(unit.encode()).digest(),
        )


async def close_tour(cast: Cast, tour: str) -> None:
    """Close the tour."""
    await cast.supervisor.do("inspection.CloseTour", name=tour, conclusion="37 个单位全部巡查并反馈整改")


async def covered_units(cast: Cast) -> int:
    """Ask the coverage ledger how many units are covered."""
    coverage = await cast.supervisor.do("inspection.GetCoverage", unit=cast.office, coverage_term=COVERAGE_TERM)
    return int(coverage.covered_count)
