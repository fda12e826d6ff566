import numpy as np
import torch

from hushtune.configs.schema import MelSpectrum, SignalSettings, TrainingSettings
from hushtune.model.features import make_front_end
from hushtune.training.data.batches import BatchMaker
from hushtune.training.data.pool import ExamplePool
from hushtune.training.data.views import View, Views

FRONT_END = make_front_end(
    SignalSettings(bands=16, crop_seconds=2), MelSpectrum(kind="mel", frames=8)
)
SETTINGS = dict(known_unknown_share=0.25, synthetic_negative_share=0.1, noise_share=0.5)
GROUP = 1


def maker(folder, seed=1, unknown=2, spoil_validation=False, **changes):
    """Five known tracks of random numbers, of which every third view is for validation."""
    rng = np.random.default_rng(0)
    tracks = []
    for number in range(5 + unknown):
        power = rng.standard_normal((3, 16, 120)).astype(np.float16)
        if spoil_validation:
            power[2] = np.nan
        path = folder / f"{number}.npy"
        np.save(path, power)
        views = [View(path, row, GROUP, ((0, 120),)) for row in range(3)]
        tracks.append(Views(str(number), 4.0, tuple(views[:2]), tuple(views[2:])))
    noise = {GROUP: rng.random((4, 16, 200)).astype(np.float32)}
    settings = TrainingSettings(**{**SETTINGS, **changes})
    known, strangers = tracks[:5], tracks[5:]
    return BatchMaker(known, strangers, noise, FRONT_END, settings, (0, 20), seed)


def batch(batches, stream=1, number=7, count=40):
    return batches.batch(stream, number, count, GROUP)


def test_a_batch_depends_on_seed_stream_and_number_alone(tmp_path):
    images, labels = batch(maker(tmp_path))
    again, same = batch(maker(tmp_path))
    assert torch.equal(images, again) and torch.equal(labels, same)
    others = (
        batch(maker(tmp_path), number=8),
        batch(maker(tmp_path), stream=2),
        batch(maker(tmp_path, seed=2)),
    )
    assert not any(torch.equal(images, other[0]) for other in others)


def test_shares_of_unknown_and_synthetic_negatives(tmp_path):
    def unknowns(**changes):
        return int((batch(maker(tmp_path, **changes))[1] == 5).sum())

    assert unknowns() == 10 + 4
    assert unknowns(synthetic_negative_share=0) == 10
    assert unknowns(unknown=0, synthetic_negative_share=0) == 0


def test_validation_views_are_never_trained_on(tmp_path):
    batches = maker(tmp_path, spoil_validation=True, noise_share=0)
    assert all(torch.isfinite(batch(batches, number=n)[0]).all() for n in range(20))
    assert not torch.isfinite(batches.validation()[0]).any()


def test_a_crop_stays_in_its_spans_and_says_its_length(tmp_path):
    power = np.zeros((1, 16, 120), np.float16)
    power[0] = np.arange(120)
    np.save(tmp_path / "v.npy", power)
    view = View(tmp_path / "v.npy", 0, GROUP, ((10, 30), (80, 120)))
    rng = np.random.default_rng(0)
    crops = [view.crop(25, rng)[0] for _ in range(200)]
    for crop in crops:
        assert set(np.diff(crop)) == {1.0}
        assert crop[0] >= 10 and crop[-1] < 30 or crop[0] >= 80 and crop[-1] < 120
    assert {len(crop) for crop in crops} == {20, 25}


def test_a_step_draws_the_same_rows_whenever_it_is_run():
    images, labels = torch.arange(50.0).half()[:, None], torch.arange(50)
    pool = ExamplePool(images, labels, 3)
    first = pool.draw(0, 17, 20)
    pool.draw(0, 18, 20)
    again = ExamplePool(images, labels, 3).draw(0, 17, 20)
    assert torch.equal(first[0], again[0]) and torch.equal(first[1], again[1])
    assert torch.equal(first[0][:, 0].long(), first[1])
    assert not torch.equal(first[1], pool.draw(1, 17, 20)[1])
