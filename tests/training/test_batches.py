import numpy as np
import pytest
import torch
from hushtune.configs.schema import MelSpectrum, SignalSettings, TrainingSettings
from hushtune.model.frontend import FrontEnd
from hushtune.training.batches import BatchMaker, ImagePool

FRONT_END = FrontEnd(SignalSettings(bands=16, crop_seconds=2), MelSpectrum(kind="mel", frames=8))
SETTINGS = dict(
    batch_size=40, unknown_share=0.25, counterfeit_share=0.1, remix=0.5, pool_batches=5, reuse=3
)


def maker(seed=1, unknown=2, **changes):
    rng = np.random.default_rng(0)
    views = [rng.standard_normal((3, 16, 120)).astype(np.float16) for _ in range(5 + unknown)]
    noise = rng.random((4, 16, 200)).astype(np.float32)
    settings = TrainingSettings(**{**SETTINGS, **changes})
    return BatchMaker(views[:5], views[5:], views[5:], noise, FRONT_END, settings, (0, 20), seed)


def test_a_batch_depends_on_seed_phase_and_step_alone():
    images, labels = maker().batch(1, 7)
    again, same = maker().batch(1, 7)
    assert torch.equal(images, again) and torch.equal(labels, same)
    for other in (maker().batch(1, 8), maker().batch(2, 7), maker(seed=2).batch(1, 7)):
        assert not torch.equal(images, other[0])


def test_shares_of_unknown_and_counterfeit_clips():
    labels = maker().batch(1, 0)[1]
    assert (labels == 5).sum() == 10 + 4
    assert (maker(counterfeit_share=0).batch(1, 0)[1] == 5).sum() == 10
    assert (maker(unknown=0, counterfeit_share=0).batch(1, 0)[1] == 5).sum() == 0


def test_the_validation_view_is_never_trained_on():
    batches = maker(remix=0)
    images, _ = batches.validation()
    for views in batches.known + batches._unknown:
        views[-1] = np.nan
    assert all(torch.isfinite(batches.batch(1, step)[0]).all() for step in range(20))
    assert not torch.isfinite(batches.validation()[0]).any()
    assert torch.isfinite(images).all()


@pytest.mark.parametrize("resumed_at", [1, 4, 17, 31])
def test_a_resumed_pool_goes_on_with_the_same_clips(resumed_at):
    pool = ImagePool(maker(), 1, 0)
    straight = [pool.draw(step) for step in range(40)]
    resumed = ImagePool(maker(), 1, resumed_at)
    for step in range(resumed_at, 40):
        images, labels = resumed.draw(step)
        assert torch.equal(images, straight[step][0])
        assert torch.equal(labels, straight[step][1])
