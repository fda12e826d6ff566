"""What the baselines learn of the known tracks, made once and shared by all folds.

The landmark index holds the clean tracks, as Shazam's does. The MFCC classifier learns the clean
tracks, as the bounty's winner did, and one rendering of each under training noise and rooms,
since it is tested under noise.
"""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ...configs.schema import Config
from ...model.audio import read_audio
from ...support.cache_keys import AUGMENTATION, cache_key
from ...support.files import replacing
from ...support.parallel import parallel_map
from ...support.seeds import Stream
from ...training.data.augment import Augmenter
from ...training.data.catalogue import file_digest
from ...training.data.checking import MAX_TRACK_SECONDS
from ...training.data.segments import training_spans
from ...training.data.sounds import Sounds, split_sounds
from ...training.data.track import Track
from ..baselines.landmarks import Landmarks, landmarks
from ..baselines.mfcc import WINDOW_SECONDS, mfcc_windows

QUIET_DB = -45.0
"""A frame this far below the track's loudest counts as silent."""
FRAME_SAMPLES = 1024


@dataclass(frozen=True)
class Reference:
    """What is known of one track.

    Attributes:
        landmarks: of the clean track.
        clean: MFCC windows of the clean track, float32 [windows, 20].
        noisy: the same under noise and rooms of the groups in `groups`, [groups, windows, 20].
        groups: of sounds.
        seconds: length of the track.
        silent_share: of its frames.
    """

    landmarks: Landmarks
    clean: NDArray[np.float32]
    noisy: NDArray[np.float32]
    groups: tuple[int, ...]
    seconds: float
    silent_share: float

    def rows(self, config: Config) -> NDArray[np.float32]:
        """The MFCC windows that the config's fold may train on: float32 [windows, 20]."""
        noisy = next(
            part
            for part, group in zip(self.noisy, self.groups, strict=True)
            if group != config.fold_number
        )
        starts = np.arange(len(self.clean)) * WINDOW_SECONDS
        inside = np.zeros(len(starts), bool)
        for first, end in training_spans(config, self.seconds):
            inside |= (starts >= first) & (starts + WINDOW_SECONDS <= end)
        return np.concatenate([self.clean[inside], noisy[inside]])


def prepare_references(tracks: tuple[Track, ...], config: Config, cache: Path) -> list[Reference]:
    """The references of tracks, made where the cache lacks them."""
    of = config.sound_groups
    # two groups each, so that every fold finds one that it does not test with
    groups: list[tuple[int, ...]] = [(place % of, (place + 1) % of) for place in range(len(tracks))]
    if config.fold is None:
        groups = [(1,)] * len(tracks)
    paths = parallel_map(
        _Make(config, cache),
        list(zip(tracks, groups, strict=True)),
        title="Preparing the baselines",
        workers=config.training.workers,
    )
    return [_load(path) for path in paths]


@lru_cache(maxsize=1)
def _groups(settings: str) -> dict[int, Sounds]:
    """The sounds of all groups, loaded once in each worker process."""
    split = split_sounds(Config.model_validate_json(settings))
    return {sounds.group: sounds for sounds in (*split.training, split.test)}


@dataclass(frozen=True)
class _Make:
    config: Config
    cache: Path

    def __call__(self, item: tuple[Track, tuple[int, ...]]) -> Path:
        track, groups = item
        config, rate = self.config, self.config.signal.sample_rate_hz
        sounds = [_groups(config.model_dump_json())[group] for group in groups]
        augment = config.augment.model_copy(update={"noisy": 1.0, "speed_percent": 0.0})
        digest = file_digest(track.path)
        names = [group.names for group in sounds]
        settings = augment.model_dump(mode="json")
        shaping = digest, rate, settings, names, groups, config.seed
        name = cache_key("reference of a track", 1, AUGMENTATION, *shaping)
        path = self.cache / "references" / f"{name}.npz"
        if path.exists():
            return path
        wave = read_audio(track.path, rate, max_seconds=MAX_TRACK_SECONDS)
        noisy = []
        for group in sounds:
            rng = np.random.default_rng(
                [config.seed, int(digest[:8], 16), group.group, Stream.REFERENCES]
            )
            noisy.append(mfcc_windows(Augmenter(augment, group, rate)(wave, rng), rate))
        marks = landmarks(wave, rate)
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as partial, partial.open("wb") as file:
            np.savez(
                file,
                hashes=marks.hashes,
                times=marks.times,
                ends=marks.ends,
                clean=mfcc_windows(wave, rate),
                noisy=np.stack(noisy),
                groups=np.array(groups),
                seconds=len(wave) / rate,
                silent_share=_silent_share(wave),
            )
        return path


def _load(path: Path) -> Reference:
    with np.load(path) as file:
        return Reference(
            Landmarks(file["hashes"], file["times"], file["ends"]),
            file["clean"],
            file["noisy"],
            tuple(file["groups"].tolist()),
            float(file["seconds"]),
            float(file["silent_share"]),
        )


def _silent_share(wave: NDArray[np.float32]) -> float:
    whole = len(wave) // FRAME_SAMPLES * FRAME_SAMPLES
    level = np.sqrt(np.square(wave[:whole].reshape(-1, FRAME_SAMPLES)).mean(1) + 1e-12)
    return float((20 * np.log10(level / level.max()) < QUIET_DB).mean())
