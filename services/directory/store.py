"""The rows of regions, units, people, posts, appointments, holiday notices and the business clock."""

import contextlib
from collections.abc import Sequence
from datetime import date, datetime

import asyncpg

from dutyloop.directory.v1 import directory_pb2
from services.directory import messages, rules
from services.directory.rules import TermOfOffice
from services.kit.access import Scope
from services.kit.call import Call
from services.kit.clock import wall_clock
from services.kit.dates import beijing_date
from services.kit.db import Database, Repeated
from services.kit.errors import NotFound, invalid, require_etag
from services.kit.holidays import HolidayYear, WorkCalendar, calendar_in_force, entered_notice
from services.kit.ledger import Event
from services.kit.names import id_of, name_of, optional_id
from services.kit.own_calls import own_call
from services.kit.paging import Page


class DirectoryStore:
    """Reads and commands, each named for what the business calls it."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._calendar: tuple[tuple[tuple[int, int], ...], WorkCalendar] | None = None

    # Regions. They are public facts: whoever holds a post may read every one, so no scope is checked.

    SELECT_REGION = """
    SELECT code, parent_code, display_name
    FROM region
    WHERE code = $1
    """

    async def region(self, code: str) -> asyncpg.Record | None:
        """Return a region, if there is one."""
        return await self._database.fetchrow(self.SELECT_REGION, code)

    LIST_REGIONS = """
    SELECT code, parent_code, display_name
    FROM region
    WHERE code > $1
    ORDER BY code
    LIMIT $2
    """

    LIST_REGIONS_BELOW = """
    SELECT code, parent_code, display_name
    FROM region
    WHERE parent_code = $1 AND code > $2
    ORDER BY code
    LIMIT $3
    """

    async def regions(self, page: Page, parent_code: str) -> list[asyncpg.Record]:
        """List regions by code; those directly below ``parent_code`` when it is given."""
        if parent_code:
            return await self._database.fetch(self.LIST_REGIONS_BELOW, parent_code, page.after_key(), page.limit)
        return await self._database.fetch(self.LIST_REGIONS, page.after_key(), page.limit)

    # Units.

    SELECT_REGION_AND_PARENT = """
    SELECT EXISTS (SELECT FROM region WHERE code = $1) AS region_exists,
        parent.region_code AS parent_region_code,
        parent.path AS parent_path
    FROM (SELECT 1) AS always
    LEFT JOIN unit AS parent ON parent.id = $2
    """

    INSERT_UNIT = """
    INSERT INTO unit (id, display_name, region_code, parent_id, kind, enforcement, path)
    VALUES ($1, $2, $3, $4, $5, $6, $7)
    RETURNING id, revision, display_name, region_code, parent_id, kind, enforcement, path AS unit_path
    """

    async def create_unit(self, call: Call, unit: directory_pb2.Unit) -> directory_pb2.Unit:
        """Create a unit below its parent. A parent out of reach is refused like one that is absent."""
        region_code = id_of(unit.region, "regions", "unit.region")
        parent_id = optional_id(unit.parent, "units", "unit.parent")
        kind = messages.UNIT_KIND.of(unit.kind)
        rules.require_enforcing_kind(kind, enforcement=unit.enforcement)
        identifier = call.new_id()
        async with self._database.command(call) as tx:
            found = await tx.fetchone(self.SELECT_REGION_AND_PARENT, region_code, parent_id)
            parent_path = found["parent_path"] or ""
            path = f"{parent_path}{identifier}/"
            call.scope.require(unit.region, region_code, path)
            if not found["region_exists"]:
                raise invalid("unit.region", "unknown_reference")
            if parent_id:
                if not parent_path or not call.scope.covers(found["parent_region_code"], parent_path):
                    raise invalid("unit.parent", "unknown_reference")
                rules.require_within_parent(region_code, found["parent_region_code"])
            row = await tx.fetchone(
                self.INSERT_UNIT,
                identifier,
                unit.display_name,
                region_code,
                parent_id or None,
                kind,
                unit.enforcement,
                path,
            )
            created = messages.unit_message(row)
            payload = {"display_name": unit.display_name, "kind": kind, "enforcement": unit.enforcement}
            objects = [created.name, *([created.parent] if parent_id else [])]
            tx.record(Event("directory.unit.created", objects, payload, region_code, path))
            return tx.answer(created)

    SELECT_UNIT = """
    SELECT id, revision, display_name, region_code, parent_id, kind, enforcement, path AS unit_path
    FROM unit
    WHERE id = $1
    """

    LOCK_UNIT = """
    SELECT id, revision, display_name, region_code, parent_id, kind, enforcement, path AS unit_path
    FROM unit
    WHERE id = $1
    FOR NO KEY UPDATE
    """

    UPDATE_UNIT = """
    UPDATE unit
    SET display_name = $2, kind = $3, enforcement = $4, revision = revision + 1
    WHERE id = $1
    RETURNING id, revision, display_name, region_code, parent_id, kind, enforcement, path AS unit_path
    """

    async def update_unit(self, call: Call, unit: directory_pb2.Unit, changes: frozenset[str]) -> directory_pb2.Unit:
        """Change the named fields of a unit. Raises StaleEtag, and InvalidFields on a moved region or parent."""
        async with self._database.command(call) as tx:
            found = await tx.fetchrow(self.LOCK_UNIT, id_of(unit.name, "units", "unit.name"))
            row = call.scope.row(unit.name, found)
            require_etag(unit.name, unit.etag, row["revision"])
            require_unmoved("unit.region", unit.region, name_of("regions", row["region_code"]))
            require_unmoved("unit.parent", unit.parent, name_of("units", row["parent_id"]))
            kind = messages.UNIT_KIND.of(unit.kind) if "kind" in changes else row["kind"]
            enforcement = unit.enforcement if "enforcement" in changes else row["enforcement"]
            rules.require_enforcing_kind(kind, enforcement=enforcement)
            display_name = unit.display_name if "display_name" in changes else row["display_name"]
            wanted = {"display_name": display_name, "kind": kind, "enforcement": enforcement}
            changed = await tx.fetchone(self.UPDATE_UNIT, row["id"], *wanted.values())
            payload = {field: wanted[field] for field in sorted(changes)}
            tx.record(Event("directory.unit.changed", [unit.name], payload, row["region_code"], row["unit_path"]))
            return tx.answer(messages.unit_message(changed))

    async def unit(self, name: str, scope: Scope) -> asyncpg.Record:
        """Return a unit's row. Raises NotFound, also for one outside the scope."""
        return scope.row(name, await self._database.fetchrow(self.SELECT_UNIT, id_of(name, "units")))

    LIST_UNITS = """
    SELECT id, revision, display_name, region_code, parent_id, kind, enforcement, path AS unit_path
    FROM unit
    WHERE (region_code ^@ ANY($1::text[]) OR path ^@ ANY($2::text[]))
        AND ($3 = '' OR parent_id = $3)
        AND region_code ^@ $4
        AND id > $5
    ORDER BY id
    LIMIT $6
    """

    async def units(self, call: Call, page: Page, parent_id: str, region_code: str) -> list[asyncpg.Record]:
        """List units within reach: all, directly below a parent, or within a region."""
        return await self._database.fetch(
            self.LIST_UNITS, *call.scope.prefixes, parent_id, region_code, page.after_key(), page.limit
        )

    # People and posts.

    INSERT_PERSON = """
    INSERT INTO person (id, display_name, unit_id, region_code, unit_path)
    VALUES ($1, $2, $3, $4, $5)
    RETURNING id, display_name, unit_id
    """

    async def create_person(self, call: Call, person: directory_pb2.Person) -> directory_pb2.Person:
        """Register a person of a unit within reach. The ledger keeps the number, not the name."""
        unit_id = id_of(person.unit, "units", "person.unit")
        async with self._database.command(call) as tx:
            unit = call.scope.row(person.unit, await tx.fetchrow(self.SELECT_UNIT, unit_id))
            row = await tx.fetchone(
                self.INSERT_PERSON,
                call.new_id(),
                person.display_name,
                unit["id"],
                unit["region_code"],
                unit["unit_path"],
            )
            created = messages.person_message(row)
            objects = [created.name, person.unit]
            tx.record(Event("directory.person.registered", objects, {}, unit["region_code"], unit["unit_path"]))
            return tx.answer(created)

    SELECT_PERSON = """
    SELECT id, display_name, unit_id, region_code, unit_path
    FROM person
    WHERE id = $1
    """

    async def person(self, name: str, scope: Scope) -> asyncpg.Record:
        """Return a person's row. Raises NotFound, also for one outside the scope."""
        return scope.row(name, await self._database.fetchrow(self.SELECT_PERSON, id_of(name, "people")))

    INSERT_POST = """
    INSERT INTO post (id, unit_id, display_name, roles, reach, region_code, unit_path)
    VALUES ($1, $2, $3, $4, $5, $6, $7)
    RETURNING id, unit_id, display_name, roles, reach
    """

    async def create_post(self, call: Call, post: directory_pb2.Post) -> directory_pb2.Post:
        """Create a post. Nobody may create one that reaches further than his own."""
        roles = [messages.ROLE.of(role) for role in post.roles]
        reach = messages.REACH.of(post.reach)
        unit_id = id_of(post.unit, "units", "post.unit")
        async with self._database.command(call) as tx:
            unit = await tx.fetchrow(self.SELECT_UNIT, unit_id)
            if unit is None:
                raise NotFound(post.unit)
            _require_reach(call, post.unit, reach, unit["region_code"], unit["unit_path"])
            row = await tx.fetchone(
                self.INSERT_POST,
                call.new_id(),
                unit["id"],
                post.display_name,
                roles,
                reach,
                unit["region_code"],
                unit["unit_path"],
            )
            created = messages.post_message(row)
            payload = {"display_name": post.display_name, "roles": roles, "reach": reach}
            objects = [created.name, post.unit]
            tx.record(Event("directory.post.created", objects, payload, unit["region_code"], unit["unit_path"]))
            return tx.answer(created)

    LIST_POSTS = """
    SELECT id, unit_id, display_name, roles, reach
    FROM post
    WHERE (region_code ^@ ANY($1::text[]) OR unit_path ^@ ANY($2::text[]))
        AND ($3 = '' OR unit_id = $3)
        AND id > $4
    ORDER BY id
    LIMIT $5
    """

    async def posts(self, call: Call, page: Page, unit_id: str) -> list[asyncpg.Record]:
        """List posts within reach, of one unit when it is given."""
        return await self._database.fetch(self.LIST_POSTS, *call.scope.prefixes, unit_id, page.after_key(), page.limit)

    # Appointments.

    LOCK_POST = """
    SELECT id, reach, region_code, unit_path
    FROM post
    WHERE id = $1
    FOR NO KEY UPDATE
    """

    SELECT_TERMS = """
    SELECT start_date, end_date
    FROM appointment
    WHERE post_id = $1 AND id <> $2
    """

    INSERT_APPOINTMENT = """
    INSERT INTO appointment (id, post_id, person_id, start_date, end_date, region_code, unit_path)
    VALUES ($1, $2, $3, $4, $5, $6, $7)
    RETURNING id, post_id, person_id, start_date, end_date, (SELECT unit_id FROM post WHERE post.id = post_id)
    """

    async def appoint(
        self, call: Call, appointment: directory_pb2.Appointment, term: TermOfOffice
    ) -> directory_pb2.Appointment:
        """Appoint a person to a free post. A person out of reach is refused like one who is absent."""
        post_id = id_of(appointment.post, "posts", "appointment.post")
        person_id = id_of(appointment.person, "people", "appointment.person")
        identifier = call.new_id()
        async with self._database.command(call) as tx:
            post = await tx.fetchrow(self.LOCK_POST, post_id)
            if post is None:
                raise NotFound(appointment.post)
            region_code, unit_path = post["region_code"], post["unit_path"]
            _require_reach(call, appointment.post, post["reach"], region_code, unit_path)
            person = await tx.fetchrow(self.SELECT_PERSON, person_id)
            if person is None or not call.scope.covers(person["region_code"], person["unit_path"]):
                raise invalid("appointment.person", "unknown_reference")
            rules.require_free_post(term, _terms(await tx.fetch(self.SELECT_TERMS, post_id, identifier)))
            row = await tx.fetchone(
                self.INSERT_APPOINTMENT,
                identifier,
                post_id,
                person_id,
                term.start,
                term.end,
                region_code,
                unit_path,
            )
            created = messages.appointment_message(row)
            objects = [created.name, appointment.post, appointment.person]
            payload = {"start_date": term.start, "end_date": term.end}
            tx.record(Event("directory.appointment.made", objects, payload, region_code, unit_path))
            return tx.answer(created)

    SELECT_APPOINTMENT = """
    SELECT id, post_id, person_id, start_date, end_date, region_code, unit_path
    FROM appointment
    WHERE id = $1
    """

    END_APPOINTMENT = """
    UPDATE appointment
    SET end_date = $2
    WHERE id = $1
    RETURNING id, post_id, person_id, start_date, end_date, (SELECT unit_id FROM post WHERE post.id = post_id)
    """

    async def end_appointment(self, call: Call, name: str, asked: date | None) -> directory_pb2.Appointment:
        """End an appointment on a day, or at once. The lock on the post keeps its terms from overlapping."""
        identifier = id_of(name, "appointments")
        async with self._database.command(call) as tx:
            found = call.scope.row(name, await tx.fetchrow(self.SELECT_APPOINTMENT, identifier))
            await tx.fetchrow(self.LOCK_POST, found["post_id"])
            row = await tx.fetchone(self.SELECT_APPOINTMENT, identifier)  # as it stands under the lock
            term = TermOfOffice(row["start_date"], row["end_date"])
            end = rules.end_of_office(term, asked, beijing_date(call.now))
            others = _terms(await tx.fetch(self.SELECT_TERMS, row["post_id"], identifier))
            rules.require_free_post(TermOfOffice(term.start, end), others)
            ended = await tx.fetchone(self.END_APPOINTMENT, identifier, end)
            answer = messages.appointment_message(ended)
            objects = [answer.name, answer.post, answer.person]
            payload = {"start_date": term.start, "end_date": end, "at_once": asked is None}
            tx.record(Event("directory.appointment.ended", objects, payload, found["region_code"], found["unit_path"]))
            return tx.answer(answer)

    LIST_APPOINTMENTS = """
    SELECT id, post_id, person_id, start_date, end_date, (SELECT unit_id FROM post WHERE post.id = post_id)
    FROM appointment
    WHERE (region_code ^@ ANY($1::text[]) OR unit_path ^@ ANY($2::text[]))
        AND ($3 = '' OR post_id = $3)
        AND ($4 = '' OR person_id = $4)
        AND id > $5
    ORDER BY id
    LIMIT $6
    """

    async def appointments(self, call: Call, page: Page, post_id: str, person_id: str) -> list[asyncpg.Record]:
        """List appointments within reach, of one post or one person when given."""
        return await self._database.fetch(
            self.LIST_APPOINTMENTS, *call.scope.prefixes, post_id, person_id, page.after_key(), page.limit
        )

    SELECT_HELD_POSTS = """
    SELECT post.id AS post_id, post.unit_id, post.roles, post.reach, unit.region_code, unit.path
    FROM appointment
    JOIN post ON post.id = appointment.post_id
    JOIN unit ON unit.id = post.unit_id
    WHERE appointment.person_id = $1
        AND appointment.start_date <= $2
        AND (appointment.end_date IS NULL OR appointment.end_date > $2)
    ORDER BY post.id
    """

    async def held_posts(self, person_id: str, day: date) -> list[asyncpg.Record]:
        """List the posts that a person holds on a day."""
        return await self._database.fetch(self.SELECT_HELD_POSTS, person_id, day)

    # Holiday notices.

    UPSERT_NOTICE = """
    INSERT INTO holiday_notice AS known (year, off_dates, work_dates)
    VALUES ($1, $2, $3)
    ON CONFLICT (year) DO UPDATE
    SET off_dates = EXCLUDED.off_dates, work_dates = EXCLUDED.work_dates, revision = known.revision + 1
    RETURNING year, revision, off_dates, work_dates
    """

    async def publish_notice(self, call: Call, notice: HolidayYear) -> directory_pb2.HolidayNotice:
        """Enter a year's notice; one entered before is replaced, as in January 2020."""
        async with self._database.command(call) as tx:
            row = await tx.fetchone(self.UPSERT_NOTICE, notice.year, sorted(notice.off), sorted(notice.work))
            published = messages.notice_message(row)
            payload = {
                "year": notice.year,
                "revision": row["revision"],
                "off_dates": row["off_dates"],
                "work_dates": row["work_dates"],
            }
            tx.record(Event("directory.holiday_notice.published", [published.name], payload, region_code=""))
            return tx.answer(published)

    LIST_NOTICES = """
    SELECT year, revision, off_dates, work_dates
    FROM holiday_notice
    ORDER BY year
    """

    async def notices(self) -> list[asyncpg.Record]:
        """Return the notices entered, by year."""
        return await self._database.fetch(self.LIST_NOTICES)

    async def calendar(self) -> WorkCalendar:
        """Return the calendar in force."""
        rows = await self.notices()
        version = tuple((row["year"], row["revision"]) for row in rows)
        if self._calendar is None or self._calendar[0] != version:
            entered = [entered_notice(row["year"], row["off_dates"], row["work_dates"]) for row in rows]
            self._calendar = (version, calendar_in_force(entered))
        return self._calendar[1]

    # The business clock.

    SELECT_CLOCK = """
    SELECT time
    FROM clock
    WHERE id = 1
    """

    START_CLOCK = """
    INSERT INTO clock (time)
    VALUES ($1)
    ON CONFLICT DO NOTHING
    RETURNING time
    """

    ADVANCE_CLOCK = """
    UPDATE clock
    SET time = $1
    WHERE id = 1 AND time <= $1
    RETURNING time
    """

    async def clock(self) -> datetime:
        """Return the virtual clock, set to the wall clock by whoever reads it first."""
        time: datetime | None = await self._database.fetchval(self.SELECT_CLOCK)
        if time is not None:
            return time
        with contextlib.suppress(Repeated):  # somebody else has just started it
            await self._start_clock(own_call("directory", "start_clock", await wall_clock()))
        started: datetime = await self._database.fetchval(self.SELECT_CLOCK)
        return started

    async def _start_clock(self, call: Call) -> None:
        async with self._database.command(call) as tx:
            if await tx.fetchrow(self.START_CLOCK, call.now) is None:
                raise Repeated
            tx.record(Event("directory.clock.started", [], {"time": call.now}, region_code=""))
            tx.answer(messages.clock_message(call.now, virtual=True))

    async def advance_clock(self, call: Call, time: datetime) -> directory_pb2.Clock:
        """Move the virtual clock forward. Raises InvalidFields when another process has moved it further."""
        async with self._database.command(call) as tx:
            if await tx.fetchrow(self.ADVANCE_CLOCK, time) is None:
                raise invalid("time", "in_the_past")
            payload = {"from": call.now, "to": time}
            tx.record(Event("directory.clock.advanced", [], payload, region_code=""))
            return tx.answer(messages.clock_message(time, virtual=True))


def require_unmoved(field: str, given: str, stored: str) -> None:
    """Raise InvalidFields when an update names another value of a field that never changes."""
    if given and given != stored:
        raise invalid(field, "not_in_mask")


def _require_reach(call: Call, name: str, reach: str, region_code: str, unit_path: str) -> None:
    """Raise NotFound unless the caller's own reach contains the post's: nobody hands out more than he has."""
    call.scope.require(name, region_code, "" if reach == "REGION" else unit_path)


def _terms(rows: Sequence[asyncpg.Record]) -> list[TermOfOffice]:
    return [TermOfOffice(row["start_date"], row["end_date"]) for row in rows]
