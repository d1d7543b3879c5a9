"""What only root's embedded PostgreSQL has: an account of its own, and a cluster outside the data directory.

Left out for anybody else (see conftest): an ordinary user has nothing of this.
"""

import asyncio
import contextlib
import io
import json
import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest
from typer.testing import CliRunner

from infra.embedded import postgres_cluster, postgres_programs
from infra.embedded.postgres import EmbeddedPostgres
from infra.embedded.postgres_cluster import SYSTEM_DIR, ClusterFiles, register_of
from infra.embedded.postgres_leftovers import find_orphans, remove_orphans
from infra.embedded.process import Child, OsUser, StackError, last_line
from services.cli import processes
from services.cli.main import app
from tests.faults.system import as_user, files_below

STRANGER = 54321
"""A user id that owns nothing here and need not exist."""

STRANGER_TRIES = """
import os, socket, sys
os.setgroups([])
os.setresgid(int(sys.argv[1]), int(sys.argv[1]), int(sys.argv[1]))
os.setresuid(int(sys.argv[1]), int(sys.argv[1]), int(sys.argv[1]))
for path in sys.argv[2:]:
    for attempt in (open, os.listdir, lambda p: socket.socket(socket.AF_UNIX).connect(p)):
        try:
            attempt(path)
        except OSError:
            continue
        print(path)
"""


async def test_a_copied_data_directory_is_refused_and_a_moved_one_followed(tmp_path: Path) -> None:
    """Two stacks would run on one cluster, or a renamed directory would come up empty."""
    original = EmbeddedPostgres(tmp_path / "original")
    await original.start()
    await original.stop()
    shutil.copytree(tmp_path / "original", tmp_path / "copy")
    with pytest.raises(StackError, match=r"copy is a copy of .*original, whose"):
        await EmbeddedPostgres(tmp_path / "copy").start()
    (tmp_path / "original").rename(tmp_path / "moved")
    moved = EmbeddedPostgres(tmp_path / "moved")
    await moved.start()
    assert original.cluster == moved.cluster
    await moved.destroy()


async def test_programs_below_a_private_home_are_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Installed below /root, PostgreSQL could not be run by an account that may run it."""
    wheel = postgres_programs.wheel_root()
    private = tmp_path / "private"
    private.mkdir(mode=0o700)
    shutil.copytree(wheel / "pginstall", private / wheel.name / "pginstall", symlinks=True)
    shutil.copytree(wheel.with_name(f"{wheel.name}.libs"), private / f"{wheel.name}.libs")
    system_dir = SYSTEM_DIR.with_name(f"dutyloop-test-{os.getpid()}")
    monkeypatch.setattr(postgres_programs, "wheel_root", lambda: private / wheel.name)
    monkeypatch.setattr(postgres_cluster, "SYSTEM_DIR", system_dir)
    running = EmbeddedPostgres(tmp_path / "data")
    try:
        await running.start()
        program = Path(psutil.Process(running.child.pid).exe())
        assert system_dir in program.parents
        found = await asyncio.to_thread(files_below, system_dir / program.relative_to(system_dir).parts[0])
        assert {path for path, status in found.items() if status.st_mode & 0o022 or status.st_uid != 0} == set()
        assert stat.S_IMODE(private.lstat().st_mode) == 0o700
        await running.stop()
        await running.start()
        again = await asyncio.to_thread(files_below, system_dir / program.relative_to(system_dir).parts[0])
        assert found[program].st_ctime_ns == again[program].st_ctime_ns
    finally:
        await running.destroy()
        shutil.rmtree(system_dir, ignore_errors=True)


async def test_a_system_directory_others_can_write_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another user could put programs there that root then starts, or take the data away."""
    open_to_all = tmp_path / "system"
    open_to_all.mkdir()
    open_to_all.chmod(0o777)
    monkeypatch.setattr(postgres_cluster, "SYSTEM_DIR", open_to_all)
    with pytest.raises(StackError, match=r"must be a directory that belongs to root and only root can write$"):
        await EmbeddedPostgres(tmp_path / "data").start()


