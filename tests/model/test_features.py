import time

import numpy as np
import pytest
import soxr

from hushtune.configs.schema import MelSpectrum, ModulationSpectrum, RawSamples, SignalSettings
from hushtune.model.features import (
    load_front_end,
    make_front_end,
)
from hushtune.model.features.mel import MelPower, mel_filter_bank
from hushtune.support.errors import ArrayFileError

SPECTRA = [
    MelSpectrum(kind="mel"),
    ModulationSpectrum(bins=6, distances=(1, 4)),
    ModulationSpectrum(bins=6, distances=(1,), more_windows=(5.0,), compression="pcen"),
]
SMALL = SignalSettings(bands=16, crop_seconds=4)


def music(seconds, seed=0):
    """Random notes with onsets: something with a modulation spectrum."""
    rng = np.random.default_rng(seed)
    wave = np.zeros(round(seconds * 16_000))
    for _ in range(round(seconds * 8)):
        length = round(rng.uniform(0.1, 0.6) * 16_000)
        start = rng.integers(len(wave))
        note = np.sin(2 * np.pi * 220 * 2 ** (rng.integers(36) / 12) * np.arange(length) / 16_000)
        part = wave[start : start + length]
        part += (note * np.linspace(1, 0, length))[: len(part)]
    return (0.1 * wave).astype(np.float32)


def similarity(a, b):
    a, b = a.ravel(), b.ravel()
    return float(a @ b / np.sqrt((a @ a) * (b @ b)))


def close(a, b, atol):
    return np.allclose(a, b, rtol=1e-5, atol=atol)


@pytest.mark.parametrize("spectrum", SPECTRA, ids=lambda s: s.kind)
@pytest.mark.parametrize("seconds", [1, 2.2, 3, 10, 14.5, 20])
def test_every_length_gives_features_of_the_same_shape(spectrum, seconds):
    front_end = make_front_end(SignalSettings(), spectrum)
    image = front_end.query_features(music(seconds))
    assert image.shape == front_end.feature_shape
    assert np.isfinite(image).all()
    assert image.std() > 0.05


def test_modulation_features_hardly_depend_on_where_the_crop_begins():
    wave = music(14)
    front_end = make_front_end(SignalSettings(), ModulationSpectrum())
    mel = make_front_end(SignalSettings(), MelSpectrum(kind="mel"))
    crops = [wave[start : start + 160_000] for start in (0, 8000)]
    # against the mean over songs, as images are standardised
    mean = np.mean([front_end.query_features(music(10, seed)) for seed in range(1, 9)], axis=0)
    images = [front_end.query_features(crop) - mean for crop in crops]
    modulation = similarity(*images)
    plain = similarity(*(mel.query_features(crop) for crop in crops))
    other = similarity(images[0], front_end.query_features(music(10, 9)) - mean)
    assert modulation > 0.85
    assert modulation > plain + 0.3
    assert modulation > other + 0.3


@pytest.mark.parametrize("spectrum", SPECTRA, ids=lambda s: s.kind)
def test_recording_level_drops_out(spectrum):
    front_end = make_front_end(SignalSettings(), spectrum)
    wave = music(10)
    assert close(front_end.query_features(wave), front_end.query_features(0.03 * wave), atol=1e-2)


@pytest.mark.parametrize("spectrum", SPECTRA, ids=lambda s: s.kind)
def test_training_and_client_make_the_same_features(spectrum):
    front_end = make_front_end(SignalSettings(), spectrum)
    wave = music(10)
    batch = front_end.features(np.stack([front_end.analyse(w) for w in (wave, music(10, 1))]))
    assert close(batch[0], front_end.query_features(wave), atol=1e-5)


def test_features_that_are_not_selected_are_left_out():
    spectrum = ModulationSpectrum(bins=6, distances=(1, 4))
    raw = make_front_end(SignalSettings(), spectrum).query_features(music(10))
    statistics = np.stack([raw - 1, np.ones_like(raw)])
    selected = np.array([5, 700, 4607])
    front_end = make_front_end(SignalSettings(), spectrum, statistics, selected)
    image = front_end.query_features(music(10))
    assert image.shape == front_end.feature_shape == (3, 1, 1)
    picture = front_end.picture(music(10))
    assert picture.shape == front_end.full_shape == raw.shape
    assert np.array_equal(picture.ravel()[selected], image.ravel())
    assert int(np.isfinite(picture).sum()) == 3


