"""Has the terms counted anew that await a holiday notice, once it has come."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime

from services.kit.clock import ReadClock
from services.kit.directory import Directory
from services.kit.logs import logger

LOOK_SECONDS = 2.0
BATCH = 200
"""Cases told at a time: the relay must keep pace, and others are not to wait behind them."""
Tell = Callable[[list[int], datetime, int], Awaitable[None]]
"""Has the cases told, at most so many, whose present term awaits a notice of one of these years and has not run out."""


def telling(workflow: str, table: str, end: str) -> str:
    """Compose the statement that has the cases of a table told, those first whose present term ``end``s first.

    It takes the years, business time and how many. A term that has run out has run out.
    """
    return f"""
        INSERT INTO case_message (workflow_id, message_id, kind, name, at, argument)
        SELECT '{workflow}/' || id, 'reproject-' || revision, 'update', 'reproject', $2,
            convert_to(jsonb_build_object('notice', awaited_notice)::text, 'UTF8')
        FROM {table}
        WHERE awaited_notice = ANY ($1::integer[]) AND {end} > $2
            AND NOT EXISTS (
                SELECT FROM case_message AS told
                WHERE told.workflow_id = '{workflow}/' || {table}.id
                    AND told.message_id = 'reproject-' || {table}.revision
            )
        ORDER BY {end}
        LIMIT $3
        ON CONFLICT DO NOTHING
    """  # noqa: S608 (constants of the stores)


def reprojected(notice: int, former: datetime, due: datetime) -> dict[str, object]:
    """Return what the ledger keeps of a term that a holiday notice had counted anew; nothing without a notice."""
    return {"notice": notice, "former_due_time": former, "due_time": due} if notice else {}


async def recount_terms(directory: Directory, read_clock: ReadClock, tell: Tell) -> None:
    """Look, for ever, for terms that await a notice which has come. A row says what its term awaits.

    A case is told once for each revision of its row; what it counts then takes the row out of the next look.
    """
    while True:
        try:
            await tell(await directory.published_years(), await read_clock(), BATCH)
        except Exception as error:  # noqa: BLE001 (the loop must outlive any outage; the cause is logged)
            logger().warning("recounting_failed", error=type(error).__name__)
        await asyncio.sleep(LOOK_SECONDS)
