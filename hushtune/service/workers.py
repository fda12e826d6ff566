"""The worker processes: a queue of jobs, a slot for each process, a new one for each that dies.

Written by hand because Pebble, which was tried, counts a task's time from the moment a worker takes
it: a worker that is stopped before it does holds its task for ever. And where a worker fails to
start, its pool is broken for good.
"""

import asyncio
import logging
import multiprocessing
import os
import shutil
import sqlite3
import time
from collections.abc import Callable
from dataclasses import replace

from hushtune.service.instance import note_process, sweep_shared_memory
from hushtune.service.logs import log, note
from hushtune.service.queue import Job, Queue, Task
from hushtune.service.worker import Failure, WorkerSettings, work

START_SECONDS = 300
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 30.0
DIED = Failure("worker_died", "The process that computed it died and was replaced. Send it again.")
STOPPING = Failure("server_stopping", "The server is stopping. Send it again in a while.")
MISTAKE = Failure("failed", "The server made a mistake; its log tells more.")


class Workers:
    """A pool of processes. All methods belong to the main thread's event loop.

    Args:
        settings: for each worker.
        count: how many processes.
        timeout: seconds a task may take; then its process is replaced.
        longest_wait: seconds a task may wait for a process; then it fails.
    """

    def __init__(self, settings: WorkerSettings, count: int, timeout: float, longest_wait: float):
        self.settings, self.timeout, self.longest_wait = settings, timeout, longest_wait
        self.replaced = 0
        self.failure: str | None = None
        """Why the last worker could not be started."""
        self.queue = Queue()
        self._slots = [_Slot(self, index) for index in range(count)]
        self._tasks: list[asyncio.Task[None]] = []
        self._stopping = False

    @property
    def ready(self) -> int:
        """How many processes can compute."""
        return sum(slot.ready for slot in self._slots)

    @property
    def busy(self) -> int:
        """How many processes compute just now."""
        return sum(slot.busy for slot in self._slots)

    def start(self) -> None:
        """Start all processes; they are ready some seconds later."""
        self._tasks = [asyncio.create_task(slot.run()) for slot in self._slots]

    def submit(
        self,
        task: Task,
        begin: Callable[[], bool] = lambda: True,
        name: str = "",
        share: str = "",
    ) -> "asyncio.Future[object]":
        """Queue a task of a client, under a name by which it may be dropped.

        Returns:
            Its outcome, a `Failure`, or None where nobody wants it any more: it was dropped, or
            `begin` said so.
        """
        loop = asyncio.get_running_loop()
        job = Job(task, loop.create_future(), begin, name, share)
        if self._stopping:
            job.settle(STOPPING)
            return job.outcome
        self.queue.put(job)
        for slot in self._slots:
            slot.wake.set()
        patience = loop.call_later(self.longest_wait, self._give_up, job)
        job.outcome.add_done_callback(lambda _: patience.cancel())
        return job.outcome

    def waiting(self) -> set[str]:
        """The names of the queries that wait."""
        return {job.name for job in self.queue.queries()}

    def drop(self, names: set[str]) -> None:
        """Take queries out of the queue; those that run already go on."""
        for job in self.queue.queries():
            if job.name in names:
                self.queue.remove(job)
                job.settle(None)

    async def stop(self, grace: float) -> None:
        """Fail what waits, let what runs end within `grace` seconds, end the processes."""
        self._stopping = True
        while job := self.queue.take():
            job.settle(STOPPING)
        deadline = time.monotonic() + grace
        while self.busy and time.monotonic() < deadline:
            await asyncio.sleep(0.05)
        pending = set(self._tasks)
        while pending:  # a cancellation can be lost where the reply comes at the same moment
            for task in pending:
                task.cancel()
            _, pending = await asyncio.wait(pending, timeout=1)

    def _give_up(self, job: Job) -> None:
        if self.queue.remove(job):
            words = f"No worker had time for it within {self.longest_wait:g} s. Send it again."
            job.settle(Failure("waited_too_long", words))