def test_statistics_standardise_the_features():
    spectrum = ModulationSpectrum(bins=6, distances=(1, 4))
    raw = make_front_end(SignalSettings(), spectrum).query_features(music(10))
    statistics = np.stack([raw - 1, np.full_like(raw, 0.5)])
    image = make_front_end(SignalSettings(), spectrum, statistics).query_features(music(10))
    assert close(image, np.full_like(image, 2.0), atol=1e-4)


@pytest.mark.parametrize("spectrum", SPECTRA, ids=lambda s: s.kind)
def test_ten_seconds_take_under_fifty_milliseconds(spectrum):
    front_end = make_front_end(SignalSettings(), spectrum)
    wave = music(10)
    front_end.query_features(wave)
    seconds = []
    for _ in range(5):
        started = time.perf_counter()
        front_end.query_features(wave)
        seconds.append(time.perf_counter() - started)
    assert min(seconds) < 0.05


def test_further_windows_add_the_channels_of_their_own():
    both = make_front_end(SMALL, ModulationSpectrum(bins=4, distances=(1,), more_windows=(1.0,)))
    short = ModulationSpectrum(bins=4, distances=(1,), window_seconds=1.0, hop_seconds=0.25)
    image, wave = both.query_features(music(4)), music(4)
    assert both.feature_shape == image.shape == (7, 16, 4)
    first = make_front_end(SMALL, ModulationSpectrum(bins=4, distances=(1,))).query_features(wave)
    assert np.array_equal(image[:3], first[:3]) and np.array_equal(image[6], first[3])
    assert close(image[3:6], make_front_end(SMALL, short).query_features(wave)[:3], atol=1e-5)


def test_pcen_follows_its_formula():
    """Against a plain loop: Wang et al. 2017, equations 1 and 2."""
    front_end = make_front_end(SMALL, ModulationSpectrum(bins=4, compression="pcen"))
    power = np.random.default_rng(0).random((1, 2, 60), np.float32) ** 4
    smooth, expected = power[..., 0].copy(), np.empty_like(power)
    frames = 0.4 / 0.032
    share = (np.sqrt(1 + 4 * frames**2) - 1) / (2 * frames**2)
    for frame in range(60):
        smooth = (1 - share) * smooth + share * power[..., frame]
        gained = power[..., frame] / (1e-6 + smooth) ** 0.98
        expected[..., frame] = (gained + 2) ** 0.5 - 2**0.5
    assert close(front_end._pcen(power), expected, atol=1e-5)


def test_modulation_follows_its_formula():
    """Against NumPy's FFT, window by window, as the module's docstring has it."""
    spectrum = ModulationSpectrum(window_seconds=2, hop_seconds=0.5, bins=5, distances=(3,))
    front_end = make_front_end(SMALL, spectrum)
    power = front_end.analyse(music(4))[None]
    image = front_end.features(power)[0]
    crop = front_end.normalised(power, np.array([power.shape[2]]))[0].astype(float)
    window, hop = round(2 / 0.032), round(0.5 / 0.032)
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * (np.arange(window) + 0.5) / window)
    hann /= np.sqrt((hann**2).sum())
    channels = []
    for start in range(0, crop.shape[1] - window + 1, hop):
        x = np.fft.fft(crop[:, start : start + window] * hann)[:, 1:6]
        relation = np.roll(x, -3, axis=0) * x.conj()
        relation *= np.abs(relation) ** -0.75
        channels.append([np.abs(x) ** 0.5, relation.real, relation.imag])
    assert image[:3] == pytest.approx(np.mean(channels, axis=0), abs=2e-3)


def test_quantiles_follow_their_formula():
    front_end = make_front_end(SMALL, ModulationSpectrum(window_seconds=2, bins=4, distances=()))
    power = front_end.analyse(music(4)).astype(float)
    quantiles = front_end.features(power[None])[0, 1]
    apart = power[:, ::4]  # frames of 128 ms that do not overlap
    places = np.round((np.arange(4) + 0.5) / 4 * (apart.shape[1] - 1)).astype(int)
    expected = np.log(np.sort(apart, axis=1)[:, places] / apart.mean() + 1e-6)
    around = [expected[max(0, m - 7) : m + 8].mean(0) for m in range(16)]
    expected = expected - around
    assert quantiles == pytest.approx(expected / expected.std(), abs=0.02)


