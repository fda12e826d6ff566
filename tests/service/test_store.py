"""The store by itself: room, expiry, what crashes leave."""

import os
import stat
import time

import pytest
from hushtune.support.errors import ServiceError

from hushtune.service.errors import Refusal
from hushtune.service.store import Store

ARTIFACT = "a" * 64


@pytest.fixture
def open_store(tmp_path):
    opened = []

    def start(**changes) -> Store:
        settings = dict(limit=1000, keys_per_client=3, key_seconds=3600, retention=60)
        opened.append(Store(tmp_path / "data", ARTIFACT, **{**settings, **changes}))
        return opened[-1]

    yield start
    for store in opened:
        if store.instance.folder.exists():
            store.close()


def add(store: Store, size: int = 100, owner: str = "") -> str:
    partial = store.instance.partial("keys")
    partial.write_bytes(bytes(size))
    return store.add_key(partial, owner, bytes(16))[0]


def query(store: Store, key: str, owner: str = "") -> str:
    record = store.key(key, owner)
    return store.add_query(record, queue=5, queue_per_key=5)[0]


def finish(store: Store, identifier: str, size: int = 10) -> None:
    digest = store.query(identifier, "").digest
    assert store.start_query(digest)
    partial = store.instance.partial("response")
    partial.write_bytes(bytes(size))
    assert store.finish_query(digest, partial)


def test_the_least_recently_used_keys_make_room(open_store):
    store = open_store()
    keys = [add(store, 300) for _ in range(3)]
    finish(store, query(store, keys[0]))
    newest = add(store, 300)
    assert store.key(keys[0], "") and store.key(newest, "")
    assert store.key(keys[1], "") is None
    assert len(list(store.keys.iterdir())) == 3 and store.evicted == 1


def test_keys_in_use_stay_and_the_upload_is_refused(open_store):
    store = open_store()
    keys = [add(store, 500) for _ in range(2)]
    for key in keys:
        query(store, key)
    with pytest.raises(Refusal) as refused:
        add(store, 500)
    assert refused.value.status == 507
    assert all(store.key(key, "") for key in keys)
    assert len(list(store.keys.iterdir())) == 2


def test_a_client_with_a_name_has_a_share(open_store):
    store = open_store(limit=10_000)
    other = add(store, owner="ben")
    keys = [add(store, owner="ann") for _ in range(4)]
    assert [store.key(key, "ann") is not None for key in keys] == [False, True, True, True]
    assert store.key(other, "ben") and store.key(other, "ann") is None


def test_an_owners_own_keys_make_room_before_others(open_store):
    store = open_store()
    other = add(store, 300, "ben")
    mine = [add(store, 300, "ann") for _ in range(2)]
    newest = add(store, 300, "ann")
    assert store.key(other, "ben") and store.key(newest, "ann") and store.key(mine[1], "ann")
    assert store.key(mine[0], "ann") is None
    last = add(store, 900, "ann")
    assert store.key(last, "ann") and store.key(other, "ben") is None


def test_an_owners_queries_count_over_all_its_keys(open_store):
    store = open_store()
    mine, other = [add(store, owner="ann") for _ in range(2)], add(store, owner="ben")
    for key in mine:
        store.add_query(store.key(key, "ann"), queue=9, queue_per_key=2)
    with pytest.raises(Refusal) as refused:
        store.add_query(store.key(mine[0], "ann"), queue=9, queue_per_key=2)
    assert refused.value.status == 429 and refused.value.retry_after
    store.add_query(store.key(other, "ben"), queue=9, queue_per_key=2)
    unnamed = [add(store) for _ in range(2)]
    for key in unnamed:
        store.add_query(store.key(key, ""), queue=9, queue_per_key=1)


def test_responses_need_room_too(open_store):
    store = open_store()
    idle, used = add(store, 400), add(store, 500)
    first = query(store, used)
    finish(store, first, 90)
    assert store.key(idle, "")
    second = query(store, used)
    finish(store, second, 90)
    assert store.key(idle, "") is None and store.query(first, "").state == "done"
    digest = store.query(query(store, used), "").digest
    store.start_query(digest)
    partial = store.instance.partial("response")
    partial.write_bytes(bytes(400))
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
    settings = dict(limit=1000, keys_per_client=3, key_seconds=3600, retention=60)
    other = Store(tmp_path / "data", "b" * 64, **settings)
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
    store._db.execute("PRAGMA user_version = 99")
    with pytest.raises(ServiceError, match="schema version=99, expected 1"):
        open_store()
    store._db.execute("PRAGMA user_version = 1")
    (tmp_path / "file").write_text("")
    with pytest.raises(ServiceError, match="data folder"):
        Store(tmp_path / "file", ARTIFACT, limit=1, keys_per_client=1, key_seconds=1, retention=1)
    assert os.listdir(tmp_path / "data" / "instances") == [store.instance.id]
