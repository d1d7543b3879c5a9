"""A small composed city: regions, units, sites, and somebody in every role at home and next door.

Home is 1303 with the counties 130302 and 130303, next door is 1304; both lie in province 13. People are
numbered by the directory, never named.
"""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

from google.type.date_pb2 import Date

from dutyloop.directory.v1 import directory_pb2
from dutyloop.hazard.v1 import hazard_pb2
from dutyloop.inspection.v1 import inspection_pb2
from dutyloop.inspection.v1.inspection_pb2_grpc import InspectionServiceStub
from dutyloop.kit.v1 import kit_pb2
from dutyloop.policy.v1 import policy_pb2
from tests.integration.house import Caller, RunningHouse

Role: TypeAlias = policy_pb2.Role.ValueType
ROLES: tuple[Role, ...] = tuple(number for number in policy_pb2.Role.values() if number)
PROVINCE, HOME, COUNTY, SIBLING_COUNTY, NEXT_DOOR = (
    f"regions/{code}" for code in ("13", "1303", "130302", "130303", "1304")
)
IN_OFFICE_SINCE = Date(year=2000, month=1, day=1)


def role_word(role: int) -> str:
    """Return a role's name without its prefix, in small letters."""
    return policy_pb2.Role.Name(role).removeprefix("ROLE_").lower()  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True)
class Place:
    """One of the two cities, and who holds which role there."""

    region: str
    office: str
    enterprise: str
    site: str
    people: Mapping[Role, Caller]


@dataclass(frozen=True, slots=True)
class City:
    """Home and next door. ``all_rounder`` holds every role at home, ``postless`` none anywhere."""

    house: RunningHouse
    home: Place
    next_door: Place
    all_rounder: Caller
    postless: Caller

    @property
    def inspector(self) -> Caller:
        """The inspector at home."""
        return self.home.people[policy_pb2.ROLE_INSPECTOR]

    @property
    def supervisor(self) -> Caller:
        """The supervisor at home."""
        return self.home.people[policy_pb2.ROLE_SUPERVISOR]

    @property
    def responsible(self) -> Caller:
        """Who answers for rectification at home."""
        return self.home.people[policy_pb2.ROLE_RESPONSIBLE_UNIT]

    async def hires(self, *roles: Role, unit: str = "") -> Caller:
        """Register somebody and appoint him to a new post with these roles; at home unless a unit is named."""
        return await hire(self.house, unit or self.home.office, *roles)

    async def reports(
        self,
        by: Caller | None = None,
        *,
        site: str = "",
        disposition: hazard_pb2.Disposition.ValueType = hazard_pb2.DISPOSITION_TIME_LIMITED,
        grade: hazard_pb2.HazardGrade.ValueType = hazard_pb2.HAZARD_GRADE_GENERAL,
    ) -> hazard_pb2.Hazard:
        """Report a hazard, by the inspector at home unless somebody else is named; on the spot in a visit of his."""
        by, site = by or self.inspector, site or self.home.site
        request = hazard_pb2.ReportHazardRequest(hazard=new_hazard(site, disposition, grade))
        if disposition == hazard_pb2.DISPOSITION_ON_THE_SPOT:
            request.hazard.visit = await self.visits(by, site)
        return await by.calls(self.house.hazard.ReportHazard, request)

    async def visits(self, by: Caller, site: str = "") -> str:
        """Record a visit by an inspector of the office, together with the all-rounder; return its name."""
        inspectors = [by.name, self.all_rounder.name]
        visit = inspection_pb2.Visit(
            target=site or self.home.site,
            enforcement_unit=self.home.office,
            inspectors=inspectors,
            certificate_shown=True,
            signatures=[inspection_pb2.Signature(inspector=each, reference="sha256:1") for each in inspectors],
            target_signature="sha256:2",
        )
        visit.check_in_time.FromDatetime(await self.house.arrival())
        stub = InspectionServiceStub(self.house.channel)
        return (await by.calls(stub.RecordVisit, inspection_pb2.RecordVisitRequest(visit=visit))).name