class _Slot:
    """One process at a time, and what it does."""

    def __init__(self, workers: Workers, index: int):
        self.workers, self.index = workers, index
        self.ready = self.busy = False
        self.wake = asyncio.Event()
        """Set when a job came or the process died."""
        self._pause = FIRST_PAUSE

    async def run(self) -> None:
        """Keep a process alive and give it tasks, until cancelled."""
        while True:
            try:
                failure = await self._live()
            except Exception:  # this program's own mistake: one worker less is worse
                log.exception("worker lost by a mistake")
                failure = MISTAKE
            self.workers.replaced += 1
            note("worker replaced", level=logging.WARNING, worker=self.index, why=failure.code)
            await asyncio.sleep(self._pause)
            self._pause = min(2 * self._pause, LONGEST_PAUSE)

    async def _live(self) -> Failure:
        """Start a process and let it serve until it must be replaced; say why."""
        try:
            process = _Process(self.workers.settings, self.index, self.wake.set)
        except OSError as error:  # no memory, no process, no descriptor left
            return self._not_started(Failure("not_started", str(error)))
        try:
            failure = await process.reply(START_SECONDS)
            if isinstance(failure, Failure):
                return self._not_started(failure)
            self.ready, self._pause, self.workers.failure = True, FIRST_PAUSE, None
            note("worker ready", worker=self.index, pid=process.pid)
            return await self._serve(process)
        finally:
            self.ready = False
            process.kill()
            await asyncio.to_thread(process.join)

    def _not_started(self, failure: Failure) -> Failure:
        self.workers.failure = failure.message
        note("worker not started", level=logging.ERROR, worker=self.index, why=failure.message)
        return failure

    async def _serve(self, process: "_Process") -> Failure:
        """Give tasks to a process until it dies or must be replaced; say why."""
        while True:
            job = await self._next_job(process)
            if job is None:
                return DIED
            self.busy = True
            outcome: object = MISTAKE
            try:
                outcome = await self._do(job, process)
            except asyncio.CancelledError:
                outcome = STOPPING
                raise
            finally:
                job.settle(outcome)
                self.busy = False
            if isinstance(outcome, Failure) and outcome.code in ("worker_died", "timeout"):
                return outcome

    async def _next_job(self, process: "_Process") -> Job | None:
        """The next job, taken the moment it is returned; None if the process died first."""
        while not process.dead:
            if job := self.workers.queue.take():
                return job
            self.wake.clear()
            await self.wake.wait()
        return None

    async def _do(self, job: Job, process: "_Process") -> object:
        try:
            if not await asyncio.to_thread(job.begin):
                return None
        except (sqlite3.Error, OSError) as error:
            return Failure("failed", f"The server could not note its start ({error}).")
        return await process.ask(job.task, self.workers.timeout)


class _Process:
    """A worker process and the pipe to it.

    Args:
        settings: the worker's.
        index: of its slot; names its folder for temporary files, which begins empty.
        on_death: called when the process has died.
    """

    def __init__(self, settings: WorkerSettings, index: int, on_death: Callable[[], object]):
        scratch = settings.scratch / f"worker-{index}"
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir(parents=True)
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(
            target=work, args=(theirs, replace(settings, scratch=scratch)), daemon=True
        )
        self._process.start()
        theirs.close()  # theirs alone now: when they die, this end reads the end of the file
        self.pid = self._process.pid
        if self.pid:
            note_process(settings.scratch, self.pid)
        self.dead, self._on_death = False, on_death
        self._messages: asyncio.Queue[object] = asyncio.Queue()
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._pipe.fileno(), self._receive)

    async def ask(self, task: Task, timeout: float) -> object:
        """Give it a task: its answer, or the failure that it died or took too long."""

        async def exchange() -> object:
            try:
                await asyncio.to_thread(self._pipe.send, task)  # blocks while the pipe is full
            except OSError:
                return DIED
            return await self._messages.get()

        try:
            return await asyncio.wait_for(exchange(), timeout)
        except asyncio.TimeoutError:
            return _timed_out(timeout)

    async def reply(self, timeout: float) -> object:
        """Its next message, or the failure that it died or took too long."""
        try:
            return await asyncio.wait_for(self._messages.get(), timeout)
        except asyncio.TimeoutError:
            return _timed_out(timeout)

    def kill(self) -> None:
        """End it at once, if it lives."""
        self._loop.remove_reader(self._pipe.fileno())
        self._process.kill()

    def join(self) -> None:
        """Wait until it has ended, then close the pipe, which a send may have been blocked in."""
        self._process.join()
        self._pipe.close()
        if self.pid:
            sweep_shared_memory({self.pid})

    def _receive(self) -> None:
        try:
            self._messages.put_nowait(self._pipe.recv())
        except (EOFError, OSError):
            self.dead = True
            self._messages.put_nowait(DIED)
            self._loop.remove_reader(self._pipe.fileno())
            self._on_death()


def _timed_out(timeout: float) -> Failure:
    return Failure("timeout", f"It took longer than {timeout:g} s and was given up.")


def threads_per_worker(workers: int) -> int:
    """How many threads each worker may compute with, so that all together fill the cores."""
    return max(1, len(os.sched_getaffinity(0)) // workers)
