"""How well an encoder tells songs apart that its training never heard.

Every track is enrolled by embedding it, clean: a row for every stretch of it, the mean of its
crops' embeddings. Clips of the tracks that were held out, under noise and rooms that training did
not hear, are answered with the track whose row has the largest cosine. Directions are whitened by
the covariance of the rows of tracks that training heard. Some held-out tracks are left out of the
catalogue: clips of them are of unknown songs. Tracks that training heard fill the catalogue.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import lru_cache, partial
from pathlib import Path

import numpy as np

from ..configs.schema.encoder import EncoderConfig
from ..model.audio import check_audible, read_audio
from ..model.features import MelPower, OnnxEncoder
from ..model.features.embedding import pooled
from ..support.arrays import Array
from ..support.errors import AudioError, CatalogueError
from ..support.parallel import parallel_map
from ..support.seeds import Stream
from ..training.data.augment import Augmenter
from ..training.data.catalogue import file_digest
from ..training.data.track import Track
from ..training.data.views import random_start
from ..training.encoder.music import encoder_sounds
from ..training.encoder.run import EncoderFile, EncoderRun
from .metrics import auroc, dir_at

CLIP_SECONDS = (3.0, 5.0, 10.0)
SPEEDS_PERCENT = (2.0, 4.0)
"""Changes of speed, in both directions, that 10 s clips are judged at."""
UNKNOWN_SHARE = 1 / 3
"""Share of the held-out tracks that are unknown songs."""
ROWS = ((3.0, 1.5), (5.0, 2.5), (10.0, 5.0), (20.0, 10.0))
"""Lengths of the stretch that a row stands for, and the step to the next, in s."""
CROP_STEP_SECONDS = 0.5
"""From one crop of a stretch or clip to the next."""
WHITENED = 0.1
"""Share of the mean variance that is added to every direction's before whitening."""
CLIPS = 2
"""Clips of each track at each signal-to-noise ratio."""


@dataclass(frozen=True)
class EncoderRates:
    """What one kind of clips gave; rates between 0 and 1.

    Attributes:
        seconds: length of the clips.
        speed_percent: change of speed, in either direction.
        clips: how many of known songs.
        top1: share of them whose song has the largest cosine.
        top1_by_snr_db: the same by signal-to-noise ratio.
        dir_1: identified at the threshold where one of a hundred clips of unknown songs is named.
        auroc: of known against unknown clips.
        located: share of the right answers whose row lies within 10 s of the clip.
    """

    seconds: float
    speed_percent: float
    clips: int
    top1: float
    top1_by_snr_db: dict[str, float]
    dir_1: float
    auroc: float
    located: float


@dataclass(frozen=True)
class RowRates:
    """What one way to cut songs into rows gave.

    Attributes:
        row_seconds: length of the stretch that a row stands for.
        step_seconds: from one row of a song to the next.
        rows: of the catalogue.
        rows_a_minute: of music.
        rates: one for each kind of clips.
    """

    row_seconds: float
    step_seconds: float
    rows: int
    rows_a_minute: float
    rates: tuple[EncoderRates, ...]


@dataclass(frozen=True)
class EncoderReport:
    """What an encoder was judged by.

    Attributes:
        songs: enrolled.
        judged: of them, songs that training did not hear.
        unknown: songs that are not enrolled and that training did not hear.
        values: of an embedding.
        ways: one for each way to cut songs into rows.
    """

    songs: int
    judged: int
    unknown: int
    values: int
    ways: tuple[RowRates, ...]

    def to_json(self) -> dict[str, object]:
        """The report as JSON-ready values."""
        return asdict(self)


@dataclass(frozen=True)
class _Judged:
    """A track's crops, and its clips' embeddings by length and speed."""

    seconds: float
    crops: Array
    clips: dict[tuple[float, float], Array]
    clip_starts: dict[tuple[float, float], Array]

    def rows(
        self, row_seconds: float, step_seconds: float, crop_seconds: float
    ) -> tuple[Array, Array]:
        """Embeddings [rows, values], and where in the track each stretch begins [rows]."""
        last = max(0.0, self.seconds - row_seconds)
        starts = np.arange(0, last + 1e-6, step_seconds)
        if last - starts[-1] > step_seconds / 4:
            starts = np.append(starts, last)
        count = max(1, round((row_seconds - crop_seconds) / CROP_STEP_SECONDS) + 1)
        first = np.round(starts / CROP_STEP_SECONDS).astype(int)
        first = np.clip(first, 0, max(0, len(self.crops) - count))
        return np.stack([pooled(self.crops[f : f + count]) for f in first.tolist()]), starts


