"""Servers that stop, die, start again and share a folder; tokens; a full disk; lost workers."""

import asyncio
import errno
import hashlib
import os
import signal
import sqlite3
import subprocess
import time
from pathlib import Path

import pytest

from hushtune.service import workers
from hushtune.service.worker import CheckKeys, RunQuery, WorkerSettings

OCTETS = {"Content-Type": "application/octet-stream"}


@pytest.fixture(scope="module")
def tokens(tmp_path_factory):
    """A tokens file, and the headers of its clients."""
    from hushtune.service.tokens import add_token

    path = tmp_path_factory.mktemp("tokens") / "tokens.txt"
    headers = {
        name: {"Authorization": f"Bearer {add_token(path, name)}"} for name in ("ann", "ben")
    }
    return path, headers


def test_from_birth_to_restart(start_server, tokens, alice, wait_for, tmp_path):
    """One story, because each server takes seconds to start."""
    path, headers = tokens
    ann, ben = headers["ann"], headers["ben"]
    options = ("--workers", "1", "--tokens", str(path), "--sweep-every", "1")
    first = start_server(*options)

    # without a token, or with another's, nothing is there
    assert first.http.get("/healthz").status_code == 200
    for wrong in ({}, {"Authorization": "Bearer x"}, {"Authorization": "Basic eDp4"}):
        for method, url in (
            ("GET", "/v1/info"),
            ("GET", "/v1/client-part"),
            ("GET", "/metrics"),
            ("POST", "/v1/keys"),
            ("POST", "/v1/queries"),
            ("HEAD", "/v1/info"),
            ("GET", "/v1/keys/x"),
            ("DELETE", "/v1/queries/x"),
        ):
            answer = first.http.request(method, url, headers=wrong)
            assert answer.status_code == 401
            assert method == "HEAD" or answer.json()["error"]["code"] == "unauthorized"
    key = first.upload(alice.keys, **ann)
    query = first.submit(key, alice.query, **ann).json()["id"]
    alice.client.decrypt(first.response(query, **ann))
    for method, url in (
        ("GET", f"/v1/keys/{key}"),
        ("DELETE", f"/v1/keys/{key}"),
        ("POST", f"/v1/keys/{key}/queries"),
        ("GET", f"/v1/queries/{query}"),
        ("GET", f"/v1/queries/{query}/response"),
        ("DELETE", f"/v1/queries/{query}"),
    ):
        content = alice.query if method == "POST" else None
        answer = first.http.request(method, url, headers={**OCTETS, **ben}, content=content)
        assert answer.status_code == 404
    assert first.http.get(f"/v1/keys/{key}", headers=ann).status_code == 200

    # killed while it computes and while an upload is half there
    with first.frozen_worker():
        lost = first.submit(key, alice.query, **ann).json()["id"]
        first.wait_for_state(lost, "running", **ann)
        worker, half = first.worker(), first.data / "instances"
        next(half.iterdir()).joinpath("half.keys").write_bytes(b"x" * 1000)
        first.kill()
    wait_for(lambda: not alive(worker))
    assert left_in_shared_memory(worker), "else there is nothing to sweep"
    second = start_server(*options, data=first.data)
    assert not left_in_shared_memory(worker) and not left_in_shared_memory(first.process.pid)
    assert second.http.get(f"/v1/keys/{key}", headers=ann).status_code == 200
    failed = second.state(lost, **ann)
    assert (failed["state"], failed["error"]["code"]) == ("failed", "server_stopped")
    assert not list(first.data.rglob("half.keys"))
    assert len(list(half.iterdir())) == 1
    alice.client.decrypt(second.response(query, **ann))

    # another process that shares the folder
    third = start_server(*options, data=first.data)
    assert len(list(half.iterdir())) == 2
    shared = third.submit(key, alice.query, **ann).json()["id"]
    alice.client.decrypt(second.response(shared, **ann))

    # told to stop: what runs ends, what waits fails, nothing new is taken
    with second.frozen_worker() as pid:
        running = second.submit(key, alice.query, **ann).json()["id"]
        second.wait_for_state(running, "running", **ann)
        waiting = second.submit(key, alice.query, **ann).json()["id"]
        second.process.terminate()
        wait_for(lambda: second.state(waiting, **ann)["state"] == "failed")
        assert second.state(waiting, **ann)["error"]["code"] == "server_stopping"
        assert second.http.get("/readyz").status_code == 503
        refused = second.submit(key, alice.query, **ann)
        assert refused.status_code == 503 and refused.headers["retry-after"]
        os.kill(pid, signal.SIGCONT)
    wait_for(lambda: third.state(running, **ann)["state"] == "done")
    time.sleep(1)
    alice.client.decrypt(second.response(running, **ann))  # it waits for whoever wants it
    fetched = time.monotonic()
    assert second.process.wait(180) == 0
    assert time.monotonic() - fetched < 8, "and no longer"
    alice.client.decrypt(third.response(running, **ann))
    assert third.state(waiting, **ann)["state"] == "failed"
    assert len(list(half.iterdir())) == 1

    # expired keys are gone, with all that is theirs
    with sqlite3.connect(first.data / "store.sqlite3") as db:
        db.execute("UPDATE keys SET expires = ?", (time.time() - 1,))
    assert third.http.get(f"/v1/keys/{key}", headers=ann).status_code == 404
    assert third.submit(key, alice.query, **ann).json()["error"]["code"] == "unknown_key"
    wait_for(lambda: not third.files())

    secrets = [h["Authorization"].split()[1] for h in headers.values()]
    for live in (first, second, third):
        log = "".join(live.lines)
        assert not any(secret in log for secret in [*secrets, key, query, running])
    workers = [
        event["pid"] for live in (first, second, third) for event in live.events("worker ready")
    ]
    assert third.stop() == 0
    assert not list(third.temporary.iterdir()), "what Concrete unpacked went with its server"
    assert not any(map(left_in_shared_memory, workers)), "though workers are always killed"


