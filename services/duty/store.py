"""Responsibility lists in PostgreSQL."""

from datetime import date

import asyncpg

from dutyloop.duty.v1 import duty_pb2
from services.duty import messages, rules
from services.kit.access import Scope
from services.kit.call import Call
from services.kit.dates import day_of
from services.kit.db import Database, Transaction
from services.kit.directory import UnitPlace
from services.kit.errors import AlreadyExists, invalid, require_etag
from services.kit.gather import ASKED
from services.kit.ledger import Event
from services.kit.names import derived_id, id_of, optional_id
from services.kit.paging import Page

LIST_COLUMNS = """
    l.id, l.revision, l.kind, l.display_name, l.unit, l.post, l.region_code, l.unit_path, l.effective_date,
    l.predecessor_id, l.version, l.state, l.editor, l.editors, l.submitter, l.approver, l.return_reason,
    l.publish_time, l.successor_id, l.supersede_time,
    (SELECT count(*) FROM duty_item i WHERE i.list_id = l.id) AS item_count,
    (SELECT count(*) FROM acknowledgement a WHERE a.list_id = l.id) AS acknowledgement_count
"""
ITEM_COLUMNS = """
    id, list_id, number, number_key, text, law, article, type, sector, function, area, involvement, recurrence,
    expected_evidence, term_days
"""


def item_id(list_id: str, number: str) -> str:
    """Return the id of the item with this number: an import run twice names the same items."""
    return derived_id("duty_item", list_id, number)


