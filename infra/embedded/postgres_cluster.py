"""The files of a PostgreSQL cluster: where they are, whose they are, and how they come to be.

An ordinary user's cluster is in the data directory. Root's is in ``SYSTEM_DIR``, where it belongs to the
account that runs the server; the data directory's ``postgres.json`` names it, and a register beside it
(``<name>.data-dir``) names the data directory.
"""

import contextlib
import fcntl
import hashlib
import os
import pwd
import secrets
import shutil
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import orjson

from infra.embedded.process import OsUser, StackError, require_space, run_to_end, write_private

SUPERUSER = "postgres"
SYSTEM_DIR = Path("/var/lib/dutyloop")
"""Where clusters live when root starts the stack; only root may write to it."""
OS_USER_NAMES = ("dutyloop", "postgres", "nobody")
"""Accounts PostgreSQL may run as in place of root, best first.

A dedicated account is safest, but creating one is the administrator's decision. ``postgres`` shares
the cluster with a system PostgreSQL at most; ``nobody`` with whatever else runs as nobody.
"""
SERVER_ENVIRONMENT = {"PATH": "/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC"}
INITDB_SECONDS = 300.0


@dataclass(frozen=True)
class Place:
    """Where the cluster is, what runs it and as whom."""

    home: Path
    os_user: OsUser | None

    @property
    def cluster(self) -> Path:
        """PostgreSQL's own data directory."""
        return self.home / "data"


class ClusterFiles:
    """What a data directory keeps of its cluster."""

    def __init__(self, data_dir: Path) -> None:
        self._data_dir = data_dir
        self._marker = data_dir / "postgres.json"
        self._superuser_secret = data_dir / "superuser.secret"

    def locate(self) -> Place:
        """Find the cluster that the data directory names, or choose a place for one."""
        home = self._system_home()
        if os.geteuid() != 0:
            if home is not None:
                raise StackError("started_by_root", data_dir=self._data_dir, home=home)
            return Place(self._data_dir / "postgres", None)
        if (self._data_dir / "postgres" / "data").exists():
            owner = (self._data_dir / "postgres").stat().st_uid
            raise StackError("started_by_another", data_dir=self._data_dir, owner=owner)
        if home is None:
            # A random name, not a hash of the path: the data directory may be moved, and a new one
            # under an old path must not meet the cluster of its predecessor.
            return Place(system_dir() / secrets.token_hex(8), _unprivileged_user())
        with registers_locked():
            if not (home / "data").exists():
                raise StackError("cluster_missing", data_dir=self._data_dir, home=home)
            self._require_sole_owner(home)
        return Place(home, _os_user_of(home))

    async def initialise(self, place: Place, binaries: Path, log_file: Path) -> None:
        """Make the cluster under another name first, so that an interrupted initdb leaves none."""
        require_space(place.home.parent)
        # A name that the next attempt from this data directory will use, and clear, again.
        name = hashlib.sha256(os.fsencode(self._data_dir)).hexdigest()[:16]
        new = place.home.with_name(f"{name}.new")
        try:
            await self._make_cluster(new, place, binaries, log_file)
        except BaseException:
            shutil.rmtree(new, ignore_errors=True)
            raise

    async def _make_cluster(self, new: Path, place: Place, binaries: Path, log_file: Path) -> None:
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
            log_file=log_file,
            env=SERVER_ENVIRONMENT,
            cwd=new,
            os_user=place.os_user,
            timeout=INITDB_SECONDS,
        )
        os.unlink(password_file)
        write_private(self._superuser_secret, password.encode())
        if place.os_user is None:
            os.rename(new, place.home)
            return
        # The register first: a cluster that nothing registers could never be told from another's.
        write_private(register_of(place.home), os.fsencode(self._data_dir))
        os.rename(new, place.home)
        write_private(self._marker, orjson.dumps({"system_cluster": str(place.home)}))

    def superuser_password(self) -> str:
        """Read the superuser's password, which was made with the cluster."""
        if not self._superuser_secret.exists():
            raise StackError("superuser_secret_missing", path=self._superuser_secret)
        return self._superuser_secret.read_text()

    def home_to_delete(self) -> Path | None:
        """Return the folder of the cluster, if there is one; StackError unless it is ours to delete."""
        home = self._system_home()
        if home is None:
            own = self._data_dir / "postgres"
            return own if own.exists() else None
        if os.geteuid() != 0:
            raise StackError("deleted_by_root", data_dir=self._data_dir, home=home)
        if home.parent != SYSTEM_DIR:
            raise StackError("foreign_cluster", path=self._marker, home=SYSTEM_DIR)
        if home.exists():
            with registers_locked():
                self._require_sole_owner(home)
        return home

    def forget(self, home: Path | None) -> None:
        """Remove what names the cluster, once its home is deleted."""
        if home is not None and home.parent == SYSTEM_DIR:
            register_of(home).unlink(missing_ok=True)
        for path in (self._marker, self._superuser_secret):
            path.unlink(missing_ok=True)

    def _system_home(self) -> Path | None:
        return Path(orjson.loads(self._marker.read_bytes())["system_cluster"]) if self._marker.exists() else None

    def _require_sole_owner(self, home: Path) -> None:
        """Refuse a copied data directory: two of them would share, and fight over, one cluster."""
        registered = registered_data_dir(home) or self._data_dir
        if registered == self._data_dir:
            return
        marker = registered / "postgres.json"
        if marker.exists() and orjson.loads(marker.read_bytes()).get("system_cluster") == str(home):
            raise StackError("copied_data_dir", data_dir=self._data_dir, original=registered, home=home)
        write_private(register_of(home), os.fsencode(self._data_dir))


