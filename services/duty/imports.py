"""Importing duty items into a draft: checked per row by the rules, merged by number."""

import dataclasses
from collections.abc import Sequence
from typing import Any

from dutyloop.duty.v1 import duty_pb2
from services.duty import messages, rules
from services.duty.rules import Version
from services.duty.store import item_id
from services.kit.call import Call
from services.kit.db import Connection
from services.kit.errors import NotFound, invalid
from services.kit.imports import IMPORT_SECONDS, Importer, Merged, Tell
from services.kit.names import id_of

STAGE_ITEMS = """
CREATE TEMPORARY TABLE import_row (
    id text COLLATE "C" NOT NULL,
    number text NOT NULL,
    number_key text COLLATE "C" NOT NULL,
    text text NOT NULL,
    law text NOT NULL,
    article text NOT NULL,
    type text NOT NULL,
    sector text NOT NULL,
    function text NOT NULL,
    area text NOT NULL,
    involvement text NOT NULL,
    recurrence text NOT NULL,
    expected_evidence text[] NOT NULL,
    term_days integer NOT NULL
) ON COMMIT DROP
"""
COLUMNS = (
    "id",
    "number",
    "number_key",
    "text",
    "law",
    "article",
    "type",
    "sector",
    "function",
    "area",
    "involvement",
    "recurrence",
    "expected_evidence",
    "term_days",
)

LOCK_LIST = "SELECT state FROM responsibility_list WHERE id = $1 FOR UPDATE"

REFUSE_REPEATED_ITEMS = """
UPDATE import_row
SET faulty_column = 'number', problem = 'duplicate'
FROM (
    SELECT number, min(position) AS first
    FROM import_row
    GROUP BY number
    HAVING count(*) > 1
) AS repeated
WHERE import_row.number = repeated.number AND import_row.position > repeated.first
"""

MERGE_ITEMS = """
WITH updated AS (
    UPDATE duty_item i
    SET text = r.text, law = r.law, article = r.article, type = r.type, sector = r.sector, function = r.function,
        area = r.area, involvement = r.involvement, recurrence = r.recurrence,
        expected_evidence = r.expected_evidence, term_days = r.term_days
    FROM import_row r
    WHERE r.problem IS NULL
        AND i.list_id = $1
        AND i.number = r.number
        AND (i.text, i.law, i.article, i.type, i.sector, i.function, i.area, i.involvement, i.recurrence,
             i.expected_evidence, i.term_days)
            IS DISTINCT FROM (r.text, r.law, r.article, r.type, r.sector, r.function, r.area, r.involvement,
             r.recurrence, r.expected_evidence, r.term_days)
    RETURNING 1
), created AS (
    INSERT INTO duty_item (id, list_id, number, number_key, text, law, article, type, sector, function, area,
        involvement, recurrence, expected_evidence, term_days)
    SELECT id, $1, number, number_key, text, law, article, type, sector, function, area, involvement, recurrence,
        expected_evidence, term_days
    FROM import_row r
    WHERE problem IS NULL AND NOT EXISTS (SELECT FROM duty_item i WHERE i.list_id = $1 AND i.number = r.number)
    ORDER BY number_key
    RETURNING 1
)
SELECT (SELECT count(*) FROM created) AS created, (SELECT count(*) FROM updated) AS updated
"""

MARK_EDITED = """
UPDATE responsibility_list
SET revision = revision + 1, editors = CASE WHEN $2 = ANY (editors) THEN editors ELSE editors || $2::text END
WHERE id = $1
"""


class Areas:
    """The areas named so far and whether directory knows them; filled before the rows are checked."""

    def __init__(self) -> None:
        self.known: dict[str, bool] = {"": True}


def item_importer(
    call: Call, version: Version, region_code: str, unit_path: str, areas: Areas
) -> Importer[duty_pb2.DutyItemRow]:
    """Return the importer of items into one draft."""
    list_id = id_of(version.name, "responsibilityLists", "responsibility_list")

    def record_of(row: duty_pb2.DutyItemRow) -> Sequence[Any]:
        item = row.item
        if not row.HasField("item"):
            raise invalid("item", "required")
        rules.check_item(item, version.kind)
        if not areas.known.get(item.area, False):
            raise invalid("item.area", "unknown_reference")
        return (
            item_id(list_id, item.number),
            item.number,
            rules.number_key(item.number),
            item.text,
            item.law,
            item.article,
            messages.DUTY_TYPE.of(item.type),
            item.sector,
            item.function,
            item.area,
            messages.INVOLVEMENT.of(item.involvement),
            item.recurrence,
            [messages.EVIDENCE_TYPE.of(each) for each in item.expected_evidence],
            item.term_days,
        )

    async def merge(connection: Connection, tell: Tell) -> Merged:
        state = await connection.fetchval(LOCK_LIST, list_id)
        if state is None:
            raise NotFound(version.name)
        rules.check_state(dataclasses.replace(version, state=state), "DRAFT", "edit_list")
        await connection.execute(REFUSE_REPEATED_ITEMS, timeout=IMPORT_SECONDS)
        [counts] = await connection.fetch(MERGE_ITEMS, list_id, timeout=IMPORT_SECONDS)
        if counts["created"] or counts["updated"]:
            await connection.execute(MARK_EDITED, list_id, call.principal)
        return Merged(counts["created"], counts["updated"])

    objects = tuple(each for each in (version.name, version.unit, version.post) if each)
    return Importer("duty.item.imported", STAGE_ITEMS, COLUMNS, record_of, merge, region_code, unit_path, objects)
