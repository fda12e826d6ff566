"""Real FHE without hidden layers: exact, no keys to send, and as good as in the clear."""

import numpy as np
import pytest
import torch

from hushtune.fhe.answer import Heard
from hushtune.fhe.client import MOST_PENDING, Client
from hushtune.fhe.envelope import KEY_ID, Envelope
from hushtune.fhe.export.calibrate import HEADROOM
from hushtune.model.audio import read_audio
from hushtune.model.features import FEATURE_LIMIT
from hushtune.model.network import network_logits
from hushtune.support.errors import KeyFileError, ProtocolError
from hushtune.training.data.clips import clip_images, list_test_clips


@pytest.fixture(scope="module")
def artifact(linear_artifact):
    return linear_artifact


def execute(sides, image):
    client, server, keys = sides
    return client.decrypt_logits(server.run(client.encrypt_features(image), keys))


def test_real_fhe_holds_the_floor(sides, linear_run):
    """Every test clip under real FHE: the floors of the project, and the quantized logits."""
    split = linear_run.split()
    clips = clip_images(
        list_test_clips(linear_run.config, split), linear_run.config, linear_run.front_end()
    )
    clear = network_logits(linear_run.network(quantized=True), clips.images)
    executed = np.array([execute(sides, image) for image in clips.images.numpy()])
    assert np.abs(executed - clear).max() < 0.05 * clear.std(), "16-bit words, else exact"
    labels = clips.labels.numpy()
    known = labels < split.unknown_class
    decision = linear_run.decision(quantized=True)
    executed, clear = (linear_run.rows().scores(logits) for logits in (executed, clear))
    right = executed[known, :-1].argmax(1) == labels[known]
    assert right.mean() >= 0.95
    lost = decision.score(executed[known]) < 0
    rejected = decision.score(executed[~known]) < 0
    assert (decision.classes(executed) == decision.classes(clear)).mean() >= 0.99
    assert rejected.mean() >= 0.5 and lost.mean() <= 0.2, "of four unknown songs' clips"


def test_every_query_has_a_key_of_its_own(sides, artifact):
    """No key links two queries, and a response is decrypted once."""
    _, server, _ = sides
    client = Client(artifact)
    assert client.fresh_keys
    shape = client.artifact.front_end().feature_shape
    features = np.random.default_rng(2).normal(size=shape).astype(np.float32)
    queries = [client.encrypt_features(features) for _ in range(3)]
    assert len({query[KEY_ID] for query in queries}) == 3
    secret = [keys.serialize() for keys, _ in client._pending.values()]
    assert len(set(secret)) == 3
    responses = [server.run(query) for query in reversed(queries)]
    said = [client.decrypt_logits(response) for response in responses]
    assert np.ptp(said, axis=0).max() < 0.05 * np.std(said)
    with pytest.raises(ProtocolError, match="another client's keys, or answered long ago"):
        client.decrypt(responses[0])
    assert not client._pending
    with pytest.raises(KeyFileError, match="No keys yet"):
        client.evaluation_keys()


def test_keys_of_unanswered_queries_are_forgotten(artifact):
    client = Client(artifact)
    shape = client.artifact.front_end().feature_shape
    features = np.random.default_rng(2).normal(size=shape).astype(np.float32)
    for _ in range(MOST_PENDING + 5):
        client.encrypt_features(features)
    assert len(client._pending) == MOST_PENDING


def test_a_response_says_nothing_of_another_querys_key(sides, artifact):
    """The reaction attack: what a client decrypts with one key must not help with the next."""
    _, server, _ = sides
    client = Client(artifact)
    shape = client.artifact.front_end().feature_shape
    features = np.random.default_rng(2).normal(size=shape).astype(np.float32)
    first, second = (client.encrypt_features(features) for _ in range(2))
    answer = server.run(first)
    relabelled = Envelope.unpack(answer, b"R", client.artifact.id).payload
    forged = Envelope(b"R", client.artifact.id, second[KEY_ID], relabelled).pack()
    honest = client.decrypt_logits(answer)
    foreign = client.decrypt_logits(forged)  # another key: noise, not the answer
    assert np.abs(foreign - honest).max() > honest.std()


def test_a_clip_beyond_all_others_does_not_wrap_around(sides, linear_run, artifact):
    """A logit beyond the circuit's range would come back with the other sign."""
    calibration = np.load(artifact / "owner" / "calibration.npy")[:-10]
    network = linear_run.network(quantized=True)
    logits = network_logits(network, torch.from_numpy(calibration))
    furthest = calibration[np.abs(logits).max(1).argmax()]
    image = np.clip(0.98 * HEADROOM * furthest, -FEATURE_LIMIT, FEATURE_LIMIT).astype(np.float32)
    clear = network_logits(network, torch.from_numpy(image[None]))[0]
    assert np.abs(clear).max() > np.abs(logits).max()
    assert execute(sides, image) == pytest.approx(clear, abs=0.05 * clear.std())


def test_an_answer_says_where_in_the_song_the_clip_lies(sides, linear_run):
    """Songs of 12 s have three rows of 4 s; clips are cut from a known place."""
    client, server, keys = sides
    rate = linear_run.config.signal.sample_rate_hz
    near = []
    for track in linear_run.split().known:
        wave = read_audio(track.path, rate)
        for start in (0.0, 4.0, 8.0):
            clip = wave[round(start * rate) : round((start + 4) * rate)]
            answer = client.decrypt(server.run(client.encrypt((clip, rate)), keys))
            best = answer.matches[0]
            assert best.song.id == track.id
            assert best.offset_error_seconds == 2.0
            near.append(abs(best.offset_seconds - start) <= 4)
            assert answer.to_json()["matches"][0]["offset_seconds"] == best.offset_seconds
    assert np.mean(near) > 0.6, "composed songs repeat their bars"


def test_a_short_clip_gets_the_decision_of_its_length(sides, linear_run, tone):
    client, _, _ = sides
    features, heard = client.features((tone[:48_000], 16_000))
    assert heard.seconds == 3.0 and "less certain" in heard.notes[0]
    logits = np.random.default_rng(0).normal(size=linear_run.rows().total + 1) * 3
    decisions = client.artifact.manifest.decisions
    assert decisions.seconds == (3.0, 4.0) and decisions.of[0] != decisions.of[1]
    for seconds, decision in zip(decisions.seconds, decisions.of, strict=True):
        answer = client.answer(logits, heard=Heard(seconds))
        scores = linear_run.rows().scores(logits[None])
        assert answer.unknown_probability == decision.probabilities(scores)[0, -1]
