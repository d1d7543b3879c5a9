"""Reads passwords and private keys from files: one secret per file, so that a process can be given only its own."""

import os
import stat
from pathlib import Path

from services.kit.settings import SettingsError


def read_secret(path: Path) -> bytes:
    """Return the content of a secret file. Raises SettingsError naming the file that is missing or open to all.

    A group may read it: that is how Kubernetes gives a mounted secret to a process that is not root.
    """
    try:
        with path.open("rb") as file:
            if os.fstat(file.fileno()).st_mode & stat.S_IRWXO:
                raise SettingsError("open_secret", path=path)
            return file.read()
    except OSError as error:
        raise SettingsError("unreadable", path=path, reason=error) from None