def require_version(cluster: Path, version: str) -> None:
    """Raise StackError when another major version made the cluster."""
    made_by = (cluster / "PG_VERSION").read_text().strip()
    ours = version.split(".")[0]
    if made_by != ours:
        raise StackError("other_version", cluster=cluster, made_by=made_by, ours=ours)


def system_dir() -> Path:
    """``SYSTEM_DIR``, created if missing; refused if anybody but root could plant something in it."""
    try:
        if not SYSTEM_DIR.exists():
            SYSTEM_DIR.mkdir(mode=0o755)
            SYSTEM_DIR.chmod(0o755)
        found = SYSTEM_DIR.lstat()
    except OSError as error:
        raise StackError("cannot_create", path=SYSTEM_DIR, reason=error) from None
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != 0 or found.st_mode & 0o022:
        raise StackError("not_roots_alone", path=SYSTEM_DIR)
    return SYSTEM_DIR


@contextlib.contextmanager
def registers_locked() -> Iterator[None]:
    """Keep others from registering or removing clusters; for moments only, since it waits and is waited for."""
    directory = os.open(system_dir(), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(directory, fcntl.LOCK_EX)
        yield
    finally:
        os.close(directory)


def register_of(home: Path) -> Path:
    """The file beside a system cluster that names the data directory it belongs to."""
    return system_dir() / f"{home.name}.data-dir"


def registered_data_dir(home: Path) -> Path | None:
    """The data directory that a system cluster is registered for."""
    try:
        return Path(os.fsdecode(register_of(home).read_bytes()))
    except FileNotFoundError:
        return None


def _unprivileged_user() -> OsUser:
    for name in OS_USER_NAMES:
        with contextlib.suppress(KeyError):
            entry = pwd.getpwnam(name)
            if entry.pw_uid != 0:
                return OsUser(name, entry.pw_uid, entry.pw_gid)
    raise StackError("no_unprivileged_user", users=" / ".join(OS_USER_NAMES))


def _os_user_of(home: Path) -> OsUser:
    """The account that owns a cluster keeps it, even if a better one has appeared since."""
    try:
        entry = pwd.getpwuid(home.stat().st_uid)
    except KeyError:
        raise StackError("owner_gone", path=home) from None
    return OsUser(entry.pw_name, entry.pw_uid, entry.pw_gid)


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
