"""The store by itself: room, expiry, what crashes leave."""

import os
import sqlite3
import stat
import subprocess
import time

import pytest

from hushtune.service.clients import Client
from hushtune.service.errors import Refusal
from hushtune.service.instance import note_process, sweep_shared_memory
from hushtune.service.records import StoreLimits
from hushtune.service.store import Store
from hushtune.support.errors import ServiceError

ARTIFACT = "a" * 64
BLOCK = 4096
"""Sizes below are in blocks of a file system, which files take whole."""
LIMITS = {
    "bytes": 10 * BLOCK,
    "keys": 100,
    "keys_per_client": 3,
    "key_seconds": 3600,
    "retention": 60,
    "queue": 5,
    "queue_per_client": 5,
    "queries_per_hour": 0,
}
ANYONE = Client("", "")


def limits(**changes) -> StoreLimits:
    return StoreLimits(**{**LIMITS, **changes})


@pytest.fixture
def open_store(tmp_path):
    opened = []

    def start(**changes) -> Store:
        opened.append(Store(tmp_path / "data", ARTIFACT, limits(**changes)))
        return opened[-1]

    yield start
    for store in opened:
        if store.instance.folder.exists():
            store.close()


def add(store: Store, blocks: int = 1, client: Client = ANYONE) -> str:
    partial = store.instance.partial("keys")
    partial.write_bytes(bytes(blocks * BLOCK))
    return store.add_key(partial, client, bytes(16))[0]


def query(store: Store, key: str | None, client: Client = ANYONE) -> str:
    return store.add_query(client, store.key(key, client.owner) if key else None)[0]


def finish(store: Store, identifier: str, blocks: int = 1, owner: str = "") -> None:
    digest = store.query(identifier, owner).digest
    assert store.start_query(digest)
    partial = store.instance.partial("response")
    partial.write_bytes(bytes(blocks * BLOCK))
    assert store.finish_query(digest, partial)


ANN, BEN = Client.named("ann"), Client.named("ben")


def test_the_least_recently_used_keys_make_room(open_store):
    store = open_store(keys_per_client=9)
    keys = [add(store, 3) for _ in range(3)]
    finish(store, query(store, keys[0]))
    newest = add(store, 3)
    assert store.key(keys[0], "") and store.key(newest, "")
    assert store.key(keys[1], "") is None
    assert len(list(store.keys.iterdir())) == 3 and store.evicted == 1


def test_keys_in_use_stay_and_the_upload_is_refused(open_store):
    store = open_store()
    keys = [add(store, 5) for _ in range(2)]
    for key in keys:
        query(store, key)
    with pytest.raises(Refusal) as refused:
        add(store, 5)
    assert refused.value.status == 507
    assert all(store.key(key, "") for key in keys)
    assert len(list(store.keys.iterdir())) == 2


def test_a_client_with_a_name_has_a_share(open_store):
    store = open_store()
    other = add(store, client=BEN)
    keys = [add(store, client=ANN) for _ in range(4)]
    assert [store.key(key, "ann") is not None for key in keys] == [False, True, True, True]
    assert store.key(other, "ben") and store.key(other, "ann") is None


def test_an_owners_own_keys_make_room_before_others(open_store):
    store = open_store()
    other = add(store, 3, BEN)
    mine = [add(store, 3, ANN) for _ in range(2)]
    newest = add(store, 3, ANN)
    assert store.key(other, "ben") and store.key(newest, "ann") and store.key(mine[1], "ann")
    assert store.key(mine[0], "ann") is None
    last = add(store, 9, ANN)
    assert store.key(last, "ann") and store.key(other, "ben") is None


def test_an_owners_queries_count_over_all_its_keys(open_store):
    store = open_store(queue=9, queue_per_client=2)
    mine, other = [add(store, client=ANN) for _ in range(2)], add(store, client=BEN)
    for key in mine:
        query(store, key, ANN)
    with pytest.raises(Refusal) as refused:
        query(store, mine[0], ANN)
    assert refused.value.status == 429 and refused.value.retry_after
    query(store, other, BEN)


def test_an_address_has_a_share_as_a_client_with_a_name_has(open_store):
    store = open_store(queue=9, queue_per_client=2)
    here, there = Client.at("192.0.2.1"), Client.at("2001:db8::1")
    keys = [add(store, client=here) for _ in range(4)]
    assert [store.key(key, "") is not None for key in keys] == [False, True, True, True]
    assert store.key(add(store, client=there), "")
    for key in keys[1:3]:
        query(store, key, there)  # whoever knows the id may use it, but it counts as their own
    with pytest.raises(Refusal) as refused:
        query(store, keys[1], Client.at("2001:db8::2"))
    assert (refused.value.status, refused.value.code) == (429, "too_many_queries")
    query(store, keys[1], here)
    with pytest.raises(Refusal) as refused:
        for _ in range(3):
            query(store, add(store, client=here), Client.at("192.0.2.9"))
            add(store, client=here)
    assert refused.value.status == 429


