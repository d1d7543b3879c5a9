"""The first operator: made once, when the directory is empty and nobody could yet call a method.

Only here can a nationwide unit come to be: the API requires a region of every unit.
"""

from datetime import UTC, date, datetime

from dutyloop.directory.v1 import directory_pb2
from services.kit import db
from services.kit.call import Call
from services.kit.contexts import OWNER
from services.kit.db import Database, Repeated
from services.kit.ledger import Event
from services.kit.own_calls import own_call
from services.kit.settings import Settings

OPERATOR = "people/operator"
IN_OFFICE_SINCE = date(2000, 1, 1)
"""Before any business time that a virtual clock may be set to, so that the operator can always act."""

ROOT_EXISTS = "SELECT EXISTS (SELECT FROM unit WHERE id = 'root')"
INSERT_UNIT = """
INSERT INTO unit (id, display_name, region_code, kind, path)
VALUES ('root', '全国', '', 'COMMITTEE', 'root/')
"""
INSERT_PERSON = """
INSERT INTO person (id, display_name, unit_id, region_code, unit_path)
VALUES ('operator', '系统管理员', 'root', '', 'root/')
"""
INSERT_POST = """
INSERT INTO post (id, unit_id, display_name, roles, reach, region_code, unit_path)
VALUES ('operator', 'root', '系统管理员', ARRAY['OPERATOR'], 'REGION', '', 'root/')
"""
INSERT_APPOINTMENT = """
INSERT INTO appointment (id, post_id, person_id, start_date, region_code, unit_path)
VALUES ('operator', 'operator', 'operator', $1, '', 'root/')
"""


async def bootstrap(settings: Settings) -> str:
    """Make the nationwide unit and its operator unless they exist; return the operator's resource name.

    As the owner: installing is part of migrating, which has no other password.
    """
    database = await db.connect(settings, "directory", role=OWNER)
    try:
        # Not by its stored answer, which is forgotten in time.
        if not await database.fetchval(ROOT_EXISTS):
            await _make(database, own_call("directory", "bootstrap", datetime.now(UTC)))
    except Repeated:  # another process was first
        return OPERATOR
    finally:
        await database.close()
    return OPERATOR


async def _make(database: Database, call: Call) -> None:
    async with database.command(call) as tx:
        # Two processes at once: the second waits here, then finds the stored answer when it finishes.
        await tx.execute("SELECT pg_advisory_xact_lock(hashtextextended('directory.bootstrap', 0))")
        person = directory_pb2.Person(name=OPERATOR, display_name="系统管理员", unit="units/root")
        if await tx.fetchrow("SELECT FROM unit WHERE id = 'root'") is not None:
            raise Repeated
        for statement in (INSERT_UNIT, INSERT_PERSON, INSERT_POST):
            await tx.execute(statement)
        await tx.execute(INSERT_APPOINTMENT, IN_OFFICE_SINCE)
        objects = ["units/root", OPERATOR, "posts/operator", "appointments/operator"]
        payload = {"roles": ["OPERATOR"], "reach": "REGION", "start_date": IN_OFFICE_SINCE}
        tx.record(Event("directory.installation.bootstrapped", objects, payload, region_code="", unit_path="root/"))
        tx.answer(person)
