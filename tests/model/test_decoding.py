"""Files that people have: all formats, cut, damaged, joined, lying about their length or type."""

import os
import subprocess
import sys

import av
import numpy as np
import pytest
import soundfile

from hushtune.model.audio import read_audio, read_clip
from hushtune.model.decoding import decode
from hushtune.support.errors import AudioError

RATE = 16_000


def music(seconds: float, seed: int = 0, rate: int = 48_000) -> np.ndarray:
    """Notes that change twice a second, so that every moment sounds like itself alone."""
    rng = np.random.default_rng(seed)
    time = np.arange(rate // 2) / rate
    notes = [
        sum(np.sin(2 * np.pi * pitch * time) for pitch in rng.uniform(200, 3000, 3))
        for _ in range(round(2 * seconds))
    ]
    return (0.2 * np.concatenate(notes)).astype(np.float32)


def encode(path, samples, *, codec, container=None, rate=48_000, layout="mono", **options):
    """Write a file with FFmpeg."""
    samples = np.atleast_2d(samples)
    if codec == "vorbis":  # PyAV brings no good encoder for it
        soundfile.write(path, samples.T, rate, format="OGG", subtype="VORBIS")
        return path
    with av.open(str(path), "w", format=container) as out:
        stream = out.add_stream(codec, rate=rate, layout=layout, options=options)
        size = stream.codec_context.frame_size or 1024
        resampler = av.AudioResampler(stream.codec_context.format, layout, rate, size)
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples), "fltp", layout)
        frame.sample_rate = rate
        for part in [*resampler.resample(frame), *resampler.resample(None), None]:
            out.mux(stream.encode(part))
    return path


