"""Processes of their own to measure in: pinned to cores, their peak of memory theirs alone."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "RAYON_NUM_THREADS")
"""Concrete's compiled circuits run in OpenMP threads, matrix products in OpenBLAS's, Concrete's key
generation in Rayon's; all start one for each core the process may use, unless an inherited variable
says otherwise."""


@dataclass(frozen=True)
class Finished:
    """A process that has ended.

    Attributes:
        output: what it wrote to standard output.
        reason: why it failed, in one line; empty where it did not.
    """

    output: str
    reason: str


def run_module(cores: int, *command: str) -> Finished:
    """Run ``python -m MODULE ARGUMENT...`` with so many cores and threads."""
    environment = os.environ | {name: str(cores) for name in THREAD_VARIABLES}
    with _pinned(cores):
        done = subprocess.run(
            [sys.executable, "-m", *command], env=environment, capture_output=True, text=True
        )
    return Finished(done.stdout, _reason(done.returncode, done.stderr) if done.returncode else "")


@contextmanager
def _pinned(cores: int) -> Iterator[None]:
    """Processes started within inherit so many cores from this thread, before any import."""
    available = os.sched_getaffinity(0)
    os.sched_setaffinity(0, sorted(available)[:cores])
    try:
        yield
    finally:
        os.sched_setaffinity(0, available)


def _reason(code: int, errors: str) -> str:
    """Why a process failed, from its exit code and what it wrote to standard error."""
    lines = [line for line in errors.splitlines() if line.strip()] or ["no message"]
    raised = [line for line in lines if re.match(r"[\w.]+(Error|Exception|Interrupt)\b", line)]
    last = (raised or lines)[-1].strip()
    last = re.sub(r"^(?:\w+\.)+(?=\w+:)", "", last)
    if code == -signal.SIGKILL:
        return "killed, most likely because memory ran out"
    return f"ended by {signal.Signals(-code).name}: {last}" if code < 0 else last


def peak_bytes() -> int:
    """Peak resident memory of this process.

    Not ``ru_maxrss``: that is inherited from the process which started this one.
    """
    status = Path("/proc/self/status").read_text("utf-8")
    return next(1024 * int(line.split()[1]) for line in status.splitlines() if "VmHWM" in line)