async def test_only_clusters_of_ours_are_destroyed(tmp_path: Path) -> None:
    """A marker that somebody edited would have root delete any folder, a copied one that of the original."""
    data_dir = tmp_path / "data"
    original = EmbeddedPostgres(data_dir)
    await original.start()
    await original.stop()
    shutil.copytree(data_dir, tmp_path / "copy")
    with pytest.raises(StackError, match=r"copy is a copy of .*data, whose"):
        await EmbeddedPostgres(tmp_path / "copy").destroy()
    assert original.cluster.exists()
    await original.destroy()
    precious = tmp_path / "precious"
    precious.mkdir()
    (data_dir / "postgres.json").write_text(json.dumps({"system_cluster": str(precious)}))
    with pytest.raises(StackError, match=r"does not name a cluster below "):
        await EmbeddedPostgres(data_dir).destroy()
    assert precious.exists()


def test_another_user_reaches_nothing(server: EmbeddedPostgres) -> None:
    """Any user of the machine could read the data or talk to the server."""
    data_dir = server.secrets_dir.parent
    targets = [
        *(server.secrets_dir, server.secrets_dir / "hazard", data_dir / "superuser.secret", data_dir, server.log_file),
        *(server.cluster, server.cluster / "pg_hba.conf", server.cluster / "PG_VERSION"),
        *(server.socket_dir, server.socket_dir / ".s.PGSQL.5432"),
    ]
    tried = subprocess.run(
        [sys.executable, "-I", "-c", STRANGER_TRIES, str(STRANGER), *map(str, targets), "/"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert tried.stdout.strip() == "/"


def test_root_does_not_run_postgresql(server: EmbeddedPostgres) -> None:
    """A flaw in PostgreSQL would hand over the machine."""
    server_process = psutil.Process(server.child.pid)
    uids = [process.uids() for process in (server_process, *server_process.children(recursive=True))]
    assert server.os_user is not None
    assert {(server.os_user.uid,) * 3} == {tuple(each) for each in uids}
    groups = [
        line.split()[1:]
        for line in Path(f"/proc/{server.child.pid}/status").read_text().splitlines()
        if line.startswith("Groups:")
    ]
    assert groups == [[]]


async def test_a_child_of_another_account_keeps_nothing_of_root(tmp_path: Path) -> None:
    """PostgreSQL would keep root's groups, or its parent-death signal would be lost with the change."""
    log = tmp_path / "logs" / "child.log"
    groups = os.getgroups()
    os.setgroups([STRANGER + 1])
    try:
        child = await Child.start(
            "child",
            ["/bin/sh", "-c", "echo $(id -u) $(id -G) $(umask)"],
            log_file=log,
            env={"PATH": "/usr/bin:/bin"},
            cwd=Path("/"),
            os_user=OsUser("stranger", STRANGER, STRANGER),
        )
        await child.wait()
    finally:
        os.setgroups(groups)
    assert last_line(log) == f"{STRANGER} {STRANGER} 0077"


def test_a_data_directory_of_another_user_is_refused(tmp_path: Path) -> None:
    """Started once with sudo and once without, a stack would come up empty instead of with its data."""
    theirs = tmp_path / "theirs"
    (theirs / "postgres" / "data").mkdir(parents=True)
    os.chown(theirs / "postgres", STRANGER, STRANGER)
    with pytest.raises(StackError, match=rf"theirs was started by user id {STRANGER}: start it as that user$"):
        ClusterFiles(theirs).locate()
    assert ClusterFiles(theirs).home_to_delete() == theirs / "postgres"
    roots = tmp_path / "roots"
    roots.mkdir()
    home = SYSTEM_DIR / "0123456789abcdef"
    (roots / "postgres.json").write_text(json.dumps({"system_cluster": str(home)}))
    for path in (roots / "postgres.json", roots, tmp_path):
        os.chown(path, STRANGER, STRANGER)
    os.chmod(tmp_path.parent, 0o711)
    os.chmod(tmp_path.parent.parent, 0o711)
    with as_user(STRANGER):
        with pytest.raises(StackError, match=rf"was started by root and keeps its data in {home}: start it as root"):
            ClusterFiles(roots).locate()
        with pytest.raises(StackError, match=rf"was started by root and keeps its data in {home}: delete it as root"):
            ClusterFiles(roots).home_to_delete()


# Clusters whose data directory is gone


async def test_a_running_cluster_is_no_orphan(tmp_path: Path) -> None:
    """Whoever deletes a data directory under a running stack, then cleans up, would pull the data from under it."""
    data_dir, kept = tmp_path / "data", tmp_path / "kept"
    running, other = EmbeddedPostgres(data_dir), EmbeddedPostgres(kept)
    await running.start()
    await other.start()
    await other.stop()
    try:
        data_dir.rename(tmp_path / "away")
        homes = {each.home for each in find_orphans()}
        assert homes.isdisjoint({running.cluster.parent, other.cluster.parent})
        await running.stop()
        (orphan,) = [each for each in find_orphans() if each.data_dir == data_dir]
        assert orphan.home == running.cluster.parent
        assert orphan.size_bytes > 1 << 20
        (tmp_path / "away").rename(data_dir)
        assert remove_orphans([orphan]) == []
        await running.start()
    finally:
        await running.destroy()
        await other.destroy()


@pytest.fixture
def system_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A system directory with the clusters of five stacks; the data directory of the first two is gone."""
    folder = tmp_path / "system"
    folder.mkdir(mode=0o755)
    monkeypatch.setattr(postgres_cluster, "SYSTEM_DIR", folder)
    (tmp_path / "there").mkdir()
    (tmp_path / "dangling").symlink_to(tmp_path / "nothing")
    data_dirs: list[Path | None] = [*(tmp_path / name for name in ("gone", "deleted", "there", "dangling")), None]
    for number, data_dir in enumerate(data_dirs):
        home = folder / f"{number:016x}"
        (home / "data").mkdir(parents=True)
        (home / "data" / "PG_VERSION").write_text("18\n")
        if data_dir is not None:
            register_of(home).write_bytes(os.fsencode(data_dir))
    (folder / "postgresql-18.6.3").mkdir()
    return folder


def clean(*arguments: str) -> Any:
    """Run ``dutyloop clean``."""
    done = CliRunner().invoke(app, ["clean", "--json", *arguments])
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def test_orphans_are_listed_and_removed_only_when_told_to(system_dir: Path, tmp_path: Path) -> None:
    """Disks would fill with the data of deleted stacks, or a clean-up would take the data of living ones."""
    before = sorted(system_dir.iterdir())
    listed = clean()
    assert [(Path(each["cluster"]).name[-1], each["data_dir"], each["removed"]) for each in listed] == [
        ("0", str(tmp_path / "gone"), False),
        ("1", str(tmp_path / "deleted"), False),
    ]
    assert sorted(system_dir.iterdir()) == before
    assert [each["removed"] for each in clean("--remove")] == [True, True]
    gone = {"0" * 16, "0" * 16 + ".data-dir", "0" * 15 + "1", "0" * 15 + "1.data-dir"}
    assert {path.name for path in before} - gone == {path.name for path in system_dir.iterdir()}
    assert clean("--remove") == []


@pytest.mark.usefixtures("system_dir")
def test_the_state_tells_of_orphans() -> None:
    """Nobody would know that there is anything to clean up."""
    told = io.StringIO()
    with contextlib.redirect_stderr(told):
        processes.tell_of_orphans()
        assert told.getvalue().count("dutyloop clean") == 1
        clean("--remove")
        processes.tell_of_orphans()
    assert told.getvalue().count("dutyloop clean") == 1


def test_an_interrupted_removal_is_finished(system_dir: Path) -> None:
    """What a cut removal left would stay for ever: nothing names it any more."""
    (system_dir / f"{0:016x}").rename(system_dir / f"{0:016x}.removed")
    clean("--remove")
    assert not list(system_dir.glob("*.removed")) and not (system_dir / f"{0:016x}.data-dir").exists()
