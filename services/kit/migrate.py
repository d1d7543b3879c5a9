"""Schema migrations: plain SQL files per service, applied once, in order, by the owner role.

File names say when they run: ``0002_pre_…`` before the new code is deployed, ``0003_post_…`` after.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import asyncpg

from services.kit.contexts import CONTEXTS, OWNER
from services.kit.crypto import digest
from services.kit.db import role_password
from services.kit.failures import Failure
from services.kit.settings import Settings, required

SERVICES_DIR = Path(__file__).resolve().parent.parent
LOCK_KEY = 7_302_117_401
"""Advisory lock held while migrating, so that two processes cannot migrate at once."""

CREATE_HISTORY = """
CREATE TABLE IF NOT EXISTS migration (
    name text NOT NULL CONSTRAINT migration_key PRIMARY KEY,
    sha256 bytea NOT NULL,
    applied_time timestamptz NOT NULL DEFAULT now()
)
"""


class MigrationError(Failure):
    """A migration cannot be applied; the words say which and why, in one line."""


@dataclass(frozen=True, slots=True)
class Migration:
    """One SQL file of a schema."""

    schema: str
    name: str
    sql: str


def migrations_of(schema: str) -> Sequence[Migration]:
    """List a schema's migrations in order: the kit's, then the service's own."""
    return [
        Migration(schema, f"{origin}/{path.name}", path.read_text(encoding="utf-8"))
        for origin in ("kit", schema)
        for path in sorted((SERVICES_DIR / origin / "migrations").glob("*.sql"))
    ]


async def migrate(settings: Settings, *, schemas: Iterable[str] = CONTEXTS) -> list[str]:
    """Apply what is missing; return the names applied. Raises MigrationError when an applied file was edited."""
    try:
        connection = await asyncpg.connect(
            required(settings.database_url, "database_url").get_secret_value(),
            user=OWNER,
            password=role_password(settings, OWNER),
            timeout=10,
            server_settings={"lock_timeout": "5s", "application_name": "dutyloop-migrate"},
        )
    except asyncpg.PostgresError as error:
        raise MigrationError("database_refuses", error=error) from error
    except OSError as error:
        raise MigrationError("database_unreachable", error=error) from error
    applied: list[str] = []
    try:
        await connection.execute("SELECT pg_advisory_lock($1)", LOCK_KEY)
        for schema in schemas:
            if (SERVICES_DIR / schema / "migrations").is_dir():
                applied += await _migrate_schema(connection, schema)
    finally:
        await connection.close()
    return applied


async def _migrate_schema(connection: "asyncpg.Connection[asyncpg.Record]", schema: str) -> list[str]:
    applied = []
    await connection.execute(f'CREATE SCHEMA IF NOT EXISTS "{schema}"')
    await connection.execute("SELECT set_config('search_path', $1, false)", schema)
    await connection.execute(CREATE_HISTORY)
    known = {row["name"]: row["sha256"] for row in await connection.fetch("SELECT name, sha256 FROM migration")}
    for migration in migrations_of(schema):
        checksum = digest(migration.sql.encode())
        if migration.name in known:
            if known[migration.name] != checksum:
                raise MigrationError("migration_edited", schema=schema, name=migration.name)
            continue
        try:
            async with connection.transaction():
                await connection.execute(migration.sql)
                await connection.execute(
                    "INSERT INTO migration (name, sha256) VALUES ($1, $2)", migration.name, checksum
                )
        except asyncpg.PostgresError as error:
            raise MigrationError("migration_refused", schema=schema, name=migration.name, error=error) from error
        applied.append(f"{schema}:{migration.name}")
    await _grant(connection, schema)
    return applied


async def _grant(connection: "asyncpg.Connection[asyncpg.Record]", schema: str) -> None:
    """Give the service's role its own tables, and the auditor role what verification reads."""
    await connection.execute(f"""
        REVOKE ALL ON SCHEMA "{schema}" FROM PUBLIC;
        GRANT USAGE ON SCHEMA "{schema}" TO "{schema}", auditor;
        GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA "{schema}" TO "{schema}";
        GRANT USAGE ON ALL SEQUENCES IN SCHEMA "{schema}" TO "{schema}";
        REVOKE UPDATE, DELETE ON "{schema}".command FROM "{schema}";
        REVOKE ALL ON FUNCTION "{schema}".forget_commands(interval, integer) FROM PUBLIC;
        GRANT EXECUTE ON FUNCTION "{schema}".forget_commands(interval, integer) TO "{schema}";
        REVOKE INSERT, UPDATE, DELETE ON "{schema}".migration FROM "{schema}";
        GRANT SELECT (principal, method, request_id, receipts, created_time) ON "{schema}".command TO auditor;
        DO $$ BEGIN  -- imports stage their rows in temporary tables
            EXECUTE format('GRANT TEMPORARY ON DATABASE %I TO "{schema}"', current_database());
        END $$;
    """)
