"""The clips of a fold: which conditions are tested, and which clips run under real FHE."""

import numpy as np
from numpy.typing import NDArray

from ...configs.schema import Config
from ...support.seeds import Stream
from ...training.data.clips import (
    ALONE_SNR_DB,
    DISTORTIONS,
    TestClip,
    list_calibration_clips,
    list_test_clips,
)
from ...training.data.split import Split
from ...training.data.track import Track
from ..predictions import is_main

LENGTHS_SECONDS = (3.0, 5.0, 20.0)
"""Tested beside the config's own crop length."""
RATIOS_A_FOLD = 2
UNKNOWN_CLIPS = 4
"""Clips of an unknown track at each ratio, against one of a known track (there are fewer)."""


def fold_clips(config: Config, split: Split, *, distortions: bool = True) -> list[TestClip]:
    """All clips of a fold, those of one track side by side.

    Every fold tests every track, at ``RATIOS_A_FOLD`` of the signal-to-noise ratios in turn, so
    that over five or ten folds each track meets each of five ratios equally often. In folds that
    hold out no segment, clips of other lengths and with one distortion alone come beside: each fold
    takes its share of the tracks, so that every track is tested so once or twice over all folds.
    Without a fold, every track is tested at every ratio.

    Args:
        config: its fold says what is held out.
        split: of the catalogue.
        distortions: whether to test each distortion alone, too.
    """
    if config.fold is None:
        clips, number, of = list_test_clips(config, split), 0, 1
    else:
        number, of = config.fold.number, config.fold.of
        clips = _rotated(config, split, number)
    if config.fold is not None and config.fold.holds_out_segments:
        return clips
    ratios = config.augment.test_snr_db
    tracks = _tracks(split)
    for place, (label, track) in enumerate(tracks):
        if place % of == number or (place + 1) % of == number or of < 3:
            for seconds in LENGTHS_SECONDS:
                snr = float(ratios[(place // of + len(clips)) % len(ratios)])
                clips.append(TestClip(track, label, snr, len(clips), seconds=seconds))
        if distortions and place % of == number:
            for distortion in DISTORTIONS:
                snr = ALONE_SNR_DB if distortion == "noise" else float("nan")
                clips.append(TestClip(track, label, snr, len(clips), distortion=distortion))
    order = {track.id: place for place, (_, track) in enumerate(tracks)}
    return sorted(clips, key=lambda clip: (order[clip.track.id], clip.seed))


def _tracks(split: Split) -> list[tuple[int, Track]]:
    """Class and track of everything that is tested."""
    known = list(enumerate(split.known))
    return known + [(split.unknown_class, track) for track in split.unknown_test]


def _rotated(config: Config, split: Split, number: int) -> list[TestClip]:
    ratios = config.augment.test_snr_db
    clips: list[TestClip] = []
    for place, (label, track) in enumerate(_tracks(split)):
        repeats = 1 if label < split.unknown_class else UNKNOWN_CLIPS
        for step in range(min(RATIOS_A_FOLD, len(ratios))):
            snr = float(ratios[(place + RATIOS_A_FOLD * number + step) % len(ratios)])
            clips += [TestClip(track, label, snr, len(clips) + n) for n in range(repeats)]
    return clips


def calibration_clips(config: Config, split: Split) -> list[TestClip]:
    """Clips of the unknown tracks, to set the thresholds of systems that did not learn from them.

    The same that calibrate the networks' open-set decisions.
    """
    clips = list_calibration_clips(config, split, split.known_unknowns)
    return [clip for clip in clips if clip.label == split.unknown_class]


def encrypted_sample(
    config: Config, clips: list[TestClip], unknown: int, count: int | None
) -> NDArray[np.int64]:
    """Places of the clips that run under real FHE, known and unknown three to one.

    Args:
        config: its fold's number chooses other clips in each fold.
        clips: of the fold.
        unknown: the class of unknown songs.
        count: how many; None for all of the main test.

    Returns:
        int [count], stratified by signal-to-noise ratio.
    """
    main = [place for place, clip in enumerate(clips) if is_main(clip)]
    if count is None:
        return np.array(main)
    fold = config.fold_number
    rng = np.random.default_rng([config.seed, Stream.ENCRYPTED_SAMPLE, fold])
    ratios = config.augment.test_snr_db
    chosen: list[int] = []
    for place in range(count):
        wants_unknown = place % 4 == 3
        snr = ratios[(place + fold) % len(ratios)]
        pool = [
            p
            for p in main
            if (clips[p].label == unknown) == wants_unknown
            and clips[p].snr_db == snr
            and p not in chosen
        ]
        if pool:
            chosen.append(pool[rng.integers(len(pool))])
    return np.array(sorted(chosen), dtype=int)
