"""Real FHE without hidden layers: exact, no keys to send, and as good as in the clear."""

import numpy as np
import pytest
import torch
from hushtune.fhe.envelope import Envelope
from hushtune.fhe.export.calibrate import HEADROOM
from hushtune.model.frontend import IMAGE_LIMIT
from hushtune.model.network import network_logits
from hushtune.training.data.clips import clip_images, list_test_clips

from hushtune.client.part import check_client_zip
from hushtune.service.layout import Layouts


@pytest.fixture(scope="module")
def artifact(linear_artifact):
    return linear_artifact


def execute(sides, image):
    client, server, keys = sides
    return client.decrypt_logits(server.run(client.encrypt_image(image), keys))


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
    right = executed[known, :-1].argmax(1) == labels[known]
    assert right.mean() >= 0.95
    lost = decision.score(executed[known]) < 0
    rejected = decision.score(executed[~known]) < 0
    assert (decision.classes(executed) == decision.classes(clear)).mean() >= 0.99
    assert rejected.mean() >= 0.5 and lost.mean() <= 0.2, "of four unknown songs' clips"


def test_nothing_is_uploaded_but_a_few_bytes(sides):
    client, _, _ = sides
    assert len(client.evaluation_keys()) < 1000


def test_a_clip_beyond_all_others_does_not_wrap_around(sides, linear_run, artifact):
    """A logit beyond the circuit's range would come back with the other sign."""
    calibration = np.load(artifact / "owner" / "calibration.npy")[:-10]
    network = linear_run.network(quantized=True)
    logits = network_logits(network, torch.from_numpy(calibration))
    furthest = calibration[np.abs(logits).max(1).argmax()]
    image = np.clip(0.98 * HEADROOM * furthest, -IMAGE_LIMIT, IMAGE_LIMIT).astype(np.float32)
    clear = network_logits(network, torch.from_numpy(image[None]))[0]
    assert np.abs(clear).max() > np.abs(logits).max()
    assert execute(sides, image) == pytest.approx(clear, abs=0.05 * clear.std())


def test_a_service_accepts_such_an_artifact_and_its_messages(sides, artifact):
    check_client_zip(artifact / "client" / "client.zip")
    client, _, _ = sides
    layouts = Layouts.measure(artifact)
    image = np.zeros(client.artifact.front_end().image_shape, np.float32)
    for layout, data, kind in (
        (layouts.evaluation_keys, client.evaluation_keys(), b"E"),
        (layouts.query, client.encrypt_image(image), b"Q"),
    ):
        payload = Envelope.unpack(data, kind, client.artifact.id).payload
        assert layout.fits(payload)
        assert not layout.fits(payload[:-8])