class DutyStore:
    """Reads and writes of the duty schema."""

    def __init__(self, database: Database) -> None:
        self._database = database

    SELECT_LIST = "SELECT " + LIST_COLUMNS + ", asked.place FROM " + ASKED + " JOIN responsibility_list l USING (id)"

    async def responsibility_list(self, name: str, scope: Scope, field: str = "name") -> asyncpg.Record:
        """Return a list's row. Raises NotFound, also for one outside the scope."""
        return scope.row(name, await self._database.row(self.SELECT_LIST, id_of(name, "responsibilityLists", field)))

    SELECT_HISTORY = """
        SELECT coalesce(max(version), 0) + 1 AS next_version, coalesce(bool_or(state = 'PUBLISHED'), false) AS published
        FROM responsibility_list
        WHERE unit = $1 AND post = $2 AND kind = $3
    """
    INSERT_LIST = (
        """
        INSERT INTO responsibility_list AS l (id, kind, display_name, unit, post, region_code, unit_path,
            effective_date, predecessor_id, version, editor, editors)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, ARRAY[$11])
        RETURNING
        """
        + LIST_COLUMNS
    )
    SELECT_NUMBERS = "SELECT number FROM duty_item WHERE list_id = $1"
    COPY_ITEMS = """
        INSERT INTO duty_item (id, list_id, number, number_key, text, law, article, type, sector, function, area,
            involvement, recurrence, expected_evidence, term_days)
        SELECT copied.id, $2, i.number, i.number_key, i.text, i.law, i.article, i.type, i.sector, i.function, i.area,
            i.involvement, i.recurrence, i.expected_evidence, i.term_days
        FROM duty_item i
        JOIN unnest($3::text[], $4::text[]) AS copied (number, id) USING (number)
        WHERE i.list_id = $1
    """

    async def draft(
        self, call: Call, wanted: duty_pb2.ResponsibilityList, place: UnitPlace
    ) -> duty_pb2.ResponsibilityList:
        """Create a draft; one with a predecessor starts with its items."""
        identifier = call.new_id()
        kind = messages.LIST_KIND.of(wanted.kind)
        predecessor_id = optional_id(wanted.predecessor, "responsibilityLists", "responsibility_list.predecessor")
        effective_date = day_of(wanted.effective_date)
        async with self._database.command(call) as tx:
            predecessor = await self._lock(tx, call, wanted.predecessor) if predecessor_id else None
            history = await tx.fetchone(self.SELECT_HISTORY, wanted.unit, wanted.post, kind)
            rules.check_predecessor(
                kind,
                wanted.unit,
                wanted.post,
                effective_date,
                messages.version_of(predecessor) if predecessor else None,
                has_published=history["published"],
            )
            row = await tx.fetchone(
                self.INSERT_LIST,
                identifier,
                kind,
                wanted.display_name,
                wanted.unit,
                wanted.post,
                place.region_code,
                place.path,
                effective_date,
                predecessor_id or None,
                history["next_version"],
                call.principal,
            )
            if predecessor_id:
                numbers = [each["number"] for each in await tx.fetch(self.SELECT_NUMBERS, predecessor_id)]
                ids = [item_id(identifier, number) for number in numbers]
                await tx.execute(self.COPY_ITEMS, predecessor_id, identifier, numbers, ids)
                row = await tx.fetchone(self.SELECT_LIST, [identifier])
            return self._record(tx, "drafted", row)

    LOCK_LIST = "SELECT " + LIST_COLUMNS + " FROM responsibility_list l WHERE l.id = $1 FOR UPDATE"

    async def _lock(self, tx: Transaction, call: Call, name: str, etag: str = "") -> asyncpg.Record:
        row = call.scope.row(name, await tx.fetchrow(self.LOCK_LIST, id_of(name, "responsibilityLists")))
        require_etag(name, etag, row["revision"])
        return row

    def _record(
        self, tx: Transaction, happened: str, row: asyncpg.Record, other: str = "", reason: str = ""
    ) -> duty_pb2.ResponsibilityList:
        message = messages.list_message(row)
        payload = {
            "kind": row["kind"],
            "version": row["version"],
            "state": row["state"],
            "effective_date": row["effective_date"],
            "items": row["item_count"],
        }
        tx.record(
            Event(
                f"duty.list.{happened}",
                [each for each in (message.name, message.unit, message.post, other) if each],
                {**payload, "reason": reason} if reason else payload,
                row["region_code"],
                row["unit_path"],
            )
        )
        return tx.answer(message)

    UPDATE_LIST = (
        """
        UPDATE responsibility_list AS l SET revision = revision + 1, display_name = $2, effective_date = $3,
            editors = CASE WHEN $4 = ANY (editors) THEN editors ELSE editors || $4::text END
        WHERE id = $1
        RETURNING
        """
        + LIST_COLUMNS
    )

    async def edit(
        self, call: Call, wanted: duty_pb2.ResponsibilityList, changes: frozenset[str]
    ) -> duty_pb2.ResponsibilityList:
        """Change a draft's title or effective date."""
        async with self._database.command(call) as tx:
            before = await self._lock(tx, call, wanted.name, wanted.etag)
            version = messages.version_of(before)
            rules.check_state(version, "DRAFT", "edit_list")
            effective_date: date = before["effective_date"]
            if "effective_date" in changes:
                effective_date = day_of(wanted.effective_date)
                if before["predecessor_id"]:
                    predecessor = await tx.fetchone(self.LOCK_LIST, before["predecessor_id"])
                    if effective_date <= predecessor["effective_date"]:
                        raise invalid("responsibility_list.effective_date", "not_after_start")
            title = wanted.display_name if "display_name" in changes else before["display_name"]
            row = await tx.fetchone(self.UPDATE_LIST, before["id"], title, effective_date, call.principal)
            return self._record(tx, "edited", row)

    SUBMIT = (
        """
        UPDATE responsibility_list AS l SET revision = revision + 1, state = 'SUBMITTED', submitter = $2,
            return_reason = ''
        WHERE id = $1
        RETURNING
        """
        + LIST_COLUMNS
    )

    async def submit(self, call: Call, name: str, etag: str) -> duty_pb2.ResponsibilityList:
        """Hand a draft in."""
        async with self._database.command(call) as tx:
            before = await self._lock(tx, call, name, etag)
            rules.check_submission(messages.version_of(before))
            row = await tx.fetchone(self.SUBMIT, before["id"], call.principal)
            return self._record(tx, "submitted", row)

    APPROVE = (
        """
        UPDATE responsibility_list AS l SET revision = revision + 1, state = 'PUBLISHED', approver = $2,
            publish_time = $3
        WHERE id = $1
        RETURNING
        """
        + LIST_COLUMNS
    )

    async def approve(self, call: Call, name: str, etag: str) -> duty_pb2.ResponsibilityList:
        """Publish a submitted list."""
        async with self._database.command(call) as tx:
            before = await self._lock(tx, call, name, etag)
            rules.check_judge(messages.version_of(before), call.principal, "approve_list")
            row = await tx.fetchone(self.APPROVE, before["id"], call.principal, call.now)
            return self._record(tx, "published", row)

    RETURN = (
        """
        UPDATE responsibility_list AS l SET revision = revision + 1, state = 'DRAFT', return_reason = $2
        WHERE id = $1
        RETURNING
        """
        + LIST_COLUMNS
    )

    async def return_to_editor(self, call: Call, name: str, reason: str, etag: str) -> duty_pb2.ResponsibilityList:
        """Make a submitted list a draft again."""
        async with self._database.command(call) as tx:
            before = await self._lock(tx, call, name, etag)
            rules.check_judge(messages.version_of(before), call.principal, "return_list")
            row = await tx.fetchone(self.RETURN, before["id"], reason)
            return self._record(tx, "returned", row, reason=reason)

    SUPERSEDE = (
        """
        UPDATE responsibility_list AS l SET revision = revision + 1, state = 'SUPERSEDED', successor_id = $2,
            supersede_time = $3
        WHERE id = $1
        RETURNING
        """
        + LIST_COLUMNS
    )

    async def supersede(self, call: Call, name: str, successor: str, etag: str) -> duty_pb2.ResponsibilityList:
        """Take a published list out of force."""
        successor_id = id_of(successor, "responsibilityLists", "successor")
        async with self._database.command(call) as tx:
            before = await self._lock(tx, call, name, etag)
            following = await self._lock(tx, call, successor)
            rules.check_supersession(messages.version_of(before), messages.version_of(following), call.now)
            row = await tx.fetchone(self.SUPERSEDE, before["id"], successor_id, call.now)
            return self._record(tx, "superseded", row, other=successor)

    INSERT_ACKNOWLEDGEMENT = """
        INSERT INTO acknowledgement (id, list_id, version, person, acknowledge_time, region_code, unit_path)
        VALUES ($1, $2, $3, $4, $5, $6, $7)
        ON CONFLICT ON CONSTRAINT acknowledgement_is_one_per_person_and_list DO NOTHING
        RETURNING id, list_id, version, person, acknowledge_time
    """
    SHARE_LIST = "SELECT " + LIST_COLUMNS + " FROM responsibility_list l WHERE l.id = $1 FOR SHARE"

    async def acknowledge(self, call: Call, name: str) -> duty_pb2.Acknowledgement:
        """Note that the holder took note of a published list, once per person and version."""
        async with self._database.command(call) as tx:
            of = call.scope.row(name, await tx.fetchrow(self.SHARE_LIST, id_of(name, "responsibilityLists")))
            rules.check_holder(messages.version_of(of), call.posts, call.units)
            row = await tx.fetchrow(
                self.INSERT_ACKNOWLEDGEMENT,
                call.new_id(),
                of["id"],
                of["version"],
                call.principal,
                call.now,
                of["region_code"],
                of["unit_path"],
            )
            if row is None:
                raise AlreadyExists(resource="acknowledgement_is_one_per_person_and_list")
            message = messages.acknowledgement_message(row)
            tx.record(
                Event(
                    "duty.list.acknowledged",
                    [message.name, name, *([of["post"] or of["unit"]])],
                    {"version": of["version"], "kind": of["kind"], "person": call.principal},
                    of["region_code"],
                    of["unit_path"],
                )
            )
            return tx.answer(message)

    LIST_LISTS = (
        "SELECT "
        + LIST_COLUMNS
        + """
        FROM responsibility_list l
        WHERE (l.region_code ^@ ANY ($1::text[]) OR l.unit_path ^@ ANY ($2::text[]))
          AND ($3 = '' OR l.unit = $3)
          AND ($4 = '' OR l.post = $4)
          AND ($5 = '' OR l.kind = $5)
          AND ($6 = '' OR l.state = $6)
          AND l.id > $7
        ORDER BY l.id
        LIMIT $8
        """
    )

    async def list_lists(
        self, call: Call, request: duty_pb2.ListResponsibilityListsRequest, page: Page
    ) -> list[asyncpg.Record]:
        """Return a page of lists, by id."""
        return await self._database.fetch(
            self.LIST_LISTS,
            *call.scope.prefixes,
            request.unit,
            request.post,
            messages.LIST_KIND.given(request.kind),
            messages.LIST_STATE.given(request.state),
            page.after_key(),
            page.limit,
        )

    LIST_ITEMS = (
        "SELECT "
        + ITEM_COLUMNS
        + """
        FROM duty_item
        WHERE list_id = $1 AND (number_key, id) > ($2, $3)
        ORDER BY number_key, id
        LIMIT $4
        """
    )

    async def list_items(self, list_id: str, page: Page) -> list[asyncpg.Record]:
        """Return a page of a list's items, by number."""
        return await self._database.fetch(self.LIST_ITEMS, list_id, page.after_key(), page.after_key(1), page.limit)

    LIST_ACKNOWLEDGEMENTS = """
        SELECT id, list_id, version, person, acknowledge_time
        FROM acknowledgement
        WHERE (region_code ^@ ANY ($1::text[]) OR unit_path ^@ ANY ($2::text[]))
          AND ($3 = '' OR list_id = $3)
          AND ($4 = '' OR person = $4)
          AND (acknowledge_time, id) > ($5, $6)
        ORDER BY acknowledge_time, id
        LIMIT $7
    """

    async def list_acknowledgements(
        self, call: Call, request: duty_pb2.ListAcknowledgementsRequest, page: Page
    ) -> list[asyncpg.Record]:
        """Return a page of acknowledgements, oldest first."""
        return await self._database.fetch(
            self.LIST_ACKNOWLEDGEMENTS,
            *call.scope.prefixes,
            optional_id(request.responsibility_list, "responsibilityLists", "responsibility_list"),
            request.person,
            page.after_time(),
            page.after_key(1),
            page.limit,
        )
