"""The service with an artifact as it is shipped: without PBS, computed as a product."""

import sqlite3

import numpy as np
import pytest
import torch

from hushtune.fhe.envelope import Envelope
from hushtune.fhe.server import Server
from hushtune.model.network import network_logits

OCTETS = {"Content-Type": "application/octet-stream"}


@pytest.fixture(scope="module")
def artifact(linear_artifact):
    return linear_artifact


@pytest.fixture(scope="module")
def live(start_server, artifact):
    return start_server("--workers", "1", artifact=artifact)


@pytest.fixture(scope="module")
def carol(person, artifact, tiny_clips):
    return person(artifact, tiny_clips[0][1])


@pytest.fixture(scope="module")
def dave(person, artifact, tiny_clips):
    return person(artifact, tiny_clips[1][1])


def test_its_response_is_the_networks_logits(live, carol, linear_run, tiny_clips, artifact):
    response = live.response(live.submit(None, carol.query).json()["id"])
    image, _ = carol.client.features(tiny_clips[0][1])
    clear = network_logits(linear_run.network(quantized=True), torch.from_numpy(image[None]))[0]
    decrypted = carol.client.decrypt_logits(response)
    assert decrypted == pytest.approx(clear, abs=0.05 * clear.std())
    alone = Server(artifact).run(carol.query, carol.keys)
    body, wanted = (
        Envelope.unpack(data, b"R", carol.client.artifact.id) for data in (response, alone)
    )
    assert body.payload == wanted.payload, "nothing random happens at the server"


def test_what_its_clients_do_not_send_is_refused(live, carol, dave):
    for name, (body, code) in carol.bad_queries(dave).items():
        answer = live.submit(None, body)
        if name == "foreign":  # without keys nobody is
            assert answer.status_code == 202
            continue
        assert (answer.status_code, answer.json()["error"]["code"]) == (422, code), name
    assert live.submit(None, carol.query).status_code == 202


def test_keys_are_neither_needed_nor_taken(live, carol):
    assert live.http.get("/v1/info").json()["keys"] == "none"
    refused = live.http.post("/v1/keys", content=carol.keys, headers=OCTETS)
    assert (refused.status_code, refused.json()["error"]["code"]) == (409, "keys_not_used")
    assert "/v1/queries" in refused.json()["error"]["message"]
    assert live.submit("x" * 43, carol.query).status_code == 404


def test_every_query_may_have_a_key_of_its_own(live, person, artifact, tiny_clips):
    answers = []
    for _ in range(2):
        fresh = person(artifact, tiny_clips[0][1])
        query = live.submit(None, fresh.query).json()["id"]
        answers.append(fresh.client.decrypt(live.response(query)).text)
        assert live.http.delete(f"/v1/queries/{query}").status_code == 204
        assert live.http.get(f"/v1/queries/{query}").status_code == 404
    assert answers[0] == answers[1]
    with sqlite3.connect(live.data / "store.sqlite3") as db:
        assert db.execute("SELECT COUNT(*) FROM keys").fetchone()[0] == 0


def test_its_queries_are_counted_by_the_hour(start_server, artifact, carol):
    counting = start_server("--workers", "1", "--queries-per-hour", "2", artifact=artifact)
    for _ in range(2):
        counting.response(counting.submit(None, carol.query).json()["id"])
    full = counting.submit(None, carol.query)
    assert (full.status_code, full.json()["error"]["code"]) == (429, "hour_is_full")
    assert 3000 < int(full.headers["retry-after"]) <= 3600
    assert counting.submit(None, carol.query, counting.elsewhere).status_code == 202
    counting.kill()


def test_nothing_of_the_clip_crosses(carol, tiny_clips):
    image, _ = carol.client.features(tiny_clips[0][1])
    for raw in (np.ascontiguousarray(image).tobytes(), tiny_clips[0][1].read_bytes()):
        for start in range(0, len(raw) - 32, 32):
            chunk = raw[start : start + 32]
            if len(set(chunk)) > 8:
                assert chunk not in carol.query
    again = carol.client.encrypt(tiny_clips[0][1])
    first, second = (
        np.frombuffer(query[86:], np.uint64).tolist() for query in (carol.query, again)
    )
    assert len(first) == len(second) == 3 * 200 and not set(first) & set(second)