def test_quantiles_hardly_notice_a_smooth_equalizer():
    front_end = make_front_end(SignalSettings(), ModulationSpectrum(bins=6))
    power = front_end.analyse(music(10))[None]
    tilt = np.exp(np.linspace(0, 3, 128))[None, :, None]
    quantiles = [front_end.features(p)[0, -1, 10:-10] for p in (power, power * tilt)]
    assert similarity(*quantiles) > 0.97


@pytest.mark.parametrize("distances, quantiles", [((), False), ((), True), ((1,), False)])
def test_channels_are_a_choice(distances, quantiles):
    spectrum = ModulationSpectrum(bins=6, distances=distances, quantiles=quantiles)
    front_end = make_front_end(SMALL, spectrum)
    assert front_end.feature_shape == (1 + 2 * len(distances) + quantiles, 16, 6)
    assert front_end.query_features(music(4)).shape == front_end.feature_shape


GOLDEN = {
    "mel": [0.5903, -0.3127, 0.4409, -0.5861, -0.311, 0.0737, 0.4824, -0.5842, 0.0401, 0.016],
    "modulation": [
        1.1854, 1.0392, 1.2219, 1.2795, 0.0314, -0.0058, 0.3152, -4.699, 0.0, 0.0
    ],
    "pcen": [0.9848, 1.1418, 1.0329, 1.1335, 1.2368, 0.8768, 1.0452, -4.699, 0.0, 0.0],
}  # fmt: skip


@pytest.mark.parametrize("spectrum", SPECTRA, ids=lambda s: s.kind)
def test_golden_numbers(spectrum):
    """Pins the front end: an artifact's features must not change under its network."""
    image = make_front_end(SignalSettings(f_min_hz=150), spectrum).query_features(music(10))
    channels, bands, columns = image.shape
    picked = [
        image[c * (channels - 1) // 2, b * (bands - 1) // 3, w * (columns - 1) // 3]
        for c in range(3)
        for b in range(4)
        for w in range(4)
    ][::5]
    pcen = getattr(spectrum, "compression", "log") == "pcen"
    assert picked == pytest.approx(GOLDEN["pcen" if pcen else spectrum.kind], abs=2e-3)


BLOCKS = RawSamples(kind="samples", rate_hz=4000, block=320)


def test_samples_come_in_blocks_of_samples_of_unit_power():
    front_end = make_front_end(SignalSettings(), BLOCKS)
    wave = music(10)
    image = front_end.query_features(wave)
    assert image.shape == front_end.feature_shape == (1, 125, 320)
    assert np.sqrt(np.square(image).mean()) == pytest.approx(1.0, abs=0.02)
    assert close(front_end.query_features(0.01 * wave), image, atol=1e-3)
    low = soxr.resample(wave, 16_000, 4_000, quality="HQ")[: 125 * 320]
    power = np.sqrt(np.square(low).mean())
    assert close(image.ravel(), (low / power).clip(-4, 4), atol=1e-4)


def test_a_short_clip_of_audio_is_followed_by_silence():
    front_end = make_front_end(SignalSettings(), BLOCKS)
    image = front_end.query_features(music(4))
    assert np.sqrt(np.square(image[0, :50]).mean()) == pytest.approx(1.0, abs=0.02)
    assert not image[0, 50:].any()


def test_frames_of_audio_are_whole_blocks():
    front_end = make_front_end(SignalSettings(), BLOCKS)
    assert front_end.frames(1279) == 0 and front_end.frames(1280) == 1
    assert front_end.samples(2) == 2560
    assert front_end.analyse(music(1)[:2600]).shape == (320, 2)
    assert front_end.measure(
        np.random.default_rng(0).random((5, 1, 125, 320))
    ).ravel().tolist() == [0, 1]


def test_the_mel_bands_are_those_of_htk():
    """Against triangles drawn corner by corner."""
    bank = mel_filter_bank(513, 100.0, 6000.0, 20, 16_000)
    mel = np.linspace(2595 * np.log10(1 + 100 / 700), 2595 * np.log10(1 + 6000 / 700), 22)
    corners = 700 * (10 ** (mel / 2595) - 1)
    frequency = np.linspace(0, 8000, 513)
    for band in range(20):
        expected = np.interp(frequency, corners[band : band + 3], [0, 1, 0])
        assert bank[:, band] == pytest.approx(expected, abs=1e-6)


def test_mel_power_follows_its_formula():
    signal = SignalSettings(bands=16, window_ms=32, hop_ms=16)
    wave = music(1)
    power = MelPower(signal)(wave)
    assert power.shape == (16, MelPower(signal).frames(16_000)) == (16, 61)
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(512) / 512)
    bank = mel_filter_bank(257, 30.0, 6000.0, 16, 16_000)
    for frame in (0, 7, 60):
        piece = wave[256 * frame : 256 * frame + 512].astype(float) * hann
        expected = np.abs(np.fft.rfft(piece)) ** 2 @ bank
        assert power[:, frame] == pytest.approx(expected, rel=1e-4, abs=1e-7)


