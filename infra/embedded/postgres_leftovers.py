"""What earlier servers have left behind: processes, and clusters whose data directory is gone."""

import asyncio
import contextlib
import os
import re
import shutil
import signal
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from infra.embedded import postgres_cluster
from infra.embedded.postgres_cluster import register_of, registered_data_dir, registers_locked
from infra.embedded.process import StackError

FAST_SECONDS = 30.0
IMMEDIATE_SECONDS = 10.0
REMOVED_SUFFIX = ".removed"
_HOME_NAME = re.compile(r"[0-9a-f]{16}")


@dataclass(frozen=True)
class Orphan:
    """A cluster of root's that does not run and whose data directory does not exist."""

    home: Path
    data_dir: Path
    """Where its data directory was when the cluster was started last."""
    size_bytes: int


def find_orphans() -> list[Orphan]:
    """List the orphans; for root, since nobody else has clusters outside the data directory.

    A data directory that was moved, or is on a disk that is not mounted, is gone as far as this can tell:
    what is listed is to be looked at before it is removed.
    """
    if os.geteuid() != 0 or not postgres_cluster.SYSTEM_DIR.is_dir():
        return []
    with registers_locked():
        return [Orphan(home, data_dir, _size_of(home)) for home, data_dir in _orphaned()]


def remove_orphans(chosen: Sequence[Orphan]) -> list[Orphan]:
    """Delete those of the chosen that are orphans still, and return them."""
    removed = []
    with registers_locked():
        still = dict(_orphaned())
        for orphan in chosen:
            if still.get(orphan.home) == orphan.data_dir:
                # Out of the way first: a data directory that turns up again must not start half a cluster.
                orphan.home.rename(orphan.home.with_name(orphan.home.name + REMOVED_SUFFIX))
                removed.append(orphan)
        doomed = list(postgres_cluster.SYSTEM_DIR.glob(f"*{REMOVED_SUFFIX}"))
    for home in doomed:
        shutil.rmtree(home)
        register_of(home.with_suffix("")).unlink(missing_ok=True)
    return removed


def _orphaned() -> list[tuple[Path, Path]]:
    """Return home and data directory of each orphan; one that nothing registers is nobody's to judge."""
    found = []
    for home in sorted(postgres_cluster.SYSTEM_DIR.iterdir()):
        if not _HOME_NAME.fullmatch(home.name) or not home.is_dir():
            continue
        data_dir = registered_data_dir(home)
        if data_dir is not None and not os.path.lexists(data_dir) and not _processes_of(home / "data"):
            found.append((home, data_dir))
    return found


def _size_of(home: Path) -> int:
    return sum(path.lstat().st_size for path in home.rglob("*"))


async def end_previous_server(cluster: Path) -> None:
    """End what a crashed parent has left running on this cluster, so that a new server may start.

    Only processes proven to be this cluster's are touched: every PostgreSQL process works inside
    its data directory, and the postmaster also names it on its command line.
    """
    # An orphaned postmaster ends by fast, then immediate shutdown; backends that have lost theirs
    # end by themselves, and at the latest when asked to quit.
    for end_signal, seconds in ((signal.SIGINT, FAST_SECONDS), (signal.SIGQUIT, IMMEDIATE_SECONDS)):
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
        raise StackError("earlier_server_stays", pid=left[0].pid, cluster=cluster)
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