def likeness(decoded: np.ndarray, expected: np.ndarray, rate: int = 48_000) -> float:
    """Share of moments whose loudest pitches agree."""
    size, other = RATE // 2, rate // 2
    count = min(len(decoded) // size, len(expected) // other)
    assert count
    same = 0
    for place in range(count):
        spectra = [
            np.abs(np.fft.rfft(part))
            for part in (
                decoded[place * size : (place + 1) * size],
                expected[place * other : (place + 1) * other],
            )
        ]
        tops = [2 * np.argmax(spectrum[: 2 * 1600]) for spectrum in spectra]
        same += abs(tops[0] - tops[1]) <= 8
    return same / count


FORMATS = {
    "m.m4a": {"codec": "aac"},
    "m.aac": {"codec": "aac", "container": "adts"},
    "m.opus": {"codec": "libopus"},
    "m.webm": {"codec": "libopus"},
    "m.ogg": {"codec": "vorbis"},
    "m.mp3": {"codec": "libmp3lame"},
    "m.flac": {"codec": "flac"},
    "m.wma": {"codec": "wmav2", "rate": 44_100, "b": "128000"},
    "m.aiff": {"codec": "pcm_s16be"},
    "m.wav": {"codec": "pcm_s16le"},
    "m.mka": {"codec": "aac"},
}


@pytest.mark.parametrize("name", FORMATS)
def test_formats_that_ffmpeg_writes(tmp_path, name):
    rate = FORMATS[name].get("rate", 48_000)
    wave = music(8, rate=rate)
    path = encode(tmp_path / name, wave, **FORMATS[name])
    decoded = decode(path, RATE)
    assert decoded.complete and abs(len(decoded.samples) / RATE - 8) < 0.15
    assert likeness(decoded.samples, wave, rate) > 0.85


def test_a_name_says_nothing_about_the_content(tmp_path):
    wave = music(6)
    path = encode(tmp_path / "m.m4a", wave, codec="aac").rename(tmp_path / "m.mp3")
    assert likeness(read_audio(path, RATE), wave) > 0.9
    flac = encode(tmp_path / "m.flac", wave, codec="flac").rename(tmp_path / "m")
    assert likeness(read_audio(flac, RATE), wave) > 0.9


def test_a_name_that_is_no_text_is_opened(tmp_path):
    wave = music(3)
    encode(tmp_path / "m.flac", wave, codec="flac")
    odd = os.fsdecode(os.fsencode(str(tmp_path)) + b"/\xff\xfe.flac")
    os.rename(tmp_path / "m.flac", odd)
    assert likeness(read_audio(odd, RATE), wave) > 0.9


def test_variable_rate_without_an_index_is_read_to_its_end(tmp_path):
    wave = music(30, rate=44_100)
    path = encode(tmp_path / "v.mp3", wave, codec="libmp3lame", rate=44_100, q="5", write_xing="0")
    decoded = decode(path, RATE)
    assert len(decoded.samples) / RATE == pytest.approx(30, abs=0.2)
    assert likeness(decoded.samples, wave, 44_100) > 0.9


def test_flac_from_a_pipe_states_no_length_and_is_read_whole(tmp_path):
    wave = music(6)
    path = encode(tmp_path / "m.flac", wave, codec="flac")
    data = bytearray(path.read_bytes())
    assert data[:4] == b"fLaC"
    data[21] &= 0xF0  # STREAMINFO's number of samples, 36 bits
    data[22:26] = bytes(4)
    path.write_bytes(data)
    decoded = decode(path, RATE)
    assert decoded.announced_seconds is None or decoded.announced_seconds > 0
    assert likeness(decoded.samples, wave) > 0.9 and len(decoded.samples) > 5.9 * RATE


@pytest.mark.parametrize("name", ["m.flac", "m.ogg", "m.mp3", "m.wav", "m.opus"])
def test_of_a_file_that_was_cut_the_rest_is_kept_and_said(tmp_path, name):
    wave = music(20)
    path = encode(tmp_path / name, wave, **FORMATS[name])
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 8 // 10])
    decoded = decode(path, RATE)
    assert 14 < len(decoded.samples) / RATE < 18
    assert likeness(decoded.samples, wave) > 0.9
    if name == "m.flac":  # of the others FFmpeg derives the length from what is left
        assert not decoded.complete and decoded.announced_seconds == pytest.approx(20, abs=0.1)


@pytest.mark.parametrize("damage", [bytes(1000), np.random.default_rng(1).bytes(20_000)])
@pytest.mark.parametrize("name", ["m.mp3", "m.ogg", "m.flac"])
def test_damage_in_the_middle_costs_only_the_middle(tmp_path, name, damage):
    wave = music(30)
    path = encode(tmp_path / name, wave, **FORMATS[name])
    data = path.read_bytes()
    middle = len(data) // 2
    path.write_bytes(data[:middle] + damage + data[middle:])
    decoded = decode(path, RATE).samples
    assert len(decoded) > 26 * RATE
    assert likeness(decoded[: 13 * RATE], wave[: 13 * 48_000]) > 0.9
    level = np.sqrt(np.mean(np.square(decoded[-10 * RATE :])))
    assert level > 0.1, "the second half sounds, too"


@pytest.mark.parametrize(("suffix", "codec"), [("ogg", "vorbis"), ("opus", "libopus")])
def test_files_joined_to_one_are_read_one_after_the_other(tmp_path, suffix, codec):
    jingle, song = music(3, seed=1), music(12, seed=2)
    parts = [
        encode(tmp_path / f"{name}.{suffix}", wave, codec=codec)
        for name, wave in (("jingle", jingle), ("song", song))
    ]
    joined = tmp_path / f"joined.{suffix}"
    joined.write_bytes(b"".join(part.read_bytes() for part in parts))
    decoded = read_audio(joined, RATE)
    assert len(decoded) / RATE == pytest.approx(15, abs=0.3)
    assert likeness(decoded[-12 * RATE :], song) > 0.8


def test_opposite_channels_are_heard(tmp_path):
    wave = music(5)
    path = encode(tmp_path / "m.flac", np.stack([wave, -wave]), codec="flac", layout="stereo")
    decoded, _ = read_clip(path, RATE)
    assert likeness(decoded, wave) > 0.9
    arrays, _ = read_clip((np.stack([wave, -wave], 1), 48_000), RATE)
    assert likeness(arrays, wave) > 0.9


def test_music_in_one_channel_of_many_is_heard(tmp_path):
    wave = music(5)
    channels = np.zeros((6, len(wave)), np.float32)
    channels[4] = wave
    path = encode(tmp_path / "m.flac", channels, codec="flac", layout="5.1")
    decoded, _ = read_clip(path, RATE)
    assert likeness(decoded, wave) > 0.9


@pytest.mark.parametrize("value", [1e30, -1e30, np.inf, np.nan])
def test_samples_that_are_no_sound_are_refused(tmp_path, value):
    wave = music(3)
    wave[100] = value
    soundfile.write(tmp_path / "m.wav", wave, 48_000, subtype="FLOAT")
    for clip in (tmp_path / "m.wav", (wave, 48_000)):
        with pytest.raises(AudioError, match="Export it again"):
            read_clip(clip, RATE)


def test_memory_does_not_grow_with_rate_and_channels(tmp_path):
    """Ten minutes of stereo at 96 kHz are 460 MB; mono at 16 kHz they are 38 MB."""
    path = tmp_path / "long.wav"
    with soundfile.SoundFile(path, "w", 96_000, 2, "PCM_16") as file:
        block = np.random.default_rng(0).uniform(-0.1, 0.1, (96_000, 2))
        for _ in range(600):
            file.write(block)
    code = (
        "import sys, resource; from hushtune.model.audio import read_audio\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "assert len(read_audio(sys.argv[1], 16000)) == 600 * 16000\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True
    )
    assert int(done.stdout) < 250_000, "kB"
