"""What a case decided, recorded in one statement: the row, its ledger entry, the step's answer and the person's.

A transaction would take five round trips for the same. Nothing is locked: the row is read, and the statement changes
nothing unless the revision is still the one that was read.
"""

from collections.abc import Sequence

import asyncpg
from google.protobuf.message import Message

from services.kit import ledger
from services.kit.call import Call
from services.kit.db import COMMAND_CASTS, ENTRY_CASTS, Database, Outer, Repeated, Stored, update_id
from services.kit.errors import RequestIdReused

OUTER_CASTS = ("text", "text", "text", "bytea", "bytea")
ACT_CASTS = ("text", "text", "text", "timestamptz", "bytea")
COMMAND_KEY = "command_key"
NOBODY = Outer("", "", "", "", b"")
"""Stands for whom no step is recorded: a term that ran out, a site that was closed down."""


def recording(changes: str, parameters: int) -> str:
    """Compose the statement that records a decided change of a case.

    ``changes`` are common table expressions with that many parameters; the one named ``changed`` is an ``UPDATE …
    RETURNING`` guarded by the revision that was read, and where it changes nothing, nothing is written at all.
    """
    placed = iter(range(parameters + 1, 100))

    def values(casts: Sequence[str]) -> list[str]:
        return [f"${next(placed)}::{cast}" for cast in casts]

    own, entry, theirs, act = (values(casts) for casts in (COMMAND_CASTS, ENTRY_CASTS, OUTER_CASTS, ACT_CASTS))
    receipts, (case, message, update, at, argument) = own[-1], act
    # Nothing but constants and numbers of parameters goes into the text.
    command = "INSERT INTO command (principal, method, request_id, body_hash, answer, receipts)"
    return "\n".join(
        (
            f"WITH {changes}, entry AS (",
            f"    INSERT INTO ledger.entry ({ledger.ENTRY_COLUMNS}) SELECT {', '.join(entry)} FROM changed",  # noqa: S608
            f"), theirs AS ({command} SELECT {', '.join([*theirs, receipts])} FROM changed WHERE {theirs[0]} <> ''",  # noqa: S608
            "), act AS (",
            "    INSERT INTO case_message (workflow_id, message_id, kind, name, at, argument)",
            f"    SELECT {case}, {message}, 'act', {update}, {at}, {argument} FROM changed WHERE {update} <> ''",  # noqa: S608
            "    ON CONFLICT DO NOTHING",
            ")",
            f"{command} SELECT {', '.join(own)} FROM changed RETURNING true",  # noqa: S608
        )
    )


async def record(
    database: Database,
    call: Call,
    outer: Outer | None,
    statement: str,
    arguments: Sequence[object],
    event: ledger.Event,
    answer: Message,
) -> bool:
    """Run a statement made by ``recording``; False when the row has changed since it was read.

    ``outer`` is the person's command, which gets the same answer. Raises Repeated when the step is on record
    already, RequestIdReused when the person's command was answered for another step.
    """
    by = outer or NOBODY
    entry = ledger.entry_of(
        call,
        event,
        actor=by.principal or call.principal,
        on_behalf_of=by.on_behalf_of or call.on_behalf_of,
        method=by.method or call.rule.path,
        request_id=by.request_id or call.request_id,
    )
    receipts, answered = [entry.leaf_hash], answer.SerializeToString()
    own = (call.principal, call.rule.path, call.request_id, call.body_hash, answered, receipts)
    theirs = (*by.key, by.body_hash, answered)
    act = (by.workflow_id, update_id(*by.key, by.body_hash), by.update, call.now, by.argument)
    try:
        if not await database.fetchval(statement, *arguments, *own, *entry.columns, *theirs, *act):
            return False
    except asyncpg.UniqueViolationError as error:
        if error.constraint_name != COMMAND_KEY:
            raise
        if await database.stored_answer(call) is None:
            raise RequestIdReused(request_id=by.request_id) from None
        raise Repeated from None
    call.receipts.extend(receipts)
    if outer is not None:
        database.hand_over(outer, Stored(outer.body_hash, answered, receipts))
    return True