def test_a_query_that_takes_too_long_and_fifty_that_wait(start_server, alice, wait_for):
    live = start_server(
        *("--workers", "1", "--query-timeout", "10", "--queue", "40", "--queue-per-client", "60"),
        *("--grace", "1", "--uploads", "1"),
    )
    key = live.upload(alice.keys)
    with live.frozen_worker() as pid:
        query = live.submit(key, alice.query).json()["id"]
        failed = live.wait_for_state(query, "failed", "done")
        assert failed["error"]["code"] == "timeout" and 9 < failed["running_seconds"] < 15
    wait_for(lambda: len(live.events("worker ready")) == 2)
    assert not alive(pid)
    with live.frozen_worker():
        first = live.submit(key, alice.query).json()["id"]
        live.wait_for_state(first, "running")
        codes = [live.submit(key, alice.query).status_code for _ in range(49)]
        assert codes == 40 * [202] + 9 * [503]
        assert live.http.get("/readyz").json()["waiting"] == 40
        assert live.http.delete(f"/v1/keys/{key}").status_code == 204
        assert live.http.get("/readyz").json()["waiting"] == 0
    live.process.send_signal(signal.SIGINT)
    assert live.process.wait(180) == 0
    assert not live.files()


def test_a_second_signal_ends_it_at_once(start_server, alice, wait_for):
    live = start_server("--workers", "1")
    key = live.upload(alice.keys)
    with live.frozen_worker() as pid:
        query = live.submit(key, alice.query).json()["id"]
        live.wait_for_state(query, "running")
        live.process.terminate()
        wait_for(lambda: live.http.get("/readyz").status_code == 503)
        live.process.terminate()
        assert live.process.wait(5) == 128 + signal.SIGTERM
        wait_for(lambda: not alive(pid))


class FakeProcess:
    """Stands for a worker process; every task gives "done"."""

    def __init__(self, settings, index, on_death):
        self.dead, self.pid = False, 1

    async def reply(self, timeout):
        return None

    async def ask(self, task, timeout):
        await asyncio.sleep(0)
        return "done"

    def kill(self):
        pass

    def join(self):
        pass


@pytest.fixture
def pool(monkeypatch):
    """Runs a scenario with a pool of one worker, of this kind of process."""

    def run(scenario, process=FakeProcess, longest_wait=60.0):
        monkeypatch.setattr(workers, "_Process", process)
        monkeypatch.setattr(workers, "FIRST_PAUSE", 0.01)

        async def whole():
            pool = workers.Workers(None, 1, timeout=60, longest_wait=longest_wait)
            await asyncio.wait_for(scenario(pool), 20)
            await asyncio.wait_for(pool.stop(0), 20)

        asyncio.run(whole())

    return run


CHECK, QUERY = CheckKeys(Path("k")), RunQuery(b"", Path("k"), Path("r"))


def test_a_worker_that_cannot_be_started_is_tried_again(pool):
    tries = []

    class Scarce(FakeProcess):
        def __init__(self, *arguments):
            tries.append(1)
            if len(tries) < 3:
                raise OSError(errno.EAGAIN, "no process left")
            super().__init__(*arguments)

    async def scenario(pool):
        pool.start()
        assert await pool.submit(QUERY) == "done"
        assert len(tries) == 3 and pool.replaced == 2 and pool.failure is None

    pool(scenario, Scarce)


def test_what_waits_too_long_fails(pool):
    class Unstartable(FakeProcess):
        def __init__(self, *_):
            raise OSError(errno.ENOMEM, "no memory left")

    async def scenario(pool):
        pool.start()
        for task in (QUERY, CHECK):
            outcome = await pool.submit(task)
            assert outcome.code == "waited_too_long"
        assert not pool.waiting() and "no memory left" in pool.failure

    pool(scenario, Unstartable, longest_wait=0.1)


