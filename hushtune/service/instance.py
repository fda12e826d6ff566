"""A server process among those that share a data folder.

Each has a folder for what it is about to finish, and holds a lock in it while it lives. The kernel
releases the lock however the process ends, so whoever can take it knows that the process is dead.
"""

import fcntl
import os
import secrets
import shutil
from pathlib import Path


class Instance:
    """This process's folder and lock. Make and sweep them only while the store is locked."""

    def __init__(self, root: Path):
        self.root = root
        self.id = secrets.token_hex(8)
        self.folder = root / self.id
        self.folder.mkdir(parents=True, mode=0o700)
        self._lock = os.open(self.folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        fcntl.flock(self._lock, fcntl.LOCK_EX)

    def partial(self, suffix: str) -> Path:
        """A new path for something half-written."""
        return self.folder / f"{secrets.token_hex(16)}.{suffix}"

    def close(self) -> None:
        """Remove folder and lock."""
        shutil.rmtree(self.folder, ignore_errors=True)
        os.close(self._lock)

    def sweep(self) -> set[str]:
        """Remove the folders of dead processes.

        Returns:
            The ids of the processes that live, this one's among them.
        """
        alive = {self.id}
        for folder in self.root.iterdir():
            if folder == self.folder:
                continue
            if _is_locked(folder / "lock"):
                alive.add(folder.name)
            else:
                shutil.rmtree(folder, ignore_errors=True)
        return alive


def _is_locked(path: Path) -> bool:
    try:
        descriptor = os.open(path, os.O_RDWR)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return False
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
