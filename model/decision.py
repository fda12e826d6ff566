"""From songs' scores to an answer: which song, how probable, or none of the catalogue.

The network's own "unknown" logit rejects songs that resemble no known one, but is unreliable in
noise. A better open-set decision takes four numbers of the scores, weighted by a logistic
regression on clips of songs that the network did not know (Platt 1999): the best song's score, its
margin over the second, that of "unknown", and the deviation over the songs' scores. Short clips say
less, so the parameters depend on a clip's length (`Decisions`).

A song's score is its logit, or the largest of its rows' (`hushtune.model.rows`). NaN stands for
songs that are left out.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from scipy.special import expit, softmax

from ..support.arrays import Array


@dataclass(frozen=True)
class Decision:
    """The parameters of the open-set decision for clips of one length.

    Attributes:
        weights: of the four features, see `score_features`.
        intercept: shifted so that the chosen share of unknown clips has a probability above 0.5
            of being known.
        temperature: divides the songs' scores before their softmax (Guo et al. 2017).
    """

    weights: tuple[float, ...]
    intercept: float
    temperature: float

    def score(self, scores: Array) -> Array:
        """Log-odds that a clip is of a known song: [clips, classes] -> [clips]; accept from 0."""
        result: Array = score_features(scores) @ np.asarray(self.weights) + self.intercept
        return result

    def probabilities(self, scores: Array) -> Array:
        """Probability of every song and, last, of "unknown": [clips, classes], rows sum to 1."""
        known = expit(self.score(scores))[:, None]
        songs = softmax(scores[:, :-1] / self.temperature, axis=1)
        return np.concatenate([known * songs, 1 - known], axis=1)

    def classes(self, scores: Array) -> Array:
        """The answers: the best song's class, or the last class for "unknown": int [clips]."""
        best = scores[:, :-1].argmax(1)
        return np.where(self.score(scores) >= 0, best, scores.shape[1] - 1)

    def to_json(self) -> dict[str, Any]:
        """The parameters as JSON-ready values."""
        return asdict(self)

    @staticmethod
    def from_json(data: dict[str, Any]) -> "Decision":
        """The inverse of `to_json`."""
        return Decision(tuple(data["weights"]), data["intercept"], data["temperature"])


def threshold_of(unknown_scores: Array, false_alarms: float) -> float:
    """The rule of every threshold: the score that a share of unknown clips exceeds.

    Args:
        unknown_scores: from unknown to known, of clips of unknown songs, float [clips].
        false_alarms: the share, between 0 and 1.
    """
    return float(np.quantile(unknown_scores, 1 - false_alarms))


def score_features(scores: Array) -> Array:
    """What the decision looks at.

    Args:
        scores: float [clips, songs + 1], "unknown" last; NaN for songs that are left out.

    Returns:
        float [clips, 4]: best song, best less second, "unknown", deviation over the songs.
    """
    songs = scores[:, :-1]
    ranked = np.where(np.isnan(songs), -np.inf, songs)
    top = np.partition(ranked, -2, axis=1)[:, -2:] if songs.shape[1] > 1 else np.repeat(songs, 2, 1)
    margin = top[:, 1] - np.where(np.isfinite(top[:, 0]), top[:, 0], top[:, 1])
    return np.stack([top[:, 1], margin, scores[:, -1], np.nanstd(songs, axis=1)], axis=1)


@dataclass(frozen=True)
class Decisions:
    """The open-set decision for clips of any length; its parameters travel in the artifact.

    Attributes:
        seconds: lengths of the clips that each was fitted on, rising.
        of: the parameters for each length.
    """

    seconds: tuple[float, ...]
    of: tuple[Decision, ...]

    def at(self, seconds: float) -> Decision:
        """The decision for clips of `seconds` s.

        Between two lengths the parameters are mixed, by the logarithm of the length; beyond the
        shortest and the longest they are the nearest's.
        """
        if len(self.of) == 1:
            return self.of[0]
        place = np.log(max(seconds, 1e-3))
        places = np.log(self.seconds)

        def mixed(values: Sequence[float]) -> float:
            return float(np.interp(place, places, values))

        return Decision(
            tuple(mixed(each) for each in zip(*(one.weights for one in self.of), strict=True)),
            mixed([one.intercept for one in self.of]),
            float(np.exp(mixed([float(np.log(one.temperature)) for one in self.of]))),
        )

    def score(self, scores: Array, seconds: Array) -> Array:
        """`Decision.score` of clips of different lengths: [clips, classes], [clips] -> [clips]."""
        result = np.empty(len(scores))
        for length in np.unique(seconds).tolist():
            mine = seconds == length
            result[mine] = self.at(length).score(scores[mine])
        return result

    def to_json(self) -> dict[str, Any]:
        """The parameters as JSON-ready values."""
        return asdict(self)

    @staticmethod
    def from_json(data: dict[str, Any]) -> "Decisions":
        """The inverse of `to_json`."""
        return Decisions(tuple(data["seconds"]), tuple(map(Decision.from_json, data["of"])))
