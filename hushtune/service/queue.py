"""Jobs that wait for a worker."""

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from hushtune.service.worker import CheckKeys, RunQuery

Task = CheckKeys | RunQuery


@dataclass(eq=False)
class Job:
    """A task on its way.

    Attributes:
        task: what to do.
        outcome: settled with its outcome.
        begin: called when it is its turn; False where nobody wants it any more.
        name: of the query.
        share: of the client.
    """

    task: Task
    outcome: "asyncio.Future[object]"
    begin: Callable[[], bool]
    name: str
    share: str

    def settle(self, outcome: object) -> None:
        """Give the outcome to whoever waits for it."""
        if not self.outcome.done():
            self.outcome.set_result(outcome)


class Queue:
    """Checks of keys and queries take turns, and among either the clients do, in the order of
    their first job; the jobs of one client come first in, first out.
    """

    def __init__(self) -> None:
        self._kinds: list[tuple[type, dict[str, deque[Job]]]] = [(CheckKeys, {}), (RunQuery, {})]

    def put(self, job: Job) -> None:
        """Let a job wait."""
        self._clients(job).setdefault(job.share, deque()).append(job)

    def take(self) -> Job | None:
        """The next job, if any waits."""
        for kind in self._kinds:
            clients = kind[1]
            if clients:
                self._kinds.sort(key=lambda one: one is kind)  # the last from now on
                share = next(iter(clients))
                jobs = clients.pop(share)
                job = jobs.popleft()
                if jobs:
                    clients[share] = jobs  # the last from now on
                return job
        return None

    def remove(self, job: Job) -> bool:
        """Take this job out; False if it did not wait any more."""
        clients = self._clients(job)
        jobs = clients.get(job.share, deque())
        if job not in jobs:
            return False
        jobs.remove(job)
        if not jobs:
            del clients[job.share]
        return True

    def queries(self) -> list[Job]:
        """The queries that wait."""
        clients = next(clients for kind, clients in self._kinds if kind is RunQuery)
        return [job for jobs in clients.values() for job in jobs]

    def _clients(self, job: Job) -> dict[str, deque[Job]]:
        return next(clients for kind, clients in self._kinds if isinstance(job.task, kind))
