"""Key files that several processes share."""

import json
import multiprocessing
import secrets
from pathlib import Path

import pytest

from hushtune.client.keys import Renewal, ServiceKeys
from hushtune.support.errors import KeyFileError

ARTIFACT = b"a" * 32


class FakeClient:
    """As much of a client as keys have to do with; making real keys takes seconds."""

    def create_keys(self) -> None:
        self.key_id = secrets.token_bytes(16)

    def save_keys(self, path: Path) -> None:
        if path.exists():
            raise KeyFileError(f"{path}: exists already.")
        path.write_bytes(self.key_id)

    def load_keys(self, path: Path) -> None:
        self.key_id = path.read_bytes()


def keys_at(folder: Path, service: str = "http://a", **renewal) -> ServiceKeys:
    return ServiceKeys(folder / "some.keys", service, ARTIFACT, Renewal(**renewal))


def ask(folder: Path, times: int) -> list[str]:
    keys, client, used = keys_at(folder, queries=10), None, []
    for _ in range(times):
        client, record = keys.take(client, FakeClient, queries=1)
        assert client.key_id.hex() == record.key_id
        used.append(record.key_id)
        if record.upload is None:
            keys.note_upload(client.key_id, secrets.token_hex(16))
    return used


def test_processes_that_share_keys_lose_no_count_and_no_upload(tmp_path):
    with multiprocessing.get_context("spawn").Pool(4) as pool:
        used = [key for keys in pool.starmap(ask, [(tmp_path, 25)] * 4) for key in keys]
    assert {used.count(key) for key in used} == {10} and len(set(used)) == 10
    record = json.loads((tmp_path / "some.keys.json").read_text())
    assert record["key_id"] == (tmp_path / "some.keys").read_bytes().hex()
    assert record["queries"] == 10 and len(record["retired"]) >= 9, "one at least for each old set"
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "some.keys", "some.keys.json", "some.keys.lock",
    ]  # fmt: skip


def test_looking_at_keys_does_not_count(tmp_path):
    keys = keys_at(tmp_path, queries=2)
    first = keys.take(None, FakeClient, queries=0)[1]
    assert keys.take(None, FakeClient, queries=0)[1] == first and first.queries == 0


def test_a_key_file_made_elsewhere_is_taken_and_one_put_in_its_place_noticed(tmp_path):
    (tmp_path / "some.keys").write_bytes(b"0" * 16)
    keys = keys_at(tmp_path)
    client, record = keys.take(None, FakeClient, queries=1)
    assert client.key_id == b"0" * 16 and record.queries == 1
    keys.note_upload(client.key_id, "u" * 20)
    (tmp_path / "some.keys").write_bytes(b"1" * 16)
    client, record = keys.take(None, FakeClient, queries=1)
    assert client.key_id == b"1" * 16 and record.upload is None
    assert record.retired == ("u" * 20,)


def test_an_upload_of_keys_renewed_meanwhile_is_retired(tmp_path):
    keys = keys_at(tmp_path, queries=1)
    old = keys.take(None, FakeClient, queries=1)[0]
    new = keys.take(None, FakeClient, queries=1)[0]
    keys.note_upload(old.key_id, "o" * 20)
    keys.note_upload(new.key_id, "n" * 20)
    assert set(keys.uploads()) == {"o" * 20, "n" * 20}
    keys.note_gone("o" * 20)
    assert keys.uploads() == ("n" * 20,)


def test_the_keys_of_another_service_are_refused(tmp_path):
    keys_at(tmp_path).take(None, FakeClient, queries=0)
    with pytest.raises(KeyFileError, match="were used at http://a"):
        keys_at(tmp_path, "http://b").take(None, FakeClient, queries=0)


@pytest.mark.parametrize("record", ["", "{", "[]", '{"service": "http://a"}', "[" * 99])
def test_a_damaged_record_is_told(tmp_path, record):
    (tmp_path / "some.keys.json").write_text(record)
    with pytest.raises(KeyFileError, match="damaged. Delete it"):
        keys_at(tmp_path).take(None, FakeClient, queries=0)


def test_a_folder_that_cannot_be_written_is_told(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(KeyFileError, match="cannot be written"):
        keys_at(tmp_path / "file").take(None, FakeClient, queries=0)
