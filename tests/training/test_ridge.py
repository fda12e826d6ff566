import numpy as np
import pytest
import torch
from sklearn.linear_model import Ridge

from hushtune.model.network import network_logits
from hushtune.training.data.clips import clip_images, list_calibration_clips
from hushtune.training.data.pool import ExamplePool
from hushtune.training.ridge import LOGIT_SCALE, fit_ridge


def fit(images, labels, classes, ridge, teachers=None, parts=(0,), inputs=None):
    if teachers is None:
        teachers = np.full(len(labels), -1)
    told = (torch.from_numpy(each) for each in (labels, teachers))
    pool = ExamplePool(torch.from_numpy(images).half(), *told, 0)
    return fit_ridge(pool, classes, ridge, inputs=inputs, parts=list(parts), title="")


def test_it_is_ridge_regression_on_centred_codes():
    rng = np.random.default_rng(0)
    images = rng.normal(size=(5000, 2, 3, 4)).astype(np.float16)
    labels = rng.integers(0, 5, 5000)
    weights = fit(images, labels, 5, 0.1).weights.numpy()
    flat = images.reshape(5000, -1).astype(np.float64)
    codes = np.eye(5)[labels]
    alpha = 0.1 * (flat**2).sum(0).mean()
    reference = Ridge(alpha=alpha, fit_intercept=False).fit(flat, codes - codes.mean(0))
    assert weights == pytest.approx(LOGIT_SCALE * reference.coef_, abs=1e-3)


def test_each_part_of_the_unknown_tracks_is_left_out_once():
    rng = np.random.default_rng(2)
    images = rng.normal(size=(900, 1, 4, 5)).astype(np.float16)
    labels = rng.integers(0, 4, 900)
    teachers = np.where(
        labels == 3, rng.integers(-1, 3, 900), -1
    )  # -1 among them: synthetic negatives
    parts = [0, 1, 0]
    both = fit(images, labels, 4, 0.1, teachers, parts)
    assert len(both.without) == 2
    for part, weights in enumerate(both.without):
        kept = np.array([t < 0 or parts[t] != part for t in teachers])
        alone = fit(images[kept], labels[kept], 4, 0.1, teachers[kept], parts).weights
        assert weights.numpy() == pytest.approx(alone.numpy(), abs=1e-4)
        assert not torch.allclose(weights, both.weights, atol=1e-3)


def test_the_values_kept_are_those_that_tell_the_classes_apart():
    rng = np.random.default_rng(3)
    labels = rng.integers(0, 5, 4000)  # 4 stands for unknown songs
    images = rng.normal(size=(4000, 40))
    telling = [3, 17, 18, 31, 39]
    images[:, telling] += 2 * rng.normal(size=(5, 5))[labels]
    images = images.reshape(4000, 2, 4, 5).astype(np.float16)
    pruned = fit(images, labels, 5, 0.1, inputs=5)
    assert pruned.selected.tolist() == telling
    alone = fit(images.reshape(4000, 40)[:, telling], labels, 5, 0.1)
    assert pruned.weights.numpy() == pytest.approx(alone.weights.numpy(), abs=1e-4)
    assert fit(images, labels, 5, 0.1, inputs=99).selected.tolist() == list(range(40))


def test_it_takes_off_noise_that_images_share():
    """Where all classes suffer the same strong noise, the covariance is what matters."""
    rng = np.random.default_rng(1)
    centres = rng.normal(size=(8, 30))
    noise_axes = rng.normal(size=(4, 30))
    labels = rng.integers(0, 8, 6000)
    images = centres[labels] + 6 * rng.normal(size=(6000, 4)) @ noise_axes
    images += 0.3 * rng.normal(size=images.shape)
    shaped = images.reshape(-1, 1, 5, 6).astype(np.float16)
    weights = fit(shaped[:4000], labels[:4000], 8, 0.001).weights.numpy()
    found = (images[4000:] @ weights.T).argmax(1) == labels[4000:]
    nearest = (images[4000:] @ centres.T).argmax(1) == labels[4000:]
    assert found.mean() > 0.95 > nearest.mean() + 0.3


def test_the_verdict_is_set_by_clips_of_tracks_that_did_not_teach(linear_run):
    """The twin knows its own teachers; what the calibration holds of them is judged without."""
    run = linear_run
    labels, reference = run.calibration(quantized=False)
    split = run.split()
    clips = list_calibration_clips(run.config, split, split.known_unknowns)
    assert labels.tolist() == [clip.label for clip in clips]
    images = clip_images(clips, run.config, run.front_end(), validating=True).images
    told = network_logits(run.network(quantized=False), images)
    unknown = labels == split.unknown_class
    assert np.array_equal(told[~unknown], reference[~unknown])
    assert reference[unknown, -1].mean() < told[unknown, -1].mean() - 1
    assert not run.path("without.npy").exists()


def test_a_linear_run_is_fitted_in_closed_form(linear_run, tiny_run):
    result = linear_run.read_json("result.json")
    for network in ("float", "quantized"):
        assert result[network]["top1_closed"] >= 0.95
    network = linear_run.network(quantized=True)
    assert not network.blocks and network.head.in_features == 200
    assert linear_run.front_end().feature_shape == (200, 1, 1)
    assert len(linear_run.path("metrics.jsonl").read_text().splitlines()) == 1 + 200 // 25
    assert linear_run.path("curve.png").stat().st_size > 5000
