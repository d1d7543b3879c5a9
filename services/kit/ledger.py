"""Appending to the one tamper-evident ledger, in the business transaction.

An entry is an *envelope* (canonical JSON, the Merkle leaf's input) that commits to a *payload* with
a salted digest: erasing payload and salt shreds what was said while every proof still verifies.
"""

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import asyncpg
import orjson

from services.kit.call import Call
from services.kit.crypto import digest

ENVELOPE_VERSION = 1
SALT_BYTES = 16
APPEND_MANY_SECONDS = 600.0
"""As long as an import may take."""
REFUSALS = "access."
"""Types of entries about refused calls begin so; whoever may not read of refusals is shown none of them."""
REFUSED = REFUSALS + "call.refused"
LEAF_PREFIX = b"\x00"
"""RFC 6962: leaves and nodes are hashed with different prefixes."""

ENTRY_COLUMNS = (
    "id, type, actor, business_time, recorded_time, objects, region_code, unit_path, "
    "request_id, workflow_id, on_behalf_of, method, policy_version, envelope, salt, payload, leaf_hash"
)
INSERT_ENTRY = f"""
INSERT INTO ledger.entry ({ENTRY_COLUMNS})
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17)
"""  # noqa: S608 (two constants of this module)


@dataclass(frozen=True, slots=True)
class Event:
    """A state change to be recorded. ``type`` reads ``service.object.happened``; objects are resource names."""

    type: str
    objects: Sequence[str]
    payload: Mapping[str, Any]
    region_code: str
    unit_path: str = ""
    workflow_id: str = ""
    policy_version: str = ""


@dataclass(frozen=True, slots=True)
class Entry:
    """An entry as stored: envelope and payload bytes, and the leaf hash that is the caller's receipt."""

    columns: tuple[Any, ...]
    leaf_hash: bytes = field(repr=False)


def canonical(value: Any) -> bytes:
    """Return canonical JSON: sorted keys, no spaces, UTC times to the microsecond."""
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS | orjson.OPT_UTC_Z)


def leaf_hash(envelope: bytes) -> bytes:
    """Return the RFC 6962 leaf hash of an envelope."""
    return digest(LEAF_PREFIX + envelope)


def commitment(salt: bytes, payload: bytes) -> bytes:
    """Return the digest by which an envelope commits to its payload."""
    return digest(salt + payload)


def entry_of(call: Call, event: Event, *, actor: str, on_behalf_of: str, method: str, request_id: str) -> Entry:
    """Compose the entry for an event; recorded time is this process's wall clock."""
    recorded = datetime.now(UTC)
    identifier = f"{time.time_ns() // 1_000_000:012x}{os.urandom(10).hex()}"
    salt = os.urandom(SALT_BYTES)
    payload = canonical(event.payload)
    envelope = canonical(
        {
            "v": ENVELOPE_VERSION,
            "id": identifier,
            "type": event.type,
            "actor": actor,
            "on_behalf_of": on_behalf_of,
            "business_time": call.now,
            "recorded_time": recorded,
            "objects": list(event.objects),
            "region_code": event.region_code,
            "unit_path": event.unit_path,
            "method": method,
            "request_id": request_id,
            "workflow_id": event.workflow_id,
            "policy_version": event.policy_version,
            "payload_commitment": commitment(salt, payload).hex(),
        }
    )
    leaf = leaf_hash(envelope)
    columns = (
        identifier,
        event.type,
        actor,
        call.now,
        recorded,
        list(event.objects),
        event.region_code,
        event.unit_path,
        request_id,
        event.workflow_id,
        on_behalf_of,
        method,
        event.policy_version,
        envelope,
        salt,
        payload,
        leaf,
    )
    return Entry(columns, leaf)


async def append(connection: "asyncpg.pool.PoolConnectionProxy[asyncpg.Record]", entries: Sequence[Entry]) -> None:
    """Insert entries in the transaction that is open on ``connection``."""
    await connection.executemany(INSERT_ENTRY, [entry.columns for entry in entries])


async def append_many(connection: "asyncpg.pool.PoolConnectionProxy[asyncpg.Record]", entries: Sequence[Entry]) -> None:
    """Insert entries of an import, perhaps thousands, in the transaction that is open on ``connection``."""
    if entries:
        await connection.copy_records_to_table(
            "entry",
            schema_name="ledger",
            records=[entry.columns for entry in entries],
            columns=ENTRY_COLUMNS.split(", "),
            timeout=APPEND_MANY_SECONDS,
        )