def evaluate_encoder(
    run: EncoderRun,
    *,
    ways: tuple[tuple[float, float], ...] = ROWS,
    shortest: float = 60.0,
    clips: int = CLIPS,
    announce: Callable[[str], None] = print,
) -> EncoderReport:
    """Judge a trained encoder on the tracks that its training held out.

    Args:
        run: of the training.
        ways: to cut songs into rows: length and step of each, in s.
        shortest: tracks of fewer seconds are left out: excerpts are too easy.
        clips: of each track at each signal-to-noise ratio, of each kind.
        announce: told in one line each what happens.

    Raises:
        CatalogueError: fewer than six usable tracks were held out.
    """
    held, learned = run.held_out(), run.learned()
    longest = max(row_seconds for row_seconds, _ in ways)
    least = max(shortest, longest, 2 * max(CLIP_SECONDS))
    work = _Judge(run.config, str(run.path(EncoderFile.GRAPH)), least, clips)
    found = parallel_map(partial(work, judged=True), held, title="Held-out tracks")
    judged = [one for one in found if isinstance(one, _Judged)]
    if len(judged) < 6:
        raise CatalogueError(
            f"held_out: {len(judged)} of {len(held)} tracks can be judged with (of {least:g} s "
            "and more); at least 6 are needed."
        )
    others = parallel_map(partial(work, judged=False), learned, title="Other tracks")
    filling = [one for one in others if isinstance(one, _Judged)]
    left_out = len(held) + len(learned) - len(judged) - len(filling)
    if left_out:
        announce(f"{left_out} tracks left out: shorter than {least:g} s, or unusable.")
    order = np.random.default_rng([run.config.seed, Stream.JUDGED]).permutation(len(judged))
    count = max(2, round(UNKNOWN_SHARE * len(judged)))
    unknown = [judged[place] for place in order[:count].tolist()]
    enrolled = [judged[place] for place in order[count:].tolist()]
    songs = _Songs([*enrolled, *filling], len(enrolled), unknown)
    return EncoderReport(
        len(songs.enrolled),
        songs.known,
        count,
        judged[0].crops.shape[1],
        tuple(_way(songs, *way, run.config) for way in ways),
    )


@dataclass(frozen=True)
class _Songs:
    """The songs of an evaluation: `enrolled`, of which the first `known` are asked for and training
    heard the others, and those that are unknown."""

    enrolled: list[_Judged]
    known: int
    unknown: list[_Judged]


