import numpy as np
import pytest
import torch
from hushtune.training.least_squares import LOGIT_SCALE, fit_least_squares
from hushtune.training.pool import ImagePool
from sklearn.linear_model import Ridge


def pool(images, labels):
    return ImagePool(torch.from_numpy(images).half(), torch.from_numpy(labels), 0)


def test_it_is_ridge_regression_on_centred_codes():
    rng = np.random.default_rng(0)
    images = rng.normal(size=(5000, 2, 3, 4)).astype(np.float16)
    labels = rng.integers(0, 5, 5000)
    weights = fit_least_squares(pool(images, labels), 5, 0.1, title="").numpy()
    flat = images.reshape(5000, -1).astype(np.float64)
    codes = np.eye(5)[labels]
    alpha = 0.1 * (flat**2).sum(0).mean()
    reference = Ridge(alpha=alpha, fit_intercept=False).fit(flat, codes - codes.mean(0))
    assert weights == pytest.approx(LOGIT_SCALE * reference.coef_, abs=1e-3)


def test_it_takes_off_noise_that_images_share():
    """Where all classes suffer the same strong noise, the covariance is what matters."""
    rng = np.random.default_rng(1)
    centres = rng.normal(size=(8, 30))
    noise_axes = rng.normal(size=(4, 30))
    labels = rng.integers(0, 8, 6000)
    images = centres[labels] + 6 * rng.normal(size=(6000, 4)) @ noise_axes
    images += 0.3 * rng.normal(size=images.shape)
    shaped = images.reshape(-1, 1, 5, 6).astype(np.float16)
    weights = fit_least_squares(pool(shaped[:4000], labels[:4000]), 8, 0.001, title="").numpy()
    found = (images[4000:] @ weights.T).argmax(1) == labels[4000:]
    nearest = (images[4000:] @ centres.T).argmax(1) == labels[4000:]
    assert found.mean() > 0.95 > nearest.mean() + 0.3


def test_a_linear_run_is_fitted_in_closed_form(linear_run, tiny_run):
    result = linear_run.read_json("result.json")
    for network in ("float", "quantized"):
        assert result[network]["top1_closed"] >= 0.95
    assert not linear_run.network(quantized=True).blocks
    assert len(linear_run.path("metrics.jsonl").read_text().splitlines()) == 1 + 200 // 25
    assert linear_run.path("curve.png").stat().st_size > 5000
