from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch

from hushtune.configs.schema import FoldSettings
from hushtune.training.data import clips as clips_module
from hushtune.training.data.clips import (
    CLIPS_OF_A_TRACK,
    ClipRenderer,
    clip_images,
    list_calibration_clips,
    list_test_clips,
)
from hushtune.training.data.segments import held_out
from hushtune.training.data.sounds import split_sounds


def test_calibration_clips_are_shared_out_evenly(tiny_run):
    split = tiny_run.split()
    training = tiny_run.config.training.model_copy(update={"decision_clips": 1000})
    config = tiny_run.config.model_copy(update={"training": training})
    clips = list_calibration_clips(config, split, split.known_unknowns)
    of_each = Counter(clip.track.id for clip in clips)
    enrolled = {track.id for track in split.known}
    assert set(of_each) == enrolled | {track.id for track in split.known_unknowns}
    assert set(of_each.values()) == {CLIPS_OF_A_TRACK}
    for label in range(split.unknown_class + 1):
        ratios = Counter(clip.snr_db for clip in clips if clip.label == label)
        assert set(ratios) == set(tiny_run.config.augment.test_snr_db)
        assert max(ratios.values()) - min(ratios.values()) <= 1
    seeds = {clip.seed for clip in clips}
    assert len(seeds) == len(clips)
    assert not seeds & {clip.seed for clip in list_test_clips(tiny_run.config, split)}


def test_calibration_knows_neither_the_test_sounds_nor_the_segments(tiny_run):
    config = tiny_run.config.model_copy(
        update={"fold": FoldSettings(protocol="halves", number=0, of=2)}
    )
    testing, calibrating = ClipRenderer(config), ClipRenderer(config, validating=True)
    assert testing.sounds.names == split_sounds(config).test.names
    assert not set(calibrating.sounds.names) & set(testing.sounds.names)
    split, rate = tiny_run.split(), config.signal.sample_rate_hz
    clip = list_test_clips(config, split)[0]
    wave = clips_module.read_track(clip.track.path, rate)
    start, end = (round(side * rate) for side in held_out(config, len(wave) / rate))
    heard = {}
    for name, renderer in (("test", testing), ("calibration", calibrating)):
        pieces = []
        renderer._augment = {
            clip.distortion: lambda wave, *_, p=pieces, **__: p.append(wave) or wave
        }
        renderer(clip)
        heard[name] = pieces[0]
    inside, outside = wave[start:end], np.concatenate([wave[:start], wave[end:]])
    assert _within(heard["test"], inside) and not _within(heard["test"], outside)
    assert _within(heard["calibration"], outside) and not _within(heard["calibration"], inside)


def _within(piece: np.ndarray, whole: np.ndarray) -> bool:
    return whole.astype(np.float32).tobytes().find(piece[:2000].astype(np.float32).tobytes()) >= 0


def test_clip_images_are_made_once(tiny_run, tmp_path, monkeypatch):
    run = tiny_run
    clips = list_test_clips(run.config, run.split())[:6]

    def images(validating=False):
        return clip_images(
            clips, run.config, run.front_end(), validating=validating, cache=tmp_path
        ).images

    first = images()
    plain = clip_images(clips, run.config, run.front_end()).images
    assert torch.equal(first, plain)
    others = images(validating=True)
    assert not torch.equal(first, others)
    monkeypatch.setattr(clips_module, "parallel_map", lambda *_, **__: pytest.fail("rendered"))
    assert torch.equal(images(), first) and torch.equal(images(validating=True), others)


def test_other_music_or_other_noise_is_rendered_anew(tiny_run, tmp_path, monkeypatch):
    run = tiny_run
    clips = list_test_clips(run.config, run.split())[:1]

    def images():
        clip_images(clips, run.config, run.front_end(), cache=tmp_path / "cache")

    images()
    monkeypatch.setattr(clips_module, "parallel_map", lambda *_, **__: pytest.fail("again"))
    images()
    other = split_sounds(run.config.model_copy(update={"seed": 99}))
    with monkeypatch.context() as patch:
        patch.setattr(clips_module, "split_sounds", lambda _: other)
        with pytest.raises(pytest.fail.Exception, match="again"):
            images()
    changed = tmp_path / "changed.wav"
    changed.write_bytes(clips[0].track.path.read_bytes() + b"\0")
    clips = [replace(clips[0], track=replace(clips[0].track, path=changed))]
    with pytest.raises(pytest.fail.Exception, match="again"):
        images()
