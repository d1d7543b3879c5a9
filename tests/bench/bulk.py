"""Row 6: the ledger's verification against hashing."""

import asyncio
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256

from dutyloop.hazard.v1 import hazard_pb2
from infra.embedded.postgres import AUDITOR, OWNER, SERVICE_ROLES
from services.audit.sequencer import Sequencer
from services.audit.verify import verify
from services.kit import db, ledger
from services.kit.access import EVERYWHERE
from services.kit.call import Call
from services.kit.migrate import migrate
from services.kit.policy import method_rules
from services.kit.settings import Settings, required
from tests.bench.city import Bench
from tests.bench.figures import Goal, Row, in_turns

ENTRIES = 200_000
SEQUENCED_AT_ONCE = 50_000
LEDGER = "bench_ledger"
VERIFY = Goal("ledger verification / raw SHA-256 (entries per s)", "hashing", 0.33)
ENTRY_COLUMNS = re.findall(r"\w+", ledger.INSERT_ENTRY.partition("(")[2].partition(")")[0])


@dataclass(frozen=True, slots=True)
class _Ledger:
    """A ledger of its own, sequenced and signed."""

    settings: Settings
    hashed: Sequence[bytes]
    """What verification has to hash at the least: envelopes, and salts with payloads."""


async def measure(bench: Bench) -> Row:
    """Each round verifies the same ledger, or hashes its bytes."""
    made = await _make_ledger(bench)

    async def ours() -> float:
        started = time.perf_counter()
        found = await verify(made.settings, processes=1)  # as many as hash
        assert found.ok and found.entries == ENTRIES, found.problems[:3]
        return ENTRIES / (time.perf_counter() - started)

    async def hashing() -> float:
        started = time.perf_counter()
        await asyncio.to_thread(_hash_all, made.hashed)
        return ENTRIES / (time.perf_counter() - started)

    return VERIFY.row(await in_turns({"ours": ours, "hashing": hashing}))


def _hash_all(hashed: Sequence[bytes]) -> None:
    for each in hashed:
        sha256(each).digest()


async def _make_ledger(bench: Bench) -> _Ledger:
    """Write entries as commands do, but in bulk, into a database of their own; then sequence and sign them."""
    superuser = await bench.superuser()
    await superuser.execute(f"CREATE DATABASE {LEDGER} OWNER {OWNER}")
    await superuser.execute(f"GRANT CONNECT, TEMPORARY ON DATABASE {LEDGER} TO {', '.join((*SERVICE_ROLES, AUDITOR))}")
    await superuser.close()
    url = required(bench.settings.database_url, "database_url").get_secret_value().replace("/dutyloop?", f"/{LEDGER}?")
    changes = {"database_url": url, "checkpoint_file": bench.folder / "bench-checkpoints.txt"}
    settings = Settings(**(bench.settings.model_dump() | changes))
    await migrate(settings)
    entries = [_entry(number) for number in range(ENTRIES)]
    superuser = await bench.superuser(LEDGER)
    await superuser.copy_records_to_table(
        "entry", schema_name="ledger", records=[each.columns for each in entries], columns=ENTRY_COLUMNS
    )
    await superuser.execute("ANALYZE ledger.entry")
    await superuser.close()
    audit = await db.connect(settings, "audit")
    sequencer = Sequencer.of(audit, settings)
    while (await sequencer.sequence(SEQUENCED_AT_ONCE)).entries:
        pass
    await sequencer.checkpoint()
    await audit.close()
    superuser = await bench.superuser(LEDGER)
    await superuser.execute("VACUUM ANALYZE ledger.entry")
    await superuser.close()
    at = ENTRY_COLUMNS.index
    hashed = [b"\x00" + each.columns[at("envelope")] for each in entries]
    hashed += [each.columns[at("salt")] + each.columns[at("payload")] for each in entries]
    return _Ledger(settings, hashed)


RULE = next(iter(method_rules(hazard_pb2.DESCRIPTOR.services_by_name["HazardService"])))


def _entry(number: int) -> ledger.Entry:
    call = Call(RULE, "people/p1", False, (), EVERYWHERE, datetime.now(UTC), "zh-CN", 0.0, f"request-{number:08}")
    objects = [f"tasks/t{number}", "annualTaskLists/abcdefghijklmnop", "dutyItems/abcdefghijklmnop", "posts/p1"]
    payload = {"overdue": False, "progress_percent": number % 100, "remark": "已开展检查", "evidence": ["doc-1"]}
    event = ledger.Event("plan.task.progressed", objects, payload, "130302", "root/abcdefghijklmnop/")
    return ledger.entry_of(
        call, event, actor=call.principal, on_behalf_of="", method=RULE.path, request_id=call.request_id
    )
