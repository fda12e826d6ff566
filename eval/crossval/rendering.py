"""What every system sees of a fold's clips, rendered once, in parallel.

A module of its own, free of the FHE libraries, so that worker processes start fast.
"""

import time
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from ...configs.schema import Config
from ...model.features import Features, Places, make_front_end
from ...support.parallel import parallel_map
from ...training.data.clips import TestClip, clip_images, clip_renderer
from ...training.run import Run
from ..arrays import Floats, Ints
from ..baselines.landmarks import LandmarkIndex, landmarks
from ..baselines.mfcc import mfcc_windows
from ..metrics import RANKED

CLIPS_A_TASK = 24


@dataclass(frozen=True)
class ClipFeatures:
    """What systems see of clips.

    Attributes:
        features: float [clips, channels, bands, columns].
        mfcc: MFCC windows of each clip, float32 [windows, 20].
        landmark_top: the landmark matcher's best three, int [clips, 3].
        landmark_score: and its score, float [clips].
        landmark_seconds: what it took a clip.
    """

    features: torch.Tensor
    mfcc: list[NDArray[np.float32]]
    landmark_top: Ints
    landmark_score: Floats
    landmark_seconds: float


def render_features(
    run: Run,
    clips: list[TestClip],
    *,
    mfcc: bool,
    index: Path | None,
    title: str,
    validating: bool = False,
) -> ClipFeatures:
    """Render clips and take what each system needs of them.

    Args:
        run: trained as far as its image statistics.
        clips: of one track side by side are fastest.
        mfcc: whether MFCC windows are wanted.
        index: file of the landmark index; None where no landmarks are wanted.
        title: shown beside the progress bar.
        validating: render with sounds that training kept for validation, not with the test side's.
    """
    front_end, workers = run.front_end(), run.config.training.workers
    if not mfcc and index is None:
        images = clip_images(
            clips,
            run.config,
            front_end,
            title=title,
            validating=validating,
            workers=workers,
            cache=run.cache,
        ).images
        nothing = np.zeros((len(clips), RANKED), int), np.zeros(len(clips))
        return ClipFeatures(images, [], *nothing, 0.0)
    work = _Render(run.config, front_end.statistics, front_end.selected, mfcc, index, validating)
    tasks = [clips[start : start + CLIPS_A_TASK] for start in range(0, len(clips), CLIPS_A_TASK)]
    parts = parallel_map(work, tasks, title=title, workers=workers)
    return ClipFeatures(
        torch.cat([part.features for part in parts]),
        [windows for part in parts for windows in part.mfcc],
        np.concatenate([part.landmark_top for part in parts]),
        np.concatenate([part.landmark_score for part in parts]),
        float(np.mean([part.landmark_seconds for part in parts])),
    )


@lru_cache(maxsize=1)
def _index(path: Path, written: int) -> LandmarkIndex:
    """The index in a file; `written` (its time) tells a newer file of the same name apart."""
    return LandmarkIndex.load(path)


@dataclass(frozen=True)
class _Render:
    config: Config
    statistics: Features | None
    selected: Places | None
    mfcc: bool
    index: Path | None
    validating: bool

    def __call__(self, clips: list[TestClip]) -> ClipFeatures:
        config, rate = self.config, self.config.signal.sample_rate_hz
        render = clip_renderer(config.model_dump_json(), self.validating)
        front_end = make_front_end(config.signal, config.spectrum, self.statistics, self.selected)
        waves = [render(clip) for clip in clips]
        images = torch.from_numpy(np.stack([front_end.query_features(wave) for wave in waves]))
        mfcc = [mfcc_windows(wave, rate) for wave in waves] if self.mfcc else []
        started = time.perf_counter()
        top, score = np.zeros((len(clips), RANKED), int), np.zeros(len(clips))
        if self.index is not None:
            index = _index(self.index, self.index.stat().st_mtime_ns)
            best, score = index.judge([landmarks(wave, rate) for wave in waves])
            top = np.pad(best, ((0, 0), (0, RANKED - best.shape[1])), mode="edge")
        seconds = (time.perf_counter() - started) / len(clips)
        return ClipFeatures(images, mfcc, top, score, seconds)