def test_key_sets_have_a_number(open_store):
    store = open_store(keys=2)
    keys = [add(store, client=Client.at(f"192.0.2.{n}")) for n in range(4)]
    assert [store.key(key, "") is not None for key in keys] == [False, False, True, True]
    assert store.evicted == 2 and len(list(store.keys.iterdir())) == 2


def test_a_small_file_counts_as_the_blocks_it_takes(open_store):
    store = open_store(keys_per_client=99)
    keys = []
    for _ in range(11):  # of 1 byte each, as evaluation keys of a circuit without PBS nearly are
        partial = store.instance.partial("keys")
        partial.write_bytes(b"x")
        keys.append(store.add_key(partial, ANYONE, bytes(16))[0])
    assert store.key(keys[0], "") is None and store.key(keys[1], "").bytes == 1
    assert sum(512 * path.stat().st_blocks for path in store.keys.iterdir()) <= 10 * BLOCK


def test_queries_of_an_hour_are_counted(open_store):
    store = open_store(queries_per_hour=2)
    for _ in range(2):
        identifier = query(store, None)
        finish(store, identifier)
        assert store.delete_query(identifier, "")
    with pytest.raises(Refusal) as refused:
        query(store, None)
    assert (refused.value.status, refused.value.code) == (429, "hour_is_full")
    assert 3500 < refused.value.retry_after <= 3600
    query(store, None, ANN)
    store._db.change("UPDATE asked SET at = at - 3600")
    query(store, None)
    store.sweep()
    assert store._db.one("SELECT COUNT(*) FROM asked")[0] == 1, "older ones are forgotten"


def test_a_query_needs_no_record_of_keys(open_store):
    store = open_store()
    mine, other = query(store, None, ANN), query(store, None, BEN)
    assert (store.query(mine, "ann").position, store.query(other, "ben").position) == (1, 2)
    assert store.query(mine, "ben") is None and not store.delete_query(mine, "ben")
    finish(store, mine, owner="ann")
    assert store.query(mine, "ann").state == "done" and store.usage().keys == 0
    store.sweep()
    assert len(list(store.responses.iterdir())) == 1
    assert store.delete_query(mine, "ann") and not list(store.responses.iterdir())


def test_a_position_is_that_of_clients_who_take_turns(open_store):
    store = open_store(queue=99)
    many = [query(store, None, ANN) for _ in range(4)]
    one = query(store, None, BEN)
    assert [store.query(i, "ann").position for i in many] == [1, 3, 4, 5]
    assert store.query(one, "ben").position == 2


def test_responses_need_room_too(open_store):
    store = open_store()
    idle, used = add(store, 3), add(store, 5)
    first = query(store, used)
    finish(store, first, 2)
    assert store.key(idle, "")
    second = query(store, used)
    finish(store, second, 2)
    assert store.key(idle, "") is None and store.query(first, "").state == "done"
    digest = store.query(query(store, used), "").digest
    store.start_query(digest)
    partial = store.instance.partial("response")
    partial.write_bytes(bytes(4 * BLOCK))
    with pytest.raises(Refusal) as refused:
        store.finish_query(digest, partial)
    assert refused.value.status == 507 and store.key(used, "")
    assert len(list(store.responses.iterdir())) == 2


def test_expired_keys_and_ended_queries_go(open_store):
    store = open_store(key_seconds=0.3, retention=0.1)
    key = add(store)
    ended = query(store, key)
    finish(store, ended)
    time.sleep(0.15)
    store.sweep()
    assert store.query(ended, "") is None and store.key(key, "")
    assert not list(store.responses.iterdir())
    time.sleep(0.2)
    assert store.key(key, "") is None
    store.sweep()
    assert not list(store.keys.iterdir()) and store.usage().keys == 0


def test_what_a_crash_left_is_swept(open_store):
    store = open_store()
    key = add(store)
    (store.keys / "orphan").write_bytes(b"x")
    (store.responses / "orphan").write_bytes(b"x")
    dead = store.folder / "instances" / "dead"
    dead.mkdir()
    (dead / "half.keys").write_bytes(b"x")
    lost = add(store)
    (store.keys / store.key(lost, "").digest).unlink()
    other = open_store()
    assert {path.name for path in store.keys.iterdir()} == {store.key(key, "").digest}
    assert not list(store.responses.iterdir()) and not dead.exists()
    assert other.key(key, "") and other.key(lost, "") is None
    assert store.instance.folder.exists() and other.instance.folder.exists()


