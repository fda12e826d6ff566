import numpy as np
import pytest
import soundfile
import torch

from hushtune.configs.schema import AugmentSettings, Config, FoldSettings
from hushtune.support.errors import CatalogueError
from hushtune.training.data.augment import (
    Augmenter,
    change_speed,
    clip_loudest,
    fastest_length,
    mp3,
    telephone,
)
from hushtune.training.data.sounds import split_sounds

RATE = 16_000
NOTHING = dict(noisy=0, reverb=0, equalizer=0, clipping=0, codec=0, speed_percent=0, gain_db=(0, 0))


def split(fold=None, seed=5, **settings):
    catalogue = {"kind": "composed"}
    augment = AugmentSettings(**settings)
    return split_sounds(
        Config(name="x", seed=seed, catalogue=catalogue, augment=augment, fold=fold)
    )


def augmenter(**settings):
    return Augmenter(AugmentSettings(**settings), split(**settings).training[0], RATE)


def test_same_seed_same_clip_other_seed_another(tone):
    distort = augmenter(noisy=1.0, codec=1.0, reverb=1.0)
    first, again, other = (distort(tone, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert len(first) != len(other) or not np.allclose(first, other)


@pytest.mark.parametrize("snr", [0.0, 10.0, 20.0])
def test_signal_to_noise_ratio_is_what_was_asked_for(tone, snr):
    noisy = augmenter(**NOTHING)(tone, np.random.default_rng(1), snr_db=snr)
    scale = (noisy @ tone) / (tone @ tone)
    rest = noisy - scale * tone
    measured = 10 * np.log10((scale**2 * tone @ tone) / (rest @ rest))
    assert measured == pytest.approx(snr, abs=0.6)


def test_everything_switched_off_changes_only_the_level(tone):
    out = augmenter(**NOTHING)(tone, np.random.default_rng(1))
    assert np.allclose(out / np.abs(out).max(), tone / np.abs(tone).max(), atol=1e-5)


def test_speed_moves_length_and_pitch():
    sine = torch.sin(2 * torch.pi * 1000 * torch.arange(RATE) / RATE)
    fast = change_speed(sine, 5.0)
    assert len(fast) == pytest.approx(RATE / 1.05, abs=2)
    peak = torch.fft.rfft(fast).abs().argmax().item() * RATE / len(fast)
    assert peak == pytest.approx(1050, abs=2)


def test_clipping_and_codecs_leave_the_tune(tone):
    wave = torch.from_numpy(tone)
    clipped = clip_loudest(wave, 0.02)
    assert (clipped.abs() == clipped.abs().max()).float().mean() == pytest.approx(0.02, abs=0.01)
    narrow = torch.fft.rfft(telephone(wave, RATE)).abs()
    assert narrow[: 100 * 10].max() < 0.2 * narrow.max()
    coded = mp3(wave, RATE, 0.9)
    assert len(coded) == len(wave)
    assert not torch.equal(coded, wave)


def test_training_and_test_sounds_are_disjoint_by_recording(tmp_path, tone):
    rows = ["path,source,source_path"]
    for number in range(12):
        soundfile.write(tmp_path / f"{number}.wav", tone, RATE)
        rows.append(f"{number}.wav,site,recording{number // 3}.ogg@{number}s")
    (tmp_path / "noise.csv").write_text("\n".join(rows))

    def recordings(sounds):
        return {int(name.split("/")[-1][:-4]) // 3 for name in sounds.noise.names}

    plain = split(noise=tmp_path / "noise.csv")
    assert recordings(plain.training[0]) and recordings(plain.test)
    assert not recordings(plain.training[0]) & recordings(plain.test)
    assert not set(plain.training[0].rooms.names) & set(plain.test.rooms.names)
    assert plain.validating is None
    folds = [
        split(FoldSettings(protocol="conditions", number=n, of=4), noise=tmp_path / "noise.csv")
        for n in range(4)
    ]
    assert sorted(r for fold in folds for r in recordings(fold.test)) == [0, 1, 2, 3]
    for number, fold in enumerate(folds):
        assert fold.test.group == number
        groups = {sounds.group: recordings(sounds) for sounds in (*fold.training, fold.test)}
        assert groups == {n: recordings(other.test) for n, other in enumerate(folds)}
        assert fold.validating in groups and fold.validating != number


def test_what_was_opened_is_recorded(tone):
    distort = augmenter(noisy=1.0, reverb=1.0)
    assert not distort.sounds.noise.opened
    distort(tone, np.random.default_rng(1))
    assert distort.sounds.noise.opened <= set(distort.sounds.noise.names)
    drawn = distort.sounds.take_drawn()
    assert set(drawn["noise"]) == distort.sounds.noise.opened
    assert set(drawn["impulse_responses"]) == distort.sounds.rooms.opened
    assert drawn["noise"] and drawn["impulse_responses"]
    assert not any(distort.sounds.take_drawn().values())


def test_missing_or_too_few_recordings(tmp_path, tone):
    with pytest.raises(CatalogueError, match="no such file or folder"):
        augmenter(noise=tmp_path / "none.csv")
    soundfile.write(tmp_path / "one.wav", tone, RATE)
    with pytest.raises(CatalogueError, match=r"1 recording\(s\) found; at least 2"):
        augmenter(noise=tmp_path)
    (tmp_path / "x.csv").write_text("file\n1.wav\n")
    with pytest.raises(CatalogueError, match="column path is missing"):
        augmenter(noise=tmp_path / "x.csv")


@pytest.mark.parametrize("percent", [0.0, 0.57, 1.0, 3.33])
def test_no_change_of_speed_leaves_less_than_foretold(percent):
    wave = torch.zeros(30 * RATE)
    shortest = min(len(change_speed(wave, sign * percent)) for sign in (-1, 1))
    assert shortest >= fastest_length(len(wave), percent)
