"""A process that computes: it opens evaluation keys and runs queries until its pipe closes.

It lives apart from the HTTP server because FHE takes all of a core for seconds and because whatever
native code does with a stranger's bytes then ends this process at worst.
"""

import ctypes
import mmap
import os
import resource
import signal
import tempfile
from collections import OrderedDict
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING

from hushtune.fhe.envelope import HEADER_BYTES
from hushtune.service.errors import is_disk_full
from hushtune.support.errors import HushtuneError, ProtocolError

if TYPE_CHECKING:
    from hushtune.fhe.server import EvaluationKeys

IDLE_SECONDS = 5
PR_SET_PDEATHSIG = 1
LEFT_TO_THE_SERVER = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE}


@dataclass(frozen=True)
class WorkerSettings:
    """What a worker must know."""

    artifact: Path
    layout: Path
    """File for the layout of the artifact's keys; the first worker makes it."""
    scratch: Path
    """Folder for temporary files: Concrete unpacks a circuit with PBS at every start and leaves
    it."""
    threads: int
    keys_in_memory: int
    server: int = field(default_factory=os.getpid)
    """Process id of the HTTP server; the worker ends with it."""


@dataclass(frozen=True)
class CheckKeys:
    """Whether a file holds evaluation keys of this artifact. Outcome: the key set's id."""

    path: Path


@dataclass(frozen=True)
class RunQuery:
    """Compute a query, with the keys in a file if it needs any; write the response.

    Outcome: None.
    """

    query: bytes
    keys: Path | None
    response: Path


@dataclass(frozen=True)
class Failure:
    """A task that gave no outcome. `refused` says that the client's bytes are to blame."""

    code: str
    message: str
    refused: bool = False


def work(pipe: Connection, settings: WorkerSettings) -> None:
    """Do the tasks that arrive; answer each with its outcome or a `Failure`."""
    _settle_down(settings)
    try:
        worker = Worker(settings)
    except Exception as error:  # the server says so in its log and tries again
        why = str(error) if isinstance(error, HushtuneError) else repr(error)
        pipe.send(Failure("not_started", why))
        return
    pipe.send(None)
    while True:
        worker.forget_removed_keys()
        if not pipe.poll(IDLE_SECONDS):
            continue
        try:
            task = pipe.recv()
        except EOFError:
            return
        pipe.send(worker.outcome(task))


class Worker:
    """The circuit, and the keys opened last."""

    def __init__(self, settings: WorkerSettings):
        from hushtune.fhe.server import Server
        from hushtune.service.layout import Layout

        self.settings = settings
        self.server = Server(settings.artifact)
        keyless = self.server.artifact.manifest.circuit.pbs == 0
        self.layout = None if keyless else Layout.kept(settings.layout, settings.artifact)
        self.opened: OrderedDict[Path, EvaluationKeys] = OrderedDict()

    def outcome(self, task: CheckKeys | RunQuery) -> bytes | Failure | None:
        """Do a task."""
        try:
            if isinstance(task, CheckKeys):
                return self._check(task)
            self._run(task)
            return None
        except ProtocolError as error:
            return Failure("unreadable", str(error), refused=True)
        except MemoryError:
            return Failure("no_memory", "The server had too little memory to compute the query.")
        except OSError as error:
            if is_disk_full(error):
                return Failure("disk_full", "The server has no room left on its disk.")
            return Failure("failed", f"The server could not read or write a file ({error.errno}).")
        except Exception as error:  # whatever Concrete raises: this task fails, the next may not
            return Failure("failed", f"The computation failed ({type(error).__name__}).")

    def forget_removed_keys(self) -> None:
        """Close opened keys whose file was removed."""
        for path in [path for path in self.opened if not path.exists()]:
            del self.opened[path]

    def _check(self, task: CheckKeys) -> bytes:
        with task.path.open("rb") as file:
            view = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            with view, memoryview(view) as whole, whole[HEADER_BYTES:] as payload:
                fits = self.layout is not None and self.layout.fits(payload)
        if not fits:
            raise ProtocolError(
                "evaluation keys: not made with this artifact's parameters. Make them with "
                "hushtune.Client and the client part of the artifact served here."
            )
        return self.server.load_keys(task.path.read_bytes()).key_id

    def _run(self, task: RunQuery) -> None:
        response = self.server.run(task.query, self._keys(task.keys) if task.keys else None)
        with task.response.open("xb") as file:
            file.write(response)
            file.flush()
            os.fsync(file.fileno())

    def _keys(self, path: Path) -> "EvaluationKeys":
        if path not in self.opened:
            while len(self.opened) >= self.settings.keys_in_memory:
                self.opened.popitem(last=False)
            try:
                data = path.read_bytes()
            except FileNotFoundError as error:
                raise ProtocolError("The evaluation keys were removed meanwhile.") from error
            self.opened[path] = self.server.load_keys(data)
        self.opened.move_to_end(path)
        return self.opened[path]


def _settle_down(settings: WorkerSettings) -> None:
    """End with the server, leave its signals to it, dump no memory, share the cores.

    Temporary files go where the server removes them.
    """
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != settings.server:  # it died before the line above
        os._exit(1)
    # Blocked, not ignored: Concrete's libraries install handlers of their own for all of them
    signal.pthread_sigmask(signal.SIG_BLOCK, LEFT_TO_THE_SERVER)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.umask(0o077)
    tempfile.tempdir = os.environ["TMPDIR"] = str(settings.scratch)
    silence = os.open(os.devnull, os.O_RDWR)  # the FHE libraries' chatter is no JSON
    for stream in (0, 1, 2):
        os.dup2(silence, stream)
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ.setdefault(name, str(settings.threads))