def test_checks_and_queries_take_turns(pool):
    order = []

    async def scenario(pool):
        for number in range(2):
            for name, task in (("query", QUERY), ("check", CHECK), ("check", CHECK)):
                pool.submit(task, lambda name=f"{name} {number}": order.append(name) or True)
        last = pool.submit(CHECK)
        pool.start()
        await last

    pool(scenario)
    assert order[:4] == ["check 0", "query 0", "check 0", "query 1"] and len(order) == 6


def test_clients_take_turns(pool):
    order = []

    async def scenario(pool):
        for name in ["ann"] * 16 + ["ben"] * 2:
            last = pool.submit(QUERY, lambda name=name: order.append(name) or True, share=name)
        pool.start()
        await last

    pool(scenario)
    assert order[:4] == ["ann", "ben", "ann", "ben"], "16 of one leave another its half"


def test_what_is_taken_out_of_the_queue_leaves_no_client_behind(pool):
    async def scenario(pool):
        for share in "ab":
            pool.submit(QUERY, name=share, share=share)
        pool.drop({"a"})
        assert pool.waiting() == {"b"}
        assert pool.queue.take().share == "b" and pool.queue.take() is None

    pool(scenario)


def test_a_dropped_query_is_not_held(pool):
    async def scenario(pool):
        outcomes = [pool.submit(QUERY, name=name) for name in "ab"]
        pool.drop({"a", "c"})
        assert await outcomes[0] is None and pool.waiting() == {"b"}
        pool.start()
        assert await outcomes[1] == "done"

    pool(scenario)


def test_a_mistake_loses_no_job(pool):
    class Mistaken(FakeProcess):
        async def ask(self, task, timeout):
            raise RuntimeError("a mistake")

    async def scenario(pool):
        pool.start()
        for _ in range(2):
            assert (await pool.submit(QUERY)).code == "failed"

    pool(scenario, Mistaken)


@pytest.mark.parametrize("steps", range(6))
def test_a_stop_at_any_moment_loses_no_job(pool, steps):
    async def scenario(pool):
        pool.start()
        await asyncio.sleep(0.01)
        outcome = pool.submit(QUERY)
        for _ in range(steps):
            await asyncio.sleep(0)
        for task in pool._tasks:
            task.cancel()
        await pool.stop(0)
        assert await outcome in ("done", workers.STOPPING)

    pool(scenario)


def test_a_task_that_a_stopped_process_does_not_take_is_given_up(monkeypatch, tmp_path):
    monkeypatch.setattr(workers, "work", print)  # it is stopped before it gets there
    settings = WorkerSettings(tmp_path, tmp_path, tmp_path, 1, 1)

    async def scenario():
        process = workers._Process(settings, 0, lambda: None)
        os.kill(process.pid, signal.SIGSTOP)
        started = time.monotonic()
        outcome = await process.ask(RunQuery(bytes(10_000_000), tmp_path, tmp_path), 0.5)
        assert outcome.code == "timeout" and time.monotonic() - started < 5
        process.kill()
        await asyncio.to_thread(process.join)

    asyncio.run(scenario())


def left_in_shared_memory(pid: int) -> list[str]:
    """What a process left there, by its id."""
    return [path.name for path in Path("/dev/shm").iterdir() if f"_{pid}_" in path.name]


def alive(pid: int) -> bool:
    """Whether a process runs; one that is dead and not yet buried does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


@pytest.fixture
def small_disk(tmp_path, alice):
    """A file system with room for one key set and a half."""
    folder = tmp_path / "disk"
    folder.mkdir()
    size = len(alice.keys) * 3 // 2 + 3_000_000
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    if os.geteuid() or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("no right to mount a small tmpfs")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.mark.parametrize("reserve", [2_000_000, 0])
def test_a_full_disk_refuses_and_keeps_no_half_file(start_server, small_disk, alice, bob, reserve):
    live = start_server("--workers", "1", "--reserve-bytes", str(reserve), data=small_disk)
    key = live.upload(alice.keys)

    def chunks():  # without a length announced, so that the disk fills while it comes
        for start in range(0, len(bob.keys), 1 << 20):
            yield bob.keys[start : start + (1 << 20)]

    for body in (chunks(), bob.keys):
        full = live.http.post("/v1/keys", content=body, headers=OCTETS)
        assert (full.status_code, full.json()["error"]["code"]) == (507, "disk_full")
        assert [hashlib.sha256(f.read_bytes()).hexdigest() for f in live.files()] == [
            hashlib.sha256(alice.keys).hexdigest()
        ]
    alice.client.decrypt(live.response(live.submit(key, alice.query).json()["id"]))
    assert live.http.delete(f"/v1/keys/{key}").status_code == 204
    assert live.http.delete(f"/v1/keys/{live.upload(bob.keys)}").status_code == 204
    live.kill()
