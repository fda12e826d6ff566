"""What systems predicted of test clips: a tidy table, one row for each system and clip.

| column | content |
| --- | --- |
| `clip` | place of the clip in its fold's list |
| `label`, `known` | its class; whether it is of an enrolled song |
| `track` | id of its track |
| `snr_db`, `seconds`, `distortion` | its conditions; seconds are NaN at the protocol's own length |
| `main` | whether it is of the main test: the whole chain of distortions, at that length |
| `system`, `songs` | what judged it, and how many songs that knew |
| `first`, `second`, `third` | the songs ranked best |
| `score` | from unknown to known |
| `accepted` | whether the score passes the threshold shipped in an artifact |
| `accepted_at_1_percent` | the same for the threshold fixed for 1 % of false alarms |

A fold's table is stored as compressed CSV. `read_predictions` adds what follows from it: `correct`
and `in_top3` (of known clips), and `answer` (the first song, or -1 where the clip is rejected).
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from ..configs.schema import Config
from ..model.decision import threshold_of
from ..support.errors import RunError
from ..support.files import replacing
from ..training.data.clips import DISTORTIONS, TestClip
from .arrays import Floats, Ints
from .metrics import RANKED

FLOAT, QUANTIZED, SIMULATED, ENCRYPTED = "float", "quantized", "simulated", "fhe"
NUMBER = "number"
"""The circuit that ends in the song's number, in the clear."""
MFCC, MFCC_ENCRYPTED, LANDMARKS = "mfcc", "mfcc_fhe", "landmarks"
RANKS = ["first", "second", "third"]
STRICT_RATE = 0.01
"""Rate of false alarms whose threshold is fixed beside the shipped one."""


@dataclass(frozen=True)
class Thresholds:
    """Scores above which a clip is accepted.

    Attributes:
        shipped: for the config's rate of false alarms.
        strict: for `STRICT_RATE`.
    """

    shipped: float
    strict: float

    @staticmethod
    def of(unknown_scores: Floats, config: Config) -> "Thresholds":
        """The scores that these unknown clips reach at both rates of false alarms."""
        rates = config.training.false_alarm_rate, STRICT_RATE
        return Thresholds(*(threshold_of(unknown_scores, rate) for rate in rates))


class PredictionTable:
    """Collects what systems predict of one list of clips.

    Args:
        clips: all that are tested.
        songs: enrolled.
    """

    def __init__(self, clips: list[TestClip], songs: int):
        self.songs = songs
        self.clips = pd.DataFrame(
            {
                "clip": np.arange(len(clips)),
                "label": [clip.label for clip in clips],
                "known": [clip.label < songs for clip in clips],
                "track": [clip.track.id for clip in clips],
                "snr_db": [clip.snr_db for clip in clips],
                "seconds": [clip.seconds or np.nan for clip in clips],
                "distortion": [clip.distortion for clip in clips],
                "main": [is_main(clip) for clip in clips],
            }
        )
        self._parts: list[pd.DataFrame] = []

    def add(
        self,
        system: str,
        top: Ints,
        score: Floats,
        thresholds: Thresholds,
        *,
        places: Ints | None = None,
        songs: int | None = None,
    ) -> None:
        """Add a system's predictions.

        Args:
            system: its name.
            top: the songs it ranks best, best first, int [n, <= 3]; the last one is repeated.
            score: how much each clip seems to be of a known song, float [n].
            thresholds: of the score.
            places: of the clips it judged, int [n]; all where None.
            songs: how many it knew; all where None.
        """
        top = np.pad(top, ((0, 0), (0, RANKED - top.shape[1])), mode="edge")
        part = self.clips if places is None else self.clips.iloc[places]
        self._parts.append(
            part.assign(
                system=system,
                songs=songs or self.songs,
                **dict(zip(RANKS, top.T, strict=True)),
                score=np.asarray(score, float),
                accepted=score > thresholds.shipped,
                accepted_at_1_percent=score > thresholds.strict,
            )
        )

    @property
    def rows(self) -> pd.DataFrame:
        """Everything that was added."""
        return pd.concat(self._parts, ignore_index=True)


def is_main(clip: TestClip) -> bool:
    """Whether a clip is of the main test: the whole chain, at the config's own length."""
    return clip.seconds is None and clip.distortion not in DISTORTIONS


def write_predictions(rows: pd.DataFrame, path: Path) -> None:
    """Write a fold's table."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as partial:
        rows.to_csv(partial, index=False, compression="gzip")


def read_predictions(paths: Iterable[Path]) -> pd.DataFrame:
    """The tables of folds as one, with the columns `fold`, `correct`, `in_top3` and `answer`.

    Raises:
        RunError: a file is missing or damaged.
    """
    parts = []
    for fold, path in enumerate(paths):
        try:
            rows = pd.read_csv(
                path, compression="gzip", float_precision="round_trip", dtype={"track": str}
            )
            rows = rows.astype(dict.fromkeys(["known", "main", "accepted"], bool))
        except (OSError, EOFError, ValueError, KeyError) as error:
            raise RunError(
                f"{path}: not a fold that can be read ({error}). Delete it and evaluate again."
            ) from error
        parts.append(rows.assign(fold=fold))
    clips = pd.concat(parts, ignore_index=True)
    correct = clips["first"] == clips["label"]
    return clips.assign(
        correct=correct & clips["known"],
        in_top3=clips[RANKS].eq(clips["label"], axis=0).any(axis=1) & clips["known"],
        answer=clips["first"].where(clips["accepted"], -1),
    )