async def settle(house: RunningHouse) -> City:
    """Found both cities through the public API, as the operator."""
    header = kit_pb2.ImportHeader(request_id=uuid.uuid4().hex)
    rows = [
        directory_pb2.RegionRow(code=code, parent_code=parent, display_name=f"区划{code}")
        for code, parent in (("13", ""), ("1303", "13"), ("130302", "1303"), ("130303", "1303"), ("1304", "13"))
    ]
    report = await house.operator.sends(
        house.directory.ImportRegions, directory_pb2.ImportRegionsRequest(header=header, rows=rows)
    )
    assert report.created == len(rows), report
    home = await _found(house, HOME)
    return City(
        house=house,
        home=home,
        next_door=await _found(house, NEXT_DOOR),
        all_rounder=await hire(house, home.office, *ROLES),
        postless=await register(house, home.office),
    )


async def _found(house: RunningHouse, region: str) -> Place:
    office = await create_unit(house, region, directory_pb2.UNIT_KIND_DEPARTMENT)
    enterprise = await create_unit(house, region, directory_pb2.UNIT_KIND_ENTERPRISE, parent=office)
    # Hazards are rectified by the enterprise itself; everybody else is of the office above it.
    own = {policy_pb2.ROLE_RESPONSIBLE_UNIT: enterprise}
    people = {role: await hire(house, own.get(role, office), role) for role in ROLES}
    site = await create_site(house, region, enterprise)
    return Place(region, office, enterprise, site, people)


def new_hazard(
    site: str,
    disposition: hazard_pb2.Disposition.ValueType = hazard_pb2.DISPOSITION_TIME_LIMITED,
    grade: hazard_pb2.HazardGrade.ValueType = hazard_pb2.HAZARD_GRADE_GENERAL,
) -> hazard_pb2.Hazard:
    """Return a hazard as an inspector would report it."""
    return hazard_pb2.Hazard(
        site=site,
        grade=grade,
        disposition=disposition,
        description="配电箱无漏电保护",
        remedy="当场加装" if disposition == hazard_pb2.DISPOSITION_ON_THE_SPOT else "",
    )


async def create_unit(
    house: RunningHouse, region: str, kind: directory_pb2.UnitKind.ValueType, parent: str = ""
) -> str:
    """Create a unit and return its name."""
    unit = directory_pb2.Unit(
        display_name="应急管理局",
        region=region,
        parent=parent,
        kind=kind,
        enforcement=kind == directory_pb2.UNIT_KIND_DEPARTMENT,
    )
    answer = await house.operator.calls(house.directory.CreateUnit, directory_pb2.CreateUnitRequest(unit=unit))
    return answer.name


async def create_site(house: RunningHouse, region: str, unit: str = "") -> str:
    """Create a site and return its name."""
    site = directory_pb2.Site(display_name="第一化工厂", region=region, unit=unit, sector="化工")
    answer = await house.operator.calls(house.directory.CreateSite, directory_pb2.CreateSiteRequest(site=site))
    return answer.name


async def register(house: RunningHouse, unit: str) -> Caller:
    """Register a person without a post."""
    person = directory_pb2.Person(display_name="甲", unit=unit)
    answer = await house.operator.calls(house.directory.CreatePerson, directory_pb2.CreatePersonRequest(person=person))
    return house.person(answer.name)


async def hire(house: RunningHouse, unit: str, *roles: Role) -> Caller:
    """Register a person and appoint them to a new post of a unit that reaches the unit's region."""
    person = await register(house, unit)
    return house.person(person.name, await appoint(house, person, unit, *roles))


async def appoint(house: RunningHouse, person: Caller, unit: str, *roles: Role) -> str:
    """Appoint a person to a new post of a unit that reaches the unit's region; return the appointment's name."""
    post = directory_pb2.Post(unit=unit, display_name="岗位", roles=roles, reach=directory_pb2.POST_REACH_REGION)
    created = await house.operator.calls(house.directory.CreatePost, directory_pb2.CreatePostRequest(post=post))
    appointment = directory_pb2.Appointment(post=created.name, person=person.name, start_date=IN_OFFICE_SINCE)
    appointed = await house.operator.calls(
        house.directory.Appoint, directory_pb2.AppointRequest(appointment=appointment)
    )
    return appointed.name