def test_queries_of_a_process_that_ended_fail_and_only_those(open_store):
    store, other = open_store(), open_store()
    key = add(store)
    mine, theirs = query(store, key), query(other, key)
    assert (store.query(mine, "").position, store.query(theirs, "").position) == (1, 1)
    other.close()
    assert store.query(mine, "").state == "queued"
    assert store.query(theirs, "").error == "server_stopped"


def test_a_query_deleted_while_it_waits_or_runs_leaves_nothing(open_store):
    store = open_store()
    key = add(store)
    waiting, running = query(store, key), query(store, key)
    digests = [store.query(i, "").digest for i in (waiting, running)]
    store.start_query(digests[1])
    assert store.delete_query(waiting, "") and store.delete_query(running, "")
    assert not store.start_query(digests[0])
    partial = store.instance.partial("response")
    partial.write_bytes(b"x")
    assert not store.finish_query(digests[1], partial)
    assert not partial.exists() and not list(store.responses.iterdir())


def test_another_artifacts_keys_are_not_seen(open_store, tmp_path):
    key = add(open_store())
    other = Store(tmp_path / "data", "b" * 64, limits())
    assert other.key(key, "") is None and not other.delete_key(key, "")
    other.close()
    assert open_store().key(key, "")


def test_the_folder_is_its_owners_alone_and_of_this_schema(open_store, tmp_path):
    store = open_store()
    add(store)
    for path in [store.folder, *store.folder.iterdir()]:
        assert not stat.S_IMODE(path.stat().st_mode) & 0o077 or path.name.startswith(
            "store.sqlite3-"
        )
    store._db.change("PRAGMA user_version = 99")
    with pytest.raises(ServiceError, match="schema version=99, expected 2"):
        open_store()
    store._db.change("PRAGMA user_version = 2")
    (tmp_path / "file").write_text("")
    with pytest.raises(ServiceError, match="data folder"):
        Store(tmp_path / "file", ARTIFACT, limits())
    assert os.listdir(tmp_path / "data" / "instances") == [store.instance.id]


def test_records_of_an_older_schema_are_begun_anew(open_store, tmp_path):
    (tmp_path / "data" / "keys").mkdir(parents=True)
    (tmp_path / "data" / "keys" / "old").write_bytes(b"x")
    with sqlite3.connect(tmp_path / "data" / "store.sqlite3") as old:
        old.execute("CREATE TABLE keys (digest TEXT PRIMARY KEY, owner TEXT NOT NULL)")
        old.execute("CREATE TABLE queries (key TEXT NOT NULL REFERENCES keys (digest))")
        old.execute("INSERT INTO keys VALUES ('old', '')")
        old.execute("PRAGMA user_version = 1")
    store = open_store()
    assert store.usage().keys == 0 and not list(store.keys.iterdir())
    assert store.key(add(store), "")


def test_what_killed_processes_left_in_shared_memory_is_swept(tmp_path):
    shared = tmp_path / "shm"
    shared.mkdir()
    names = ["__KMP_REGISTERED_LIB_{}_0", "sem.loky-{}-abc", "joblib_memmapping_folder_{}_a_b"]
    with subprocess.Popen(["true"]) as ended:
        pass
    for pid in (ended.pid, 10 * ended.pid, os.getpid()):
        for name in names[:2]:
            (shared / name.format(pid)).write_text("x")
        (shared / names[2].format(pid)).mkdir()
    (shared / f"other_{ended.pid}_0").write_text("x")
    sweep_shared_memory({ended.pid}, shared)
    left = sorted(path.name for path in shared.iterdir())
    assert len(left) == 7 and not [n for n in left if f"_{ended.pid}_" in n and "other" not in n]


def test_processes_of_a_dead_server_are_told_from_living_ones(open_store, monkeypatch):
    swept = []
    monkeypatch.setattr("hushtune.service.instance.sweep_shared_memory", swept.append)
    store = open_store()
    dead = store.folder / "instances" / "dead"
    dead.mkdir()
    with subprocess.Popen(["true"]) as ended:
        pass
    for pid in (ended.pid, os.getpid()):  # an id may have gone to another process
        note_process(dead, pid)
    store.sweep()
    assert swept == [{ended.pid}] and not dead.exists()
