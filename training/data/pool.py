"""The pool of training images: made once by all cores, then drawn from by both networks.

Making an image costs about ten times what training on it does. So a fixed number of them is made in
parts, each of them a file in the cache, and every step draws its rows at random. The parts are
numbered and part ``n`` holds sounds of one group only, so that the folds of a cross-validation over
conditions use the same files and each skips those of the groups it must not train on.
"""

import itertools
import json
import math
import shutil
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ...configs.schema import Config, RawSamples
from ...model.features import Features, FrontEnd, make_front_end
from ...support.arrays import Array
from ...support.cache_keys import AUGMENTATION, cache_key
from ...support.files import replacing, save_array, write_atomically
from ...support.parallel import parallel_map
from ...support.seeds import Stream
from .augment import Augmenter
from .batches import NOISE_PIECES, BatchMaker, noise_power
from .remix import AudioRemix
from .sounds import Sounds, split_sounds
from .views import Opened, Views, analysis

REVISION = 6
"""Of the code that makes examples and noise, for their cache keys."""
PART = 500
"""Images in a file."""
STATISTICS_PARTS = 6
"""Files over which the images' mean and deviation are taken."""
SHAPING = (
    "views",
    "view_seconds",
    "known_unknown_share",
    "synthetic_negative_share",
    "noise_share",
    "short_clip_share",
)
"""The training settings that shape an image."""
TRAINING, COMPILING = 1, 2
"""Streams: images to train on, images to learn the ranges of values from."""


@dataclass(frozen=True)
class TrainingData:
    """All that images are made of; small enough to be sent to worker processes.

    Attributes:
        config: of the run.
        cache: folder for noise and image files.
        known: views of the known tracks; place = class.
        teaching: views of the tracks that teach "unknown".
    """

    config: Config
    cache: Path
    known: tuple[Views, ...]
    teaching: tuple[Views, ...]

    @property
    def folder(self) -> Path:
        """Folder of the image files; the same for folds that hold out nothing but sounds."""
        config, fold = self.config, self.config.fold
        training = config.training.model_dump(include=set(SHAPING))
        sections = [config.signal, config.spectrum, config.augment]
        shapes = [section.model_dump(mode="json") for section in sections]
        if fold is None:
            held = None
        else:
            held = [fold.protocol, fold.of, fold.number] if fold.holds_out_segments else fold.of
        digests = [[views.digest for views in part] for part in (self.known, self.teaching)]
        key = cache_key(
            "examples", REVISION, AUGMENTATION, PART, training, shapes, held, digests, config.seed
        )
        return self.cache / "examples" / key

    def maker(self, front_end: FrontEnd | None = None) -> BatchMaker:
        """Draws images, standardised where the front end knows their statistics."""
        config, noise = self.config, noise_of(self.config, self.cache)
        return BatchMaker(
            list(self.known),
            list(self.teaching),
            noise,
            front_end or make_front_end(config.signal, config.spectrum),
            config.training,
            config.augment.snr_db,
            config.seed,
        )

    def remix(self) -> AudioRemix | None:
        """What changes images as they are drawn, where they are audio."""
        config, split = self.config, split_sounds(self.config)
        if not isinstance(config.spectrum, RawSamples):
            return None
        files = [
            _noise_file(config, self.cache, sounds)
            for sounds in split.training
            if sounds.group != split.validating
        ]
        noise = np.concatenate([np.load(file) for file in files])
        return AudioRemix(noise, config.training.noise_share, config.augment.snr_db)

    def parts(self, count: int) -> list[int]:
        """Numbers of the first `count` parts that this run may train on."""
        split = split_sounds(self.config)
        groups = {sounds.group for sounds in split.training} - {split.validating}
        every = len(split.training) + 1
        return list(islice((n for n in itertools.count() if n % every in groups), count))

    def group(self, part: int) -> int:
        """The group of sounds of a part."""
        return part % (len(split_sounds(self.config).training) + 1)


def prepare_noise(config: Config, cache: Path) -> Opened:
    """Make the files of every training group's noise; what was opened for them."""
    opened = Opened()
    for sounds in split_sounds(config).training:
        path = _noise_file(config, cache, sounds)
        about = path.with_suffix(".json")
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            augmenter = Augmenter(config.augment, sounds, config.signal.sample_rate_hz)
            analysed = make_front_end(config.signal, config.spectrum)
            power = noise_power(augmenter, analysed, config.seed)
            write_atomically(about, json.dumps(sounds.take_drawn()).encode())
            save_array(path, power)
        opened.add(json.loads(about.read_text("utf-8")))
    return opened