def _way(songs: _Songs, row_seconds: float, step_seconds: float, config: EncoderConfig) -> RowRates:
    """Rates with rows of one length and step."""
    cut = partial(
        _Judged.rows,
        row_seconds=row_seconds,
        step_seconds=step_seconds,
        crop_seconds=config.signal.crop_seconds,
    )
    of_songs = [cut(one) for one in songs.enrolled]
    heard = of_songs[songs.known :] or [*of_songs, *map(cut, songs.unknown)]
    whiten = whitening(np.concatenate([some for some, _ in heard]))
    rows = whiten(np.concatenate([some for some, _ in of_songs]))
    starts = np.concatenate([some for _, some in of_songs])
    whose = np.repeat(np.arange(len(of_songs)), [len(some) for some, _ in of_songs])
    asked = [*songs.enrolled[: songs.known], *songs.unknown]
    rates = []
    for seconds, speed in asked[0].clips:
        kind = seconds, speed
        clips = whiten(np.concatenate([one.clips[kind] for one in asked]))
        of_each = len(asked[0].clips[kind])
        labels = np.repeat(np.arange(len(asked)), of_each)
        new = labels >= songs.known
        cosines = clips @ rows.T
        best, score = cosines.argmax(1), cosines.max(1)
        right = whose[best] == labels
        middle = np.concatenate([one.clip_starts[kind] for one in asked]) + seconds / 2
        near = np.abs(starts[best] + row_seconds / 2 - middle) < 10
        ratios = np.tile(_ratios(config, of_each // len(config.augment.test_snr_db)), len(asked))
        (dir_1,) = dir_at(right & ~new, score, new, np.array([0.01]))
        by_snr = {
            f"{snr:g}": float(right[~new & (ratios == snr)].mean()) for snr in np.unique(ratios)
        }
        rates.append(
            EncoderRates(
                seconds,
                speed,
                int((~new).sum()),
                float(right[~new].mean()),
                by_snr,
                float(dir_1),
                auroc(score, new),
                float(near[~new & right].mean()),
            )
        )
    minutes = sum(one.seconds for one in songs.enrolled) / 60
    return RowRates(row_seconds, step_seconds, len(rows), len(rows) / minutes, tuple(rates))


def _ratios(config: EncoderConfig, clips: int) -> Array:
    """The signal-to-noise ratio of every clip of a track, so many clips at each."""
    return np.repeat(np.array(config.augment.test_snr_db, float), clips)


@lru_cache(maxsize=1)
def _augmenter(settings: str) -> Augmenter:
    config = EncoderConfig.model_validate_json(settings)
    augment = config.augment.model_copy(update={"speed_percent": 1.0})
    return Augmenter(augment, encoder_sounds(config).test, config.signal.sample_rate_hz)


@dataclass(frozen=True)
class _Judge:
    config: EncoderConfig
    graph: str
    least: float
    clips: int

    def __call__(self, track: Track, *, judged: bool) -> _Judged | str:
        """A track's crops and, where it is judged with, its clips; or why it cannot be used."""
        config, rate = self.config, self.config.signal.sample_rate_hz
        try:
            wave = read_audio(track.path, rate)
            check_audible(wave, rate, self.least, name=str(track.path))
        except AudioError as error:
            return str(error)
        encoder, analyse = OnnxEncoder(Path(self.graph)), MelPower(config.signal)
        hop = config.signal.hop_ms / 1000
        step = max(1, round(CROP_STEP_SECONDS / hop))
        power = analyse(wave)
        places = np.arange(0, len(wave) / rate - config.signal.crop_seconds, CROP_STEP_SECONDS)
        first = np.minimum(np.round(places / hop).astype(int), power.shape[1] - encoder.frames)
        crops = encoder(np.stack([power[:, f : f + encoder.frames] for f in first.tolist()]))
        clips: dict[tuple[float, float], Array] = {}
        clip_starts: dict[tuple[float, float], Array] = {}
        if judged:
            rng = np.random.default_rng(
                [config.seed, Stream.JUDGED, int(file_digest(track.path)[:8], 16)]
            )
            augment = _augmenter(config.model_dump_json())
            kinds = [(seconds, 0.0) for seconds in CLIP_SECONDS]
            kinds += [(CLIP_SECONDS[-1], speed) for speed in SPEEDS_PERCENT]
            for seconds, changed in kinds:
                embeddings, starts = [], []
                for number, snr in enumerate(_ratios(config, self.clips).tolist()):
                    speed = changed * (-1) ** number if changed else augment.draw_speed(rng)
                    wanted = round(seconds * rate * (1.01 + abs(speed) / 100))
                    start = random_start(len(wave), wanted, rng)
                    piece = augment(
                        wave[start : start + wanted], rng, snr_db=snr, speed_percent=speed
                    )[: round(seconds * rate)]
                    embeddings.append(pooled(encoder(encoder.crops(analyse(piece), step))))
                    starts.append(start / rate)
                clips[seconds, changed] = np.stack(embeddings)
                clip_starts[seconds, changed] = np.array(starts)
        return _Judged(len(wave) / rate, crops, clips, clip_starts)


def whitening(rows: Array) -> Callable[[Array], Array]:
    """Makes directions that all music shares count less.

    Args:
        rows: embeddings of much music, float [rows, values].

    Returns:
        A function from embeddings to whitened ones of unit length, [n, values].
    """
    mean = rows.mean(0, dtype=np.float64)
    variances, axes = np.linalg.eigh(np.cov(rows.T.astype(np.float64)))
    gains = 1 / np.sqrt(np.maximum(variances, 0) + WHITENED * variances.mean())
    matrix = (axes * gains) @ axes.T

    def whiten(embeddings: Array) -> Array:
        turned = (embeddings - mean) @ matrix
        result: Array = turned / np.linalg.norm(turned, axis=1, keepdims=True)
        return result

    return whiten
