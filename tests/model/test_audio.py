import numpy as np
import pytest
import soundfile

from hushtune.model.audio import read_audio, read_clip
from hushtune.support.errors import AudioError


@pytest.mark.parametrize(
    ("suffix", "subtype"),
    [
        ("wav", "PCM_16"),
        ("wav", "FLOAT"),
        ("flac", "PCM_16"),
        ("ogg", "VORBIS"),
        ("ogg", "OPUS"),
        ("mp3", "MPEG_LAYER_III"),
    ],
)
def test_formats_decode(tmp_path, tone, suffix, subtype):
    path = tmp_path / f"clip.{suffix}"
    soundfile.write(path, tone, 16000, subtype=subtype)
    decoded = read_audio(path, 16000)
    assert decoded.dtype == np.float32
    assert abs(len(decoded) - len(tone)) < 2400
    length = min(len(decoded), len(tone))
    spectrum = [np.abs(np.fft.rfft(x[:length])) for x in (decoded, tone)]
    assert np.corrcoef(*spectrum)[0, 1] > 0.98


def test_stereo_96_khz_float_is_averaged_and_resampled(tmp_path):
    time = np.arange(96_000 * 3) / 96_000
    left = np.sin(2 * np.pi * 440 * time)
    soundfile.write(tmp_path / "x.wav", np.stack([left, 0 * left], 1), 96_000, subtype="FLOAT")
    wave, _ = read_clip(tmp_path / "x.wav", 16_000)
    assert abs(len(wave) - 48_000) <= 1
    assert np.argmax(np.abs(np.fft.rfft(wave))) == pytest.approx(440 * 3, abs=2)
    assert np.abs(wave[1000:-1000]).max() == pytest.approx(0.5, abs=0.02)


def test_only_the_first_twenty_seconds_of_a_long_clip_are_read(tmp_path):
    samples = np.random.default_rng(0).standard_normal(8000 * 60).astype(np.float32) * 0.1
    soundfile.write(tmp_path / "long.wav", samples, 8000)
    wave, _ = read_clip(tmp_path / "long.wav", 8000)
    assert len(wave) == 8000 * 20


def bad_files(folder, tone):
    (folder / "empty.mp3").write_bytes(b"")
    (folder / "text.mp3").write_text("la la la\n" * 100)
    soundfile.write(folder / "silent.wav", np.zeros(48_000), 16_000)
    soundfile.write(folder / "short.wav", tone[:3200], 16_000)
    nan = tone.copy()
    nan[5] = np.nan
    soundfile.write(folder / "nan.wav", nan, 16_000, subtype="FLOAT")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("missing.wav", "no such file"),
        ("empty.mp3", "empty"),
        ("text.mp3", "not audio"),
        ("silent.wav", "silent"),
        ("short.wav", "too short, 0.20 s"),
        ("nan.wav", "not finite"),
    ],
)
def test_bad_clips_are_refused_by_name(tmp_path, tone, name, expected):
    bad_files(tmp_path, tone)
    with pytest.raises(AudioError, match=expected) as error:
        read_clip(tmp_path / name, 16_000)
    assert name in str(error.value)


def test_arrays_are_clips_too(tone):
    stereo = np.stack([tone, tone], axis=1)
    assert np.allclose(read_clip((stereo, 16_000), 16_000)[0], tone)
    with pytest.raises(AudioError, match="shape"):
        read_clip((np.zeros((2, 2, 2)), 16_000), 16_000)


def test_an_odd_sample_rate_costs_no_more_than_another():
    time = np.arange(44_101 * 2) / 44_101
    wave, _ = read_clip((np.sin(2 * np.pi * 440 * time), 44_101), 16_000)
    assert abs(len(wave) - 32_000) <= 2
    assert np.argmax(np.abs(np.fft.rfft(wave))) == pytest.approx(880, abs=2)