def noise_of(config: Config, cache: Path) -> dict[int, Array]:
    """Each training group's noise, as `prepare_noise` made it: float32 [pieces, rows, frames]."""
    return {
        sounds.group: np.load(_noise_file(config, cache, sounds), mmap_mode="r")
        for sounds in split_sounds(config).training
    }


def _noise_file(config: Config, cache: Path, sounds: Sounds) -> Path:
    key = cache_key(
        "noise",
        REVISION,
        AUGMENTATION,
        analysis(config),
        sounds.noise.names,
        NOISE_PIECES,
        config.seed,
    )
    return cache / "noise" / f"{key}.npy"


class ExamplePool:
    """Training images in memory, float16, standardised.

    Args:
        images: float16 [images, channels, bands, columns].
        labels: int [images].
        seed: with stream and step, all randomness.
        remix: changes images each time they are drawn; None for not at all.
    """

    def __init__(
        self,
        images: Tensor,
        labels: Tensor,
        seed: int,
        remix: AudioRemix | None = None,
    ):
        self.images, self.labels, self._seed = images, labels, seed
        self._remix = remix

    def draw(self, stream: int, step: int, count: int) -> tuple[Tensor, Tensor]:
        """The batch of a step: images float [count, ...], labels int [count]."""
        rng = np.random.default_rng([self._seed, Stream.BATCHES, stream, step])
        rows = torch.from_numpy(rng.integers(len(self.labels), size=count))
        images = self.images[rows].float()
        return images if self._remix is None else self._remix(images, rng), self.labels[rows]


def make_examples(data: TrainingData, *, stream: int, count: int, title: str) -> list[Path]:
    """Make `count` or a few more images in parallel, where their files are missing.

    Args:
        data: what they are made of.
        stream: what they are for; each has its own randomness.
        count: how many.
        title: shown beside the progress bar.

    Returns:
        Their files.
    """
    folder = data.folder
    folder.mkdir(parents=True, exist_ok=True)
    numbers = data.parts(math.ceil(count / PART))
    paths = [folder / f"{stream}-{number:05d}.npz" for number in numbers]
    missing = [n for n, path in zip(numbers, paths, strict=True) if not path.exists()]
    if missing:
        work = _Part(data, folder, stream)
        parallel_map(work, missing, title=title, workers=data.config.training.workers)
    return paths


def statistics_of(paths: list[Path], front_end: FrontEnd) -> Features:
    """What the front end standardises examples by, measured on the first files."""
    return front_end.measure(np.concatenate([_read(p)[0] for p in paths[:STATISTICS_PARTS]]))


def load_pool(
    paths: list[Path], front_end: FrontEnd, seed: int, remix: AudioRemix | None = None
) -> ExamplePool:
    """Read image files and standardise them."""
    labels = []
    images = torch.empty((len(paths) * PART, *front_end.feature_shape), dtype=torch.half)
    for place, path in enumerate(paths):
        raw, some = _read(path)
        part = front_end.select(front_end.standardise(raw.astype(np.float32)))
        images[place * PART : (place + 1) * PART] = torch.from_numpy(part).half()
        labels.append(some)
    return ExamplePool(images, torch.from_numpy(np.concatenate(labels)), seed, remix)


def remove_examples(data: TrainingData) -> None:
    """Delete a run's image files."""
    shutil.rmtree(data.folder, ignore_errors=True)


def _read(path: Path) -> tuple[Array, Array]:
    with np.load(path) as file:
        return file["images"], file["labels"]


_makers: dict[tuple[Path, int], BatchMaker] = {}
"""A worker process's maker, by folder and fold: folds share a folder, but not what they open."""


@dataclass(frozen=True)
class _Part:
    data: TrainingData
    folder: Path
    stream: int

    def __call__(self, number: int) -> None:
        key = self.folder, self.data.config.fold_number
        if key not in _makers:
            _makers.clear()
            _makers[key] = self.data.maker()
        group = self.data.group(number)
        images, labels = _makers[key].batch(self.stream, number, PART, group)
        path = self.folder / f"{self.stream}-{number:05d}.npz"
        with replacing(path) as partial, partial.open("wb") as file:
            np.savez(file, images=images.half().numpy(), labels=labels.numpy())
