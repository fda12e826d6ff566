"""A service whose circuit needs no evaluation keys: a fresh key for every query; a signer."""

import asyncio
import shutil

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from hushtune.client import AsyncRemoteClient, RemoteClient
from hushtune.fhe import signing
from hushtune.fhe.envelope import KEY_ID
from hushtune.folders import data_folder
from hushtune.support.errors import ArtifactError


@pytest.fixture(scope="module")
def signed(linear_artifact, tmp_path_factory):
    """A signed artifact without PBS, and its signer's public key."""
    folder = tmp_path_factory.mktemp("signed") / "artifact"
    shutil.copytree(linear_artifact, folder)
    return folder, signing.sign(folder, Ed25519PrivateKey.generate())


@pytest.fixture(scope="module")
def live(start_server, signed):
    return start_server("--workers", "1", artifact=signed[0])


@pytest.fixture(autouse=True)
def _own_folders(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))


def test_every_query_has_a_key_of_its_own_and_none_is_uploaded_or_kept(live, tiny_clips, tmp_path):
    sent = []

    def note(progress):
        if progress.query:
            sent.append(progress.query)

    async def ask():
        async with AsyncRemoteClient(live.url) as remote:
            assert (await remote.info()).keys == "none"
            one_by_one = [await remote.identify(clip, on_progress=note) for _, clip in tiny_clips]
            at_once = await asyncio.gather(
                *(remote.identify(clip, on_progress=note) for _, clip in tiny_clips)
            )
            await remote.forget()
            return one_by_one, at_once

    one_by_one, at_once = asyncio.run(ask())
    assert [answer.text for answer in one_by_one] == [answer.text for answer in at_once]
    assert len({answer.text for answer in at_once}) > 1, "each got its own answer"
    ids = [query[KEY_ID] for query in sent]
    assert len(ids) == 2 * len(tiny_clips) == len(set(ids))
    asked = {(event["method"], event["path"]) for event in live.events("request")}
    assert ("POST", "/v1/queries") in asked
    assert not any(path.startswith("/v1/keys") for _, path in asked)
    assert not (data_folder() / "keys").exists()
    assert not [path for path in tmp_path.rglob("*") if "key" in path.name]


def test_only_the_signer_demanded_is_taken(live, signed, tiny_clips):
    with RemoteClient(live.url, signer=signed[1]) as remote:
        remote.identify(tiny_clips[0][1])
    other = signing.public_key_of(Ed25519PrivateKey.generate())
    with (
        RemoteClient(live.url, signer=other) as remote,
        pytest.raises(ArtifactError, match="signed by another key"),
    ):
        remote.prepare()
