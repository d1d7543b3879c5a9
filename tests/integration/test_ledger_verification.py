"""The ledger under attack by those who administer it: what is changed is found, and found where it is."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
import orjson
import pytest
import pytest_asyncio
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from dutyloop.audit.v1 import audit_pb2
from dutyloop.hazard.v1 import hazard_pb2
from infra.embedded.postgres import EmbeddedPostgres
from infra.embedded.process import write_private
from services.audit import checkpoints, merkle, messages, ranges, sequencer, verify
from services.audit.checkpoints import CheckpointFile, NoteError
from services.audit.express import BATCH, COPY_BATCHES, SEPARATOR, Express
from services.audit.sequencer import LOCK_KEY, LogDiverged, Sequencer
from services.audit.store import AuditStore, EntryFilter
from services.audit.verify import Verification
from services.kit import db, ledger
from services.kit.access import EVERYWHERE, Scope
from services.kit.call import Call
from services.kit.contexts import AUDITOR
from services.kit.crypto import load_signing_key
from services.kit.db import Database
from services.kit.policy import method_rules
from services.kit.settings import Settings
from tests.integration.conftest import NewDatabase

RULE = next(iter(method_rules(hazard_pb2.DESCRIPTOR.services_by_name["HazardService"])))
UNLOCK = "SET session_replication_role = replica"
"""How a superuser gets past the triggers."""
MICROSECONDS = (0, 1, 120_000, 999_999)
"""Of business times, which are written without a fraction, with six digits, and with noughts that count."""


def call_of(number: int) -> Call:
    """Return a call as the guard would make it."""
    return Call(
        rule=RULE,
        principal="people/p1",
        internal=False,
        grants=(),
        scope=EVERYWHERE,
        now=datetime(2026, 1, 5, 8, tzinfo=UTC) + timedelta(microseconds=MICROSECONDS[number % 4]),
        locale="en",
        deadline=0.0,
        request_id=f"request-{number:06}",
        body_hash=bytes(32),
    )


@dataclass
class Ledger:
    """One database with its ledger, a service that writes to it, a sequencer and a superuser."""

    url: str
    settings: Settings
    hazard: Database
    audit: Database
    superuser: "asyncpg.Connection[asyncpg.Record]"
    sequencer: Sequencer
    file: CheckpointFile
    written: int = 0

    async def write(self, count: int) -> None:
        """Let the hazard service carry out commands, each with one entry and a stored receipt."""
        for number in range(self.written, self.written + count):
            call = call_of(number)
            async with self.hazard.command(call) as tx:
                objects = [f"hazards/h{number}", "sites/s1"] if number % 7 else []
                payload = {"state": "REPORTED", "number": number, "说明": 'rückwärts "quoted" \\'}
                tx.record(ledger.Event("hazard.hazard.reported", objects, payload, "1303", "u1/", "rectification-1"))
                tx.answer(hazard_pb2.Hazard(name=f"hazards/h{number}"))
        self.written += count

    async def sign(self) -> checkpoints.SignedHead:
        """Sequence all there is and sign it."""
        while (await self.sequencer.sequence(limit=7)).entries:
            pass
        head = await self.sequencer.checkpoint()
        assert head is not None
        return head

    async def tamper(self, sql: str, *arguments: object) -> None:
        """Run a statement that must change exactly something, as a superuser."""
        await self.superuser.execute(UNLOCK)
        assert (await self.superuser.execute(sql, *arguments)).split()[-1] != "0"

    async def verify(self) -> Verification:
        """Verify the ledger."""
        return await verify.verify(self.settings)

    async def found(self) -> tuple[int | None, set[str]]:
        """Return where the first problem lies and what kinds of problems there are."""
        result = await self.verify()
        assert not result.ok
        positions = [each.position for each in result.problems if each.position is not None]
        return min(positions, default=None), {problem.kind for problem in result.problems}


@asynccontextmanager
async def opened(postgres: EmbeddedPostgres, url: str, folder: Path) -> AsyncIterator[Ledger]:
    """Open a database as the services, the sequencer and a superuser see it."""
    key = folder / "checkpoint.key"
    if not key.exists():
        pem = Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        write_private(key, pem)
        public = load_signing_key(key).public_key()
        (folder / "checkpoint.vkey").write_text(checkpoints.verifier_key(public) + "\n")
    settings = Settings(
        database_url=url,
        database_secrets=postgres.secrets_dir,
        checkpoint_key_file=key,
        checkpoint_vkey_file=folder / "checkpoint.vkey",
        checkpoint_file=folder / "checkpoints.txt",
    )
    hazard, audit = await db.connect(settings, "hazard"), await db.connect(settings, "audit")
    superuser = await asyncpg.connect(url, user=postgres.superuser, password=postgres.superuser_password)
    file = CheckpointFile(folder / "checkpoints.txt")
    try:
        yield Ledger(url, settings, hazard, audit, superuser, Sequencer.of(audit, settings), file)
    finally:
        await superuser.close()
        await hazard.close()
        await audit.close()


@pytest_asyncio.fixture
async def book(postgres: EmbeddedPostgres, new_database: NewDatabase, tmp_path: Path) -> AsyncIterator[Ledger]:
    """A ledger with three checkpoints: of 10, 23 and 40 entries."""
    async with opened(postgres, await new_database(), tmp_path) as opened_ledger:
        for count in (10, 13, 17):
            await opened_ledger.write(count)
            await opened_ledger.sign()
        yield opened_ledger


async def test_an_untouched_ledger_verifies(book: Ledger) -> None:
    """An auditor would be told of tampering where there is none."""
    await book.write(5)
    seen: list[tuple[int, int]] = []
    result = await verify.verify(book.settings, progress=lambda done, total: seen.append((done, total)))
    assert result.problems == []
    assert (result.entries, result.unsequenced, result.receipts) == (40, 5, 45)
    assert seen == [(40, 40)]
    notes = list(book.file.notes())
    assert [checkpoints.parse(note).tree_size for note in notes] == [10, 23, 40]
    assert checkpoints.parse(notes[-1]).root_hash == result.root_hash
    naive = merkle.Frontier()
    naive.extend([row[0] for row in await book.superuser.fetch("SELECT leaf_hash FROM ledger.entry ORDER BY position")])
    assert naive.size == 45


async def test_verification_needs_no_private_key(book: Ledger, tmp_path: Path) -> None:
    """Whoever verifies would hold the key with which a forged ledger can be signed."""
    auditors = book.settings.model_copy(update={"checkpoint_key_file": None})
    (tmp_path / "checkpoint.key").unlink()
    assert (await verify.verify(auditors)).problems == []
    assert (await verify.verify(book.settings)).problems == []
    handed_over = checkpoints.load_verifier_keys(tmp_path / "checkpoint.vkey")
    (tmp_path / "checkpoint.vkey").unlink()
    assert (await verify.verify(auditors, keys=handed_over)).problems == []
    with pytest.raises(NoteError, match="cannot be read"):
        await verify.verify(auditors)


async def test_checkpoints_of_an_earlier_key_verify(book: Ledger, tmp_path: Path) -> None:
    """After the first change of the checkpoint key every older checkpoint would look forged."""
    present = Ed25519PrivateKey.generate()
    successor = Sequencer(book.audit, present, book.file)
    await book.write(2)
    await successor.sequence()
    assert await successor.checkpoint() is not None
    assert await book.found() == (None, {"bad_checkpoint"})
    with (tmp_path / "checkpoint.vkey").open("a") as file:
        file.write(checkpoints.verifier_key(present.public_key()) + "\n")
    assert (await book.verify()).problems == []


async def test_regular_entries_take_the_express_lane(book: Ledger) -> None:
    """Verification would fall to a fraction of its speed, unnoticed because its verdict is the same."""
    password = db.role_password(book.settings, AUDITOR)
    async with ranges.session(ranges.Login(book.url, password)) as connection:
        lane = Express(0, 40)

        async def feed(data: bytes) -> None:
            for offset in range(0, len(data), 1000):
                lane.feed(data[offset : offset + 1000])

        await connection.copy_from_query(COPY_BATCHES, 0, 40, BATCH, SEPARATOR, output=feed, format="binary")
    assert (lane.irregular, lane.rows) == ([], 40)


async def test_verification_by_several_processes_finds_the_same(book: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    """A large ledger, checked in parallel, would be judged differently from a small one."""
    monkeypatch.setattr(verify, "PARALLEL_FROM", 1)
    monkeypatch.setattr(verify, "RANGE", 8)
    assert (await verify.verify(book.settings, processes=2)).problems == []
    await book.tamper("UPDATE ledger.entry SET actor = 'people/other' WHERE position = 21")
    result = await verify.verify(book.settings, processes=2)
    assert [(each.kind, each.position) for each in result.problems] == [("edited_column", 21)]


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        ("actor = 'people/other'", "edited_column"),
        ("type = 'hazard.hazard.written_off'", "edited_column"),
        ("business_time = business_time - interval '1 day'", "edited_column"),
        ("recorded_time = recorded_time + interval '1 microsecond'", "edited_column"),
        ("objects = ARRAY['hazards/other', 'sites/s1']", "edited_column"),
        ("objects = ARRAY['hazards/h17\",\"sites/s1']", "edited_column"),
        ("objects = '{}'", "edited_column"),
        ("region_code = ''", "edited_column"),
        ("unit_path = 'u2/'", "edited_column"),
        ("request_id = 'other'", "edited_column"),
        ("workflow_id = ''", "edited_column"),
        ("id = 'other'", "edited_column"),
        ("on_behalf_of = 'people/other'", "edited_column"),
        ("method = ''", "edited_column"),
        ("policy_version = '2'", "edited_column"),
        ("actor = actor || E'\\x1f'", "edited_column"),
        ('actor = actor || \'","business_time":"2026-01-05T08:00:00Z\'', "edited_column"),
        ("id = id || '\",\"method\":\"' || method, method = ''", "edited_column"),
        ("business_time = 'infinity'", "edited_column"),
        ("recorded_time = '-infinity'", "edited_column"),
        ("business_time = date_trunc('second', business_time)", "edited_column"),
        ("business_time = (business_time::text || ' BC')::timestamptz", "edited_column"),
        ("recorded_time = (recorded_time::text || ' BC')::timestamptz", "edited_column"),
        ("recorded_time = recorded_time + interval '10000 years'", "edited_column"),
        ("envelope = ''", "edited_envelope"),
        ("envelope = substr(envelope, 1, 300)", "edited_envelope"),
        ("salt = substr(salt, 2)", "edited_payload"),
        ("payload = payload || ' '", "edited_payload"),
        ("salt = decode('00112233445566778899aabbccddeeff', 'hex')", "edited_payload"),
        ("salt = salt || substr(payload, 1, 1), payload = substr(payload, 2)", "edited_payload"),
        ("envelope = envelope || ' '", "edited_envelope"),
        ("leaf_hash = sha256('x')", "edited_envelope"),
    ],
)
async def test_an_edited_row_is_named(book: Ledger, change: str, kind: str) -> None:
    """An administrator could rewrite who did what, and when, in a single row."""
    await book.tamper(f"UPDATE ledger.entry SET {change} WHERE position = 17")
    where, kinds = await book.found()
    assert where == 17
    assert kind in kinds


@pytest.mark.parametrize(
    "column",
    [
        *("type", "actor", "business_time", "recorded_time", "objects", "region_code", "unit_path", "request_id"),
        *("workflow_id", "on_behalf_of", "method", "policy_version", "envelope", "leaf_hash"),
    ],
)
async def test_an_emptied_column_is_named(book: Ledger, column: str) -> None:
    """A comparison with nothing is neither true nor false: what an entry says could be taken out of reach of lists."""
    await book.superuser.execute(f"ALTER TABLE ledger.entry ALTER COLUMN {column} DROP NOT NULL")
    await book.tamper(f"UPDATE ledger.entry SET {column} = NULL WHERE position = 17")
    where, kinds = await book.found()
    assert where == 17
    assert "edited_column" in kinds


async def test_text_that_json_escapes_is_checked_as_closely(book: Ledger) -> None:
    """An entry whose text holds a quotation mark would look forged, or its column could be swapped for its JSON."""
    call = call_of(book.written)
    async with book.hazard.command(call) as tx:
        tx.record(ledger.Event("hazard.hazard.reported", ["hazards/h"], {}, "1303", "u1/", 'case "1"', "甲\\乙"))
        tx.answer(hazard_pb2.Hazard(name="hazards/h"))
    await book.sign()
    assert (await book.verify()).problems == []
    await book.tamper("UPDATE ledger.entry SET workflow_id = 'case \\\"1\\\"' WHERE position = 40")
    assert await book.found() == (40, {"edited_column"})


async def test_an_edit_with_its_hash_recomputed_is_named(book: Ledger) -> None:
    """An administrator who also knows the hash would get away with a forged entry."""
    row = await book.superuser.fetchrow("SELECT envelope FROM ledger.entry WHERE position = 30")
    assert row is not None
    forged = ledger.canonical(orjson.loads(row["envelope"]) | {"actor": "people/other"})
    await book.tamper(
        "UPDATE ledger.entry SET actor = 'people/other', envelope = $1, leaf_hash = $2 WHERE position = 30",
        forged,
        ledger.leaf_hash(forged),
    )
    result = await book.verify()
    assert {problem.kind for problem in result.problems} >= {"rewritten_log", "missing_receipt"}
    rewritten = next(problem for problem in result.problems if problem.kind == "rewritten_log")
    assert rewritten.position == 30
    assert "from position 23 to 39" in rewritten.detail
    assert any(problem.kind == "missing_receipt" and problem.position == 30 for problem in result.problems)


async def test_a_shredded_payload_is_allowed(book: Ledger) -> None:
    """Erasing personal data on request would make the ledger look forged."""
    assert await book.superuser.execute("UPDATE ledger.entry SET payload = NULL, salt = NULL WHERE position = 4")
    result = await book.verify()
    assert (result.problems, result.shredded) == ([], 1)
    store = AuditStore(book.audit)
    row = (await store.list_entries(EVERYWHERE, 3, EntryFilter(), 1, 1))[0]
    shown = messages.entry_message(row, audit_pb2.LedgerEntry())
    assert (shown.payload_json, shown.payload_salt) == ("", b"")
    assert len(shown.payload_commitment) == 32
    path = await merkle.read_path(merkle.inclusion_path(4, 40), store.nodes)
    assert merkle.verify_inclusion(merkle.leaf_hash(shown.envelope), 4, 40, path, result.root_hash), "no proof any more"


async def test_a_schema_of_another_version_is_told(book: Ledger) -> None:
    """Whoever verifies an older database would read a traceback instead of what to do."""
    await book.superuser.execute("ALTER TABLE ledger.entry RENAME COLUMN position TO place")
    with pytest.raises(verify.OtherSchema, match="position"):
        await book.verify()
    await book.superuser.execute("DROP SCHEMA ledger CASCADE")
    with pytest.raises(verify.OtherSchema, match=r"ledger\.entry"):
        await book.verify()


async def test_a_deleted_row_is_named(book: Ledger) -> None:
    """An entry could be made to have never been."""
    await book.tamper("DELETE FROM ledger.entry WHERE position = 12")
    where, kinds = await book.found()
    assert where == 12
    assert {"missing_entry", "rewritten_log", "missing_receipt"} <= kinds


async def test_a_cut_tail_is_named(book: Ledger) -> None:
    """The latest entries could be dropped without a trace, their checkpoints included."""
    await book.tamper("DELETE FROM ledger.entry WHERE position >= 35")
    assert await book.found() == (35, {"truncated_tail", "missing_receipt"})
    await book.tamper("DELETE FROM ledger.checkpoint WHERE tree_size = 40")
    assert await book.found() == (35, {"older_restore", "missing_receipt"})


async def test_an_emptied_ledger_is_found(book: Ledger) -> None:
    """Everything could be dropped at once, past the triggers, and an empty ledger would pass for a new one."""
    for table in ("entry", "node", "checkpoint"):
        await book.tamper(f"TRUNCATE ledger.{table}")
        where, kinds = await book.found()
        assert where == 0
        assert {"older_restore" if table == "checkpoint" else "truncated_tail", "missing_receipt"} <= kinds


async def test_two_views_are_found(book: Ledger) -> None:
    """Whoever has the key could show one log to one auditor and another to the next."""
    key = load_signing_key(book.settings.checkpoint_key_file or Path())
    other = checkpoints.sign(key, 40, bytes(32))
    await book.tamper(
        "UPDATE ledger.checkpoint SET root_hash = $1, note = $2 WHERE tree_size = 40", other.root_hash, other.note
    )
    assert await book.found() == (23, {"two_views"})
    book.file.append(checkpoints.sign(key, 41, bytes(32)).note)
    await book.write(1)
    await book.sequencer.sequence()
    result = await book.verify()
    assert [(each.kind, each.position) for each in result.problems] == [("two_views", 23), ("rewritten_log", 40)]
    with pytest.raises(LogDiverged):
        await book.sequencer.checkpoint()


async def test_a_rewritten_chain_is_located(book: Ledger) -> None:
    """An administrator could take an entry out and renumber and rehash all that follows, nodes included."""
    await book.tamper("DELETE FROM ledger.entry WHERE position = 26")
    await book.tamper("UPDATE ledger.entry SET position = position + 1000 WHERE position > 26")
    await book.tamper("UPDATE ledger.entry SET position = position - 1001 WHERE position > 1000")
    rows = await book.superuser.fetch("SELECT leaf_hash FROM ledger.entry ORDER BY position")
    frontier = merkle.Frontier()
    nodes = [node for row in rows for node in frontier.append(row["leaf_hash"])]
    await book.tamper("DELETE FROM ledger.node")
    await book.superuser.executemany("INSERT INTO ledger.node VALUES ($1, $2, $3)", nodes)
    # Now everything in the database fits, up to a checkpoint that only the key could sign.
    head = checkpoints.sign(Ed25519PrivateKey.generate(), 39, frontier.root())
    await book.tamper("DELETE FROM ledger.checkpoint WHERE tree_size > 23")
    await book.tamper("INSERT INTO ledger.checkpoint VALUES (39, $1, $2, now())", head.root_hash, head.note)
    result = await book.verify()
    kinds = {problem.kind for problem in result.problems}
    assert {"older_restore", "missing_receipt", "bad_checkpoint"} <= kinds
    await book.write(1)
    await book.sequencer.sequence()
    result = await book.verify()
    rewritten = next(problem for problem in result.problems if problem.kind == "rewritten_log")
    assert rewritten.position == 23
    assert "from position 23 to 39" in rewritten.detail
    with pytest.raises(LogDiverged):
        await book.sequencer.checkpoint()


async def test_a_missing_unsequenced_entry_is_found(book: Ledger) -> None:
    """What was acknowledged a moment ago could be deleted before it has a position."""
    await book.write(3)
    await book.tamper("DELETE FROM ledger.entry WHERE position IS NULL AND request_id = 'request-000041'")
    result = await book.verify()
    [problem] = result.problems
    assert (problem.kind, problem.position) == ("missing_receipt", None)
    assert "request-000041" in problem.detail


async def test_an_edited_unsequenced_entry_is_found(book: Ledger) -> None:
    """An entry could be changed before it is sequenced."""
    await book.write(3)
    await book.tamper("UPDATE ledger.entry SET actor = 'people/other' WHERE request_id = 'request-000041'")
    [problem] = (await book.verify()).problems
    assert (problem.kind, problem.position) == ("edited_column", None)
    assert "request-000041" in problem.detail


async def test_an_older_restore_is_found(postgres: EmbeddedPostgres, book: Ledger, tmp_path: Path) -> None:
    """A database restored to last week would pass for the whole truth, and be signed anew."""
    admin = await asyncpg.connect(
        postgres.url_of("postgres"), user=postgres.superuser, password=postgres.superuser_password
    )
    source = book.url
    name = urlsplit(source).path.removeprefix("/")
    for connected in (book.audit, book.hazard, book.superuser):
        await connected.close()
    await admin.execute(f"CREATE DATABASE {name}_backup TEMPLATE {name}")
    async with opened(postgres, source, tmp_path) as later:
        later.written = 40
        await later.write(10)
        await later.sign()
    async with opened(postgres, postgres.url_of(f"{name}_backup"), tmp_path) as restored:
        result = await restored.verify()
        assert [(each.kind, each.position) for each in result.problems] == [("older_restore", 40)]
        with pytest.raises(LogDiverged, match="50 entries were signed, 40 are here"):
            await restored.sequencer.checkpoint()
        restored.written = 60
        await restored.write(15)
        with pytest.raises(LogDiverged, match="first 50 entries are not those"):
            await restored.sign()
        assert await restored.found() == (40, {"rewritten_log"})
    await admin.close()


async def test_stored_checkpoints_must_be_those_that_were_signed(book: Ledger) -> None:
    """Auditors could be shown a root that nobody signed."""
    await book.tamper("UPDATE ledger.checkpoint SET root_hash = sha256('x') WHERE tree_size = 23")
    assert await book.found() == (22, {"bad_checkpoint"})
    path = book.settings.checkpoint_file
    assert path is not None
    path.unlink()
    assert "missing_checkpoint_file" in (await book.found())[1]


async def test_a_note_cut_by_a_crash_is_dropped(book: Ledger) -> None:
    """After a power cut in the middle of a write, nothing would ever be signed or verified again."""
    path = book.settings.checkpoint_file
    assert path is not None
    whole = path.read_bytes()
    for cut in (3, 20, 90, 150):
        path.write_bytes(whole + whole[:cut])
        head = book.file.last()
        assert head is not None
        assert head.tree_size == 40
    await book.write(1)
    await book.sign()
    assert path.read_bytes().startswith(whole)
    assert [checkpoints.parse(note).tree_size for note in book.file.notes()] == [10, 23, 40, 41]
    assert (await book.verify()).ok


async def test_services_can_only_append(book: Ledger) -> None:
    """A service that is broken into could rewrite what it did."""
    for database in (book.hazard, book.audit):
        for statement in (
            "UPDATE ledger.entry SET actor = 'x'",
            "UPDATE ledger.entry SET payload = NULL, salt = NULL",
            "DELETE FROM ledger.entry",
            "TRUNCATE ledger.entry",
            "UPDATE ledger.entry SET position = position + 100",
            "DELETE FROM ledger.node",
            "UPDATE ledger.checkpoint SET note = ''",
            "ALTER TABLE ledger.entry DISABLE TRIGGER ALL",
        ):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await database.execute(statement)
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await book.hazard.fetch("SELECT id FROM ledger.entry")
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await book.hazard.execute("UPDATE command SET receipts = '{}'")
    for statement in ("DELETE FROM ledger.entry", "TRUNCATE ledger.entry", "UPDATE ledger.entry SET type = 'x'"):
        with pytest.raises(asyncpg.InsufficientPrivilegeError, match="append-only"):
            await book.superuser.execute(statement)
    assert (await book.verify()).ok


async def test_readers_are_handed_what_a_message_holds(book: Ledger) -> None:
    """One page of an import's entries would fill the service's memory before it is cut to the size of a message."""
    large, room = 300_000, 1_000_000
    for number in range(6):
        call = call_of(1_000 + number)
        async with book.hazard.command(call) as tx:
            payload = {"columns": {"description": ["隐" * 100] * (large // 300)}}
            tx.record(ledger.Event("hazard.hazard.imported", [], payload, "1303" if number != 3 else "14"))
            tx.answer(hazard_pb2.Hazard())
    await book.sign()
    store, here = AuditStore(book.audit), Scope(("1303",), ())
    imported, found = EntryFilter(type_prefix="hazard.hazard.imported"), [(5, 4), (1, 1)]
    after = -1
    for counted, shown in found:
        rows = await store.list_entries(here, after, imported, 1_001, room)
        assert ([row["found"] for row in rows], len(rows)) == ([counted] * shown, shown)
        assert sum(len(row["envelope"]) * 2 + len(row["payload"]) for row in rows) < room + 2 * large
        after = rows[-1]["position"]
    assert len(await store.list_entries(here, -1, imported, 3, room)) == 3
    assert await store.list_entries(here, after, imported, 1_001, room) == []
    after, read = 39, []
    for counted, shown in [(6, 5), (1, 1)]:
        rows = await store.follow_entries(here, here, after, "", 200, room)
        assert ([row["found"] for row in rows], len(rows)) == ([counted] * shown, shown)
        assert [row["envelope"] is not None for row in rows] == [row["kept"] for row in rows]
        read += [row["kept"] for row in rows]
        after = rows[-1]["position"]
    assert read == [True, True, True, False, True, True]


async def test_two_sequencers_share_one_log(book: Ledger) -> None:
    """During a rolling restart two sequencers would number entries twice or sign two views."""
    other = Sequencer.of(book.audit, book.settings)

    async def work(sequencer: Sequencer) -> None:
        for _ in range(30):
            await sequencer.sequence(limit=3)
            await sequencer.checkpoint()

    await asyncio.gather(book.write(60), work(book.sequencer), work(other), work(book.sequencer), work(other))
    await book.sequencer.sequence()
    await book.sequencer.checkpoint()
    result = await book.verify()
    assert (result.problems, result.entries, result.unsequenced) == ([], 100, 0)


async def test_a_step_takes_few_entries_about_many_resources(book: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    """After an import of a million rows one step would index a million names, time out, and never be done."""
    monkeypatch.setattr(sequencer, "BATCH_OBJECTS", 4)
    await book.write(7)  # the third is about nothing, the others about two resources each
    steps = [await book.sequencer.sequence(limit=100) for _ in range(4)]
    assert [(step.entries, step.full) for step in steps] == [(3, True), (2, True), (2, True), (0, False)]
    call = call_of(1_000)
    async with book.hazard.command(call) as tx:
        tx.record(ledger.Event("hazard.hazard.imported", [f"hazards/i{n}" for n in range(9)], {}, "1303"))
        tx.answer(hazard_pb2.Hazard())
    assert (await book.sequencer.sequence()).entries == 1, "one that is too large for any step would wait for ever"
    await book.sequencer.checkpoint()
    assert (await book.verify()).ok


async def test_a_sequencer_waits_for_its_turn(book: Ledger) -> None:
    """Two sequencers at once could give one position to two entries."""
    await book.write(2)
    async with book.superuser.transaction():
        await book.superuser.execute("SELECT pg_advisory_xact_lock($1)", LOCK_KEY)
        assert not (await book.sequencer.sequence()).held
        assert await book.sequencer.checkpoint() is None
    assert (await book.sequencer.sequence()).entries == 2


async def test_a_crash_between_the_steps_is_made_up_for(book: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    """A sequencer killed between numbering, file and table would leave the log unsigned or doubly signed."""
    await book.write(4)
    await book.sequencer.sequence()  # killed before signing
    assert (await book.verify()).ok

    async def killed(*_: object) -> None:
        raise OSError("killed")

    with monkeypatch.context() as patched:
        patched.setattr("services.audit.sequencer.SequencerStore.store_checkpoint", killed)
        with pytest.raises(OSError, match="killed"):
            await book.sequencer.checkpoint()  # killed between file and table
    assert (await book.verify()).ok
    await book.write(2)
    with monkeypatch.context() as patched:
        patched.setattr("services.audit.sequencer.SequencerStore.store_nodes", killed)
        with pytest.raises(OSError, match="killed"):
            await book.sequencer.sequence()  # killed between positions and nodes
    restarted = Sequencer.of(book.audit, book.settings)
    assert (await restarted.sequence()).entries == 2
    assert await restarted.checkpoint() is not None
    assert [checkpoints.parse(note).tree_size for note in book.file.notes()] == [10, 23, 40, 44, 46]
    assert (await book.verify()).ok


async def test_the_loop_signs_what_is_new_within_five_seconds(book: Ledger) -> None:
    """Entries could stay unsigned, and so deniable, for as long as the service likes."""
    loop = asyncio.create_task(book.sequencer.run())
    try:
        await book.write(3)
        for _ in range(100):
            head = book.file.last()
            if head is not None and head.tree_size == 43:
                break
            await asyncio.sleep(0.05)
        assert head is not None
        assert head.tree_size == 43
    finally:
        loop.cancel()
    assert len(list(book.file.notes())) <= 6
    await asyncio.sleep(0)
    assert (await book.verify()).ok


async def test_entries_that_commit_late_are_not_skipped(book: Ledger) -> None:
    """An entry whose transaction took long would never be sequenced: deniable for ever."""
    call = call_of(999)
    async with book.hazard.connection() as slow, slow.transaction():
        event = ledger.Event("hazard.hazard.reported", ["hazards/late"], {}, "1303")
        entry = ledger.entry_of(
            call, event, actor=call.principal, on_behalf_of="", method=RULE.path, request_id=call.request_id
        )
        await ledger.append(slow, [entry])
        await book.write(3)
        assert (await book.sign()).tree_size == 43
    assert (await book.sign()).tree_size == 44
    assert (await book.verify()).ok


def test_notes_are_what_c2sp_says() -> None:
    """No witness could read our checkpoints."""
    key = Ed25519PrivateKey.from_private_bytes(bytes(32))
    head = checkpoints.sign(key, 3, bytes(32))
    lines = head.note.split("\n")
    assert lines[:4] == ["dutyloop.ledger", "3", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=", ""]
    assert lines[4].startswith("— dutyloop.ledger ")
    assert checkpoints.verify(head.note, [key.public_key()]) == head
    for wrong in (head.note.replace("\n3\n", "\n4\n"), head.note.replace("\n3\n", "\n03\n"), head.note[:60], ""):
        with pytest.raises(NoteError):
            checkpoints.verify(wrong, [key.public_key()])
    with pytest.raises(NoteError):
        checkpoints.verify(head.note, [Ed25519PrivateKey.generate().public_key()])


def test_verifier_keys_are_what_c2sp_says(tmp_path: Path) -> None:
    """An auditor could not hand our key to a witness, or would take a mangled one for ours."""
    key = Ed25519PrivateKey.from_private_bytes(bytes(32)).public_key()
    text = checkpoints.verifier_key(key)
    name, identifier, encoded = text.split("+", 2)
    assert (name, len(identifier), len(encoded)) == ("dutyloop.ledger", 8, 44)
    assert checkpoints.parse_verifier_key(f" {text}\n") == key
    other = checkpoints.verifier_key(Ed25519PrivateKey.generate().public_key()).split("+", 2)[2]
    wrong_ones = (
        text[:-8],
        text.replace("ledger+", "other+"),
        f"{name}+00000000+{encoded}",
        "",
        "+",
        "a+b",
        f"{name}+{identifier}+{other}",
        f"{name}+{identifier}+!",
    )
    for wrong in wrong_ones:
        with pytest.raises(NoteError):
            checkpoints.parse_verifier_key(wrong)
    file = tmp_path / "none.vkey"
    file.write_text("\n")
    with pytest.raises(NoteError, match="holds no"):
        checkpoints.load_verifier_keys(file)
