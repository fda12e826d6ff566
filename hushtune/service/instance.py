"""A server process among those that share a data folder.

Each has a folder for what it is about to finish, and holds a lock in it while it lives. The kernel
releases the lock however the process ends, so whoever can take it knows that the process is dead,
and its workers with it. The folder also lists their process ids: what a killed process leaves in
shared memory bears its id.
"""

import fcntl
import os
import re
import secrets
import shutil
from pathlib import Path

SHARED_MEMORY = Path("/dev/shm")
_LEFT_BEHIND = re.compile(
    r"(?:__KMP_REGISTERED_LIB_|joblib_memmapping_folder_|sem\.loky-)(\d+)\D.*"
)
"""What OpenMP, joblib and loky name after the process that made it."""


class Instance:
    """This process's folder and lock. Make and sweep them only while the store is locked."""

    def __init__(self, root: Path):
        self.root = root
        self.id = secrets.token_hex(8)
        self.folder = root / self.id
        self.folder.mkdir(parents=True, mode=0o700)
        self._lock = os.open(self.folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        note_process(self.folder, os.getpid())

    def partial(self, suffix: str) -> Path:
        """A new path for something half-written."""
        return self.folder / f"{secrets.token_hex(16)}.{suffix}"

    def close(self) -> None:
        """Remove folder and lock."""
        shutil.rmtree(self.folder, ignore_errors=True)
        os.close(self._lock)

    def sweep(self) -> set[str]:
        """Remove the folders of dead processes, and what else they left.

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
                sweep_shared_memory(_processes(folder))
                shutil.rmtree(folder, ignore_errors=True)
        return alive


def note_process(folder: Path, pid: int) -> None:
    """List a process of an instance, so that its leavings can be told from others'."""
    with (folder / "processes").open("a", encoding="ascii") as file:
        file.write(f"{pid}\n")


def sweep_shared_memory(pids: set[int], folder: Path = SHARED_MEMORY) -> None:
    """Remove what dead processes of this user left in shared memory."""
    for path in folder.iterdir() if pids and folder.is_dir() else ():
        named = _LEFT_BEHIND.fullmatch(path.name)
        if named and int(named[1]) in pids and path.lstat().st_uid == os.getuid():
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)


def _processes(folder: Path) -> set[int]:
    """The dead ones of those listed: another process may have got an id since."""
    try:
        pids = {int(line) for line in (folder / "processes").read_text("ascii").split()}
    except (OSError, ValueError):
        return set()
    return {pid for pid in pids if not Path(f"/proc/{pid}").exists()}


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
