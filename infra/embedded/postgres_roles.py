"""The database roles: the owner, one per service, the auditor; each with a password in a file of its own."""

import secrets
from pathlib import Path
from typing import TypeAlias

import asyncpg

from infra.embedded.process import write_private
from services.kit.contexts import AUDITOR, CONTEXTS, OWNER

DATABASE = "dutyloop"
SERVICE_ROLES = tuple(CONTEXTS)
ROLES = (OWNER, *SERVICE_ROLES, AUDITOR)

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"

_ROLE_STATEMENT = """
SELECT format(
    '%s ROLE %I LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS PASSWORD %L',
    CASE WHEN EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = $1::text)
         THEN 'ALTER' ELSE 'CREATE' END,
    $1::text, $2::text
)
"""

_AUDITOR_READS = """ALTER ROLE auditor SET default_transaction_read_only = on"""

_DATABASE_EXISTS = """SELECT EXISTS (SELECT FROM pg_catalog.pg_database WHERE datname = $1)"""

_CREATE_DATABASE = """CREATE DATABASE dutyloop OWNER dutyloop_owner"""

_DATABASE_RIGHTS = """
REVOKE ALL ON DATABASE dutyloop, postgres, template1 FROM PUBLIC;
GRANT CONNECT ON DATABASE dutyloop TO """ + ", ".join((*SERVICE_ROLES, AUDITOR))

_SCHEMA_RIGHTS = """REVOKE ALL ON SCHEMA public FROM PUBLIC"""


def read_or_make_passwords(folder: Path) -> dict[str, str]:
    """Read each role's file in ``folder`` and make what is missing: without a password a role is locked out."""
    folder.mkdir(mode=0o700, exist_ok=True)
    passwords = {}
    for role in ROLES:
        path = folder / role
        password = path.read_text().strip() if path.exists() else ""
        if not password:
            password = secrets.token_urlsafe(32)
            write_private(path, password.encode())
        passwords[role] = password
    return passwords


async def make_roles_and_database(connection: Connection, passwords: dict[str, str]) -> None:
    """Bring roles, database and rights to what this version wants, as the superuser."""
    for role in ROLES:
        # Identifiers and passwords cannot be parameters of utility statements: PostgreSQL
        # itself quotes them. Altering on each start repairs a lost password file.
        await connection.execute(await connection.fetchval(_ROLE_STATEMENT, role, passwords[role]))
    await connection.execute(_AUDITOR_READS)
    if not await connection.fetchval(_DATABASE_EXISTS, DATABASE):
        await connection.execute(_CREATE_DATABASE)
    await connection.execute(_DATABASE_RIGHTS)


async def close_public_schema(connection: Connection) -> None:
    """Let no role make objects outside the schemas of the services; in the product's database."""
    await connection.execute(_SCHEMA_RIGHTS)
