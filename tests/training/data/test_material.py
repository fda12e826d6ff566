import numpy as np
import pytest
import torch

from hushtune.configs.schema import ModulationSpectrum, RawSamples
from hushtune.training.data.material import Samples, material_of
from hushtune.training.data.remix import AudioRemix

AUDIO = RawSamples(kind="samples", rate_hz=1000, block=50)


def crop(material, seed=0):
    rng = np.random.default_rng(seed)
    tone = np.sin(2 * np.pi * (0.05 + 0.01 * seed) * np.arange(2000)).reshape(40, 50).T
    values = tone if isinstance(material, Samples) else rng.uniform(0.1, 2, (16, 40))
    return material.store(values.astype(np.float32))


@pytest.mark.parametrize("spectrum", [ModulationSpectrum(), AUDIO])
def test_noise_is_mixed_in_at_the_ratio_asked_for(spectrum):
    material = material_of(spectrum)
    rng = np.random.default_rng(1)
    shape = (3, 16, 400)
    music, noise = rng.standard_normal(shape), 7 * rng.standard_normal(shape)
    if not isinstance(material, Samples):
        music, noise = music**2, noise**2
    snr = np.array([0.0, 10.0, 20.0]).reshape(3, 1, 1)
    mixed = material.mix(music, noise, snr, np.random.default_rng(2))
    share = material.power(mixed) / material.power(music) - 1
    assert share.ravel() == pytest.approx([1.0, 0.1, 0.01], abs=0.08)


@pytest.mark.parametrize("spectrum", [ModulationSpectrum(), AUDIO])
def test_stored_crops_come_back(spectrum):
    material = material_of(spectrum)
    content = np.random.default_rng(0).random((16, 30), np.float32) + np.float32(0.01)
    restored = material.restore(material.store(content))
    assert restored == pytest.approx(content, rel=5e-3)


@pytest.mark.parametrize("spectrum", [ModulationSpectrum(), AUDIO])
def test_synthetic_negatives_come_in_three_kinds_and_are_something_else(spectrum):
    material = material_of(spectrum)
    plain, other = crop(material), crop(material, 1)
    kinds = set()
    for seed in range(30):
        made = material.synthetic_negative(plain, lambda: other, np.random.default_rng(seed))
        assert made.shape == plain.shape and made.dtype == plain.dtype
        assert not np.array_equal(made, plain)
        kinds.add("reversed" if np.array_equal(made, material._reversed(plain)) else "changed")
    assert kinds == {"reversed", "changed"}


def test_a_reversed_crop_of_samples_plays_backwards():
    wave = np.arange(2000.0, dtype=np.float32) / 2000
    blocks = wave.reshape(40, 50).T.astype(np.float16)
    backwards = Samples()._reversed(blocks).T.ravel()
    assert backwards == pytest.approx(wave[::-1], abs=1e-3)


def test_a_shifted_crop_of_samples_sounds_at_another_pitch():
    material = material_of(AUDIO)
    plain = crop(material).T.ravel().astype(float)
    for seed in range(6):
        made = material._shifted(crop(material), np.random.default_rng(seed)).T.ravel()
        peaks = [np.abs(np.fft.rfft(wave)).argmax() for wave in (plain, made.astype(float))]
        assert 1.1 < max(peaks) / min(peaks) < 1.3


def test_each_draw_of_an_image_of_audio_has_other_noise_and_unit_power():
    rng = np.random.default_rng(0)
    noise = rng.standard_normal((4, 50, 90)).astype(np.float32)
    images = torch.from_numpy(rng.standard_normal((6, 1, 40, 50))).float()
    images[0, :, 30:] = 0
    remix = AudioRemix(noise, 1.0, (10.0, 10.0))
    first, second = (remix(images, np.random.default_rng(seed)) for seed in (1, 2))
    assert not torch.allclose(first, second)
    assert torch.equal(first, remix(images, np.random.default_rng(1)))
    assert first[1:].square().mean((1, 2, 3)) == pytest.approx(torch.ones(5), abs=0.02)
    assert not first[0, :, 31:].any(), "silence after a short clip stays silent"
    plain = AudioRemix(noise, 0.0, (10.0, 10.0))(images, np.random.default_rng(1))
    share = torch.nn.functional.cosine_similarity(plain.flatten(1), first.flatten(1))[1:]
    assert share == pytest.approx(torch.full((5,), (1 / 1.1) ** 0.5), abs=0.02)