@pytest.mark.parametrize("spectrum", SPECTRA, ids=lambda s: s.kind)
def test_what_follows_a_short_clip_does_not_matter(spectrum):
    front_end = make_front_end(SMALL, spectrum)
    analysed = np.stack([front_end.analyse(music(4, seed)) for seed in range(3)])
    lengths = np.array([front_end.crop_frames, 60, 30])
    silent = analysed.copy()
    for clip, length in zip(silent, lengths, strict=True):
        clip[:, length:] = 0
    made = front_end.features(analysed, lengths)
    assert np.array_equal(made, front_end.features(silent, lengths))
    alone = front_end.features(analysed[2:, :, :30])[0]
    assert close(made[2], alone, atol=1e-5)


def saved(folder, statistics, selected=None):
    np.save(folder / "statistics.npy", statistics)
    if selected is not None:
        np.save(folder / "selected.npy", selected)
    return folder


GOOD = np.ones((2, 7, 16, 4), np.float32)
SEVEN = ModulationSpectrum(bins=4, distances=(1, 2, 3), quantiles=False)


def test_a_front_end_is_read_from_its_files(tmp_path):
    selected = np.array([0, 3, 447])
    saved(tmp_path, GOOD, selected)
    front_end = load_front_end(SMALL, SEVEN, tmp_path, selected=3)
    assert np.array_equal(front_end.selected, selected) and front_end.feature_shape == (3, 1, 1)
    assert np.array_equal(front_end.statistics, GOOD)
    for count in (None, 448, 1000):
        assert load_front_end(SMALL, SEVEN, tmp_path, selected=count).selected is None
    audio = saved(tmp_path, np.array([0, 1], np.float32).reshape(2, 1, 1, 1))
    assert load_front_end(SignalSettings(), BLOCKS, audio, selected=None).feature_shape[0] == 1


@pytest.mark.parametrize(
    ("statistics", "selected", "message"),
    [
        (GOOD.astype(np.float64), [0, 1, 2], "dtype=float64"),
        (GOOD[:, :6], [0, 1, 2], r"shape=\(2, 6, 16, 4\)"),
        (np.asfortranarray(GOOD), [0, 1, 2], "Fortran"),
        (GOOD * np.nan, [0, 1, 2], "finite means"),
        (GOOD * [[[[1.0]]], [[[0.0]]]], [0, 1, 2], "float64"),
        ((GOOD * 0).astype(np.float32), [0, 1, 2], "positive deviations"),
        (GOOD, [0, 1], r"shape=\(2,\)"),
        (GOOD, [0, 2, 2], "rising places"),
        (GOOD, [-1, 2, 3], "rising places"),
        (GOOD, [1, 2, 448], "rising places"),
        (GOOD, None, "selected.npy: cannot be read"),
    ],
)
def test_files_that_do_not_fit_the_settings_are_refused(tmp_path, statistics, selected, message):
    saved(tmp_path, statistics, None if selected is None else np.array(selected))
    with pytest.raises(ArrayFileError, match=message):
        load_front_end(SMALL, SEVEN, tmp_path, selected=3)
