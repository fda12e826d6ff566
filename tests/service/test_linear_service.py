"""The service with an artifact as it is shipped: without look-ups, computed as a product."""

import numpy as np
import pytest
import torch
from hushtune.fhe.envelope import Envelope
from hushtune.fhe.linear import Frame
from hushtune.fhe.server import Server
from hushtune.model.network import network_logits


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
    response = live.response(live.submit(live.upload(carol.keys), carol.query).json()["id"])
    image, _ = carol.client.image(tiny_clips[0][1])
    clear = network_logits(linear_run.network(quantized=True), torch.from_numpy(image[None]))[0]
    decrypted = carol.client.decrypt_logits(response)
    assert decrypted == pytest.approx(clear, abs=0.05 * clear.std())
    alone = Server(artifact).run(carol.query, carol.keys)
    body, wanted = (
        Envelope.unpack(data, b"R", carol.client.artifact.id) for data in (response, alone)
    )
    assert body.payload == wanted.payload, "nothing random happens at the server"


def test_what_its_clients_do_not_send_is_refused(live, carol, dave):
    key = live.upload(carol.keys)
    for name, (body, code) in carol.bad_queries(dave).items():
        answer = live.submit(key, body)
        assert (answer.status_code, answer.json()["error"]["code"]) == (422, code), name
    assert live.submit(key, carol.query).status_code == 202


def test_nothing_of_the_clip_crosses(carol, tiny_clips):
    image, _ = carol.client.image(tiny_clips[0][1])
    for raw in (np.ascontiguousarray(image).tobytes(), tiny_clips[0][1].read_bytes()):
        for start in range(0, len(raw) - 32, 32):
            chunk = raw[start : start + 32]
            if len(set(chunk)) > 8:
                assert chunk not in carol.query
    again = carol.client.encrypt(tiny_clips[0][1])
    first, second = (Frame.of(query[86:]).words(query[86:]) for query in (carol.query, again))
    assert len(first) == len(second) == 3 * 200 and not set(first) & set(second)
