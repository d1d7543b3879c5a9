"""Sets the stage: regions, the 37 units, people in their posts, and the sites, all through the public API."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta

from dutyloop.directory.v1 import directory_pb2
from dutyloop.kit.v1 import kit_pb2
from dutyloop.policy.v1 import policy_pb2
from infra.demo import city
from infra.demo.actors import Actor, Stage, in_turn_of
from services.kit.dates import BEIJING, beijing_date, day_message, time_of

START_MONTH_AND_DAY = (1, 5)
INSPECTORS = 12
ENFORCERS = 6
AT_ONCE = 16
IN_CHARGE = 2
"""Of the leaders, from 0: the one in charge of work safety."""


@dataclass(slots=True)
class Cast:
    """Everybody and everything the story needs to name."""

    stage: Stage
    operator: Actor
    start: datetime
    city_unit: str = ""
    office: str = ""
    enforcement: str = ""
    counties: list[str] = field(default_factory=list)
    county_units: list[str] = field(default_factory=list)
    member_units: list[str] = field(default_factory=list)
    zones: dict[str, str] = field(default_factory=dict)
    zone_heads: dict[str, Actor] = field(default_factory=dict)
    unit_heads: dict[str, Actor] = field(default_factory=dict)
    leaders: list[Actor] = field(default_factory=list)
    leader_posts: list[str] = field(default_factory=list)
    commander: Actor = field(init=False)
    """The leader in charge of work safety, who commands the campaign in a post of its own."""
    command_post: str = ""
    decider: Actor = field(init=False)
    editor: Actor = field(init=False)
    approver: Actor = field(init=False)
    supervisor: Actor = field(init=False)
    second_supervisor: Actor = field(init=False)
    auditor: Actor = field(init=False)
    tour_inspectors: list[Actor] = field(default_factory=list)
    enforcers: list[Actor] = field(default_factory=list)
    today: int = 0

    def time(self, campaign_day: int) -> datetime:
        """Return business time at half past eight, Beijing, of a campaign day."""
        return self.start + timedelta(days=campaign_day)

    def date(self, campaign_day: int) -> date:
        """Return the Beijing date of a campaign day."""
        return beijing_date(self.time(campaign_day))

    async def now(self) -> datetime:
        """Return business time."""
        clock = await self.operator.do("directory.GetClock")
        return time_of(clock.time)

    async def advance(self, campaign_day: int) -> None:
        """Move business time, and every running case, on to a campaign day."""
        if campaign_day <= self.today and campaign_day:
            return
        await self.operator.do("directory.AdvanceClock", key=str(campaign_day), time=self.time(campaign_day))
        self.today = campaign_day


def story_start(now: datetime) -> datetime:
    """Return the next January 5th, half past eight in Beijing: the first working week of a year."""
    month, first = START_MONTH_AND_DAY
    year = beijing_date(now).year
    start = datetime(year, month, first, 8, 30, tzinfo=BEIJING)
    return start if start > now else start.replace(year=year + 1)


async def set_the_stage(stage: Stage) -> Cast:
    """Build the city, its bodies and its people."""
    operator = stage.actor("people/operator")
    clock = await operator.do("directory.GetClock")
    cast = Cast(stage, operator, story_start(time_of(clock.time)))
    await cast.advance(0)
    await _regions(cast)
    await _units(cast)
    await _people(cast)
    return cast


async def _regions(cast: Cast) -> None:
    rows = city.rows("regions.csv")
    header = kit_pb2.ImportHeader(request_id="demo-regions")
    listing = [directory_pb2.RegionRow(row=number, **row) for number, row in enumerate(rows, 1)]
    await cast.operator.send(
        "directory.ImportRegions", [directory_pb2.ImportRegionsRequest(header=header, rows=listing)]
    )
    cast.counties = [row["code"] for row in rows if len(row["code"]) == 6]


async def _unit(cast: Cast, name: str, region: str, kind: int, parent: str = "", *, enforcement: bool = False) -> str:
    unit = directory_pb2.Unit(
        display_name=name,
        region=f"regions/{region}",
        kind=kind,  # type: ignore[arg-type]
        parent=parent,
        enforcement=enforcement,
    )
    created = await cast.operator.do("directory.CreateUnit", key=name, unit=unit)
    return str(created.name)


async def _units(cast: Cast) -> None:
    region = city.figures(1).region
    cast.city_unit = await _unit(cast, "市人民政府", region, directory_pb2.UNIT_KIND_GOVERNMENT)
    cast.office = await _unit(cast, "市安全生产委员会办公室", region, directory_pb2.UNIT_KIND_COMMITTEE, cast.city_unit)
    for row in city.rows("member_units.csv"):
        unit = await _unit(
            cast,
            row["display_name"],
            region,
            directory_pb2.UNIT_KIND_DEPARTMENT,
            cast.city_unit,
            enforcement=row["enforcement"] == "yes",
        )
        cast.member_units.append(unit)
    cast.enforcement = cast.member_units[0]
    names = {row["code"]: row["display_name"] for row in city.rows("regions.csv")}
    for county in cast.counties:
        unit = await _unit(cast, f"{names[county]}人民政府", county, directory_pb2.UNIT_KIND_GOVERNMENT, cast.city_unit)
        cast.county_units.append(unit)
        cast.zones[county] = await _unit(
            cast, f"{names[county]}园区管理办公室", county, directory_pb2.UNIT_KIND_TOWNSHIP_OFFICE, unit
        )


async def engage(cast: Cast, title: str, unit: str, roles: Sequence[int], *, whole_region: bool) -> tuple[Actor, str]:
    """Register a numbered person in a post of their own; return the person, able to act, and the post."""
    person = await cast.operator.do(
        "directory.CreatePerson", key=title, person=directory_pb2.Person(display_name=title, unit=unit)
    )
    actor = cast.stage.actor(person.name)
    return actor, await appoint(cast, actor, title, unit, roles, whole_region=whole_region)


async def appoint(cast: Cast, person: Actor, title: str, unit: str, roles: Sequence[int], *, whole_region: bool) -> str:
    """Create a post and appoint a person to it; return the post."""
    reach = directory_pb2.POST_REACH_REGION if whole_region else directory_pb2.POST_REACH_UNIT
    post = await cast.operator.do(
        "directory.CreatePost",
        key=title,
        post=directory_pb2.Post(unit=unit, display_name=title, roles=roles, reach=reach),  # type: ignore[arg-type]
    )
    await cast.operator.do(
        "directory.Appoint",
        key=title,
        appointment=directory_pb2.Appointment(post=post.name, person=person.name, start_date=day_message(cast.date(0))),
    )
    return str(post.name)


async def _people(cast: Cast) -> None:
    role = policy_pb2
    office, government = cast.office, cast.city_unit
    cast.editor, _ = await engage(cast, "清单编制员1号", office, [role.ROLE_LIST_EDITOR], whole_region=True)
    cast.approver, _ = await engage(cast, "清单审定人1号", office, [role.ROLE_LIST_APPROVER], whole_region=True)
    cast.supervisor, _ = await engage(cast, "督查专员1号", office, [role.ROLE_SUPERVISOR], whole_region=True)
    cast.second_supervisor, _ = await engage(cast, "督查专员2号", office, [role.ROLE_SUPERVISOR], whole_region=True)
    cast.auditor, _ = await engage(cast, "审计员1号", government, [role.ROLE_AUDITOR], whole_region=True)
    cast.decider, _ = await engage(cast, "问责决定人1号", government, [role.ROLE_LEADER], whole_region=True)
    leaders = await in_turn_of(
        AT_ONCE,
        [
            engage(cast, f"市领导{number}号", government, [role.ROLE_DUTY_HOLDER], whole_region=False)
            for number in range(1, city.figures(1).leaders + 1)
        ],
    )
    cast.leaders, cast.leader_posts = [each[0] for each in leaders], [each[1] for each in leaders]
    cast.commander, duty_holder = cast.leaders[IN_CHARGE], [role.ROLE_DUTY_HOLDER]
    cast.command_post = await appoint(cast, cast.commander, "百日行动总指挥", office, duty_holder, whole_region=False)
    # Tour inspectors come from departments of all kinds; nobody is drawn for the own department.
    found = await in_turn_of(
        AT_ONCE,
        [
            engage(cast, f"巡查员{number}号", unit, [role.ROLE_INSPECTOR], whole_region=True)
            for number, unit in enumerate(cast.member_units[:INSPECTORS], 1)
        ],
    )
    cast.tour_inspectors = [each[0] for each in found]
    found = await in_turn_of(
        AT_ONCE,
        [
            engage(cast, f"执法员{number}号", cast.enforcement, [role.ROLE_INSPECTOR], whole_region=True)
            for number in range(1, ENFORCERS + 1)
        ],
    )
    cast.enforcers = [each[0] for each in found]
    answering = [*cast.member_units, *cast.county_units, *cast.zones.values()]
    heads = await in_turn_of(
        AT_ONCE,
        [
            engage(cast, f"整改责任人{number}号", unit, [role.ROLE_RESPONSIBLE_UNIT], whole_region=False)
            for number, unit in enumerate(answering, 1)
        ],
    )
    cast.unit_heads = {unit: head for unit, (head, _) in zip(answering, heads, strict=True)}
    cast.zone_heads = {county: cast.unit_heads[unit] for county, unit in cast.zones.items()}


async def register_sites(cast: Cast, plans: Sequence[city.SitePlan]) -> dict[int, str]:
    """Register the enterprises; return their names by number."""
    batches = [plans[start : start + 1_000] for start in range(0, len(plans), 1_000)]
    messages = [
        directory_pb2.ImportSitesRequest(
            header=kit_pb2.ImportHeader(request_id="demo-sites") if index == 0 else None,
            rows=[
                directory_pb2.SiteRow(
                    row=plan.number,
                    site=directory_pb2.Site(
                        display_name=plan.display_name,
                        credit_code=plan.credit_code,
                        region=f"regions/{plan.region_code}",
                        unit=cast.zones[plan.region_code],
                        sector=plan.sector,
                        colour=directory_pb2.RISK_COLOUR_ORANGE if plan.order else directory_pb2.RISK_COLOUR_YELLOW,
                    ),
                )
                for plan in batch
            ],
        )
        for index, batch in enumerate(batches)
    ]
    report = await cast.operator.send("directory.ImportSites", messages)
    if report.rejected:
        raise AssertionError(f"sites were rejected: {report.errors[0]}")
    numbers = {plan.credit_code: plan.number for plan in plans}
    found = {}
    async for site in cast.operator.pages("directory.ListSites", "sites"):
        found[numbers[site.credit_code]] = str(site.name)
    return found
